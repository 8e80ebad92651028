"""The numbers and the texts that one step leaves behind."""

import time
from dataclasses import asdict
from typing import Any

import torch

from reinforce_lite.learning.curves import point
from reinforce_lite.learning.experience import Experience
from reinforce_lite.learning.update import UpdateResult
from reinforce_lite.tasks.own import named_parts


class Clock:
    """Seconds since the last lap, by name; waits for the GPU so that a phase is charged what it used."""

    def __init__(self) -> None:
        self.seconds: dict[str, float] = {}
        self._last = time.perf_counter()

    def lap(self, name: str) -> None:
        """End a phase."""
        if torch.cuda.is_available():
            torch.cuda.synchronize()
        now = time.perf_counter()
        self.seconds[name] = now - self._last
        self._last = now


def step_metrics(experience: Experience, result: UpdateResult, clock: Clock) -> dict[str, Any]:
    """The numbers of one step. Shares are fractions, lengths tokens, times seconds."""
    completions = experience.completions
    correct = [verdict for group in experience.correct_PG for verdict in group]
    lengths = [len(completion.token_ids) for completion in completions]
    cut = [completion.finish_reason == "length" for completion in completions]
    return {
        **point(experience.rewards_PG, experience.advantages_PG, correct, lengths, cut),
        **asdict(result),
        "tokens_per_second": sum(lengths) / sum(clock.seconds.values()),
        **{f"seconds_{name}": value for name, value in clock.seconds.items()},
    }


def completion_rows(experience: Experience, step: int) -> list[dict[str, Any]]:
    """One row a completion, for reading, and for whoever takes the figures of the step again."""
    return [
        {
            "step": step,
            "question": problem.question,
            "answer": problem.answer,
            "completion": experience.texts_PG[p][g],
            "reward": experience.rewards_PG[p][g],
            "advantage": experience.advantages_PG[p][g],
            "length": len(completion.token_ids),
            "truncated": completion.finish_reason == "length",
            **named_parts(experience.parts_PG[p][g]),
        }
        for p, problem in enumerate(experience.problems)
        for g, completion in enumerate(experience.groups_PG[p])
    ]
