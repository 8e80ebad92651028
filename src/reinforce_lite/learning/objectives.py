"""What a step minimises, token by token: REINFORCE, and the machinery that the article does without.

Axes: N completion tokens of a micro-batch. `weights_N` is a completion's advantage over the normaliser, the same for
each of its tokens.
"""

from dataclasses import replace

import torch

from reinforce_lite.config import Training
from reinforce_lite.learning import drift
from reinforce_lite.learning.batching import Sample
from reinforce_lite.policy import Policy


def reinforce(logprobs_N: torch.Tensor, weights_N: torch.Tensor) -> torch.Tensor:
    """-(sum of weight x log p): its gradient is the policy gradient (Williams 1992).

    >>> reinforce(torch.tensor([-1.0, -2.0]), torch.tensor([0.5, 0.25])).item()
    1.0
    """
    return -(weights_N * logprobs_N).sum()


def truncated_ratio(logprobs_N: torch.Tensor, sampler_N: torch.Tensor, cap: float) -> tuple[torch.Tensor, torch.Tensor]:
    """Truncated importance sampling (Ionides 2008), for an engine whose log-probabilities are not the trainer's.

    Returns:
        (weights_N, ratios_N): p of the trainer over p of the engine, token by token, cut at `cap` and as it is; both
        without a gradient, so that the gradient of `reinforce` with the weights is that of weight x log p.

    >>> weights, ratios = truncated_ratio(torch.tensor([0.5, 0.3]).log(), torch.tensor([0.25, 0.6]).log(), cap=1.5)
    >>> [round(w, 3) for w in weights.tolist()], [round(r, 3) for r in ratios.tolist()]  # 0.5 / 0.25, 0.3 / 0.6
    ([1.5, 0.5], [2.0, 0.5])
    """
    ratios_N = (logprobs_N.detach() - sampler_N).exp()
    return ratios_N.clamp(max=cap), ratios_N


def ppo_clip(logprobs_N: torch.Tensor, weights_N: torch.Tensor, old_N: torch.Tensor, clip: float) -> torch.Tensor:
    """The clipped surrogate of PPO (Schulman et al. 2017, eq. 7): a token gains nothing beyond a ratio of 1 +- clip.

    Where the ratio is 1 (the first pass) its gradient is that of `reinforce`.

    >>> ppo_clip(torch.tensor([0.0]), torch.tensor([1.0]), torch.tensor([-0.5]), clip=0.2).item()  # e^0.5 is cut to 1.2
    -1.2000000476837158
    """
    ratio_N = (logprobs_N - old_N).exp()
    return -torch.minimum(weights_N * ratio_N, weights_N * ratio_N.clamp(1 - clip, 1 + clip)).sum()


def kl_penalty(logprobs_N: torch.Tensor, reference_N: torch.Tensor) -> torch.Tensor:
    """Sum of exp(d) - 1 - d with d = log p_reference - log p, as GRPO adds it (Shao et al. 2024, eq. 4), in nats.

    >>> kl_penalty(torch.tensor([-1.0, -1.0]), torch.tensor([-1.0, -2.0])).item()  # 0 and 1/e
    0.3678794503211975
    """
    d_N = reference_N - logprobs_N
    return (d_N.exp() - 1 - d_N).sum()


def outside(logprobs_N: torch.Tensor, old_N: torch.Tensor, clip: float) -> torch.Tensor:
    """How many tokens have a ratio beyond 1 +- clip; stays on the device."""
    return (((logprobs_N.detach() - old_N).exp() - 1).abs() > clip).sum()


def anchored(policy: Policy, start: drift.Weights, samples: list[Sample], settings: Training) -> list[Sample]:
    """The samples with what PPO and a KL in the loss compare with; REINFORCE needs neither.

    PPO's old policy is the sampler, and its log-probabilities are known if they are of the same distribution. At
    another temperature or below top_p = 1, and for a KL, every process computes them for all samples.
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
