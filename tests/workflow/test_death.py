"""What happens when Snakemake, the job, or both are stopped or killed."""

import fcntl
import os
import signal
import subprocess
import termios
import time
from collections.abc import Callable
from contextlib import suppress
from datetime import UTC, datetime
from functools import partial

import psutil
import pytest
from commands import first_of
from dag_runner import Workflow
from leaving import LONG, assert_continued, assert_left_in_order, wait_for_steps
from test_dag import DEVICE_RULES

from reinforce_lite.budget import ledger
from reinforce_lite.io.journal import Journal

FAULT = partial(pytest.param, marks=pytest.mark.faults)


def start(workflow: Workflow, *arguments: str) -> subprocess.Popen[str]:
    return subprocess.Popen(
        workflow.command(*arguments), cwd=workflow.folder, env=workflow.environment(),
        stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, start_new_session=True,
    )  # fmt: skip


def job(snakemake: subprocess.Popen[str], command: str) -> psutil.Process:
    """The process of a command of the package, once it runs."""
    found = first_of(snakemake, {command})
    return found or pytest.fail(f"{command} never ran: {snakemake.stdout.read() if snakemake.stdout else ''}")


@pytest.fixture
def near(request: pytest.FixtureRequest, command: str) -> Workflow:
    """The DAG shortly before `command`: before its training, which takes a copy, or before its first job."""
    found: Workflow = request.getfixturevalue("before_training" if command == "train" else "workflow")
    return found


@pytest.mark.slow
@pytest.mark.faults
@pytest.mark.survives("two Snakemakes at once on the same results")
def test_two_at_once_are_one_too_many(workflow: Workflow) -> None:
    first = start(workflow)
    job(first, "fetch-policy")
    second = workflow.run()
    assert second.returncode != 0
    assert f"another Snakemake works on results/mini (process {first.pid}" in second.stdout
    assert "fix:" in second.stdout and "Traceback" not in second.stdout
    assert first.wait(timeout=300) == 0


@pytest.mark.slow
@pytest.mark.survives("SIGTERM of Snakemake")
def test_sigterm_of_snakemake_reaches_the_job(workflow: Workflow) -> None:
    running = start(workflow)
    fetching = job(running, "fetch-policy")
    while not any(attempt.stage == "fetch_policy" for attempt in attempts(workflow)):
        time.sleep(0.02)
    running.send_signal(signal.SIGTERM)
    fetching.wait(timeout=30)
    output, _ = running.communicate(timeout=60)
    assert running.returncode != 0
    *_, reason, last = output.splitlines()
    assert last.endswith("an hour until you give it back"), "the machine is not stopped by that"
    assert reason == "reinforce-lite fetch-policy: interrupted; the same command continues", output[-3000:]
    assert attempts(workflow)[-1].outcome == "interrupted", "it did not simply come to its end"
    assert workflow.run().returncode == 0


@pytest.mark.slow
@pytest.mark.faults
@pytest.mark.survives("a terminal that closes around Snakemake (ssh, tmux)")
def test_a_closed_terminal_ends_in_a_checkpoint_and_the_same_command_goes_on(
    before_training: Workflow, record_property: Callable[[str, object], None]
) -> None:
    workflow = before_training
    ours, theirs = os.openpty()
    os.set_blocking(ours, False)
    terminal = dict.fromkeys(("stdin", "stdout", "stderr"), theirs)
    running = subprocess.Popen(
        workflow.command(*LONG), cwd=workflow.folder, env=workflow.environment(), start_new_session=True, **terminal,
        preexec_fn=lambda: fcntl.ioctl(0, termios.TIOCSCTTY, 0),
    )  # fmt: skip
    os.close(theirs)

    def ended() -> bool:
        with suppress(OSError):
            os.read(ours, 1 << 16)  # somebody looks at it
        return running.poll() is not None

    wait_for_steps(workflow.results(), ended)
    told = datetime.now(UTC)
    os.close(ours)
    running.wait(timeout=120)
    until = time.monotonic() + 60
    while attempts(workflow)[-1].outcome == "running" and time.monotonic() < until:
        time.sleep(0.05)
    assert_left_in_order(workflow.results(), told, record_property)
    assert_continued(workflow.results(), workflow.run(*LONG).stdout)


@pytest.mark.slow
@pytest.mark.survives("SIGTERM of Snakemake while it finishes a job")
def test_sigterm_while_a_job_is_finished(workflow: Workflow) -> None:
    """Snakemake holds a lock then, while it waits for files that are late."""
    rules = workflow.folder / "workflow/rules/stages.smk"
    late = rules.read_text().replace('+ "reinforce-lite"', '+ "true || reinforce-lite"')
    assert late != rules.read_text()
    rules.write_text(late)
    running = start(workflow, "--latency-wait", "20")
    said(running, "Waiting at most 20 seconds for missing files")
    running.send_signal(signal.SIGTERM)
    try:
        running.communicate(timeout=60)
    finally:
        running.kill()
    assert running.returncode not in (0, -signal.SIGKILL)


