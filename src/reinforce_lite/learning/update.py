"""One policy-gradient step: the gradient, and the step along it."""

import math
from dataclasses import dataclass, replace

import torch

from reinforce_lite.learning import drift, parallel
from reinforce_lite.learning.batching import Sample, micro_batches
from reinforce_lite.learning.objectives import kl_penalty, outside, ppo_clip, reinforce
from reinforce_lite.policy import Policy
from reinforce_lite.policy.logprobs import completion_logprobs, shares_prompts
from reinforce_lite.settings import Training


@dataclass(frozen=True)
class UpdateResult:
    """What one step did; None where no completion carried a gradient, or where the value was not finite.

    Attributes:
        loss: the value that was minimised.
        gradient_norm: global norm before clipping.
        entropy: mean over completion tokens, in nats.
        sampler_gap: mean |log p of the sampler - log p of the trainer| over completion tokens, in nats; of worked
            solutions it is their negative log-likelihood.
        skipped: True if loss or gradient was not finite and the weights were left alone.
        ratio_clipped: share of completion tokens whose ratio is beyond PPO's clip; None without one.
    """

    loss: float | None
    gradient_norm: float | None
    entropy: float | None
    sampler_gap: float | None
    skipped: bool
    ratio_clipped: float | None = None


def gradient(policy: Policy, samples: list[Sample], normaliser: int, settings: Training) -> UpdateResult:
    """The clipped gradient of -(1 / normaliser) x sum over completions of advantage x sum over tokens of log p.

    REINFORCE (Williams 1992) with the sum over a completion's tokens, which is the log-probability of the whole
    completion; a mean over tokens would favour short right and long wrong answers. With `ratio_clip` and
    `kl_coefficient` it is the gradient of PPO's surrogate, or with a KL to the start policy beside it. Of several
    processes each takes a share of the samples, long and short ones alike, and all have the same gradient in the end.
    """
    if not samples:
        return UpdateResult(None, None, None, None, skipped=False)
    policy.model.zero_grad(set_to_none=True)
    loss, entropy, gap, beyond, tokens = 0.0, 0.0, 0.0, 0.0, 0.0
    mine = parallel.share_evenly(samples)
    for batch in micro_batches(mine, settings.micro_batch_tokens, shared=shares_prompts(policy)):
        rows = [(s.completion.prompt_ids, s.completion.token_ids) for s in batch]
        logprobs_N, entropies_N = completion_logprobs(policy, rows, settings.logprob_chunk_tokens)
        sampler_N = torch.tensor([x for s in batch for x in s.completion.logprobs], device=policy.device)
        batch_loss = _loss(batch, logprobs_N, normaliser, settings)
        torch.autograd.backward(batch_loss)
        loss += batch_loss.item()
        entropy += entropies_N.sum().item()
        gap += (logprobs_N.detach() - sampler_N).abs().sum().item()
        if settings.ratio_clip:
            beyond += outside(logprobs_N, _per_token(batch, "old", logprobs_N), settings.ratio_clip)
        tokens += len(logprobs_N)
    parallel.add_up_gradients(policy.model)
    loss, entropy, gap, beyond, tokens = parallel.add_up([loss, entropy, gap, beyond, tokens])
    norm = float(torch.nn.utils.clip_grad_norm_(policy.model.parameters(), settings.gradient_clip))
    skipped = not (math.isfinite(norm) and math.isfinite(loss))
    clipped = beyond / tokens if settings.ratio_clip else None
    means = _finite(entropy / tokens), _finite(gap / tokens)
    return UpdateResult(_finite(loss), _finite(norm), *means, skipped, clipped)


def anchored(policy: Policy, start: drift.Weights, samples: list[Sample], settings: Training) -> list[Sample]:
    """The samples with what PPO and a KL in the loss compare with: a forward pass each. REINFORCE needs neither.

    Every process computes it for all samples.
    """
    sizes = settings.micro_batch_tokens, settings.logprob_chunk_tokens
    if settings.ratio_clip:
        old = drift.logprobs(policy, samples, *sizes)
        samples = [replace(sample, old=piece.tolist()) for sample, piece in zip(samples, old, strict=True)]
    if settings.kl_coefficient:
        with drift.as_at_start(policy, start):
            reference = drift.logprobs(policy, samples, *sizes)
        samples = [replace(sample, reference=piece.tolist()) for sample, piece in zip(samples, reference, strict=True)]
    return samples


def _loss(batch: list[Sample], logprobs_N: torch.Tensor, normaliser: int, settings: Training) -> torch.Tensor:
    """The objective of one micro-batch."""
    weights = [s.advantage / normaliser for s in batch for _ in s.completion.token_ids]
    weights_N = torch.tensor(weights, device=logprobs_N.device)
    if settings.ratio_clip:
        loss = ppo_clip(logprobs_N, weights_N, _per_token(batch, "old", logprobs_N), settings.ratio_clip)
    else:
        loss = reinforce(logprobs_N, weights_N)
    if settings.kl_coefficient:
        penalty = kl_penalty(logprobs_N, _per_token(batch, "reference", logprobs_N))
        loss = loss + settings.kl_coefficient / normaliser * penalty
    return loss


def _per_token(batch: list[Sample], name: str, like_N: torch.Tensor) -> torch.Tensor:
    """An attribute of the samples with a value for each token, row after row."""
    return torch.tensor([x for sample in batch for x in getattr(sample, name)], device=like_N.device)


def descend(optimizer: torch.optim.Optimizer, result: UpdateResult) -> None:
    """Take the step, if there is a gradient and it is finite. Nothing else changes the weights."""
    if result.loss is not None and not result.skipped:
        optimizer.step()
    optimizer.zero_grad(set_to_none=True)


def _finite(value: float) -> float | None:
    """JSON has no NaN and no infinity."""
    return value if math.isfinite(value) else None
