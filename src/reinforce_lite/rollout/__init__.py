"""Rollout: prompts in, completions out, token ids from end to end."""

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
        depends on its own seed, whatever else is written beside it.
        """
        ...
