"""Under a real Slurm: being cancelled reaches the training, and the same job goes on."""

import shlex
import shutil
import subprocess
import time
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path

import pytest
from dag_runner import Workflow
from leaving import LONG, assert_continued, assert_left_in_order, wait_for_steps

pytestmark = pytest.mark.slow


def slurm(*arguments: str) -> str:
    done = subprocess.run(arguments, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    return done.stdout.strip()


@pytest.fixture(autouse=True)
def cluster() -> None:
    if not shutil.which("sbatch") or subprocess.run(["sinfo", "-h"], capture_output=True, check=False).returncode:
        pytest.skip("no Slurm answers here (sinfo)")


def submit(workflow: Workflow) -> str:
    """The README's line, with the cluster's memory and time left out."""
    command = shlex.join(workflow.command(*LONG))
    options = ["--parsable", "--cpus-per-task=2", "--mem=4000", "--output=slurm-%j.log", f"--chdir={workflow.folder}"]
    return slurm("sbatch", *options, "--signal=B:TERM@60", "--wrap", f"exec {command}")


def state(job: str) -> str:
    return slurm("squeue", "--noheader", "--states=all", "--format=%T", f"--jobs={job}")


def wait_until_gone(job: str) -> str:
    until = time.monotonic() + 600
    while (now := state(job)) in ("PENDING", "CONFIGURING", "RUNNING", "COMPLETING"):
        assert time.monotonic() < until
        time.sleep(0.2)
    return now


def log(workflow: Workflow, job: str) -> str:
    return Path(workflow.folder, f"slurm-{job}.log").read_text()


@pytest.mark.survives("SIGTERM from Slurm (scancel)")
def test_scancel_ends_in_a_checkpoint_and_the_same_job_goes_on(
    before_training: Workflow, monkeypatch: pytest.MonkeyPatch, record_property: Callable[[str, object], None]
) -> None:
    workflow = before_training
    for name, value in workflow.environment().items():
        monkeypatch.setenv(name, value)
    first = submit(workflow)
    wait_for_steps(workflow.results(), lambda: state(first) not in ("PENDING", "CONFIGURING", "RUNNING"))
    told = datetime.now(UTC)
    slurm("scancel", first)
    assert wait_until_gone(first) == "CANCELLED"
    assert_left_in_order(workflow.results(), told, record_property)
    second = submit(workflow)
    assert wait_until_gone(second) == "COMPLETED", log(workflow, second)[-3000:]
    assert_continued(workflow.results(), log(workflow, second))
