r"""Sums that a text works out, such as `12 / 60 = $0.20`, and what later sums say about earlier ones.

A sum is a chain of numbers and operators, an equals sign and a number. Units may follow a number (`3 boxes * 6 = 18`).
Brackets and letters are not read.

>>> [(s.terms, s.result) for s in sums("7 * 20 = 140. Less 12: 140 - 12 = 128 apples")]
[(('7', '*', '20'), 140.0), (('140', '-', '12'), 128.0)]
"""

import re
from math import isclose
from typing import NamedTuple

_NUMBER = r"\$?[0-9]++(?:,[0-9]{3}(?![0-9]))*+(?:\.[0-9]++)?+%?"
_TERM = rf"{_NUMBER}(?: [a-z]{{2,12}}){{0,2}}"
_BLANK = " ?"
_OPERATOR = rf"{_BLANK}[-+*/]{_BLANK}"
LONGEST = 40
"""Operators of one sum. A chain without an end is given up there, so that reading takes time linear in the text."""
# Not from the middle of a chain whose head cannot be read (in "(3 + 2) * 4 + 2 = 22" no sum begins at 4), but from
# behind the dash of a list. Mixed numbers ("1 1/2", "1 and 1/4") are not read either.
_SUM = re.compile(
    r"(?<![\w.,$*/+)-])(?<![*/+)]\s)(?<![\w)] - )"
    r"(?!(?:(?<=[0-9] )|(?<=[0-9] and ))[0-9]+/[0-9])"
    rf"(?P<terms>{_TERM}(?:{_OPERATOR}{_TERM}){{1,{LONGEST}}}){_BLANK}={_BLANK}"
    rf"(?P<result>{_NUMBER})(?!{_OPERATOR}[0-9($])(?! (?:and )?[0-9]+/[0-9])",
    re.IGNORECASE,
)
_TERMS = re.compile(r"[0-9][0-9,]*(?:\.[0-9]+)?%?|[-+*/]")
_SIGNS = str.maketrans({"\u00d7": "*", "\u00b7": "*", "\u00f7": "/", "\u2212": "-", "\t": " "})
_TIMES = re.compile(r"\\(?:times|cdot)|(?<=\s)x(?=\s)", re.IGNORECASE)
_DIVIDED = re.compile(r"\\div", re.IGNORECASE)
_BLANKS = re.compile(r" {2,}")
_NUMBERS = re.compile(r"[0-9][0-9,]*(?:\.[0-9]+)?")

_TOLERANCE = 0.01  # relative; 10 / 3 = 3.33 and = 3.3 are the same result


class Sum(NamedTuple):
    """One sum: its numbers and operators as text, and its result."""

    terms: tuple[str, ...]
    result: float


def sums(text: str) -> list[Sum]:
    """The sums of a text in their order."""
    plain = _BLANKS.sub(" ", _DIVIDED.sub("/", _TIMES.sub("*", text.translate(_SIGNS))))
    return [Sum(_terms(match["terms"]), _value(match["result"])) for match in _SUM.finditer(plain)]


def corrected(text: str) -> bool:
    """Whether a sum stands again with another result.

    >>> corrected("7 + 5 = 13. No: 7 + 5 = 12."), corrected("10 / 3 = 3.33, and 10 / 3 = 3.3")
    (True, False)
    """
    first: dict[tuple[str, ...], float] = {}
    return any(not isclose(first.setdefault(s.terms, s.result), s.result, rel_tol=_TOLERANCE) for s in sums(text))


def turned_round(text: str) -> bool:
    """Whether the last sum is the inverse of an earlier one (both of two numbers) and does not lead to the answer.

    The answer is the last number of the text: where it is the result of the inverse, that was needed, not a test.

    >>> turned_round("9 + 4 = 13 . 13 - 4 = 9 . <answer> 13 </answer>")
    True
    >>> turned_round("13 - 4 = 9 . 9 + 4 = 13 . <answer> 13 </answer>")
    False
    """
    own = sums(text)
    if len(own) < 2 or isclose(own[-1].result, _value(_NUMBERS.findall(text)[-1]), rel_tol=_TOLERANCE):
        return False
    return any(_inverse(earlier, own[-1]) for earlier in own[:-1])


def _inverse(first: Sum, later: Sum) -> bool:
    """Whether `later` undoes `first`: of a + b = c these are c - b = a and c - a = b; of a - b = c it is c + b = a."""
    if len(first.terms) != 3 or len(later.terms) != 3:
        return False
    a, operator, b = _value(first.terms[0]), first.terms[1], _value(first.terms[2])
    left, undoes, right = _value(later.terms[0]), later.terms[1], _value(later.terms[2])
    if undoes != {"+": "-", "-": "+", "*": "/", "/": "*"}[operator]:
        return False
    if operator in "+*":
        return (left, right, later.result) in ((first.result, b, a), (first.result, a, b))
    return later.result == a and sorted((left, right)) == sorted((first.result, b))


def _terms(written: str) -> tuple[str, ...]:
    return tuple(term.replace(",", "") for term in _TERMS.findall(written))


def _value(written: str) -> float:
    return float(re.sub(r"[$,%]", "", written))
