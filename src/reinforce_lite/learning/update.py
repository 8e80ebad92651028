"""One policy-gradient step: the gradient, and the step along it."""

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from typing import NamedTuple

import torch

from reinforce_lite.errors import UserError
from reinforce_lite.learning import drift, parallel
from reinforce_lite.learning.batching import Sample, micro_batches
from reinforce_lite.learning.objectives import kl_penalty, outside, ppo_clip, reinforce, truncated_ratio
from reinforce_lite.policy import Policy
from reinforce_lite.policy.load import deterministic_algorithms
from reinforce_lite.policy.logprobs import completion_logprobs, sent, shares_prompts
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
        ratio_mean: mean over completion tokens of p of the trainer over p of the sampler; None without an importance
            weight.
        ratio_max: the largest of these ratios, before it is cut.
        engine_gap: as sampler_gap, but at the temperature that was sampled at; `check_engine` bounds it.
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


class Sums(NamedTuple):
    """Over the completion tokens of some rows, on the device; `compared` is the gap at the sampler's temperature."""

    loss: torch.Tensor
    entropy: torch.Tensor
    gap: torch.Tensor
    compared: torch.Tensor
    ratio: torch.Tensor
    beyond: torch.Tensor
    tokens: torch.Tensor


def gradient(policy: Policy, samples: list[Sample], normaliser: int, settings: Training) -> UpdateResult:
    """The clipped gradient of -(1 / normaliser) x sum over completions of advantage x sum over tokens of log p.

    REINFORCE (Williams 1992) with the sum over a completion's tokens, which is the log-probability of the whole
    completion; a mean over tokens would favour short right and long wrong answers. With `ratio_clip` and
    `kl_coefficient` it is the gradient of PPO's surrogate, or with a KL to the start policy beside it; with an
    importance cap each token has its truncated importance weight. Of several processes each takes a share of the
    samples, long and short ones alike, and all have the same gradient in the end.
    """
    if not samples:
        return UpdateResult(None, None, None, None, skipped=False)
    policy.model.zero_grad(set_to_none=True)
    # The device is waited for once, when the sums are read.
    sums = torch.zeros(len(Sums._fields), dtype=torch.float64, device=policy.device)
    largest = torch.zeros((), device=policy.device)
    mine = parallel.share_evenly(samples)
    with deterministic_algorithms(settings.deterministic_update):
        for batch in micro_batches(mine, settings.micro_batch_tokens, shared=shares_prompts(policy)):
            told, ratio = _backward(policy, batch, normaliser, settings)
            sums += torch.stack([value.double() for value in told])
            largest = torch.maximum(largest, ratio)
    added = dict(zip(Sums._fields, parallel.add_up(sums.tolist()), strict=True))
    loss, tokens = added["loss"], added["tokens"]
    parallel.add_up_gradients(policy.model)
    norm = float(torch.nn.utils.clip_grad_norm_(policy.model.parameters(), settings.gradient_clip))
    skipped = not (math.isfinite(norm) and math.isfinite(loss))
    clipped = added["beyond"] / tokens if settings.ratio_clip else None
    weighted = settings.importance_cap_on(policy.device.type) is not None
    return UpdateResult(
        _finite(loss),
        _finite(norm),
        _finite(added["entropy"] / tokens),
        _finite(added["gap"] / tokens),
        skipped,
        clipped,
        _finite(added["ratio"] / tokens) if weighted else None,
        _finite(max(parallel.gather([largest.item()]))) if weighted else None,
        _finite(added["compared"] / tokens),
    )


