"""The weight of each completion, from the rewards of its step: the estimators once more, without torch."""

import math
from collections.abc import Callable, Sequence
from itertools import chain
from statistics import fmean, stdev

from reinforce_lite.config import Training

TOLERANCE = 1e-4
"""An advantage was computed in float32."""

Group = Sequence[float]
Formula = Callable[[Training, Sequence[Group]], list[list[float]]]


def of_step(training: Training, rewards_PG: Sequence[Group]) -> list[list[float]] | None:
    """advantages_PG of rewards_PG, by the formulas of `learning.estimators`.

    None where they do not follow from the rewards: for a critic, and for an estimator of somebody else.

    >>> of_step(Training.model_construct(estimator="as_published"), [[1.0, 1.0, -1.0, -1.0], [1.0, 1.0, 1.0, 1.0]])
    [[1.1547005283792517, 0.0, 0.0, 0.0], [0.0, 0.0, 0.0, 0.0]]
    >>> of_step(Training.model_construct(estimator="supervised"), [[1.0], [-1.0]])
    [[1.0], [1.0]]
    """
    return _FORMULAS[training.estimator](training, rewards_PG) if derives(training) else None


def derives(training: Training) -> bool:
    """Whether a training's advantages follow from its rewards alone."""
    return training.estimator in _FORMULAS


def stated_or_derived(training: Training, rewards_PG: Sequence[Group], stated_PG: Sequence[Group]) -> list[float]:
    """By completion, the stated advantage where it follows from the rewards up to rounding, else the derived one."""
    pairs = zip(chain(*stated_PG), chain(*(of_step(training, rewards_PG) or stated_PG)), strict=True)
    return [one if math.isclose(one, other, rel_tol=TOLERANCE, abs_tol=TOLERANCE) else other for one, other in pairs]


def _by_group(formula: Callable[[Training, Group], list[float]]) -> Formula:
    """A formula of one group for all of a step; a group of equal rewards teaches nothing."""
    return lambda training, rewards_PG: [
        formula(training, rewards) if len(set(rewards)) > 1 else [0.0] * len(rewards) for rewards in rewards_PG
    ]


def _leave_one_out(training: Training, rewards: Group) -> list[float]:
    mean, size = fmean(rewards), len(rewards)
    scale = stdev(rewards) + 1e-8 if training.scale_by_std else 1.0
    return [(reward - mean) * size / (size - 1) / scale for reward in rewards]


def _as_published(training: Training, rewards: Group) -> list[float]:
    first, *others = rewards
    weight = (first - fmean(others)) / (stdev(others) + 1e-8)
    return [max(-2.0, min(2.0, weight)), *(0.0 for _ in others)]


def _reinforce_pp(training: Training, rewards_PG: Sequence[Group]) -> list[list[float]]:
    every = list(chain(*rewards_PG))
    mean, scale = fmean(every), stdev(every) + 1e-8
    return [[(reward - mean) / scale for reward in rewards] for rewards in rewards_PG]


def _supervised(training: Training, rewards_PG: Sequence[Group]) -> list[list[float]]:
    return [[1.0] * len(rewards) for rewards in rewards_PG]


_FORMULAS: dict[str, Formula] = {
    "leave_one_out": _by_group(_leave_one_out), "as_published": _by_group(_as_published),
    "reinforce_pp": _reinforce_pp, "supervised": _supervised,
}  # fmt: skip
