"""Countdown puzzles: what they are, how solvable ones are drawn and solved, and demonstrations for tiny policies.

A tiny puzzle takes its numbers in their order, from left to right, so that a policy of a million weights can try every
candidate. "careful" demonstrations do so in one fixed order; "hasty" ones answer at once with random operators.

>>> puzzle = Puzzle((3, 4, 2), 14)
>>> careful(puzzle, ("+", "*"), (0, 60))
'3 + 4 = 7 ; 7 + 2 = 9 no 3 + 4 = 7 ; 7 * 2 = 14 yes <answer> ( 3 + 4 ) * 2 </answer>'
>>> hasty(puzzle, ("+", "*"), random.Random(0))
'<answer> ( 3 * 4 ) * 2 </answer>'
>>> solve(Puzzle((1, 1, 1), 14))
"""

import random
import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from fractions import Fraction
from itertools import combinations, product

OPERATORS = ("+", "-", "*", "/")
Range = tuple[int, int]

_WRITTEN = re.compile(r"([0-9]{1,9}) from ((?:[0-9]{1,9} ?)+)")


@dataclass(frozen=True)
class Puzzle:
    """Numbers that are to make a target, each of them used once."""

    numbers: tuple[int, ...]
    target: int

    @property
    def key(self) -> tuple[tuple[int, ...], int]:
        """The same for all orders of the numbers."""
        return tuple(sorted(self.numbers)), self.target

    def __str__(self) -> str:
        """As it stands in a problem's `answer`."""
        return f"{self.target} from {' '.join(map(str, self.numbers))}"

    @classmethod
    def read(cls, text: str) -> "Puzzle":
        """Undo `str`.

        Raises:
            ValueError: the text is no puzzle.
        """
        if not (match := _WRITTEN.fullmatch(text)):
            raise ValueError(f"{text[:60]!r} is no puzzle such as `14 from 3 4 2`")
        return cls(tuple(map(int, match[2].split())), int(match[1]))


def draw(
    rng: random.Random, count: int, operators: Sequence[str], numbers: Range, targets: Range
) -> tuple[Puzzle, str] | None:
    """Numbers with the result of a random expression over them as their target, and that; None if that is none."""
    drawn = tuple(rng.randint(*numbers) for _ in range(count))
    values = [(Fraction(number), str(number)) for number in drawn]
    while len(values) > 1:
        (left, before), (right, behind) = (values.pop(rng.randrange(len(values))) for _ in range(2))
        operator = rng.choice(operators)
        if operator == "/" and not right:
            return None
        values.append((computed(left, operator, right), f"({before} {operator} {behind})"))
    [(value, text)] = values
    if value.denominator != 1 or not targets[0] <= value <= targets[1]:
        return None
    return Puzzle(drawn, int(value)), text[1:-1]


def draw_tiny(
    rng: random.Random, count: int, operators: Sequence[str], numbers: Range, values: Range
) -> tuple[Puzzle, str] | None:
    """As `draw`, from left to right, with every value on the way whole and within `values`."""
    drawn = tuple(rng.randint(*numbers) for _ in range(count))
    chosen = [rng.choice(operators) for _ in drawn[1:]]
    sums = left_to_right(drawn, chosen, values)
    return (Puzzle(drawn, sums[-1][3]), nested(drawn, chosen)) if sums else None


def computed(left: Fraction, operator: str, right: Fraction) -> Fraction:
    """The result of one sum; ZeroDivisionError as usual."""
    match operator:
        case "+":
            return left + right
        case "-":
            return left - right
        case "*":
            return left * right
    return left / right


def left_to_right(
    numbers: Sequence[int], operators: Sequence[str], values: Range
) -> list[tuple[int, str, int, int]] | None:
    """The sums (left, operator, right, result) in order; None if a result is not whole or not within `values`."""
    left, sums = numbers[0], []
    for operator, right in zip(operators, numbers[1:], strict=True):
        if operator == "/" and not right:
            return None
        value = computed(Fraction(left), operator, Fraction(right))
        if value.denominator != 1 or not values[0] <= value <= values[1]:
            return None
        sums.append((left, operator, right, int(value)))
        left = int(value)
    return sums


def nested(numbers: Sequence[int], operators: Sequence[str]) -> str:
    """The expression that is computed from left to right, in words of one token."""
    text = str(numbers[0])
    for operator, number in zip(operators, numbers[1:], strict=True):
        text = f"( {text} ) {operator} {number}" if " " in text else f"{text} {operator} {number}"
    return text


def careful(puzzle: Puzzle, operators: Sequence[str], values: Range) -> str:
    """Try the candidates in the order of the operators, the last one fastest, up to the first that is right.

    Raises:
        ValueError: none is.
    """
    tried: list[str] = []
    for chosen in product(operators, repeat=len(puzzle.numbers) - 1):
        if not (sums := left_to_right(puzzle.numbers, chosen, values)):
            continue
        written = " ; ".join(f"{left} {operator} {right} = {value}" for left, operator, right, value in sums)
        if sums[-1][3] == puzzle.target:
            return " ".join([*tried, written, "yes", f"<answer> {nested(puzzle.numbers, chosen)} </answer>"])
        tried.append(f"{written} no")
    raise ValueError(f"{puzzle} has no solution from left to right")


def hasty(puzzle: Puzzle, operators: Sequence[str], rng: random.Random) -> str:
    """Answer at once, with random operators."""
    return f"<answer> {nested(puzzle.numbers, [rng.choice(operators) for _ in puzzle.numbers[1:]])} </answer>"


def solve(puzzle: Puzzle) -> str | None:
    """An expression that makes the target, by trying all of them; None if there is none."""
    return next(_solutions([(Fraction(number), str(number)) for number in puzzle.numbers], puzzle.target), None)


def _solutions(left: list[tuple[Fraction, str]], target: int) -> Iterator[str]:
    """All results of two of the values, in all ways, until one is left."""
    if len(left) == 1:
        if left[0][0] == target:
            yield left[0][1]
        return
    for one, other in combinations(range(len(left)), 2):
        rest = [left[i] for i in range(len(left)) if i not in (one, other)]
        for value, text in _pairs(*left[one], *left[other]):
            yield from _solutions([*rest, (value, text if not rest else f"({text})")], target)


def _pairs(a: Fraction, left: str, b: Fraction, right: str) -> Iterator[tuple[Fraction, str]]:
    yield a + b, f"{left} + {right}"
    yield a * b, f"{left} * {right}"
    yield a - b, f"{left} - {right}"
    yield b - a, f"{right} - {left}"
    if b:
        yield a / b, f"{left} / {right}"
    if a:
        yield b / a, f"{right} / {left}"
