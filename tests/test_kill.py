"""Real processes of `reinforce-lite train`, killed and told to leave at moments that nobody chose."""

import json
import os
import random
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import psutil
import pytest

from reinforce_lite.budget.ledger import attempts
from reinforce_lite.io.files import read_json, read_jsonl
from reinforce_lite.io.journal import Journal
from reinforce_lite.learning import checkpoint

pytestmark = pytest.mark.slow

ROOT = Path(__file__).parents[1]
STEPS = 25
RUN = ("--model", "tiny-llama", "--variant", "leave_one_out", "--seed", "0")
TRAINED, KEPT = (f"mini/{part}/train/tiny-llama/leave_one_out/seed0" for part in (".", "checkpoints"))


def command(folder: Path, name: str, *arguments: str, **changes: Any) -> list[str]:
    """One subcommand of the mini experiment, with its results under `folder`."""
    overlay = folder / "overlay.json"
    training = {"steps": STEPS, "group_size": 4, "questions_per_step": 4}
    tracking = {"uri": f"sqlite:///{folder}/mlflow.db", "artifacts": str(folder / "artifacts")}
    config = {"results": str(folder), "tracking": tracking, "training": training}
    overlay.write_text(json.dumps({**config, **changes}))
    files = [ROOT / "config/config.yaml", ROOT / "config/tiny.yaml", ROOT / "tests/workflow/mini.yaml", overlay]
    return [sys.executable, "-m", "reinforce_lite.cli", name, *arguments, "--config", *map(str, files)]


def run(folder: Path, name: str, *arguments: str, **changes: Any) -> subprocess.CompletedProcess[str]:
    return subprocess.run(command(folder, name, *arguments, **changes), capture_output=True, text=True, check=False)


def started(folder: Path, **changes: Any) -> subprocess.Popen[str]:
    line = command(folder, "train", *RUN, **changes)
    return subprocess.Popen(line, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True)


def wait_for(condition: Callable[[], bool], process: subprocess.Popen[str]) -> None:
    while process.poll() is None and not condition():
        time.sleep(0.01)


def rows(folder: Path) -> int:
    return len(Journal(folder / KEPT / "steps.jsonl").rows())


def results(folder: Path) -> tuple[bytes, list[dict[str, Any]], list[dict[str, Any]]]:
    done = folder / TRAINED
    metrics = [
        {k: v for k, v in row.items() if not k.startswith(("seconds", "tokens_per"))}
        for row in read_jsonl(done / "metrics.jsonl")
    ]
    assert [row["step"] for row in metrics] == list(range(STEPS))
    return (done / "weights/model.safetensors").read_bytes(), metrics, read_jsonl(done / "completions.jsonl")


