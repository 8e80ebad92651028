"""The weight of each completion, from the rewards of its group: the estimators once more, without torch."""

import math
from collections.abc import Callable, Sequence
from statistics import fmean, stdev

from reinforce_lite.config import Training

TOLERANCE = 1e-4
"""An advantage was computed in float32."""


def of_group(training: Training, rewards: Sequence[float]) -> list[float] | None:
    """advantages_G of rewards_G, by the formulas of `learning.estimators`; None for an estimator of somebody else.

    >>> of_group(Training.model_construct(estimator="as_published"), [1.0, 1.0, -1.0, -1.0])
    [1.1547005283792517, 0.0, 0.0, 0.0]
    """
    if (formula := _FORMULAS.get(training.estimator)) is None:
        return None
    if training.estimator != "supervised" and len(set(rewards)) == 1:
        return [0.0] * len(rewards)
    return formula(training, rewards)


def derives(training: Training) -> bool:
    """Whether a training's advantages follow from the rewards of a group alone."""
    return training.estimator in _FORMULAS


def stated_or_derived(training: Training, rewards: Sequence[float], stated: Sequence[float]) -> list[float]:
    """The stated advantages where they follow from the rewards up to rounding, the derived ones where they do not."""
    derived = of_group(training, rewards) or stated
    pairs = zip(stated, derived, strict=True)
    return [one if math.isclose(one, other, rel_tol=TOLERANCE, abs_tol=TOLERANCE) else other for one, other in pairs]


def _leave_one_out(training: Training, rewards: Sequence[float]) -> list[float]:
    mean, size = fmean(rewards), len(rewards)
    scale = stdev(rewards) + 1e-8 if training.scale_by_std else 1.0
    return [(reward - mean) * size / (size - 1) / scale for reward in rewards]


def _as_published(training: Training, rewards: Sequence[float]) -> list[float]:
    first, *others = rewards
    weight = (first - fmean(others)) / (stdev(others) + 1e-8)
    return [max(-2.0, min(2.0, weight)), *(0.0 for _ in others)]


def _supervised(training: Training, rewards: Sequence[float]) -> list[float]:
    return [1.0] * len(rewards)


_FORMULAS: dict[str, Callable[[Training, Sequence[float]], list[float]]] = {
    "leave_one_out": _leave_one_out, "as_published": _as_published, "supervised": _supervised,
}  # fmt: skip
