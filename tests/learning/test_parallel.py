"""Two processes, started by Accelerate as the workflow starts them, take the steps that one takes."""

import contextlib
import json
import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch

from reinforce_lite.config import CheckpointSettings, Training
from reinforce_lite.errors import UserError
from reinforce_lite.learning import ESTIMATORS, parallel
from reinforce_lite.learning.checks import check_processes
from reinforce_lite.learning.loop import train
from reinforce_lite.learning.progress import Keeper
from reinforce_lite.tasks import Problem
from toys import WORLD, toy_policy

PROBLEMS = [Problem(f"train-{i}", f"tom has {i} apples . how many apples now ?", str(i)) for i in range(7)]
ESTIMATORS["batch_mean"] = "batch_mean:BATCH_MEAN"  # all that it needs beside its file
SETTINGS = Training(
    steps=4, questions_per_step=3, group_size=4, max_new_tokens=6, learning_rate=1e-3, kl_every=2, reward="random",
    micro_batch_tokens=64, gradient_checkpointing=False, estimator="batch_mean",
)  # fmt: skip


def steps(folder: Path, keeper: Keeper, until: int, estimator: str) -> None:
    """Train up to a step, and write what the first process knows."""
    own = {"estimator": "leave_one_out", "reward": f"{Path(__file__).with_name('own_reward.py')}:score"}
    settings = SETTINGS.model_copy(update=own if estimator == "own" else {"estimator": estimator})
    policy = toy_policy("llama")
    stop = parallel.agreed(lambda completed: "enough" if completed >= until else None)
    train(policy, PROBLEMS, WORLD, "bare", settings, 0, stop=stop, progress=keeper)
    torch.save(policy.model.state_dict(), folder / f"weights-{os.environ.get('RANK', 0)}.pt")
    if parallel.first():
        (folder / "rows.json").write_text(json.dumps(keeper.rows()))


def worker(folder: Path, until: int, estimator: str) -> None:
    """One of two processes."""
    assert parallel.processes() == 2
    kept = folder / "kept"
    leader = parallel.Leader(kept, SETTINGS.model_dump(mode="json"), CheckpointSettings())
    steps(folder, leader if parallel.first() else parallel.Follower(kept), until, estimator)


def launch(folder: Path, until: int, estimator: str) -> None:
    command = [
        sys.executable, "-m", "accelerate.commands.launch", "--multi_gpu", "--num_processes", "2",
        "--num_machines", "1", "--mixed_precision", "no", "--dynamo_backend", "no", "--main_process_port", "0",
        __file__, folder, until, estimator,
    ]  # fmt: skip
    places = os.pathsep.join([str(Path(__file__).parents[1]), *sys.path])
    environment = {**os.environ, "ACCELERATE_USE_CPU": "true", "OMP_NUM_THREADS": "1", "PYTHONPATH": places}
    done = subprocess.run(
        list(map(str, command)),
        env=environment,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stdout[-3000:]


def without_times(rows: list[dict[str, Any]]) -> list[dict[str, Any]]:
    return [{k: v for k, v in r["metrics"].items() if not k.startswith(("seconds", "tokens_per"))} for r in rows]


@pytest.mark.slow
@pytest.mark.parametrize("estimator", ["batch_mean", "critic", "own"])
def test_two_processes_take_the_steps_of_one_also_when_they_go_on(tmp_path: Path, estimator: str) -> None:
    alone, together = tmp_path / "alone", tmp_path / "together"
    for folder in (alone, together):
        folder.mkdir()
    steps(alone, Keeper(), SETTINGS.steps, estimator)
    launch(together, 2, estimator)
    assert len(json.loads((together / "rows.json").read_text())) == 2
    launch(together, SETTINGS.steps, estimator)
    one, first, second = (
        torch.load(path) for path in (alone / "weights-0.pt", together / "weights-0.pt", together / "weights-1.pt")
    )
    start = toy_policy("llama").model.state_dict()
    for name, weight in one.items():
        assert torch.equal(first[name], second[name]), "all processes have the same weights"
        assert torch.allclose(weight, first[name], atol=1e-5)
    assert any((one[name] - start[name]).abs().max() > 1e-3 for name in one), "there was something to compare"
    expected, found = (json.loads((folder / "rows.json").read_text()) for folder in (alone, together))
    for mine, theirs in zip(expected, found, strict=True):
        for one, other in zip(mine["completions"], theirs["completions"], strict=True):
            assert one == pytest.approx(other, abs=1e-4)
    if estimator == "batch_mean":
        rewards, advantages = ([row[key] for row in found[0]["completions"]] for key in ("reward", "advantage"))
        assert advantages == pytest.approx([reward - sum(rewards) / len(rewards) for reward in rewards])
    for mine, theirs in zip(without_times(expected), without_times(found), strict=True):
        assert mine == pytest.approx(theirs, abs=1e-4)


def test_one_process_is_left_alone() -> None:
    assert parallel.share([1, 2]) == parallel.gather([1, 2]) == parallel.share_evenly([1, 2]) == [1, 2]
    assert parallel.agree("x") == "x" and parallel.add_up([1.0, 2.0]) == [1.0, 2.0] and parallel.first()


def test_samples_are_shared_by_length(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("WORLD_SIZE", "2")
    monkeypatch.setenv("RANK", "1")
    assert parallel.share_evenly(["aaaa", "a", "aaa", "aa"]) == ["aaa", "a"]


def test_more_processes_than_questions_are_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("WORLD_SIZE", "4")
    with pytest.raises(UserError, match="4 processes share 3 questions a step"):
        check_processes(SETTINGS)


if __name__ == "__main__":
    worker(Path(sys.argv[1]), int(sys.argv[2]), sys.argv[3])


@pytest.mark.parametrize("leave", [lambda: None, lambda: sys.exit(0)])
def test_whoever_was_not_invited_is_let_go(leave: Callable[[], None], monkeypatch: pytest.MonkeyPatch) -> None:
    """A training that the budget refuses leaves by SystemExit, one of no steps just ends."""
    said: list[bool] = []
    monkeypatch.setattr(parallel, "agree", said.append)
    monkeypatch.setattr(parallel, "_invited", [])
    with contextlib.suppress(SystemExit), parallel.leading():
        leave()
    assert said == [False]
    with contextlib.suppress(SystemExit), parallel.leading():
        parallel.invite()
        leave()
    assert said == [False, True]
