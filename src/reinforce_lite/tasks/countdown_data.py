"""Where Countdown's puzzles come from: drawn, a file of JSON lines, or the original's dataset on the hub."""

import random
from collections.abc import Callable, Collection, Hashable, Iterator, Sequence
from functools import partial
from itertools import islice
from pathlib import Path
from typing import Any

from reinforce_lite.errors import UserError
from reinforce_lite.io.files import read_jsonl
from reinforce_lite.tasks import Dataset, Demonstration, Problem, Remote, tinyzero
from reinforce_lite.tasks.countdown_options import (
    LARGEST_LISTED,
    MOST_NUMBERS,
    ORIGINAL_TEST,
    CountdownOptions,
    is_outside,
)
from reinforce_lite.tasks.habit import HABIT_HASTY, SKILL_HASTY, SKILL_SHARE, is_hasty
from reinforce_lite.tasks.hub import hub_split
from reinforce_lite.tasks.puzzles import Puzzle, careful, draw, draw_tiny, hasty, solve

MISSES = 20_000  # puzzles that are drawn in vain before the options are taken to allow no other one

Drawn = tuple[Puzzle, str]
"""A puzzle and an expression that solves it."""


def generated(options: CountdownOptions) -> Dataset:
    """Draw the splits and the demonstrations, the test first; train may have several orders of the same numbers.

    Raises:
        UserError: the options allow too few puzzles.
    """
    rng = random.Random(options.seed)
    held: set[Hashable] = set()
    test = list(islice(_fresh(options, rng, held), options.test_size))
    dev = list(islice(_fresh(options, rng, held), options.dev_size))
    test += islice(_fresh(_outside(options), rng, held, wanted=partial(is_outside, options)), options.outside_size)
    train = list(islice(_fresh(options, rng, set(), barred=held), options.train_size))
    source = {"generator": "countdown", "seed": options.seed}
    if options.demonstrations:
        source |= {"hasty": [SKILL_HASTY, HABIT_HASTY], "skill_share": SKILL_SHARE}
    return Dataset(
        train=[_problem(f"train-{i}", *drawn, options) for i, drawn in enumerate(train)],
        dev=[_problem(f"dev-{i}", puzzle, None, options) for i, (puzzle, _) in enumerate(dev)],
        test=[_problem(f"test-{i}", puzzle, None, options) for i, (puzzle, _) in enumerate(test)],
        demonstrations=_demonstrations(options, rng, _shown(options, rng, [puzzle for puzzle, _ in train], held)),
        source=source,
    )


def _outside(options: CountdownOptions) -> CountdownOptions:
    drawn = {"numbers": options.outside_numbers, "number_range": options.outside_number_range}
    return options.model_copy(update=drawn)


def _shown(
    options: CountdownOptions, rng: random.Random, train: Sequence[Puzzle], held: Collection[Hashable]
) -> Iterator[Puzzle]:
    """The puzzles of demonstrations, without end; each may come again, with another draw of the style."""
    if options.demonstrated_range is None:
        while True:
            yield rng.choice(train)
    drawn = options.model_copy(update={"number_range": options.demonstrated_range})
    yield from (puzzle for puzzle, _ in _fresh(drawn, rng, None, barred=held))


def _fresh(
    options: CountdownOptions,
    rng: random.Random,
    seen: set[Hashable] | None,
    barred: Collection[Hashable] | None = None,
    wanted: Callable[[Puzzle], bool] = lambda puzzle: True,
) -> Iterator[Drawn]:
    """Puzzles without end that are wanted: of new keys, all of which are put into `seen`, or with repetitions.

    With `barred`, keys may come again in another order of the numbers, but none of `barred` comes.
    """
    draw_one, misses = draw_tiny if options.tiny else draw, 0
    while misses < MISSES:
        drawn = draw_one(
            rng, rng.choice(options.numbers), options.operators, options.number_range, options.target_range
        )
        if drawn is None or not wanted(drawn[0]) or (barred is not None and drawn[0].key in barred):
            misses += 1
            continue
        same: Hashable = drawn[0].key if barred is None else drawn[0]
        if seen is not None and same in seen:
            misses += 1
            continue
        misses = 0
        if seen is not None:
            seen.add(same)
        yield drawn
    raise UserError(
        f"task: the options allow hardly more than {len(seen or ()):,} puzzles beside those of the other splits",
        "lower train_size, dev_size or test_size, or widen numbers, number_range or target_range",
    )


def _demonstrations(options: CountdownOptions, rng: random.Random, puzzles: Iterator[Puzzle]) -> list[Demonstration]:
    """In the order in which they are meant to be learnt."""
    found = []
    for index, puzzle in enumerate(islice(puzzles, options.demonstrations)):
        at_once = is_hasty(index, options.demonstrations, rng)
        text = hasty(puzzle, options.operators, rng) if at_once else _careful(puzzle, options)
        found.append(Demonstration(_question(puzzle, options), text))
    return found


def _problem(id: str, puzzle: Puzzle, expression: str | None, options: CountdownOptions) -> Problem:
    """A problem, which can be learnt from if an expression that solves it is known."""
    if expression is None:
        solution = None
    elif options.tiny:
        solution = _careful(puzzle, options)
    else:
        solution = f"{expression} = {puzzle.target}\n<answer>{expression}</answer>"
    return Problem(id, _question(puzzle, options), str(puzzle), solution)


def _question(puzzle: Puzzle, options: CountdownOptions) -> str:
    if options.tiny:
        return f"make {puzzle.target} from {' '.join(map(str, puzzle.numbers))}"
    return tinyzero.QUESTION.format(numbers=list(puzzle.numbers), target=puzzle.target)


