"""The supervised start goes on where it was interrupted."""

from pathlib import Path
from typing import Any

import pytest
import torch

from reinforce_lite.interrupt import Interrupted
from reinforce_lite.policy import checkpoint, start
from reinforce_lite.policy.progress import Progress
from reinforce_lite.settings import CheckpointSettings, Start
from reinforce_lite.tasks import Demonstration
from toys import toy_policy

SETTINGS = Start(steps=6, batch_size=2, learning_rate=1e-2)
LESSONS = [Demonstration(f"tom has {i} apples .", f"<answer> {i} </answer>") for i in range(5)]


def run(folder: Path, architecture: str) -> tuple[list[torch.Tensor], list[dict[str, Any]]]:
    policy = toy_policy(architecture)
    rows = start.supervised_start(
        policy, LESSONS, "bare", SETTINGS, Progress(folder, {"steps": SETTINGS.steps}, CheckpointSettings())
    )
    return list(policy.model.parameters()), [{k: v for k, v in r.items() if k != "seconds_checkpoint"} for r in rows]


@pytest.mark.parametrize("architecture", ["llama", "phi3"])
@pytest.mark.parametrize("step", range(SETTINGS.steps))
def test_interrupted_inside_any_step(
    tmp_path: Path, architecture: str, step: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    weights, rows = run(tmp_path / "undisturbed", architecture)
    real, calls = start.gradient, 0

    def gradient(*arguments: Any) -> float:
        nonlocal calls
        calls += 1
        loss = real(*arguments)
        if calls == step + 1:
            raise Interrupted
        return loss

    monkeypatch.setattr(start, "gradient", gradient)
    folder = tmp_path / "disturbed"
    with pytest.raises(Interrupted):
        run(folder, architecture)
    assert [checkpoint.read(path).step for path in checkpoint.found(folder)] == [step][: step > 0]
    monkeypatch.undo()
    again, rows_again = run(folder, architecture)
    assert rows_again == rows and [row["step"] for row in rows] == list(range(SETTINGS.steps))
    assert all(torch.equal(a, b) for a, b in zip(again, weights, strict=True))