def _backward(policy: Policy, batch: list[Sample], normaliser: int, settings: Training) -> tuple[Sums, torch.Tensor]:
    """Add the gradient of one micro-batch.

    Returns:
        (sums over its tokens, the largest importance ratio; 0 without an importance weight).
    """
    rows = [(s.completion.prompt_ids, s.completion.token_ids) for s in batch]
    logprobs_N, entropies_N = completion_logprobs(policy, rows, settings.logprob_chunk_tokens)
    sampler_N = _per_token((s.completion.logprobs for s in batch), policy.device)
    weights_N = _per_token(([s.advantage / normaliser] * len(s.completion.token_ids) for s in batch), policy.device)
    now_N, zero = logprobs_N.detach(), torch.zeros((), device=policy.device)
    beyond, ratios_N = zero, zero[None]
    if settings.ratio_clip:
        old_N = _per_token((s.old or [] for s in batch), policy.device)
        loss = ppo_clip(logprobs_N, weights_N, old_N, settings.ratio_clip)
        beyond = outside(now_N, old_N, settings.ratio_clip)
    else:
        if (cap := settings.importance_cap_on(policy.device.type)) is not None:
            cut_N, ratios_N = truncated_ratio(now_N, sampler_N, cap)
            weights_N = weights_N * cut_N
        loss = reinforce(logprobs_N, weights_N)
    if settings.kl_coefficient:
        penalty = kl_penalty(logprobs_N, _per_token((s.reference or [] for s in batch), policy.device))
        loss = loss + settings.kl_coefficient / normaliser * penalty
    torch.autograd.backward(loss)
    gap = compared = (now_N - sampler_N).abs().sum()
    if settings.temperature != 1:
        with torch.no_grad():
            then_N, _ = completion_logprobs(policy, rows, settings.logprob_chunk_tokens, settings.temperature)
        compared = (then_N - sampler_N).abs().sum()
    tokens = torch.full_like(zero, len(now_N))
    return Sums(loss.detach(), entropies_N.sum(), gap, compared, ratios_N.sum(), beyond, tokens), ratios_N.max()


def check_engine(policy: Policy, result: UpdateResult, settings: Training) -> None:
    """Refuse to learn from completions that another policy has written.

    An engine that keeps old weights, or has lost them, goes on writing, and learning from that goes unnoticed. Below
    top_p = 1 the sampler's log-probabilities are those of a nucleus that holds at least top_p, so they may be higher
    by -log(top_p).

    Args:
        policy: that learns.
        result: of the first pass over the completions; in later ones the policy is no longer the one that wrote them.
        settings: of the training.

    Raises:
        UserError: the gap is beyond the limit for the precision of the weights. The policy has no gradient then.
    """
    gap = result.engine_gap
    precision = "float32" if policy.model.dtype == torch.float32 else "bfloat16"
    limit = getattr(settings.sampler_gap_limit, precision)
    if settings.estimator == "supervised" or limit is None or gap is None or gap <= limit - math.log(settings.top_p):
        return
    policy.model.zero_grad(set_to_none=True)
    raise UserError(
        f"the engine does not sample from the policy, so no step was taken: the log-probabilities that it gave with "
        f"the tokens of its completions and those of the policy's own forward pass (temperature "
        f"{settings.temperature:g}) differ by {gap:.3g} nats a token on average, and "
        f"training.sampler_gap_limit.{precision} is {limit:g}. The engine's weights are old or broken",
        "the same command goes on from the last checkpoint; with training.engine: generate there is no second copy of "
        "the weights. Raise the limit only if you know why the two differ",
    )


def anchored(policy: Policy, start: drift.Weights, samples: list[Sample], settings: Training) -> list[Sample]:
    """The samples with what PPO and a KL in the loss compare with; REINFORCE needs neither.

    PPO's old policy is the one that has sampled, so its log-probabilities are the sampler's, where these are of the
    same distribution. At another temperature or below top_p = 1, and for a KL, they take a forward pass; every process
    computes it for all samples.
    """
    sizes = settings.micro_batch_tokens, settings.logprob_chunk_tokens
    if settings.ratio_clip and settings.temperature == 1 and settings.top_p == 1:
        samples = [replace(sample, old=sample.completion.logprobs) for sample in samples]
    elif settings.ratio_clip:
        old = drift.logprobs(policy, samples, *sizes)
        samples = [replace(sample, old=piece.tolist()) for sample, piece in zip(samples, old, strict=True)]
    if settings.kl_coefficient:
        with drift.as_at_start(policy, start):
            reference = drift.logprobs(policy, samples, *sizes)
        samples = [replace(sample, reference=piece.tolist()) for sample, piece in zip(samples, reference, strict=True)]
    return samples


def _per_token(rows: Iterable[Sequence[float]], device: torch.device) -> torch.Tensor:
    """A value for each token, [N] in float32, row after row."""
    return sent(torch.tensor([value for row in rows for value in row]), device)


def descend(optimizer: torch.optim.Optimizer, result: UpdateResult) -> None:
    """Take the step, if there is a gradient and it is finite. Nothing else changes the weights."""
    if result.loss is not None and not result.skipped:
        optimizer.step()
    optimizer.zero_grad(set_to_none=True)


def _finite(value: float) -> float | None:
    """JSON has no NaN and no infinity."""
    return value if math.isfinite(value) else None
