"""How a report writes a number: no exponent, no "-0.0", as many digits as one can use. Every page and note uses it."""

import math
from collections.abc import Sequence
from decimal import Decimal

NOTHING = "\N{EN DASH}"
"""Stands where there is no number."""
LEAST_USD = 1e-6
"""Smaller sums are not told apart."""


def percent(share: float) -> str:
    """A share as a percentage.

    >>> percent(0.5), percent(-0.0001)
    ('50.0%', '0.0%')
    """
    return f"{share:z.1%}"


def change(share: float) -> str:
    """A change in points, with its sign and without the word.

    >>> change(0.0197), change(-0.0004)
    ('+2.0', '+0.0')
    """
    return f"{100 * share:+z.1f}"


def points(share: float) -> str:
    """A change in points, with its sign.

    >>> points(0.0197)
    '+2.0 points'
    """
    return f"{change(share)} points"


def interval(ci95: Sequence[float]) -> str:
    """An interval of a change, in points.

    >>> interval([-0.004, 0.0431])
    '[-0.4, +4.3]'
    """
    return f"[{change(ci95[0])}, {change(ci95[1])}]"


def shares(ci95: Sequence[float]) -> str:
    """An interval of a share, in percent.

    >>> shares([0.004, 0.0431])
    '[0.4, 4.3]'
    """
    return f"[{100 * ci95[0]:z.1f}, {100 * ci95[1]:z.1f}]"


def p_text(p: float) -> str:
    """A p-value with its sign: `= 0.031`, or `< 0.0001`."""
    return "< 0.0001" if p < 0.0001 else f"= {p:.4f}" if p < 0.001 else f"= {p:.3f}"


def p_cell(p: float) -> str:
    """The same in a column of p-values.

    >>> p_cell(0.0312), p_cell(1e-7)
    ('0.031', '< 0.0001')
    """
    return p_text(p).removeprefix("= ")


def usd(value: float) -> str:
    """US dollars, with enough digits to see small sums.

    >>> usd(3.4), usd(0.00213), usd(0.0000173), usd(0.05), usd(-0.5), usd(3e-8)
    ('$3.40', '$0.0021', '$0.000017', '$0.05', '-$0.50', 'under $0.000001')
    """
    size = abs(value)
    if 0 < size < LEAST_USD:
        return f"under ${LEAST_USD:f}"
    digits = 4 if size < 0.1 and round(value, 4) != round(value, 2) else 2
    if 0 < size < 0.001:
        digits = 1 - math.floor(math.log10(size))  # two that count
    return f"{'-' if value < 0 else ''}${size:,.{digits}f}"


def duration(seconds: float | None) -> str:
    """A time in the two largest of hours, minutes and seconds.

    >>> duration(0.84), duration(29.5), duration(200), duration(3600), duration(4000)
    ('0.8 s', '30 s', '3 min 20 s', '1 h', '1 h 7 min')
    """
    if seconds is None:
        return NOTHING
    whole = round(seconds)
    if whole < 10:
        return f"{seconds:z.1f} s"
    if whole >= 3600:
        whole = 60 * round(whole / 60)
    parts = ((whole // 3600, "h"), (whole // 60 % 60, "min"), (whole % 60, "s"))
    return " ".join(f"{count:,} {unit}" for count, unit in parts if count)


def decimal(value: float | None, digits: int = 1, sign: bool = False) -> str:
    """A number with so many digits behind the point, or a dash.

    >>> decimal(1234.56), decimal(-0.00001, 4), decimal(2.0, sign=True), decimal(None)
    ('1,234.6', '0.0000', '+2.0', '–')
    """
    if value is None or not math.isfinite(value):
        return NOTHING
    return f"{value:+z,.{digits}f}" if sign else f"{value:z,.{digits}f}"


def plain(value: float, digits: int = 3) -> str:
    """A number with so many digits that count, without zeros at its end.

    >>> plain(0.05), plain(1e-7), plain(1234567.0), plain(-0.0), plain(float("nan"))
    ('0.05', '0.0000001', '1,230,000', '0', '–')
    """
    if not math.isfinite(value):
        return NOTHING
    return f"{Decimal(f'{value:.{digits - 1}e}').normalize() + 0:,f}"
