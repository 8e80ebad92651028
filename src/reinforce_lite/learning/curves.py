"""What a training's completions say by themselves: the points of its curves, and the sums over them.

No torch here: whoever looks at a finished training, on any machine, takes the same figures again from what it wrote.
"""

import random
from collections.abc import Mapping, Sequence
from functools import lru_cache
from statistics import fmean, pstdev
from typing import Any

from reinforce_lite.config import Training


def question_seed(seed: int, step: int, place: int) -> int:
    """The seed of everything that is drawn for the question at this place of a step."""
    return random.Random(f"{seed}/{step}/{place}").getrandbits(62)


def coin(seed: int) -> random.Random:
    """The coin of the reward `random` for the question with this seed; tossed once a completion, in order."""
    return random.Random(f"{seed}/reward")


def step_seconds(row: Mapping[str, Any]) -> float:
    """Seconds of a step by its row of metrics, without those of its checkpoint.

    >>> step_seconds({"step": 3, "seconds_rollout": 1.0, "seconds_update": 0.5, "seconds_checkpoint": 9.0})
    1.5
    """
    return sum(value for key, value in row.items() if key.startswith("seconds_") and key != "seconds_checkpoint")


def point(
    rewards_PG: Sequence[Sequence[float]],
    advantages_PG: Sequence[Sequence[float]],
    correct: Sequence[bool],
    lengths: Sequence[int],
    truncated: Sequence[bool] | None,
) -> dict[str, float]:
    """The figures of one step that follow from its completions alone.

    Args:
        rewards_PG: rewards by problem (P) and member of its group (G).
        advantages_PG: the weights of their log-probabilities, likewise.
        correct: the verdict on each completion, group after group.
        lengths: tokens of the completions, in the same order.
        truncated: whether they were cut at the token limit; None if that is not known.

    Returns:
        reward_mean and reward_std (of the whole step), accuracy, length_mean (tokens), truncated (if known),
        groups_dropped (share of groups in which no completion has a weight) and tokens.

    Raises:
        ValueError: there is no completion.

    >>> rewards, advantages = [[1.0, -1.0], [1.0, 1.0]], [[2.0, -2.0], [0.0, 0.0]]
    >>> point(rewards, advantages, [True, False, True, True], [3, 5, 4, 4], [False, True, False, False])
    ... # doctest: +NORMALIZE_WHITESPACE
    {'reward_mean': 0.5, 'reward_std': 0.8660254037844386, 'accuracy': 0.75, 'length_mean': 4.0, 'truncated': 0.25,
     'groups_dropped': 0.5, 'tokens': 16}
    """
    if not lengths:
        raise ValueError("a step without completions has no figures")
    rewards = [reward for group in rewards_PG for reward in group]
    tokens = sum(lengths)
    return {
        "reward_mean": fmean(rewards),
        "reward_std": _spread(tuple(sorted(rewards))),
        "accuracy": fmean(correct),
        "length_mean": tokens / len(lengths),
        **({} if truncated is None else {"truncated": fmean(truncated)}),
        "groups_dropped": fmean(not any(group) for group in advantages_PG),
        "tokens": tokens,
    }


@lru_cache(maxsize=4096)  # it is exact and so slow, and many steps have the same few rewards
def _spread(rewards: tuple[float, ...]) -> float:
    return pstdev(rewards)


def training_summary(metrics: Sequence[dict[str, Any]], training: Training) -> dict[str, Any]:
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


def _last(metrics: Sequence[dict[str, Any]], key: str) -> Any:
    """The last value that was measured."""
    return next((row[key] for row in reversed(metrics) if row[key] is not None), None)
