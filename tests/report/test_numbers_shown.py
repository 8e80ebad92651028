"""How a report writes numbers, whatever they are."""

import re
from collections.abc import Callable

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from reinforce_lite.report import numbers

anything = st.floats(allow_nan=False, allow_infinity=False)
shares = st.floats(-1, 1)

WRITERS: tuple[tuple[Callable[[float], str], st.SearchStrategy[float]], ...] = (
    (numbers.percent, shares),
    (numbers.change, shares),
    (numbers.points, shares),
    (lambda share: numbers.interval([share, share]), shares),
    (lambda share: numbers.shares([share, share]), shares),
    (numbers.p_text, st.floats(0, 1)),
    (numbers.p_cell, st.floats(0, 1)),
    (numbers.usd, anything),
    (numbers.duration, st.floats(0, 1e9)),
    (numbers.decimal, anything),
    (lambda value: numbers.decimal(value, 4), anything),
    (lambda value: numbers.decimal(value, sign=True), anything),
    (numbers.plain, anything),
    (lambda value: numbers.plain(value, 12), anything),
)


@pytest.mark.parametrize(("write", "values"), WRITERS)
def test_no_exponent_and_no_zero_below_zero(write: Callable[[float], str], values: st.SearchStrategy[float]) -> None:
    @given(values)
    @example(-0.0)
    @example(1e-7)
    def holds(value: float) -> None:
        text = write(value)
        assert re.search(r"\d[eE][-+]?\d", text) is None, text
        assert re.search(r"-\D?[0.,]*(?!\.?[\d,])", text) is None or re.search(r"-\D?[\d.,]*[1-9]", text), text
        assert re.search(r"\d", text) and "nan" not in text and "inf" not in text

    holds()


@pytest.mark.parametrize("write", [write for write, _ in WRITERS[7:] if write is not numbers.usd])
def test_what_is_no_number_is_a_dash(write: Callable[[float | None], str]) -> None:
    if write is numbers.duration:
        assert write(None) == numbers.NOTHING
    else:
        assert write(float("nan")) == numbers.NOTHING


@pytest.mark.parametrize(
    ("p", "text"), [(1.0, "= 1.000"), (0.0312, "= 0.031"), (0.00012, "= 0.0001"), (0.00009, "< 0.0001")]
)
def test_p_text(p: float, text: str) -> None:
    assert numbers.p_text(p) == text


@pytest.mark.parametrize(
    ("value", "text"),
    [
        (0.0, "$0.00"),
        (0.00213, "$0.0021"),
        (0.1, "$0.10"),
        (0.000499, "$0.00050"),
        (-0.0000012, "-$0.0000012"),
        (1234.5, "$1,234.50"),
        (0.05, "$0.05"),
        (-0.0512, "-$0.0512"),
        (1e-7, "under $0.000001"),
        (-1e-12, "under $0.000001"),
    ],
)
def test_usd(value: float, text: str) -> None:
    assert numbers.usd(value) == text


@pytest.mark.parametrize(
    ("seconds", "text"),
    [(0.0, "0.0 s"), (59.7, "1 min"), (61.0, "1 min 1 s"), (3599.9, "1 h"), (43_200, "12 h"), (100_000, "27 h 47 min")],
)
def test_duration(seconds: float, text: str) -> None:
    assert numbers.duration(seconds) == text
