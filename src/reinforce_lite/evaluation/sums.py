r"""Sums that a text works out, such as `12 / 60 = $0.20`, and what later sums say about earlier ones.

A sum is a chain of numbers and operators, an equals sign and a number. Units may follow a number (`3 boxes * 6 = 18`).
Brackets and letters are not read.

>>> [(s.terms, s.result) for s in sums("7 * 20 = 140. Less 12: 140 - 12 = 128 apples")]
[(('7', '*', '20'), 140.0), (('140', '-', '12'), 128.0)]
"""

import re
from itertools import pairwise
from math import isclose
from typing import NamedTuple

_NUMBER = r"\$?[0-9]++(?>(?:,[0-9]{3}(?![0-9]))*)(?>(?:\.[0-9]++)?)%?"
_TERM = rf"{_NUMBER}(?: [a-z]{{2,12}}){{0,2}}"
_BLANK = " ?"
_OPERATOR = rf"{_BLANK}[-+*/]{_BLANK}"
LONGEST = 40
"""Operators of one sum. A chain without an end is given up there, so that reading takes time linear in the text."""
# Not from the middle of a chain whose head cannot be read (in "(3 + 2) * 4 + 2 = 22" no sum begins at 4), but from
# behind the dash of a list. Mixed numbers ("1 1/2", "1 and 1/4") are not read either.
_SUM = re.compile(
    r"(?<![\w.,$*/+)-])(?<![*/+)]\s)(?<![\w)] - )"
    r"(?!(?:(?<=[0-9] )|(?<=[0-9] and ))[0-9]++/[0-9])"
    rf"(?P<terms>{_TERM}(?:{_OPERATOR}{_TERM}){{1,{LONGEST}}}){_BLANK}={_BLANK}"
    rf"(?P<result>{_NUMBER})(?!{_OPERATOR}[0-9($])(?! (?:and )?[0-9]++/[0-9])",
    re.IGNORECASE,
)
_TERMS = re.compile(r"[0-9]+(?:\.[0-9]+)?%?|[-+*/]")
_SIGNS = str.maketrans({"\u00d7": "*", "\u00b7": "*", "\u00f7": "/", "\u2212": "-", "\t": " "})
_TIMES = re.compile(r"\\(?:times|cdot)|(?<=\s)x(?=\s)", re.IGNORECASE)
_DIVIDED = re.compile(r"\\div", re.IGNORECASE)
_BLANKS = re.compile(r" {2,}")
_WAIT = re.compile(r"(?<=[0-9]) wait\b", re.IGNORECASE)
_ANSWER = re.compile(r"\s{0,9}<answer>\s{0,9}([0-9]{1,18})")
NEAR = 200
"""Characters before and after a "wait" in which its sums are looked for."""

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


def taken_back(text: str) -> bool:
    """Whether an attempt is computed and rejected: `corrected`, or a sum, "wait", and no such result after it.

    After "wait" the same sum with the same result, or that result as the answer, rejects nothing.

    >>> taken_back("9 + 4 = 14 wait <answer> 13 </answer>"), taken_back("9 + 4 = 13 wait <answer> 13 </answer>")
    (True, False)
    """
    return corrected(text) or any(_rejected(done, after) for done, after in pairwise(_WAIT.split(text)))


def _rejected(before: str, after: str) -> bool:
    done, following = sums(before[-NEAR:]), sums(after[:NEAR])
    answer = _ANSWER.match(after)
    if not done or not (answer or following):
        return False
    return _value(answer[1]) != done[-1].result if answer else following[0] != done[-1]


def _terms(written: str) -> tuple[str, ...]:
    return tuple(_TERMS.findall(written.replace(",", "")))


def _value(written: str) -> float:
    return float(written.strip("$%").replace(",", ""))
