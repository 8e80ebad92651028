"""Pack what carries a gradient into micro-batches."""

from collections.abc import Callable
from dataclasses import dataclass

import torch

from reinforce_lite.policy import Policy
from reinforce_lite.policy.logprobs import Row, packed, shares_prompts
from reinforce_lite.rollout import Completion


@dataclass(frozen=True)
class Sample:
    """One completion with the weight of its log-probability.

    Attributes:
        completion: what the policy wrote.
        advantage: the weight.
        old: log-probability of each token under the policy that wrote it, for PPO's ratio.
        reference: the same under the start policy, for a KL in the loss.
        weights: of each token by itself, with a critic; without one, `advantage` is that of all.
        values: the return that a critic expected before each token.
        returns: what came of it.
    """

    completion: Completion
    advantage: float
    old: list[float] | None = None
    reference: list[float] | None = None
    weights: list[float] | None = None
    values: list[float] | None = None
    returns: list[float] | None = None

    def __len__(self) -> int:
        """Tokens of prompt and completion."""
        return len(self.completion.prompt_ids) + len(self.completion.token_ids)


def samples_with_gradient(groups: list[list[Completion]], advantages: list[list[float]]) -> list[Sample]:
    """The completions whose advantage is not zero; groups with equal rewards have none."""
    return [
        Sample(completion, advantage)
        for group, weights in zip(groups, advantages, strict=True)
        for completion, advantage in zip(group, weights, strict=True)
        if advantage != 0.0
    ]


def micro_batches(samples: list[Sample], budget_tokens: int, shared: bool = False) -> list[list[Sample]]:
    """Sort by length and cut so that rows x longest row stays within the budget (one row may exceed it alone).

    With `shared` a prompt is computed once for all its rows: these are sorted by the length of their completion, and
    completions and distinct prompts count, each padded to the longest.
    """
    if not shared:
        return packed(samples, budget_tokens, length=len)
    batches: list[list[Sample]] = []
    prompts: set[tuple[int, ...]] = set()
    for sample in sorted(samples, key=lambda s: len(s.completion.token_ids), reverse=True):
        more = prompts | {tuple(sample.completion.prompt_ids)}
        if batches:
            rows = (len(batches[-1]) + 1) * len(batches[-1][0].completion.token_ids)
            if rows + len(more) * max(map(len, more)) <= budget_tokens:
                batches[-1].append(sample)
                prompts = more
                continue
        batches.append([sample])
        prompts = {tuple(sample.completion.prompt_ids)}
    return batches


def rows_of(batch: list[Sample]) -> list[Row]:
    """Prompt ids and completion ids of each sample."""
    return [(sample.completion.prompt_ids, sample.completion.token_ids) for sample in batch]


def token_by_token(
    policy: Policy, samples: list[Sample], budget_tokens: int, compute: Callable[[list[Row]], torch.Tensor]
) -> list[torch.Tensor]:
    """What `compute` gives for each token of each completion, in the order of the samples, on the CPU."""
    pieces: dict[int, torch.Tensor] = {}
    for batch in micro_batches(samples, budget_tokens, shared=shares_prompts(policy)):
        rows = rows_of(batch)
        flat_N = compute(rows).cpu()
        pieces.update(zip(map(id, batch), flat_N.split([len(written) for _, written in rows]), strict=True))
    return [pieces[id(sample)] for sample in samples]
