"""Each stage a job of its own on a Slurm of two nodes: requeued onto the other one, and told to leave."""

import os
import re
import shutil
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from datetime import UTC, datetime
from importlib.util import find_spec
from pathlib import Path

import pytest
from dag_runner import Workflow
from leaving import LONG, assert_continued, assert_left_in_order, wait_for_steps

SCRIPT = Path(__file__).with_name("two_nodes.sh")
pytestmark = [pytest.mark.slow, pytest.mark.faults, pytest.mark.timeout(1800)]


@pytest.fixture(scope="module")
def cluster(tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    if find_spec("snakemake_executor_plugin_slurm") is None:
        pytest.skip("the executor is not installed; make slurm installs it")
    if os.getuid() or not all(map(shutil.which, ("slurmctld", "slurmd", "sbatch", "munged"))):
        pytest.skip("a Slurm can be started by root alone, with slurmctld, slurmd, slurm-client and munge")
    if Path("/etc/slurm/slurm.conf").exists():
        pytest.skip("this machine has a Slurm of its own: /etc/slurm/slurm.conf")
    place = tmp_path_factory.mktemp("slurm")
    for folder in place.parents:  # munge runs as a user of its own
        if folder.stat().st_uid == 0 and folder.is_relative_to("/tmp"):
            folder.chmod(folder.stat().st_mode | 0o111)
    place.chmod(0o755)
    started = subprocess.run([SCRIPT, "start", place], capture_output=True, text=True, check=False)
    os.environ["SLURM_CONF"] = str(place / "slurm.conf")
    try:
        assert started.returncode == 0, started.stderr
        yield
    finally:
        subprocess.run([SCRIPT, "stop", place], capture_output=True, check=False)
        del os.environ["SLURM_CONF"]


def slurm(*arguments: str) -> str:
    done = subprocess.run(arguments, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    return done.stdout.strip()


def submit(workflow: Workflow) -> subprocess.Popen[str]:
    """The command of the guide, in a hurry."""
    files = ["--configfile", "config/tiny.yaml", "config/mini.yaml"]
    hurry = ["--slurm-init-seconds-before-status-checks", "1", "--latency-wait", "5", "--slurm-no-account"]
    command = [sys.executable, "-m", "snakemake", "--profile", "profiles/slurm", *hurry, *LONG, *files]
    return subprocess.Popen(
        command, cwd=workflow.folder, env=workflow.environment(),
        stdout=(workflow.folder / "snakemake.log").open("w"), stderr=subprocess.STDOUT, text=True,
    )  # fmt: skip


def said(workflow: Workflow) -> str:
    return (workflow.folder / "snakemake.log").read_text()


def training(workflow: Workflow) -> tuple[str, str]:
    """The job that trains, and its node."""
    (job,) = re.findall(r"SLURM jobid '?(\d+)'? \(log: \S*rule_train/", said(workflow))
    return job, slurm("squeue", "--noheader", "--format=%N", f"--jobs={job}")


def wait_for(condition: Callable[[], bool]) -> None:
    until = time.monotonic() + 600
    while not condition():
        assert time.monotonic() < until
        time.sleep(0.2)


def logs(workflow: Workflow) -> str:
    return "".join(path.read_text() for path in (workflow.folder / "logs").rglob("train/**/*.log"))


@pytest.mark.survives("a requeue by Slurm onto another node")
def test_a_requeued_training_goes_on_on_the_other_node(
    cluster: None, before_training: Workflow, record_property: Callable[[str, object], None]
) -> None:
    workflow = before_training
    process = submit(workflow)
    wait_for_steps(workflow.results(), lambda: process.poll() is not None)
    job, node = training(workflow)
    assert node in ("node1", "node2")
    slurm("scontrol", "update", f"nodename={node}", "state=drain", "reason=test")
    try:
        slurm("scontrol", "requeue", job)
        wait_for(
            lambda: (
                process.poll() is not None
                or slurm("squeue", "--noheader", "--format=%T", "--states=all", f"--jobs={job}") == "RUNNING"
            )
        )
        assert slurm("squeue", "--noheader", "--states=all", "--format=%N", f"--jobs={job}") not in ("", node)
        process.wait(timeout=900)
    finally:
        slurm("scontrol", "update", f"nodename={node}", "state=resume")
    assert process.returncode == 0, said(workflow)[-3000:]
    assert_continued(workflow.results(), logs(workflow))
    assert (workflow.results() / "report.html").exists()


@pytest.mark.survives("SIGTERM from Slurm to a stage that is a job of its own")
def test_a_training_that_is_told_to_leave_has_a_checkpoint_and_the_same_command_goes_on(
    cluster: None, before_training: Workflow, record_property: Callable[[str, object], None]
) -> None:
    workflow = before_training
    process = submit(workflow)
    wait_for_steps(workflow.results(), lambda: process.poll() is not None)
    job, _ = training(workflow)
    told = datetime.now(UTC)
    slurm("scancel", "--signal=TERM", job)
    assert process.wait(timeout=300) != 0
    assert "still costs $" in said(workflow).splitlines()[-1], said(workflow)[-3000:]
    assert_left_in_order(workflow.results(), told, record_property)
    again = submit(workflow)
    assert again.wait(timeout=900) == 0, said(workflow)[-3000:]
    assert_continued(workflow.results(), logs(workflow))
