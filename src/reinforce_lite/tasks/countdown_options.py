"""The options of Countdown: which puzzles, and that these options fit each other."""

from itertools import product
from pathlib import Path
from typing import Literal

from pydantic import Field

from reinforce_lite.errors import UserError
from reinforce_lite.tasks import Commit, Options
from reinforce_lite.tasks.puzzles import Puzzle

ORIGINAL = "Jiayi-Pan/Countdown-Tasks-3to4"
ORIGINAL_TEST = 1024
LARGEST = 60  # number of the tiny models
MOST_NUMBERS = 5
LARGEST_LISTED = 999_999  # number or target of a file


class CountdownOptions(Options):
    """Where puzzles come from, and what generated ones are like."""

    repo: str | None = Field(
        None,
        description=f"Dataset on the hub with the columns `nums` and `target`, such as `{ORIGINAL}`; null for "
        "generated puzzles.",
    )
    revision: Commit | None = Field(None, description="Pinned revision of that dataset; needed with `task.repo`.")
    path: Path | None = Field(
        None, description='File of JSON lines, `{"nums": [3, 4, 2], "target": 14}`, used instead of the hub.'
    )
    first_test: int = Field(
        327_680,
        ge=1,
        description="Of a dataset or a file, the rows that train and dev are taken from; the test's follow.",
    )
    numbers: list[int] = Field([3, 4], min_length=1, description="How many numbers a generated puzzle has.")
    number_range: tuple[int, int] = Field((1, 99), description="The smallest and the largest number.")
    target_range: tuple[int, int] = Field(
        (1, 100), description="The smallest and the largest target; of a tiny puzzle, of every value on the way too."
    )
    outside_size: int = Field(
        0,
        ge=0,
        description="Problems that the test gets beside `test_size`, each of a kind that train has not: another count "
        "of numbers, or a number outside of `number_range`.",
    )
    outside_numbers: list[int] = Field([3, 4], min_length=1, description="How many numbers one of these has.")
    outside_number_range: tuple[int, int] = Field((1, 99), description="Their smallest and their largest number.")
    demonstrated_range: tuple[int, int] | None = Field(
        None,
        description="The smallest and the largest number of the puzzles of demonstrations, drawn for these; null takes "
        "the puzzles of train.",
    )
    operators: list[Literal["+", "-", "*", "/"]] = Field(
        ["+", "-", "*", "/"],
        min_length=1,
        description="With which of them a puzzle is made. An answer may use all four.",
    )
    tiny: bool = Field(
        False,
        description=f"Puzzles for the models from scratch: asked in few words, numbers to {LARGEST}, solved from left "
        "to right by whole numbers. Only these have demonstrations.",
    )


def is_outside(options: CountdownOptions, puzzle: Puzzle) -> bool:
    """Whether train cannot have such a puzzle."""
    least, most = options.number_range
    return len(puzzle.numbers) not in options.numbers or not all(least <= one <= most for one in puzzle.numbers)


def check_options(options: CountdownOptions) -> None:
    """See that the options fit each other.

    Raises:
        UserError: naming the key that does not.
    """
    drawn, largest = not (options.path or options.repo), LARGEST if options.tiny else LARGEST_LISTED
    if options.tiny and not drawn:
        raise UserError("task.tiny: puzzles of a file or a dataset are not tiny", "drop it, or task.path and task.repo")
    if options.demonstrations and not options.tiny:
        raise UserError("task.demonstrations: only tiny puzzles have them", "set task.tiny: true, or none of them")
    if drawn and (options.train_size is None or options.test_size is None):
        raise UserError("task.train_size and task.test_size: generated puzzles have no end", "set both")
    if options.outside_size and not drawn:
        raise UserError("task.outside_size: only generated puzzles have some outside of training", "drop it")
    outside = ("outside_numbers", "outside_number_range") if options.outside_size else ()
    for key in ("numbers", *outside[:1]):
        if not all(2 <= count <= MOST_NUMBERS for count in getattr(options, key)):
            raise UserError(f"task.{key}: {getattr(options, key)}", f"let each be 2 to {MOST_NUMBERS}")
    for key in ("number_range", "target_range", "demonstrated_range", *outside[1:]):
        least, most = getattr(options, key) or (0, 0)
        if not 0 <= least <= most <= largest:
            raise UserError(
                f"task.{key}: {least} to {most}", f"set two numbers of 0 to {largest}, the smaller one first"
            )
    if outside and not any(
        is_outside(options, Puzzle((number,) * count, 0))
        for count, number in product(options.outside_numbers, options.outside_number_range)
    ):
        raise UserError("task.outside_size: train has all of these", "widen outside_numbers or outside_number_range")
