"""One policy-gradient step: the gradient, and the step along it."""

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Generic, NamedTuple, TypeVar

import torch

from reinforce_lite.config import Training
from reinforce_lite.learning import parallel
from reinforce_lite.learning.batching import Sample, micro_batches, rows_of
from reinforce_lite.learning.objectives import kl_penalty, outside, ppo_clip, reinforce, truncated_ratio
from reinforce_lite.policy import Policy
from reinforce_lite.policy.load import deterministic_algorithms
from reinforce_lite.policy.logprobs import completion_logprobs, sent, shares_prompts

Value = TypeVar("Value")


@dataclass(frozen=True)
class UpdateResult:
    """What one step did; None where no completion carried a gradient, or where the value was not finite.

    Attributes:
        loss: the value that was minimised.
        gradient_norm: global norm before clipping.
        entropy: mean over completion tokens, in nats.
        sampler_gap: mean |log p of the sampler - log p of the trainer| over completion tokens, in nats; for worked
            solutions it is their negative log-likelihood.
        skipped: True if loss or gradient was not finite and the weights were left alone.
        ratio_clipped: share of completion tokens whose ratio is beyond PPO's clip; None without one.
        ratio_mean: mean over completion tokens of p of the trainer over p of the sampler; None without an importance
            weight.
        ratio_max: the largest of these ratios, before it is cut.
        engine_gap: as sampler_gap, but at the temperature of the sampler; `check_engine` bounds it.
    """

    loss: float | None
    gradient_norm: float | None
    entropy: float | None
    sampler_gap: float | None
    skipped: bool
    ratio_clipped: float | None = None
    ratio_mean: float | None = None
    ratio_max: float | None = None
    engine_gap: float | None = None


class Sums(NamedTuple, Generic[Value]):
    """Sums over completion tokens; see `UpdateResult`."""

    loss: Value
    entropy: Value
    sampler_gap: Value
    engine_gap: Value
    ratio: Value
    clipped: Value


def gradient(policy: Policy, samples: list[Sample], normaliser: int, settings: Training) -> UpdateResult:
    """The clipped gradient of -(1 / normaliser) x sum over completions of advantage x sum over tokens of log p.

    REINFORCE (Williams 1992) with the sum over a completion's tokens, which is the log-probability of the whole
    completion; a mean over tokens would favour short right and long wrong answers. `ratio_clip` makes it PPO's
    surrogate, `kl_coefficient` adds a KL to the start policy, `entropy_coefficient` a bonus for entropy (Williams and
    Peng 1991), both summed over tokens as log p is, and an importance cap weighs each token. Each of several processes
    takes a share of the samples, long and short ones alike, and all have the same gradient in the end.
    """
    if not samples:
        return UpdateResult(None, None, None, None, skipped=False)
    policy.model.zero_grad(set_to_none=True)
    sums = torch.zeros(len(Sums._fields), dtype=torch.float64, device=policy.device)
    largest = torch.zeros((), device=policy.device)
    mine = parallel.share_evenly(samples)
    with deterministic_algorithms(settings.deterministic_update):
        for batch in micro_batches(mine, settings.micro_batch_tokens, shared=shares_prompts(policy)):
            batch_sums, ratio = _backward(policy, batch, normaliser, settings)
            sums += torch.stack([value.double() for value in batch_sums])
            largest = torch.maximum(largest, ratio)
    total = Sums[float](*parallel.add_up(sums.tolist()))  # read once: this waits for the device
    parallel.add_up_gradients(policy.model)
    norm = float(torch.nn.utils.clip_grad_norm_(policy.model.parameters(), settings.gradient_clip))
    tokens = sum(len(sample.completion.token_ids) for sample in samples)
    mean = Sums[float | None](*(_finite(value / tokens) for value in total))
    weighted = settings.importance_cap_on(policy.device.type) is not None
    return UpdateResult(
        loss=_finite(total.loss),
        gradient_norm=_finite(norm),
        entropy=mean.entropy,
        sampler_gap=mean.sampler_gap,
        skipped=not (math.isfinite(norm) and math.isfinite(total.loss)),
        ratio_clipped=mean.clipped if settings.ratio_clip else None,
        ratio_mean=mean.ratio if weighted else None,
        ratio_max=_finite(max(parallel.gather([largest.item()]))) if weighted else None,
        engine_gap=mean.engine_gap,
    )


def descend(optimizer: torch.optim.Optimizer, result: UpdateResult) -> None:
    """Take the step, if there is a gradient and it is finite. Nothing else changes the weights."""
    if result.loss is not None and not result.skipped:
        optimizer.step()
    optimizer.zero_grad(set_to_none=True)


def _backward(
    policy: Policy, batch: list[Sample], normaliser: int, settings: Training
) -> tuple[Sums[torch.Tensor], torch.Tensor]:
    """Add the gradient of one micro-batch; (sums over its tokens, largest importance ratio), all on the device."""
    rows = rows_of(batch)
    bonus = settings.entropy_coefficient
    logprobs_N, entropies_N = completion_logprobs(policy, rows, settings.logprob_chunk_tokens, entropy_learns=bonus > 0)
    sampler_N = per_token((s.completion.logprobs for s in batch), policy.device)
    loss, ratios_N, clipped = _loss(logprobs_N, sampler_N, batch, normaliser, settings)
    if bonus:
        loss = loss - bonus / normaliser * entropies_N.sum()
    torch.autograd.backward(loss)
    sampler_gap = engine_gap = (logprobs_N.detach() - sampler_N).abs().sum()
    if settings.temperature != 1:
        with torch.no_grad():
            then_N, _ = completion_logprobs(policy, rows, settings.logprob_chunk_tokens, settings.temperature)
        engine_gap = (then_N - sampler_N).abs().sum()
    sums = Sums(loss.detach(), entropies_N.detach().sum(), sampler_gap, engine_gap, ratios_N.sum(), clipped)
    return sums, ratios_N.max()


def _loss(
    logprobs_N: torch.Tensor, sampler_N: torch.Tensor, batch: list[Sample], normaliser: int, settings: Training
) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    """(loss of a micro-batch, importance ratio of each token, tokens beyond PPO's clip); 0 where there is neither."""
    device = logprobs_N.device
    weights = (s.weights or [s.advantage] * len(s.completion.token_ids) for s in batch)
    weights_N = per_token(([one / normaliser for one in row] for row in weights), device)
    clipped = torch.zeros((), device=device)
    ratios_N = clipped[None]
    if settings.ratio_clip:
        old_N = per_token((s.old or [] for s in batch), device)
        loss = ppo_clip(logprobs_N, weights_N, old_N, settings.ratio_clip)
        clipped = outside(logprobs_N, old_N, settings.ratio_clip)
    else:
        if (cap := settings.importance_cap_on(device.type)) is not None:
            cut_N, ratios_N = truncated_ratio(logprobs_N, sampler_N, cap)
            weights_N = weights_N * cut_N
        loss = reinforce(logprobs_N, weights_N)
    if settings.kl_coefficient:
        penalty = kl_penalty(logprobs_N, per_token((s.reference or [] for s in batch), device))
        loss = loss + settings.kl_coefficient / normaliser * penalty
    return loss, ratios_N, clipped


def per_token(rows: Iterable[Sequence[float]], device: torch.device) -> torch.Tensor:
    """A value for each token, [N] in float32, row after row."""
    return sent(torch.tensor([value for row in rows for value in row]), device)


def _finite(value: float) -> float | None:
    """JSON has no NaN and no infinity."""
    return value if math.isfinite(value) else None
