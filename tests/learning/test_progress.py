"""Progress on its own: which checkpoint is used, when one is written, what is refused."""

import os
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch

from reinforce_lite.config import CheckpointSettings
from reinforce_lite.errors import UserError
from reinforce_lite.io.interrupt import Interrupted
from reinforce_lite.learning import checkpoint
from reinforce_lite.learning.progress import Progress
from reinforce_lite.optim.optimizer import adamw
from toys import toy_policy

KEY = {"training.learning_rate": 1e-3, "seed": 0}
EVERY_STEP = CheckpointSettings(every_steps=1)


def work(progress: Progress, steps: int, at: Callable[[int], None] = lambda step: None) -> tuple[int, float]:
    """Count in a weight. Returns the steps done before, and the weight."""
    policy = toy_policy("phi3")
    weight = next(policy.model.parameters())
    with torch.no_grad():
        weight.zero_()
    optimizer = adamw(policy.model, learning_rate=1.0)
    with progress.resumed(policy, optimizer) as completed:
        assert weight[0, 0].item() == completed
        for step in range(completed, steps):
            at(step)
            with progress.step(), torch.no_grad():
                weight.add_(1)
                progress.record({"step": step, "seconds": progress.seconds})
    assert [row["step"] for row in progress.rows()] == list(range(steps))
    return completed, weight[0, 0].item()


def leave_at(wanted: int) -> Callable[[int], None]:
    def at(step: int) -> None:
        if step == wanted:
            raise Interrupted

    return at


def interrupted_at(folder: Path, step: int, settings: CheckpointSettings = EVERY_STEP) -> list[str]:
    with pytest.raises(Interrupted):
        work(Progress(folder, KEY, settings), step + 1, leave_at(step))
    return [path.name for path in checkpoint.found(folder)]


