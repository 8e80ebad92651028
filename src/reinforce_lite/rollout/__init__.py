"""Rollout: prompts in, completions out, token ids from end to end.

An engine is a callable (`Engine`); `choose.opened` opens one by its name. Every engine passes its completions through
`checked` before anybody learns from them. No torch is imported here, so that an engine can be chosen where none is run.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal, Protocol


@dataclass(frozen=True)
class Completion:
    """What a policy wrote after a prompt.

    Attributes:
        prompt_ids: the prompt, unpadded.
        token_ids: the completion, its stop id included if it has one.
        logprobs: log-probability of each token under the distribution it was sampled from.
        finish_reason: "stop" at a stop id, "length" when the token limit cut it.
    """

    prompt_ids: list[int]
    token_ids: list[int]
    logprobs: list[float]
    finish_reason: Literal["stop", "length"]


@dataclass(frozen=True)
class Sampling:
    """How tokens are drawn; temperature 0 takes the most likely one."""

    temperature: float
    top_p: float
    max_new_tokens: int


class Engine(Protocol):
    """Anything that can write completions."""

    def __call__(
        self, prompts: list[list[int]], group: int, sampling: Sampling, seeds: list[int] | None
    ) -> list[list[Completion]]:
        """`group` completions for every prompt, in the order of the prompts.

        There is a seed for every prompt, and none if nothing is drawn (temperature 0). What is written after a prompt
        depends on its own seed, not on the prompts beside it.
        """
        ...


def ended(completion: Completion, max_new_tokens: int, stop_ids: frozenset[int]) -> bool:
    """Whether a completion ends where it should: at its first stop id, or else at the limit.

    >>> [ended(Completion([1], ids, [], "stop"), 3, frozenset({2})) for ids in ([5, 2], [5, 6], [2, 2], [])]
    [True, False, False, False]
    >>> [ended(Completion([1], ids, [], "length"), 3, frozenset({2})) for ids in ([5, 6, 7], [5, 6], [5, 6, 2])]
    [True, False, False]
    """
    ids = completion.token_ids
    if stop_ids.intersection(ids[:-1]):
        return False
    if ids and ids[-1] in stop_ids:
        return completion.finish_reason == "stop" and len(ids) <= max_new_tokens
    return completion.finish_reason == "length" and len(ids) == max_new_tokens


def checked(
    groups: list[list[Completion]],
    prompts: Sequence[list[int]],
    group: int,
    sampling: Sampling,
    stop_ids: frozenset[int],
) -> list[list[Completion]]:
    """The groups of completions that an engine wrote, if they are those that were requested.

    Some engines report a request that failed as an empty completion; learning from that, or counting it as a wrong
    answer, would go unnoticed.

    Raises:
        RuntimeError: a completion is absent or one too many, answers another prompt, has no end, or lacks a finite
            log-probability.
    """
    if [len(completions) for completions in groups] != [group] * len(prompts):
        counts = sorted({len(completions) for completions in groups})
        raise RuntimeError(f"requested {group} completions of {len(prompts)} prompts; got {len(groups)} of {counts}")
    for prompt, completions in zip(prompts, groups, strict=True):
        for completion in completions:
            written = len(completion.token_ids)
            if completion.prompt_ids != prompt:
                raise RuntimeError("a completion answers another prompt than the one at its place")
            if not ended(completion, sampling.max_new_tokens, stop_ids):
                raise RuntimeError(f"a completion has no end: {written} tokens of {sampling.max_new_tokens}")
            if len(completion.logprobs) != written or not all(map(math.isfinite, completion.logprobs)):
                raise RuntimeError(f"a completion of {written} tokens lacks log-probabilities")
    return groups
