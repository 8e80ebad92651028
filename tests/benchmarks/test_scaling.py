"""The fitted exponent, by hand, and the points that it is fitted to."""

import pytest
from scaling import MULTIPLES, exponent, exponents, points
from worlds import Size


@pytest.mark.parametrize("power", [0.0, 1.0, 1.5, 2.0])
def test_the_exponent_of_a_pure_power(power: float) -> None:
    xs = [1.0, 2.0, 4.0, 8.0]
    assert exponent(xs, [3 * x**power for x in xs]) == pytest.approx(power)


def test_the_exponent_is_the_least_squares_slope_by_hand() -> None:
    # log2 x = 0, 1, 2 and log2 y = 0, 0, 3: the slope is sum(dx dy) / sum(dx^2) = (1 + 0 + 2) / 2.
    assert exponent([1, 2, 4], [1, 1, 8]) == pytest.approx(1.5)


def test_one_value_has_no_slope() -> None:
    assert exponent([4, 4], [1, 2]) is None


def test_every_point_leaves_the_base_in_one_factor() -> None:
    base = Size(questions=4, group=8, prompt=8, length=16)
    first, *others = points(base, layers=4)
    assert first.factors == set(MULTIPLES) and first.size == base
    for point in others:
        size = point.size
        pairs = ((size.questions, 4), (size.group, 8), (size.length, 16), (point.layers, 4))
        assert sum(value != middle for value, middle in pairs) == len(point.factors) == 1
    assert len(set(others)) == len(others)


def test_a_factor_is_fitted_to_its_own_points_only() -> None:
    def row(varies: list[str], seconds: float, **at: int) -> dict[str, object]:
        base = {"questions": 2, "group": 8, "length": 16, "parameters": 100}
        return {**base, **at, "varies": varies, "seconds": seconds, "rollout": 1.0, "update": 1.0, "peak_bytes": 5}

    every = ["questions", "group", "length", "parameters"]
    rows = [row(every, 1.0), row(["questions"], 2.0, questions=4), row(["length"], 4.0, length=32)]
    found = exponents(rows)
    assert found["questions"]["seconds"] == pytest.approx(1.0)
    assert found["length"]["seconds"] == pytest.approx(2.0)
    assert found["group"]["seconds"] is None
    assert found["length"]["peak_bytes"] == pytest.approx(0.0)