def flip(path: Path) -> None:
    content = bytearray(path.read_bytes())
    content[len(content) // 2] ^= 4
    path.write_bytes(content)


def test_the_last_two_are_kept(tmp_path: Path) -> None:
    assert interrupted_at(tmp_path, 5) == ["step-00000005", "step-00000004"]


def test_an_interrupt_writes_the_last_completed_step_whenever_the_next_was_due(tmp_path: Path) -> None:
    assert interrupted_at(tmp_path, 4, CheckpointSettings(every_steps=3)) == ["step-00000004", "step-00000003"]
    assert work(Progress(tmp_path, KEY, EVERY_STEP), 6) == (4, 6.0)


def test_an_interrupt_inside_the_whole_of_a_step_keeps_the_checkpoint_before(tmp_path: Path) -> None:
    """Signals wait there; should one get in all the same, half a step must not be taken for a whole one."""
    progress = Progress(tmp_path, KEY, CheckpointSettings())
    policy = toy_policy("phi3")
    with pytest.raises(Interrupted), progress.resumed(policy, adamw(policy.model, learning_rate=1.0)):
        with progress.step():
            progress.record({})
        with progress.step():
            raise Interrupted
    assert checkpoint.found(tmp_path) == []


@pytest.mark.parametrize(("settings", "count"), [({"every_steps": 2}, 3), ({}, 1), ({"every_seconds": 1e-9}, 6)])
def test_steps_or_seconds_say_when(tmp_path: Path, settings: dict[str, Any], count: int) -> None:
    progress = Progress(tmp_path, KEY, CheckpointSettings(**settings))
    work(progress, 6)
    cost = progress.cost()
    assert cost["count"] == count  # the state after the last step is always kept
    assert cost["bytes"] > count * 1000 and cost["seconds"] > 0
    told = sum(row["seconds"] > 0 for row in progress.rows())
    assert told == count - 1  # no row comes after the last


@pytest.mark.parametrize("name", ["weights.pt", "optimizer.pt", "random.pt", "facts.json", "manifest.json"])
@pytest.mark.survives("one flipped bit in a checkpoint")
def test_of_a_damaged_checkpoint_the_one_before_is_used(
    tmp_path: Path, name: str, capsys: pytest.CaptureFixture[str]
) -> None:
    newest = tmp_path / interrupted_at(tmp_path, 4)[0]
    flip(newest / name)
    assert work(Progress(tmp_path, KEY, EVERY_STEP), 6) == (3, 6.0)
    said = capsys.readouterr().err
    assert f"warning: the checkpoint {newest} is damaged" in said and name in said
    assert [path.name for path in checkpoint.found(tmp_path)] == ["step-00000006", "step-00000005"]


def test_a_damaged_checkpoint_never_pushes_out_a_good_one(tmp_path: Path) -> None:
    flip(tmp_path / interrupted_at(tmp_path, 4)[0] / "weights.pt")
    (tmp_path / "step-00000004").rename(tmp_path / "step-00000020")
    assert interrupted_at(tmp_path, 4) == ["step-00000004", "step-00000003"]


@pytest.mark.survives("one flipped bit in every checkpoint")
def test_if_none_is_whole_it_starts_anew(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    for name in interrupted_at(tmp_path, 4):
        flip(tmp_path / name / "optimizer.pt")
    assert work(Progress(tmp_path, KEY, EVERY_STEP), 5) == (0, 5.0)
    assert "no checkpoint is whole: the training starts anew" in capsys.readouterr().err


def test_without_the_rows_of_its_steps_a_checkpoint_is_not_used(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    interrupted_at(tmp_path, 4)
    journal = tmp_path / "steps.jsonl"
    os.truncate(journal, journal.stat().st_size - 1)  # row 3, torn
    assert work(Progress(tmp_path, KEY, EVERY_STEP), 5) == (3, 5.0)
    assert "steps.jsonl holds 3 of its steps" in capsys.readouterr().err


def test_rows_after_the_checkpoint_are_told_once(tmp_path: Path) -> None:
    interrupted_at(tmp_path, 4)
    with (tmp_path / "steps.jsonl").open("ab") as handle:
        handle.write(b"half a li")
    shutil.rmtree(tmp_path / "step-00000004")
    assert work(Progress(tmp_path, KEY, EVERY_STEP), 5) == (3, 5.0)  # work() checks the rows


@pytest.mark.survives("another configuration beside an old checkpoint")
def test_another_key_is_refused_and_named(tmp_path: Path) -> None:
    interrupted_at(tmp_path, 2)
    there = sorted(tmp_path.rglob("*"))
    other = {"training.learning_rate": 2e-3, "seed": 0, "torch": "3"}
    with pytest.raises(UserError) as caught:
        work(Progress(tmp_path, other, EVERY_STEP), 5)
    said = str(caught.value)
    assert "training.learning_rate: 0.001 there, 0.002 now" in said and "torch: None there, '3' now" in said
    assert "seed" not in said and f"delete the folder {tmp_path}" in said
    assert sorted(tmp_path.rglob("*")) == there


@pytest.mark.survives("disk full while writing a checkpoint")
def test_on_a_full_disk_it_goes_on_with_a_warning(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    interrupted_at(tmp_path, 2)
    real = os.fsync

    def full(handle: int) -> None:
        raise OSError(28, "No space left on device")

    def at(step: int) -> None:
        monkeypatch.setattr(os, "fsync", full if step < 4 else real)
        if step == 4:
            assert [path.name for path in checkpoint.found(tmp_path)] == ["step-00000002", "step-00000001"]
            checkpoint.read(tmp_path / "step-00000002")

    assert work(Progress(tmp_path, KEY, EVERY_STEP), 6, at) == (2, 6.0)
    said = capsys.readouterr().err
    assert "warning: no checkpoint after 3 steps: No space left on device; the one before it is kept" in said
    assert [path.name for path in checkpoint.found(tmp_path)] == ["step-00000006", "step-00000005"]


@pytest.mark.survives("disk full while writing the journal of steps")
def test_no_checkpoint_goes_ahead_of_its_rows(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    real = os.write

    def write(handle: int, data: bytes) -> int:
        if Path(f"/proc/self/fd/{handle}").readlink().name == "steps.jsonl":
            raise OSError(28, "No space left on device")
        return real(handle, data)

    def at(step: int) -> None:
        monkeypatch.setattr(os, "write", write if step == 2 else real)
        if step == 3:
            assert checkpoint.found(tmp_path)[0].name == "step-00000002"

    assert work(Progress(tmp_path, KEY, EVERY_STEP), 5, at) == (0, 5.0)
    assert "no checkpoint after 3 steps: No space left" in capsys.readouterr().err


@pytest.mark.survives("SIGKILL while writing a checkpoint")
def test_what_a_kill_while_writing_leaves_does_not_count(tmp_path: Path) -> None:
    interrupted_at(tmp_path, 3)
    half = tmp_path / ".step-00000009.tmp"
    shutil.copytree(tmp_path / "step-00000003", half)
    assert work(Progress(tmp_path, KEY, EVERY_STEP), 4) == (3, 4.0)
    assert not half.exists()


def test_whoever_reads_the_output_may_go_first(tmp_path: Path) -> None:
    def at(step: int) -> None:
        if step == 2:
            raise BrokenPipeError

    with pytest.raises(BrokenPipeError):
        work(Progress(tmp_path, KEY, CheckpointSettings()), 3, at)
    assert work(Progress(tmp_path, KEY, CheckpointSettings()), 3) == (2, 3.0)


def finished(folder: Path, steps: int) -> None:
    progress = Progress(folder, KEY, EVERY_STEP)
    work(progress, steps)
    progress.finish()


def test_what_is_finished_is_only_told_again(tmp_path: Path) -> None:
    finished(tmp_path, 3)
    assert [path.name for path in checkpoint.found(tmp_path)] == ["step-00000003"], "one state is enough"
    assert work(Progress(tmp_path, KEY, EVERY_STEP), 3, leave_at(0)) == (3, 3.0)  # work() checks the rows
