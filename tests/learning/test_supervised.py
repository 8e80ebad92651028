"""The supervised start goes on where it was interrupted."""

from pathlib import Path
from typing import Any

import pytest
import torch

from reinforce_lite.config import CheckpointSettings, Start
from reinforce_lite.io.interrupt import Interrupted
from reinforce_lite.learning import checkpoint, supervised
from reinforce_lite.learning.progress import Progress
from reinforce_lite.optim.optimizer import adamw
from reinforce_lite.policy import Policy
from reinforce_lite.policy.logprobs import chosen_logprobs, pad_right
from reinforce_lite.tasks import Demonstration
from toys import WORLD, toy_policy

SETTINGS = Start(steps=6, batch_size=2, learning_rate=1e-2)
LESSONS = [Demonstration(f"tom has {i} apples .", f"<answer> {i} </answer>") for i in range(5)]


def run(folder: Path, architecture: str) -> tuple[list[torch.Tensor], list[dict[str, Any]]]:
    policy = toy_policy(architecture)
    rows = supervised.supervised_start(
        policy, LESSONS, WORLD, "bare", SETTINGS, Progress(folder, {"steps": SETTINGS.steps}, CheckpointSettings())
    )
    return list(policy.model.parameters()), [{k: v for k, v in r.items() if k != "seconds_checkpoint"} for r in rows]


@pytest.mark.parametrize("architecture", ["llama", "phi3"])
@pytest.mark.parametrize("step", range(SETTINGS.steps))
def test_interrupted_inside_any_step(
    tmp_path: Path, architecture: str, step: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    weights, rows = run(tmp_path / "undisturbed", architecture)
    real, calls = supervised.gradient, 0

    def gradient(*arguments: Any) -> float:
        nonlocal calls
        calls += 1
        loss = real(*arguments)
        if calls == step + 1:
            raise Interrupted
        return loss

    monkeypatch.setattr(supervised, "gradient", gradient)
    folder = tmp_path / "disturbed"
    with pytest.raises(Interrupted):
        run(folder, architecture)
    assert [checkpoint.read(path).step for path in checkpoint.found(folder)] == [step][: step > 0]
    monkeypatch.undo()
    again, rows_again = run(folder, architecture)
    assert rows_again == rows and [row["step"] for row in rows] == list(range(SETTINGS.steps))
    assert all(torch.equal(a, b) for a, b in zip(again, weights, strict=True))


def test_passes_of_a_start_are_as_long_as_asked(monkeypatch: pytest.MonkeyPatch) -> None:
    real, asked = supervised.gradient, []

    def gradient(*arguments: Any) -> float:
        asked.append(arguments[-1])
        return real(*arguments)

    monkeypatch.setattr(supervised, "gradient", gradient)
    cut = SETTINGS.model_copy(update={"micro_batch_tokens": 30})
    losses = [
        [row["loss"] for row in supervised.supervised_start(toy_policy("llama"), LESSONS, WORLD, "bare", settings)]
        for settings in (SETTINGS, cut)
    ]
    assert losses[0] == pytest.approx(losses[1], rel=1e-4) and asked == [None] * 6 + [30] * 6
    assert "micro_batch_tokens" not in SETTINGS.model_dump(), "keys of older starts had no such entry"
    assert cut.model_dump()["micro_batch_tokens"] == 30


def one_pass(policy: Policy, picked: list[Demonstration]) -> float:
    """The gradient as it was before passes were cut by tokens: all rows at once, in their order."""
    stop = supervised.preferred_stop(policy)
    rows = [
        (
            policy.prompt_ids(WORLD.messages("bare", d.question)),
            [*supervised.completion_ids(policy, d.completion), stop],
        )
        for d in picked
    ]
    logprobs_N, _ = chosen_logprobs(policy, pad_right(rows, policy.pad_id, policy.device), chunk_tokens=8192)
    loss = -logprobs_N.sum() / sum(len(completion) for _, completion in rows)
    torch.autograd.backward(loss)
    torch.nn.utils.clip_grad_norm_(policy.model.parameters(), 1.0)
    return loss.item()


LONGER = [
    Demonstration("tom has 1 apples ." * (1 + i % 3), f"<answer> {i % 9} </answer>" * (1 + i % 4)) for i in range(64)
]


@pytest.mark.parametrize("architecture", ["llama", "phi3"])
def test_on_a_cpu_no_bit_of_a_start_is_another(architecture: str) -> None:
    ours, before = toy_policy(architecture), toy_policy(architecture)
    optimizers = [adamw(policy.model, learning_rate=1e-2) for policy in (ours, before)]
    for _ in range(4):
        assert supervised.gradient(ours, LONGER, WORLD, "bare") == one_pass(before, LONGER)
        for optimizer in optimizers:
            optimizer.step()
            optimizer.zero_grad(set_to_none=True)
    for one, other in zip(ours.model.parameters(), before.model.parameters(), strict=True):
        assert torch.equal(one, other)


def test_passes_by_tokens_have_the_same_loss_and_gradient(monkeypatch: pytest.MonkeyPatch) -> None:
    policy, real, widths = toy_policy("llama"), supervised.pad_right, []

    def watched(rows: Any, *arguments: Any) -> Any:
        batch = real(rows, *arguments)
        widths.append(batch.tokens_BT.numel())
        return batch

    monkeypatch.setattr(supervised, "pad_right", watched)
    whole = supervised.gradient(policy, LONGER, WORLD, "bare")
    expected = [weight.grad.clone() for weight in policy.model.parameters()]
    assert len(widths) == 1
    policy.model.zero_grad(set_to_none=True)
    assert supervised.gradient(policy, LONGER, WORLD, "bare", pass_tokens=100) == pytest.approx(whole, rel=1e-5)
    assert len(widths) > 4 and max(widths[1:]) <= 100
    assert sum(widths[1:]) < widths[0], "less padding"
    for weight, gradient in zip(policy.model.parameters(), expected, strict=True):
        torch.testing.assert_close(weight.grad, gradient, rtol=1e-3, atol=1e-6)
