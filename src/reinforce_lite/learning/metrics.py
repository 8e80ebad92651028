"""The numbers and the texts that one step leaves behind."""

import time
from dataclasses import asdict
from statistics import fmean, pstdev
from typing import Any

import torch

from reinforce_lite.learning.experience import Experience
from reinforce_lite.learning.update import UpdateResult
from reinforce_lite.settings import Training
from reinforce_lite.tasks.answers import is_correct, strict


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
    rewards = [reward for group in experience.rewards_PG for reward in group]
    correct = [
        is_correct(strict(text), problem.answer)
        for problem, texts in zip(experience.problems, experience.texts_PG, strict=True)
        for text in texts
    ]
    tokens = sum(len(completion.token_ids) for completion in completions)
    return {
        "reward_mean": fmean(rewards),
        "reward_std": pstdev(rewards),
        "accuracy": fmean(correct),
        "length_mean": tokens / len(completions),
        "truncated": fmean(completion.finish_reason == "length" for completion in completions),
        "groups_dropped": fmean(not any(group) for group in experience.advantages_PG),
        **asdict(result),
        "tokens": tokens,
        "tokens_per_second": tokens / sum(clock.seconds.values()),
        **{f"seconds_{name}": value for name, value in clock.seconds.items()},
    }


def completion_rows(experience: Experience, step: int) -> list[dict[str, Any]]:
    """One row a completion, for reading."""
    return [
        {
            "step": step,
            "question": problem.question,
            "answer": problem.answer,
            "completion": experience.texts_PG[p][g],
            "reward": experience.rewards_PG[p][g],
            "advantage": experience.advantages_PG[p][g],
            "length": len(completion.token_ids),
        }
        for p, problem in enumerate(experience.problems)
        for g, completion in enumerate(experience.groups_PG[p])
    ]


def training_summary(metrics: list[dict[str, Any]], training: Training) -> dict[str, Any]:
    """Sums and last values over the steps of a finished training; `seconds` holds its checkpoints too."""
    return {
        "steps": len(metrics),
        "steps_planned": training.steps,
        "steps_skipped": sum(row["skipped"] for row in metrics),
        "seconds": sum(value for row in metrics for key, value in row.items() if key.startswith("seconds_")),
        "completions": len(metrics) * training.questions_per_step * training.completions_per_question,
        "tokens": sum(row["tokens"] for row in metrics),
        "weights_changed": _last(metrics, "weights_changed"),
        "kl_to_start": _last(metrics, "kl_to_start"),
    }


def _last(metrics: list[dict[str, Any]], key: str) -> Any:
    """The last value that was measured."""
    return next((row[key] for row in reversed(metrics) if row[key] is not None), None)