@pytest.fixture(scope="module")
def start(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Data and start policy, and the training that nobody disturbed."""
    folder = tmp_path_factory.mktemp("start")
    for name, *arguments in (
        ("preflight",), ("prepare-dataset",), ("fetch-policy", "--model", "tiny-llama"), ("train", *RUN),
    ):  # fmt: skip
        done = run(folder, name, *arguments)
        assert done.returncode == 0, done.stderr
    return folder


@pytest.fixture
def folder(start: Path, tmp_path: Path) -> Path:
    """The same, before the training."""
    shutil.copytree(start, tmp_path / "run")
    for name in ("train", "checkpoints"):
        shutil.rmtree(tmp_path / "run/mini" / name)
    return tmp_path / "run"


@pytest.mark.faults
@pytest.mark.survives("SIGKILL at random moments of a training")
def test_killed_at_random_moments(folder: Path, start: Path) -> None:
    moments, kills = random.Random(0), 0
    for _ in range(4):
        process = started(folder, checkpoint={"every_steps": 1})
        before = rows(folder)
        wait_for(lambda before=before: rows(folder) > before, process)  # type: ignore[misc]
        time.sleep(moments.uniform(0, 0.4))
        kills += process.poll() is None
        process.kill()
        process.communicate()
    assert kills >= 2 and not (folder / TRAINED / "policy.json").exists()
    done = run(folder, "train", *RUN, checkpoint={"every_steps": 1})
    assert done.returncode == 0 and "continuing after" in done.stderr, done.stderr
    assert results(folder) == results(start)
    summary = read_json(folder / TRAINED / "training.json")
    assert summary["steps"] == summary["steps_planned"] == STEPS and summary["stopped"] is None
    assert summary["checkpoint"]["count"] >= STEPS - kills, "a kill loses at most the cost of one"
    assert len(checkpoint.found(folder / KEPT)) == 1, "the last state waits until its results are taken"


@pytest.mark.parametrize("number", [signal.SIGTERM, pytest.param(signal.SIGHUP, marks=pytest.mark.faults)])
@pytest.mark.survives("SIGTERM or SIGHUP of a training")
def test_told_to_leave(folder: Path, start: Path, number: signal.Signals) -> None:
    process = started(folder)
    wait_for(lambda: rows(folder) >= 3, process)
    process.send_signal(number)
    process.send_signal(number)  # Slurm sends it to the shell and to its children
    _, said = process.communicate(timeout=60)
    assert process.returncode == 75, said
    *_, left, last = said.splitlines()
    assert left == "reinforce-lite train: interrupted; the same command continues"
    assert "still costs $" in last and last.endswith("an hour until you give it back")
    (kept,) = checkpoint.found(folder / KEPT)
    assert checkpoint.read(kept).step == rows(folder) >= 3
    events = [json.loads(line) for line in (folder / "mini/ledger.jsonl").read_text().splitlines()]
    assert events[-1]["event"] == "close" and events[-1]["error"].startswith("Interrupted")
    done = run(folder, "train", *RUN)
    assert done.returncode == 0 and f"continuing after {int(kept.name[5:])} steps" in done.stderr
    assert results(folder) == results(start)


@pytest.mark.faults
@pytest.mark.survives("SIGSTOP of a training for a while, then SIGCONT")
def test_stopped_for_a_while(folder: Path, start: Path) -> None:
    process = started(folder)
    wait_for(lambda: rows(folder) >= 3, process)
    (child,) = psutil.Process(process.pid).children()
    child.suspend()
    steps = rows(folder)
    time.sleep(20)
    assert rows(folder) == steps
    child.resume()
    _, said = process.communicate(timeout=120)
    assert process.returncode == 0, said
    assert results(folder) == results(start), "the stall was taken for no step"
    training = attempts(folder / "mini/ledger.jsonl")[-1]
    assert training.outcome == "finished" and training.seconds > 20


@pytest.mark.faults
@pytest.mark.survives("SIGTERM of a training's whole process group")
def test_told_to_leave_together_with_whoever_reads_the_output(folder: Path, start: Path) -> None:
    """The rules pipe their output into tee, and a scheduler's signal reaches tee as well."""
    line = f'"$@" 2>&1 | tee {folder}/log'
    arguments = ["bash", "-o", "pipefail", "-c", line, "bash", *command(folder, "train", *RUN)]
    process = subprocess.Popen(arguments, stdout=subprocess.DEVNULL, start_new_session=True, text=True)
    wait_for(lambda: rows(folder) >= 2, process)
    os.killpg(process.pid, signal.SIGTERM)
    process.wait(timeout=60)
    until = time.monotonic() + 60
    while not checkpoint.found(folder / KEPT) and time.monotonic() < until:
        time.sleep(0.05)
    (kept,) = checkpoint.found(folder / KEPT)
    assert checkpoint.read(kept).step == rows(folder) >= 2
    assert run(folder, "train", *RUN).returncode == 0
    assert results(folder) == results(start)


@pytest.mark.survives("another configuration beside an old checkpoint")
def test_another_setting_is_refused_before_a_step(folder: Path) -> None:
    process = started(folder)
    wait_for(lambda: rows(folder) >= 1, process)
    process.terminate()
    process.communicate(timeout=60)
    changed = {"training": {"steps": STEPS + 1, "group_size": 4, "questions_per_step": 4}}
    assert run(folder, "preflight", **changed).returncode == 0
    done = run(folder, "train", *RUN, **changed)
    assert done.returncode == 2 and f"training.steps: {STEPS} there, {STEPS + 1} now" in done.stderr
    assert f"delete the folder {folder / KEPT}" in done.stderr
