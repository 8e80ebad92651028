"""PPO's surrogate and the KL in the loss, against autograd by hand and against REINFORCE."""

from math import exp

import pytest
import torch
from test_update import SETTINGS, samples

from reinforce_lite.config import Training
from reinforce_lite.learning import drift
from reinforce_lite.learning.batching import Sample
from reinforce_lite.learning.objectives import anchored, kl_penalty, outside, ppo_clip, reinforce
from reinforce_lite.learning.update import descend, gradient
from reinforce_lite.policy import Policy

PPO = SETTINGS.model_copy(update={"ratio_clip": 0.2, "passes": 3})
WITH_KL = SETTINGS.model_copy(update={"kl_coefficient": 0.5})
BONUS = SETTINGS.model_copy(update={"entropy_coefficient": 0.5, "gradient_clip": 1e9})


def gradient_of(loss: torch.Tensor, at: torch.Tensor) -> list[float]:
    return torch.autograd.grad(loss, at)[0].tolist()


@pytest.mark.parametrize(
    ("ratio", "weight", "value", "slope"),
    [
        (1.0, 1.0, -1.0, -1.0),  # the policy's own: REINFORCE
        (1.1, 1.0, -1.1, -1.1),
        (1.5, 1.0, -1.2, 0.0),  # a gain beyond the clip teaches nothing
        (0.5, 1.0, -0.5, -0.5),  # what became less likely than it was may come back
        (0.5, -1.0, 0.8, 0.0),
        (1.5, -1.0, 1.5, 1.5),
    ],
)
def test_the_clipped_surrogate(ratio: float, weight: float, value: float, slope: float) -> None:
    logprob = torch.tensor([ratio]).log().requires_grad_()
    loss = ppo_clip(logprob, torch.tensor([weight]), torch.tensor([0.0]), 0.2)
    assert loss.item() == pytest.approx(value) and gradient_of(loss, logprob) == pytest.approx([slope])


def test_the_penalty_is_zero_at_the_reference_and_rises_on_both_sides() -> None:
    logprobs = torch.tensor([-1.0, -1.0, -1.0], requires_grad=True)
    loss = kl_penalty(logprobs, torch.tensor([-1.0, 0.0, -2.0]))
    assert loss.item() == pytest.approx((exp(1) - 2) + exp(-1))
    assert gradient_of(loss, logprobs) == pytest.approx([0.0, 1 - exp(1), 1 - exp(-1)])


def test_tokens_outside_of_the_clip_are_counted() -> None:
    assert outside(torch.tensor([0.0, 0.1, 0.3, -0.3]), torch.zeros(4), 0.2) == 2


def start_and_anchored(policy: Policy, settings: Training) -> list:  # type: ignore[type-arg]
    return anchored(policy, drift.snapshot(policy), samples(policy), settings)


def test_reinforce_is_anchored_to_nothing(policy: Policy) -> None:
    picked = samples(policy)
    assert anchored(policy, {}, picked, SETTINGS) is picked


def test_the_first_pass_of_ppo_is_reinforce(policy: Policy) -> None:
    grads = []
    for settings in (SETTINGS, PPO):
        result = gradient(policy, start_and_anchored(policy, settings), 8, settings)
        grads.append([weight.grad.clone() for weight in policy.model.parameters()])
        assert result.ratio_clipped == (None if settings is SETTINGS else 0.0)
    assert all(torch.allclose(a, b, atol=1e-6) for a, b in zip(*grads, strict=True))


def test_later_passes_are_clipped(policy: Policy) -> None:
    picked = start_and_anchored(policy, PPO)
    sgd = torch.optim.SGD(policy.model.parameters(), lr=5.0)
    shares = []
    for _ in range(PPO.passes):
        result = gradient(policy, picked, 8, PPO)
        shares.append(result.ratio_clipped)
        descend(sgd, result)
    assert shares[0] == 0.0 and shares[1] is not None and shares[1] > 0.1


def test_a_kl_in_the_loss_pulls_back_to_the_start(policy: Policy) -> None:
    start = drift.snapshot(policy)
    with torch.no_grad():
        for weight in policy.model.parameters():
            weight.add_(0.02 * torch.randn(weight.shape, generator=torch.Generator().manual_seed(3)))
    picked = samples(policy)
    sizes = WITH_KL.micro_batch_tokens, WITH_KL.logprob_chunk_tokens
    before = drift.kl_to_start(policy, start, picked, *sizes)
    only_kl = [type(s)(s.completion, 0.0) for s in picked]
    sgd = torch.optim.SGD(policy.model.parameters(), lr=0.05)
    for _ in range(5):
        descend(sgd, gradient(policy, anchored(policy, start, only_kl, WITH_KL), 8, WITH_KL))
    assert drift.kl_to_start(policy, start, picked, *sizes) < 0.2 * before


def entropy_of(policy: Policy) -> torch.Tensor:
    """The summed entropy of the next-token distributions, with its gradient, from the plain logits of one row each."""
    total = torch.zeros(())
    for sample in samples(policy):
        prompt, written = sample.completion.prompt_ids, sample.completion.token_ids
        logits = policy.model(input_ids=torch.tensor([prompt + written]), use_cache=False).logits[0]
        before = logits[len(prompt) - 1 : -1].float()
        total = total + torch.distributions.Categorical(logits=before).entropy().sum()
    return total


@pytest.mark.parametrize("checkpointing", [False, True])
def test_the_bonus_has_the_gradient_of_the_entropy(policy: Policy, checkpointing: bool) -> None:
    if checkpointing:
        policy.model.gradient_checkpointing_enable(gradient_checkpointing_kwargs={"use_reentrant": False})
    policy.model.train()
    weights = list(policy.model.parameters())
    expected = torch.autograd.grad(-0.5 / 8 * entropy_of(policy), weights)
    no_advantage = [Sample(one.completion, 0.0) for one in samples(policy)]
    result = gradient(policy, no_advantage, 8, BONUS)
    assert result.loss == pytest.approx(-0.5 / 8 * entropy_of(policy).item(), rel=1e-5)
    for weight, slope in zip(weights, expected, strict=True):
        assert torch.allclose(weight.grad, slope, atol=1e-6)


def test_a_bonus_keeps_the_policy_uncertain(policy: Policy) -> None:
    no_advantage, sgd = [Sample(one.completion, 0.0) for one in samples(policy)], None
    with torch.no_grad():
        policy.model.get_output_embeddings().weight.mul_(5.0)
    sgd = torch.optim.SGD(policy.model.parameters(), lr=0.5)
    before = gradient(policy, no_advantage, 8, BONUS).entropy
    for _ in range(5):
        descend(sgd, gradient(policy, no_advantage, 8, BONUS))
    after = gradient(policy, no_advantage, 8, BONUS).entropy
    assert before is not None and after is not None and after > before + 0.01


def test_reinforce_is_the_weighted_sum() -> None:
    assert reinforce(torch.tensor([-1.0, -3.0]), torch.tensor([2.0, 0.5])).item() == 3.5