def _careful(puzzle: Puzzle, options: CountdownOptions) -> str:
    return careful(puzzle, options.operators, options.target_range)


def listed(options: CountdownOptions) -> Dataset:
    """The puzzles of a file or of a dataset, in its order; dev is cut from train by a shuffle with `task.seed`.

    Raises:
        UserError: it cannot be had, a row is bad, a puzzle of a file has no solution, or there are too few rows.
    """
    size, first = options.test_size or ORIGINAL_TEST, options.first_test
    rows, source = _from_file(options.path) if options.path else _from_hub(options, first + size)
    if len(rows) < first + (options.test_size or 1):
        raise UserError(
            f"task.first_test: the test begins behind {first:,} rows, and there are {len(rows):,}",
            "lower task.first_test, or task.test_size",
        )
    seen: set[Hashable] = set()
    test = _once("test", rows[first : first + size], seen)
    others = _once("train", rows[:first], seen)
    if len(others) - options.dev_size < (options.train_size or 1):
        raise UserError(
            f"task.train_size: there are {len(others):,} different puzzles for train and dev",
            "lower task.train_size or task.dev_size",
        )
    dev = set(random.Random(options.seed).sample(range(len(others)), options.dev_size))
    train = [row for i, row in enumerate(others) if i not in dev]
    return Dataset(
        train=[_problem(*row, options) for row in train[: options.train_size]],
        dev=[_problem(id, puzzle, None, options) for id, puzzle, _ in (others[i] for i in sorted(dev))],
        test=[_problem(id, puzzle, None, options) for id, puzzle, _ in test],
        demonstrations=[],
        source={"dataset": "countdown", **source, "rows left out, they stand twice": first - len(others)},
    )


Row = tuple[Puzzle, str | None]
"""A puzzle and, if it is known, an expression that solves it."""


def _once(name: str, rows: Sequence[Row], seen: set[Hashable]) -> list[tuple[str, Puzzle, str | None]]:
    """Rows whose key has not been seen, with their ids."""
    fresh = []
    for i, (puzzle, solution) in enumerate(rows):
        if puzzle.key not in seen:
            seen.add(puzzle.key)
            fresh.append((f"{name}-{i}", puzzle, solution))
    return fresh


def file_puzzles(path: Path) -> list[Puzzle]:
    """The rows of a file of JSON lines.

    Raises:
        UserError: it cannot be read, or a row is bad, with its line.
    """
    return [parse_row(row, f"{path}, line {line}") for line, row in enumerate(read_jsonl(path), 1)]


def _from_file(path: Path) -> tuple[list[Row], dict[str, Any]]:
    rows: list[Row] = []
    for line, puzzle in enumerate(file_puzzles(path), 1):
        solution = solve(puzzle)
        if solution is None:
            raise UserError(f"{path}, line {line}: the puzzle {puzzle} has no solution", "take the row out")
        rows.append((puzzle, solution))
    return rows, {"path": str(path)}


def _from_hub(options: CountdownOptions, most: int) -> tuple[list[Row], dict[str, Any]]:
    """The first rows of `train`, the only split; only of those of the test it is counted how many cannot be solved."""
    pinned = remote(options)
    columns = hub_split(pinned, "train", "set task.path to a file of its rows")[:most]
    where = f"{pinned.repo} at {pinned.revision}"
    if not {"nums", "target"} <= set(columns):
        raise UserError(f"{where} has the columns {', '.join(columns)}", "use a dataset with `nums` and `target`")
    pairs = zip(columns["nums"], columns["target"], strict=True)
    puzzles = [
        parse_row({"nums": nums, "target": target}, f"{where}, row {row}")
        for row, (nums, target) in enumerate(pairs, 1)
    ]
    unsolvable = sum(solve(puzzle) is None for puzzle in puzzles[options.first_test :])
    source = {"repo": pinned.repo, "revision": pinned.revision, "unsolvable in test": unsolvable}
    return [(puzzle, None) for puzzle in puzzles], source


def parse_row(value: Any, where: str) -> Puzzle:
    """Check one row.

    Args:
        value: an object with `nums`, 2 to MOST_NUMBERS whole numbers, and `target`; each of 0 to LARGEST_LISTED.
        where: file and line, for the message.

    Raises:
        UserError: the row is anything else.
    """
    fix = f'write it as {{"nums": [3, 4, 2], "target": 14}}, with numbers of 0 to {LARGEST_LISTED}'
    if not isinstance(value, dict) or not isinstance(nums := value.get("nums"), list):
        raise UserError(f"{where}: a row needs the list `nums` and the number `target`", fix)
    if not 2 <= len(nums) <= MOST_NUMBERS:
        raise UserError(f"{where}: {len(nums)} numbers, a puzzle has 2 to {MOST_NUMBERS}", fix)
    for number in (*nums, value.get("target")):
        if type(number) is not int or not 0 <= number <= LARGEST_LISTED:
            raise UserError(f"{where}: {str(number)[:30]!r} is no whole number of 0 to {LARGEST_LISTED}", fix)
    return Puzzle(tuple(nums), value["target"])


def remote(options: CountdownOptions) -> Remote:
    """The dataset on the hub.

    Raises:
        UserError: its revision is not pinned.
    """
    if options.revision is None:
        raise UserError(
            f"task.revision: {options.repo} is not pinned, and what it holds may change",
            "set task.revision to the commit that you have looked at (the hub's page of the data: History)",
        )
    return Remote(str(options.repo), options.revision, "task.path")
