"""Adapters beside frozen weights."""

from typing import Any

import pytest
import torch

from reinforce_lite.config import Lora, Training
from reinforce_lite.errors import UserError
from reinforce_lite.learning import checkpoint, drift, loop
from reinforce_lite.learning.batching import Sample
from reinforce_lite.learning.loop import train
from reinforce_lite.learning.update import gradient
from reinforce_lite.optim import lora
from reinforce_lite.optim.optimizer import optimizer_for
from reinforce_lite.policy import Policy
from reinforce_lite.policy.logprobs import chosen_logprobs, pad_right
from reinforce_lite.rollout import Completion, Sampling
from reinforce_lite.rollout.generate import GenerateEngine
from reinforce_lite.tasks import Problem
from toys import WORLD, toy_policy

SMALL = Lora(rank=4, alpha=8)
BASE = {
    "steps": 3, "questions_per_step": 3, "group_size": 4, "max_new_tokens": 6, "learning_rate": 1e-2, "kl_every": 1,
    "reward": "random", "weights": "lora", "lora": SMALL, "gradient_checkpointing": False,
}  # fmt: skip
TRAINING = Training(**BASE)
PROBLEMS = [Problem(f"train-{i}", f"tom has {i} apples . how many apples now ?", str(i)) for i in range(7)]
SAMPLE = Sample(Completion([1, 7, 8, 9], [10, 11, 12, 2], [-3.0] * 4, "stop"), 1.0)


def toy(architecture: str = "llama", dtype: torch.dtype = torch.bfloat16) -> Policy:
    policy = toy_policy(architecture)
    policy.model.to(dtype)
    return policy


def adapted(policy: Policy, size: float) -> Policy:
    """With adapters that add something; fresh ones add nothing."""
    lora.adapt(policy, SMALL, seed=0)
    draw = torch.Generator().manual_seed(1)
    for name, weight in policy.model.named_parameters():
        if "lora_B" in name:
            weight.data = size * torch.randn(weight.shape, generator=draw)
    return policy


@torch.no_grad()
def logprobs(policy: Policy) -> torch.Tensor:
    rows = [(SAMPLE.completion.prompt_ids, SAMPLE.completion.token_ids)]
    return chosen_logprobs(policy, pad_right(rows, policy.pad_id, policy.device), 100)[0]


@pytest.mark.parametrize("architecture", ["llama", "phi3"])
def test_fresh_adapters_are_float32_and_change_nothing(architecture: str) -> None:
    policy = toy(architecture)
    before, names = logprobs(policy), [name for name, _ in policy.model.named_modules()]
    lora.adapt(policy, SMALL, seed=0)
    assert torch.equal(logprobs(policy), before)
    trained = {name: weight for name, weight in policy.model.named_parameters() if weight.requires_grad}
    assert trained and all("lora_" in name and weight.dtype == torch.float32 for name, weight in trained.items())
    assert "lm_head" not in " ".join(name for name, _ in lora.layers(policy.model))
    lora.merge(policy)
    assert torch.equal(logprobs(policy), before)
    assert [name for name, _ in policy.model.named_modules()] == names
    assert all(weight.requires_grad for weight in policy.model.parameters()) and not lora.adapted(policy.model)


def test_the_seed_draws_them_and_no_other_draw_moves() -> None:
    def drawn(seed: int, elsewhere: int) -> list[torch.Tensor]:
        policy = toy()
        torch.manual_seed(elsewhere)
        before = torch.get_rng_state()
        lora.adapt(policy, SMALL, seed)
        assert torch.equal(torch.get_rng_state(), before)
        return [weight for name, weight in policy.model.named_parameters() if "lora_A" in name]

    one = drawn(0, elsewhere=5)
    assert all(map(torch.equal, one, drawn(0, elsewhere=6))) and not all(map(torch.equal, one, drawn(1, elsewhere=5)))


@pytest.mark.parametrize("architecture", ["llama", "phi3"])
@pytest.mark.parametrize(("dtype", "size", "tolerance"), [(torch.float32, 0.05, 1e-5), (torch.bfloat16, 0.4, 0.05)])
def test_merged_it_says_the_same(architecture: str, dtype: torch.dtype, size: float, tolerance: float) -> None:
    policy = toy(architecture, dtype)
    start = logprobs(policy)
    adapted(policy, size)
    expected = logprobs(policy)
    assert (expected - start).abs().max() > 3 * tolerance
    lora.merge(policy)
    torch.testing.assert_close(logprobs(policy), expected, rtol=0, atol=tolerance)
    assert all(weight.dtype == dtype for weight in policy.model.parameters())


def test_what_is_less_than_the_last_bit_of_a_weight_is_not_lost_by_merging() -> None:
    """Over the 32 x 48 weights of a layer the sum is right; rounded to nearest hardly any of it would be left."""
    policy = adapted(toy(), 1e-5)
    for name, base, weight in lora.merged(policy.model):
        if "up_proj" in name:
            delta = dict(lora.layers(policy.model))[name].get_delta_weight(lora.ADAPTER)
            along = ((weight.float() - base.weight.float()) * delta.sign()).sum() / delta.abs().sum()
            nearest = (base.weight.float() + delta).bfloat16().float() - base.weight.float()
            assert along.item() == pytest.approx(1, abs=0.25)
            assert (nearest * delta.sign()).sum() / delta.abs().sum() < 0.3
            assert delta.abs().median() < 2.0**-16


