"""One policy-gradient step: the gradient, and the step along it."""

import math
from dataclasses import dataclass

import torch

from reinforce_lite.learning import parallel
from reinforce_lite.learning.batching import Sample, micro_batches
from reinforce_lite.policy import Policy
from reinforce_lite.policy.logprobs import chosen_logprobs, pad_right
from reinforce_lite.settings import Training


@dataclass(frozen=True)
class UpdateResult:
    """What one step did; None where no completion carried a gradient, or where the value was not finite.

    Attributes:
        loss: the value that was minimised.
        gradient_norm: global norm before clipping.
        entropy: mean over completion tokens, in nats.
        sampler_gap: mean |log p of the sampler - log p of the trainer| over completion tokens, in nats.
        skipped: True if loss or gradient was not finite and the weights were left alone.
    """

    loss: float | None
    gradient_norm: float | None
    entropy: float | None
    sampler_gap: float | None
    skipped: bool


def gradient(policy: Policy, samples: list[Sample], normaliser: int, settings: Training) -> UpdateResult:
    """The clipped gradient of -(1 / normaliser) x sum over completions of advantage x sum over tokens of log p.

    REINFORCE (Williams 1992) with the sum over a completion's tokens, which is the log-probability of the whole
    completion; a mean over tokens would favour short right and long wrong answers. Of several processes each takes a
    share of the samples, long and short ones alike, and all have the same gradient in the end.
    """
    if not samples:
        return UpdateResult(None, None, None, None, skipped=False)
    policy.model.zero_grad(set_to_none=True)
    loss, entropy, gap, tokens = 0.0, 0.0, 0.0, 0.0
    mine = parallel.share_evenly(samples)
    for batch in micro_batches(mine, settings.micro_batch_tokens):
        rows = [(s.completion.prompt_ids, s.completion.token_ids) for s in batch]
        padded = pad_right(rows, policy.pad_id, policy.device)
        logprobs_N, entropies_N = chosen_logprobs(policy, padded, settings.logprob_chunk_tokens)
        weights_N = torch.tensor(
            [s.advantage / normaliser for s in batch for _ in s.completion.token_ids], device=policy.device
        )
        sampler_N = torch.tensor([x for s in batch for x in s.completion.logprobs], device=policy.device)
        batch_loss = -(weights_N * logprobs_N).sum()
        torch.autograd.backward(batch_loss)
        loss += batch_loss.item()
        entropy += entropies_N.sum().item()
        gap += (logprobs_N.detach() - sampler_N).abs().sum().item()
        tokens += len(weights_N)
    parallel.add_up_gradients(policy.model)
    loss, entropy, gap, tokens = parallel.add_up([loss, entropy, gap, tokens])
    norm = float(torch.nn.utils.clip_grad_norm_(policy.model.parameters(), settings.gradient_clip))
    skipped = not (math.isfinite(norm) and math.isfinite(loss))
    return UpdateResult(_finite(loss), _finite(norm), _finite(entropy / tokens), _finite(gap / tokens), skipped=skipped)


def descend(optimizer: torch.optim.Optimizer, result: UpdateResult) -> None:
    """Take the step, if there is a gradient and it is finite. Nothing else changes the weights."""
    if result.loss is not None and not result.skipped:
        optimizer.step()
    optimizer.zero_grad(set_to_none=True)


def _finite(value: float) -> float | None:
    """JSON has no NaN and no infinity."""
    return value if math.isfinite(value) else None
