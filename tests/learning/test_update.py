"""One policy-gradient step against plain autograd, and everything that must not change it."""

import copy

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from reinforce_lite.config import Training
from reinforce_lite.learning.batching import Sample, micro_batches, samples_with_gradient
from reinforce_lite.learning.estimators import leave_one_out
from reinforce_lite.learning.update import UpdateResult, descend, gradient
from reinforce_lite.optim.optimizer import adamw
from reinforce_lite.policy import Policy
from reinforce_lite.rollout import Completion, Sampling
from reinforce_lite.rollout.generate import GenerateEngine

SETTINGS = Training(steps=1, questions_per_step=2, group_size=4, max_new_tokens=12, learning_rate=1e-3)


def rollout(policy: Policy) -> list[list[Completion]]:
    engine = GenerateEngine(policy, rows_at_once=64)
    prompts = [[1, 9, 12, 20], [1, 7]]
    return engine(prompts, 4, Sampling(1.0, 1.0, 12), [3, 4])


def samples(policy: Policy) -> list[Sample]:
    rewards = torch.tensor([[1.0, -1.0, 1.0, -1.0], [-1.0, -1.0, 1.0, -1.0]])
    return samples_with_gradient(rollout(policy), leave_one_out(rewards).tolist())


def update(
    policy: Policy, optimizer: torch.optim.Optimizer, picked: list[Sample], normaliser: int, settings: Training
) -> UpdateResult:
    result = gradient(policy, picked, normaliser, settings)
    descend(optimizer, result)
    return result


def reference_gradients(policy: Policy, picked: list[Sample], normaliser: int) -> dict[str, torch.Tensor]:
    """REINFORCE spelled out: one row at a time, all logits, no padding, no chunks."""
    model = copy.deepcopy(policy.model)
    loss = torch.zeros(())
    for sample in picked:
        prompt, written = sample.completion.prompt_ids, sample.completion.token_ids
        logits = model(torch.tensor([prompt + written])).logits[0].float()
        logprobs = logits[len(prompt) - 1 : -1].log_softmax(-1)
        total = sum(logprobs[t, token] for t, token in enumerate(written))
        loss = loss - sample.advantage * total / normaliser
    loss.backward()
    return {name: weight.grad for name, weight in model.named_parameters()}


def test_one_step_is_plain_reinforce(policy: Policy) -> None:
    picked = samples(policy)
    expected = reference_gradients(policy, picked, normaliser=8)
    norm = torch.sqrt(sum((g**2).sum() for g in expected.values()))
    before = {name: weight.detach().clone() for name, weight in policy.model.named_parameters()}
    sgd = torch.optim.SGD(policy.model.parameters(), lr=1.0)
    result = update(policy, sgd, picked, 8, SETTINGS.model_copy(update={"gradient_clip": 0.5}))
    scale = min(1.0, 0.5 / norm.item())
    assert result.gradient_norm == pytest.approx(norm.item(), rel=1e-5)
    for name, weight in policy.model.named_parameters():
        assert torch.allclose(before[name] - weight, scale * expected[name], atol=1e-5), name


@pytest.mark.parametrize("change", [{"micro_batch_tokens": 1}, {"micro_batch_tokens": 40}, {"logprob_chunk_tokens": 3}])
def test_memory_knobs_do_not_change_the_step(policy: Policy, change: dict[str, int]) -> None:
    picked = samples(policy)
    other = Policy(copy.deepcopy(policy.model), policy.tokenizer, policy.stop_ids, policy.pad_id)
    for each, settings in ((policy, SETTINGS), (other, SETTINGS.model_copy(update=change))):
        update(each, torch.optim.SGD(each.model.parameters(), lr=1.0), picked, 8, settings)
    for a, b in zip(policy.model.parameters(), other.model.parameters(), strict=True):
        assert torch.allclose(a, b, atol=1e-6)


def test_gradient_checkpointing_does_not_change_the_step(policy: Policy) -> None:
    picked = samples(policy)
    other = Policy(copy.deepcopy(policy.model), policy.tokenizer, policy.stop_ids, policy.pad_id)
    other.model.gradient_checkpointing_enable(gradient_checkpointing_kwargs={"use_reentrant": False})
    for each in (policy, other):
        each.model.train()
        update(each, torch.optim.SGD(each.model.parameters(), lr=1.0), picked, 8, SETTINGS)
    for a, b in zip(policy.model.parameters(), other.model.parameters(), strict=True):
        assert torch.allclose(a, b, atol=1e-6)


def test_sampler_and_trainer_agree_when_the_policy_itself_is_sampled(policy: Policy) -> None:
    result = update(policy, adamw(policy.model, learning_rate=0.0), samples(policy), 8, SETTINGS)
    assert result.sampler_gap is not None and result.sampler_gap < 1e-4
    assert result.entropy is not None and result.entropy > 0


def test_a_step_that_is_not_finite_leaves_the_weights_alone(policy: Policy) -> None:
    picked = [Sample(samples(policy)[0].completion, float("nan"))]
    before = [weight.detach().clone() for weight in policy.model.parameters()]
    result = update(policy, adamw(policy.model, learning_rate=1e-2), picked, 8, SETTINGS)
    assert result.skipped and result.loss is None and result.gradient_norm is None
    for old, weight in zip(before, policy.model.parameters(), strict=True):
        assert torch.equal(old, weight)


def test_no_gradient_no_step(policy: Policy) -> None:
    before = [weight.detach().clone() for weight in policy.model.parameters()]
    result = update(policy, adamw(policy.model, learning_rate=1e-2, weight_decay=0.1), [], 8, SETTINGS)
    assert not result.skipped and result.loss is None
    assert all(torch.equal(old, new) for old, new in zip(before, policy.model.parameters(), strict=True))


def test_micro_batches_keep_every_sample_once_and_the_budget(policy: Policy) -> None:
    picked = samples(policy)
    batches = micro_batches(picked, budget_tokens=36)
    assert sorted(map(id, (s for batch in batches for s in batch))) == sorted(map(id, picked))
    for batch in batches:
        assert len(batch) == 1 or len(batch) * max(map(len, batch)) <= 36


@given(st.lists(st.tuples(st.integers(1, 4), st.integers(1, 9)), min_size=1, max_size=30), st.integers(1, 60))
def test_shared_prompts_count_once(drawn: list[tuple[int, int]], budget: int) -> None:
    picked = [Sample(Completion([5] * prompt, [7] * length, [], "stop"), 1.0) for prompt, length in drawn]
    batches = micro_batches(picked, budget, shared=True)
    assert sorted(map(id, (s for batch in batches for s in batch))) == sorted(map(id, picked))
    for batch in batches:
        prompts = {len(s.completion.prompt_ids) for s in batch}  # here a prompt is told by its length
        tokens = len(batch) * max(len(s.completion.token_ids) for s in batch) + len(prompts) * max(prompts)
        assert len(batch) == 1 or tokens <= budget
    # A group of ten behind one prompt of 4 tokens: 4 + 10 x 2 tokens, where each row by itself would make 60.
    group = [Sample(Completion([5] * 4, [7, 2], [], "stop"), 1.0) for _ in range(10)]
    assert len(micro_batches(group, 24, shared=True)) == 1 and len(micro_batches(group, 24)) == 3
