"""Search by an exact check: which attempts at a puzzle a text computes, and which of them it gives up for another.

A step is an equation `expression = expression` whose sides come to the same value. It belongs to an attempt if its
first side uses numbers of the puzzle, or results of the attempt's earlier steps, each once. An attempt is complete when
all numbers are used. Words play no part; a sum with a wrong result is no step.
"""

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from fractions import Fraction
from itertools import pairwise

from reinforce_lite.tasks.expressions import Expression, Number, UnreadableError, parse, plain
from reinforce_lite.tasks.puzzles import Puzzle

LONGEST = 20_000  # characters that are searched
Steps = tuple[tuple[Number | str, ...], ...]
"""Expressions in postfix, in order."""

_RUN = re.compile(r"(?>(?:[-+*/()0-9= \t]|\.(?=[0-9]))+)")
_MARK = re.compile(r"(?>(?:[*\s]|[0-9]{1,3}\)\s|[-+]\s)*)")  # of a list, or of bold letters


@dataclass(frozen=True)
class Attempt:
    """Steps that belong together, and the value of a complete one; None if it was left unfinished."""

    steps: Steps
    value: Fraction | None


def rejected(text: str, puzzle: Puzzle) -> int:
    """How many different complete attempts do not make the target and are followed by a different attempt.

    Args:
        text: a completion; the first LONGEST characters are searched.
        puzzle: what it is about.

    >>> puzzle = Puzzle((3, 4, 2), 14)
    >>> rejected("3 + 4 = 7 ; 7 + 2 = 9 no 3 + 4 = 7 ; 7 * 2 = 14 yes", puzzle)
    1
    >>> rejected("3 * 4 + 2 = 14. Or (3 * 4) / 2 = 6.", puzzle), rejected("3 + 4 + 2 = 9, too low.", puzzle)
    (0, 0)
    """
    found = attempts(text, puzzle)
    wrong: set[Steps] = set()
    later: set[Steps] = set()
    for attempt in reversed(found):
        if attempt.value not in (None, puzzle.target) and later - {attempt.steps}:
            wrong.add(attempt.steps)
        if len(later) < 2:
            later.add(attempt.steps)
    return len(wrong)


def attempts(text: str, puzzle: Puzzle) -> list[Attempt]:
    """All attempts of a text, in order."""
    found: list[Attempt] = []
    taken: Steps = ()
    left: list[Fraction] = []
    numbers = list(map(Fraction, puzzle.numbers))
    for expression, value in _steps(plain(text[:LONGEST]), len(puzzle.numbers)):
        rest = _without(left, expression.numbers) if taken else None
        if rest is None:
            rest = _without(numbers, expression.numbers)
            if rest is None:
                continue
            if taken:
                found.append(Attempt(taken, None))
            taken = ()
        taken, left = (*taken, expression.postfix), [*rest, value]
        if not rest:
            found.append(Attempt(taken, value))
            taken = ()
    return [*found, Attempt(taken, None)] if taken else found


def _steps(text: str, most: int) -> Iterator[tuple[Expression, Fraction]]:
    """Expressions of two to `most` numbers with their values, where the text says them right."""
    known: dict[str, tuple[Expression | None, Fraction | None]] = {}  # a text may go round in circles
    for run in _RUN.findall(text):
        if "=" not in run:
            continue
        sides = _MARK.sub("", run, count=1).rstrip(" \t-+*/(").split("=")
        known |= {side: _side(side, most) for side in sides if side not in known}
        for (expression, value), (_, stated) in pairwise(known[side] for side in sides):
            if expression is not None and expression.size > 1 and value is not None and value == stated:
                yield expression, value


def _side(text: str, most: int) -> tuple[Expression | None, Fraction | None]:
    """An expression with its value; None for both if it is none, has too many numbers or divides by zero."""
    try:
        expression = parse(text)
        return (expression, expression.value()) if expression.size <= most else (None, None)
    except UnreadableError:
        return None, None


def _without(values: Sequence[Fraction], used: Sequence[Fraction]) -> list[Fraction] | None:
    """The values that are left; None if one that is used is not there. A sign may be put before a value."""
    left = list(values)
    for number in used:
        if number in left:
            left.remove(number)
        elif abs(number) in left:
            left.remove(abs(number))
        else:
            return None
    return left
