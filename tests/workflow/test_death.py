"""What happens when Snakemake, the job, or both are stopped or killed."""

import signal
import subprocess
import time

import psutil
import pytest
from dag_runner import Workflow


def start(workflow: Workflow, *arguments: str) -> subprocess.Popen[str]:
    return subprocess.Popen(
        workflow.command(*arguments), cwd=workflow.folder, env=workflow.environment(),
        stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, start_new_session=True,
    )  # fmt: skip


def job(snakemake: subprocess.Popen[str], command: str) -> psutil.Process:
    """The process of a command of the package, once it runs."""
    root = psutil.Process(snakemake.pid)
    while snakemake.poll() is None:
        for process in root.children(recursive=True):
            try:
                line = process.cmdline()
            except psutil.Error:
                continue
            if len(line) > 2 and line[1].endswith("/reinforce-lite") and line[2] == command:
                return process
        time.sleep(0.02)
    pytest.fail(f"{command} never ran: {snakemake.stdout.read() if snakemake.stdout else ''}")


@pytest.mark.slow
def test_two_at_once_are_one_too_many(workflow: Workflow) -> None:
    first = start(workflow)
    job(first, "fetch-policy")
    second = workflow.run()
    assert second.returncode != 0
    assert f"another Snakemake works on results/mini (process {first.pid}" in second.stdout
    assert "fix:" in second.stdout and "Traceback" not in second.stdout
    assert first.wait(timeout=300) == 0


@pytest.mark.slow
def test_sigterm_of_snakemake_reaches_the_job(workflow: Workflow) -> None:
    running = start(workflow)
    training = job(running, "fetch-policy")
    running.send_signal(signal.SIGTERM)
    training.wait(timeout=30)
    assert running.wait(timeout=60) != 0
    assert workflow.run().returncode == 0


@pytest.mark.slow
def test_a_killed_snakemake_needs_no_unlocking(workflow: Workflow) -> None:
    running = start(workflow)
    orphan = job(running, "prepare-dataset")
    running.kill()
    running.wait()
    psutil.wait_procs([orphan], timeout=60)
    done = workflow.run()
    assert done.returncode == 0, done.stdout[-3000:]