def test_training_changes_the_adapters_only_and_ends_merged(monkeypatch: pytest.MonkeyPatch) -> None:
    policy, start = toy(), toy()
    seen: dict[str, Any] = {}
    real = lora.merge

    def merge(policy: Policy) -> None:
        weights = {name.replace(".base_layer", ""): w for name, w in policy.model.named_parameters()}
        seen["same"] = [torch.equal(weights[name], w) for name, w in start.model.named_parameters()]
        seen["adapted"] = logprobs(policy)
        real(policy)

    monkeypatch.setattr(lora, "merge", merge)
    steps: list[loop.Step] = []
    train(policy, PROBLEMS, WORLD, "bare", TRAINING, 0, steps.append)
    assert all(seen["same"]) and not lora.adapted(policy.model)
    torch.testing.assert_close(logprobs(policy), seen["adapted"], rtol=0, atol=0.05)
    pairs = list(zip(policy.model.parameters(), start.model.parameters(), strict=True))
    share = sum(int((a != b).sum()) for a, b in pairs) / sum(a.numel() for a, _ in pairs)
    last = steps[-1].metrics
    assert last["weights_changed"] == pytest.approx(share) and share > 0.1, "told before merging, and true after it"
    assert last["kl_to_start"] > 0


def test_drift_needs_no_copy_of_the_start() -> None:
    policy = adapted(toy(), 0.05)
    start = drift.snapshot(policy)
    assert start == {}
    moved = logprobs(policy)
    assert drift.kl_to_start(policy, start, [SAMPLE], 100, 10) > 0
    assert torch.equal(logprobs(policy), moved), "the adapters are on again"
    trained = [name for name, weight in policy.model.named_parameters() if weight.requires_grad]
    assert trained and all("lora_" in name for name in trained)
    with lora.without_adapters(policy.model):
        assert torch.equal(logprobs(policy), logprobs(toy()))
    fresh = toy()
    lora.adapt(fresh, SMALL, seed=0)
    assert drift.changed_share(fresh, {}) == 0 and drift.kl_to_start(fresh, {}, [SAMPLE], 100, 10) == 0


def test_clipping_is_by_the_norm_over_all_adapters() -> None:
    policy = adapted(toy(dtype=torch.float32), 0.05)
    settings = TRAINING.model_copy(update={"gradient_clip": 1e9})
    norm = gradient(policy, [SAMPLE], 1, settings).gradient_norm
    grads = [weight.grad.clone() for weight in policy.model.parameters() if weight.grad is not None]
    assert len(grads) == 2 * len(lora.layers(policy.model))
    assert norm == pytest.approx(torch.cat([grad.flatten() for grad in grads]).norm().item(), rel=1e-5)
    gradient(policy, [SAMPLE], 1, TRAINING.model_copy(update={"gradient_clip": norm / 2}))
    clipped = [weight.grad for weight in policy.model.parameters() if weight.grad is not None]
    for before, after in zip(grads, clipped, strict=True):
        torch.testing.assert_close(after, before / 2, rtol=1e-4, atol=1e-8)


def test_gradient_checkpointing_gives_the_same_gradient() -> None:
    found = []
    for checkpointing in (False, True):
        policy = toy(dtype=torch.float32)
        loop.prepare(policy, TRAINING.model_copy(update={"gradient_checkpointing": checkpointing}), seed=0)
        policy.model.train()
        gradient(policy, [SAMPLE], 1, TRAINING)
        found.append([weight.grad for weight in policy.model.parameters() if weight.grad is not None])
    assert found[0] and any(grad.any() for grad in found[0])
    for one, other in zip(*found, strict=True):
        torch.testing.assert_close(one, other, rtol=1e-5, atol=1e-7)


def test_the_sampler_and_the_trainer_agree() -> None:
    policy = adapted(toy(dtype=torch.float32), 0.05)
    written = GenerateEngine(policy, 8)([[1, 7, 8, 9]], 4, Sampling(1.0, 1.0, 6), [0])[0]
    rows = [(one.prompt_ids, one.token_ids) for one in written]
    ours = chosen_logprobs(policy, pad_right(rows, policy.pad_id, policy.device), 100)[0]
    sampler = torch.tensor([value for one in written for value in one.logprobs])
    torch.testing.assert_close(ours.detach(), sampler, rtol=0, atol=1e-4)


def test_a_checkpoint_holds_the_adapters_alone(tmp_path: Any) -> None:
    policy = adapted(toy(), 0.05)
    optimizer = optimizer_for(policy.model, TRAINING, 0)
    gradient(policy, [SAMPLE], 1, TRAINING)
    optimizer.step()
    path, _ = checkpoint.write(tmp_path, policy.model, optimizer, checkpoint.random_state(), {"step": 1})
    saved = torch.load(path / "weights.pt", weights_only=True)
    assert set(saved) == {name for name, weight in policy.model.named_parameters() if weight.requires_grad}
    other = toy()
    lora.adapt(other, SMALL, seed=3)
    again = optimizer_for(other.model, TRAINING, 0)
    checkpoint.read(path).restore(other.model, again)
    for one, two in zip(policy.model.parameters(), other.model.parameters(), strict=True):
        assert torch.equal(one, two)
    del saved[next(iter(saved))]
    torch.save(saved, path / "weights.pt")
    with pytest.raises(RuntimeError, match="Missing key"):
        checkpoint.Checkpoint(path, {"step": 1}).restore(other.model, again)


@pytest.mark.parametrize("names", [["no_such_layer"], ["lm_head"], ["embed_tokens"]])
def test_layers_that_cannot_have_one_are_refused(names: list[str]) -> None:
    with pytest.raises(UserError, match=r"training\.lora\.target_modules: .*\n  fix: "):
        lora.adapt(toy(), Lora(target_modules=names), seed=0)


def test_named_layers_get_one() -> None:
    policy = toy()
    lora.adapt(policy, Lora(target_modules=["q_proj", "v_proj"]), seed=0)
    assert {name.split(".")[-1] for name, _ in lora.layers(policy.model)} == {"q_proj", "v_proj"}
