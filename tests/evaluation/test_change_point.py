"""A series that jumps is told from one that rises and from one that stays."""

import random

import pytest

from reinforce_lite.evaluation.change_point import LEAST, MOST, POSITIVE, fits


def noisy(shape: list[float], seed: int) -> list[float]:
    rng = random.Random(seed)
    return [value + rng.gauss(0, 0.05) for value in shape]


@pytest.mark.parametrize("seed", range(20))
@pytest.mark.parametrize("steps", [40, 600])
def test_a_jump_is_one_and_a_way_is_none(seed: int, steps: int) -> None:
    third = steps // 3
    jump = fits(noisy([0.1] * third + [0.6] * (steps - third), seed))
    assert jump.gradual < 0 and jump.at == pytest.approx(1 / 3, abs=0.03) and jump.rise == pytest.approx(0.5, abs=0.05)
    line = fits(noisy([0.6 * i / steps for i in range(steps)], seed))
    saturated = fits(noisy([min(0.6, 1.8 * i / steps) for i in range(steps)], seed))
    assert line.gradual > POSITIVE and saturated.gradual > POSITIVE


def test_a_level_is_worked_out_by_hand() -> None:
    # 8 values, half of them 0 and half 1 in turn: the mean is 1/2, and 8 x 1/4 is left.
    found = fits([0.0, 1.0] * 4)
    from math import log

    assert found.level == pytest.approx(8 * log(1 / 4) + log(8)) and found.level < min(found.ramp, found.jump)


def test_a_short_series_says_nothing() -> None:
    with pytest.raises(ValueError, match=f"{LEAST - 1} points"):
        fits([0.0] * (LEAST - 1))
    assert fits([0.5] * (MOST + 7)).gradual > POSITIVE, "nothing changes"
