"""How far the policy has moved from its start: share of changed weights, and KL.

The start weights are kept on the CPU and swapped in for the measurement, so that the device holds one network only.
A policy with adapters is the start when they are switched off; its changed weights are those that merging will change.
"""

from collections.abc import Iterator
from contextlib import contextmanager

import torch

from reinforce_lite.learning.batching import Sample, token_by_token
from reinforce_lite.optim import lora
from reinforce_lite.policy import Policy
from reinforce_lite.policy.logprobs import completion_logprobs

Weights = dict[str, torch.Tensor]


def snapshot(policy: Policy) -> Weights:
    """A copy of all weights on the CPU; empty for a policy with adapters."""
    if lora.adapted(policy.model):
        return {}
    return {name: weight.detach().to("cpu", copy=True) for name, weight in policy.model.named_parameters()}


def changed_share(policy: Policy, start: Weights) -> float:
    """Fraction of single weights whose stored value differs from the start; a rounded-away update changes nothing."""
    if lora.adapted(policy.model):
        return lora.changed_share(policy.model)
    changed = total = 0
    for name, weight in policy.model.named_parameters():
        changed += int((weight.detach().cpu() != start[name]).sum())
        total += weight.numel()
    return changed / total


def kl_to_start(policy: Policy, start: Weights, samples: list[Sample], budget_tokens: int, chunk_tokens: int) -> float:
    """Sampled KL(policy || start) in nats a token, over completions that the policy wrote.

    Mean of exp(d) - 1 - d with d = log p_start - log p: unbiased, never negative, of low variance (Schulman 2020, k3).
    """
    now = torch.cat(logprobs(policy, samples, budget_tokens, chunk_tokens))
    with as_at_start(policy, start):
        then = torch.cat(logprobs(policy, samples, budget_tokens, chunk_tokens))
    d = then - now
    return float((d.exp() - 1 - d).mean())


@contextmanager
def as_at_start(policy: Policy, start: Weights) -> Iterator[None]:
    """Inside the block the policy computes as the start policy did; afterwards as before, bit for bit."""
    if lora.adapted(policy.model):
        with lora.without_adapters(policy.model):
            yield
        return
    mine = snapshot(policy)
    try:
        _copy(policy, start)
        yield
    finally:
        _copy(policy, mine)


@torch.no_grad()
def _copy(policy: Policy, source: Weights) -> None:
    for name, weight in policy.model.named_parameters():
        weight.copy_(source[name])


@torch.no_grad()
def logprobs(policy: Policy, samples: list[Sample], budget_tokens: int, chunk_tokens: int) -> list[torch.Tensor]:
    """Log-probabilities of the tokens of each completion, in the order of the samples, on the CPU."""
    return token_by_token(
        policy, samples, budget_tokens, lambda rows: completion_logprobs(policy, rows, chunk_tokens)[0]
    )