@pytest.mark.slow
@pytest.mark.faults
@pytest.mark.survives("SIGKILL of Snakemake")
def test_a_killed_snakemake_needs_no_unlocking(workflow: Workflow) -> None:
    running = start(workflow)
    orphan = job(running, "prepare-dataset")
    running.kill()
    running.wait()
    psutil.wait_procs([orphan], timeout=60)
    done = workflow.run()
    assert done.returncode == 0, done.stdout[-3000:]


def said(snakemake: subprocess.Popen[str], text: str) -> list[str]:
    """The lines of the output up to the one that holds the text."""
    lines = []
    assert snakemake.stdout is not None
    for line in snakemake.stdout:
        lines.append(line)
        if text in line:
            return lines
    pytest.fail(f"never said: {text}\n{''.join(lines)[-3000:]}")


@pytest.mark.slow
@pytest.mark.parametrize("command", [FAULT("fetch-policy"), "train", FAULT("evaluate")])
@pytest.mark.survives("SIGKILL of Snakemake, its job lives on")
def test_an_orphan_is_waited_for_and_its_results_are_taken(near: Workflow, command: str) -> None:
    """Snakemake is killed, its job goes on; the same command runs nothing beside it, and nothing twice."""
    workflow = near
    first = start(workflow)
    orphan = job(first, command)
    while not any(attempt.outcome == "running" for attempt in attempts(workflow)):
        time.sleep(0.05)
    orphan.suspend()
    first.kill()
    second = start(workflow)
    said(second, "waiting for the device, held by")
    orphan.resume()
    said(second, "adopted")
    output = second.communicate(timeout=600)[0]
    assert second.returncode == 0, output[-3000:]
    made = attempts(workflow)
    assert sorted(attempt.stage for attempt in made) == sorted(DEVICE_RULES), "each stage once"
    assert {attempt.outcome for attempt in made} == {"finished"}
    assert "Nothing to be done" in workflow.run("-n").stdout


@pytest.mark.slow
@pytest.mark.parametrize(
    ("command", "done"),
    [FAULT("fetch-policy", "20 steps"), ("train", "4 steps"), FAULT("evaluate", "1 of 1 batches")],
)
@pytest.mark.survives("SIGKILL of Snakemake, its job comes to its end before the next one begins")
def test_what_an_orphan_did_unseen_is_not_done_again(near: Workflow, command: str, done: str) -> None:
    """The next Snakemake deletes its results, for it has not seen their end. They are written again, not made again."""
    workflow = near
    first = start(workflow)
    orphan = job(first, command)
    while not any(attempt.outcome == "running" for attempt in attempts(workflow)):
        time.sleep(0.05)
    first.kill()
    psutil.wait_procs([orphan], timeout=120)
    ended = attempts(workflow)[-1]
    again = workflow.run()
    assert again.returncode == 0, again.stdout[-3000:]
    alike = [
        attempt for attempt in attempts(workflow) if (attempt.stage, attempt.variant) == (ended.stage, ended.variant)
    ]
    assert [attempt.outcome for attempt in alike] == ["finished", "finished"]
    assert f"continuing after {done}" in again.stdout
    assert not [path for path in (workflow.results() / "checkpoints").rglob("*") if path.is_file()], "all is taken"


@pytest.mark.slow
@pytest.mark.faults
@pytest.mark.survives("SIGKILL of Snakemake, its job lives on with other settings")
def test_an_orphan_of_other_settings_is_waited_for_and_its_results_are_not_taken(workflow: Workflow) -> None:
    first = start(workflow)
    orphan = job(first, "fetch-policy")
    # By its first step it has let go of MLflow's database, for which the second one's preflight would wait in silence.
    steps = Journal(workflow.results() / "checkpoints/fetch_policy/tiny-llama/steps.jsonl")
    while not steps.rows():
        time.sleep(0.02)
    orphan.suspend()
    first.kill()
    second = start(workflow, "--config", 'policies={"tiny-llama": {"start": {"seed": 1}}}')
    said(second, "waiting for the device, held by")
    orphan.resume()
    output = second.communicate(timeout=600)[0]
    assert second.returncode == 0, output[-3000:]
    assert "adopted" not in output
    assert [attempt.stage for attempt in attempts(workflow)].count("fetch_policy") == 2


def attempts(workflow: Workflow) -> list[ledger.Attempt]:
    return ledger.attempts(workflow.results() / "ledger.jsonl")
