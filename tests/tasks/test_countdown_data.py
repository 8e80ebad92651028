"""Countdown's puzzles: solvable, disjoint, and read from files and from the hub's client."""

import json
import random
from collections.abc import Iterator
from fractions import Fraction
from functools import cache
from itertools import product
from pathlib import Path
from typing import Any

import pytest

from reinforce_lite.errors import UserError
from reinforce_lite.policy.scratch import word_tokenizer
from reinforce_lite.tasks import Dataset, Remote, read_options
from reinforce_lite.tasks.countdown import TASK, VOCABULARY
from reinforce_lite.tasks.countdown_data import parse_row
from reinforce_lite.tasks.countdown_options import CountdownOptions
from reinforce_lite.tasks.prepare import load_split, prepare
from reinforce_lite.tasks.puzzles import Puzzle, careful, solve

COMMIT = "a" * 40
TINY = {
    "tiny": True, "prompt": "bare", "numbers": [3], "number_range": [1, 9], "target_range": [0, 60],
    "operators": ["+", "-", "*"],
}  # fmt: skip


def options(**changes: Any) -> CountdownOptions:
    sizes = {"train_size": 40, "dev_size": 10, "test_size": 20}
    chosen = read_options({"name": "countdown", **sizes, **changes})
    assert isinstance(chosen, CountdownOptions)
    return chosen


def puzzles(problems: list[Any]) -> list[Puzzle]:
    return [Puzzle.read(problem.answer) for problem in problems]


@cache
def reachable(numbers: tuple[int, ...]) -> frozenset[tuple[int, int]]:
    """All values of the sorted numbers, as reduced fractions: every split into two parts, every operator."""
    if len(numbers) == 1:
        return frozenset({(numbers[0], 1)})
    found: set[tuple[int, int]] = set()
    for mask in range(1, 2 ** len(numbers) - 1):
        parts: tuple[list[int], list[int]] = ([], [])
        for i, number in enumerate(numbers):
            parts[mask >> i & 1].append(number)
        for (a, b), (c, d) in product(reachable(tuple(parts[0])), reachable(tuple(parts[1]))):
            for top, bottom in ((a * d + c * b, b * d), (a * d - c * b, b * d), (a * c, b * d), (a * d, b * c)):
                if bottom:
                    found.add((top, bottom) if bottom == 1 else Fraction(top, bottom).as_integer_ratio())
    return frozenset(found)


def test_ten_thousand_puzzles_can_be_solved_by_brute_force() -> None:
    data = TASK.build(options(train_size=5000, dev_size=2000, test_size=3000, number_range=[1, 12], seed=3))
    drawn = puzzles([*data.train, *data.dev, *data.test])
    assert len(drawn) == 10_000 and {len(puzzle.numbers) for puzzle in drawn} == {3, 4}
    for puzzle in drawn:
        assert all(1 <= number <= 12 for number in puzzle.numbers) and 1 <= puzzle.target <= 100
        assert (puzzle.target, 1) in reachable(tuple(sorted(puzzle.numbers))), puzzle


def test_the_solver_agrees_with_brute_force() -> None:
    rng = random.Random(0)
    for _ in range(150):
        puzzle = Puzzle(tuple(rng.randint(0, 12) for _ in range(rng.choice((2, 3, 3, 4)))), rng.randint(0, 60))
        solution = solve(puzzle)
        assert (solution is not None) == ((puzzle.target, 1) in reachable(tuple(sorted(puzzle.numbers)))), puzzle
        if solution:
            assert TASK.grade(f"<answer>{solution}</answer>", as_problem(puzzle))["correct"]


def as_problem(puzzle: Puzzle) -> Any:
    return type("Problem", (), {"answer": str(puzzle)})


@pytest.mark.parametrize("changes", [{}, {"number_range": [1, 4]}, {**TINY, "demonstrations": 300}])
def test_splits_share_no_multiset_with_its_target(changes: dict[str, Any]) -> None:
    data = TASK.build(options(**changes))
    keys = {name: {puzzle.key for puzzle in puzzles(getattr(data, name))} for name in ("train", "dev", "test")}
    assert len(keys["dev"]) == 10 and len(keys["test"]) == 20, "an order of the same numbers is the same puzzle"
    assert not keys["train"] & keys["dev"] and not (keys["train"] | keys["dev"]) & keys["test"]
    asked = {problem.question: puzzle.key for problem, puzzle in zip(data.train, puzzles(data.train), strict=True)}
    assert len(asked) == 40 and {item.question for item in data.demonstrations} <= set(asked)
    assert TASK.build(options(**changes)) == data
    assert TASK.build(options(**changes, seed=1)).test != data.test


OUTSIDE = {"outside_size": 30, "outside_numbers": [3], "outside_number_range": [1, 12]}


def test_puzzles_outside_of_training_come_beside_the_others_of_the_test() -> None:
    plain = TASK.build(options(**TINY))
    data = TASK.build(options(**TINY, **OUTSIDE))
    assert data.test[:20] == plain.test and data.dev == plain.dev and len(data.test) == 50
    assert all(9 < max(puzzle.numbers) <= 12 for puzzle in puzzles(data.test[20:]))
    assert all(max(puzzle.numbers) <= 9 for puzzle in puzzles([*data.train, *data.dev]))
    assert TASK.test_problems(options(**TINY, **OUTSIDE)) == 50
    more = TASK.build(options(**TINY, **OUTSIDE | {"outside_numbers": [4], "outside_number_range": [1, 9]}))
    assert {len(puzzle.numbers) for puzzle in puzzles(more.test[20:])} == {4}
    kinds = {TASK.kind(problem) for problem in data.test}
    assert kinds == {"3 numbers up to 9", "3 numbers up to 99"}


def test_demonstrations_may_have_numbers_that_train_has_not() -> None:
    data = TASK.build(options(**TINY, **OUTSIDE, demonstrations=300, demonstrated_range=[1, 12]))
    asked = [Puzzle.read(item.question.removeprefix("make ")) for item in data.demonstrations]
    assert max(max(puzzle.numbers) for puzzle in asked) > 9 >= max(max(one.numbers) for one in puzzles(data.train))
    held = {puzzle.key for puzzle in puzzles([*data.dev, *data.test])}
    assert not held & {puzzle.key for puzzle in asked}


def test_a_generated_puzzle_comes_with_a_solution_for_train_alone() -> None:
    data = TASK.build(options())
    for problem in data.train:
        grade = TASK.grade(str(problem.solution), problem)
        assert grade["correct"] and grade["tinyzero"] == 1.0
    assert all(problem.solution is None for problem in (*data.dev, *data.test))


def test_operators_are_those_of_the_options() -> None:
    data = TASK.build(options(operators=["+"], numbers=[2, 5], target_range=[10, 300]))
    assert all(sum(puzzle.numbers) == puzzle.target for puzzle in puzzles(data.train))
    assert {len(puzzle.numbers) for puzzle in puzzles(data.train)} == {2, 5}


def tiny_data(**changes: Any) -> Dataset:
    return TASK.build(options(**TINY, train_size=300, demonstrations=2000, **changes))


def test_tiny_demonstrations_are_right_where_they_search_and_known_in_every_word() -> None:
    data = tiny_data()
    answers = {problem.question: problem for problem in data.train}
    at_once = right = 0
    for item in data.demonstrations:
        words = f"{item.question} {item.completion}".split()
        assert set(words) <= set(VOCABULARY) and len(item.completion.split()) <= 117
        grade = TASK.grade(item.completion, answers[item.question])
        assert grade["valid_expression"]
        hasty = item.completion.startswith("<answer>")
        assert hasty or grade["correct"]
        assert not hasty or not grade["rejected_attempts"]
        at_once, right = at_once + hasty, right + (hasty and grade["correct"])
    assert 0 < right < at_once / 3, "guessing is right now and then"
    assert all(TASK.grade(str(problem.solution), problem)["correct"] for problem in data.train)


def test_the_search_comes_first_and_the_habit_is_the_majority_of_the_rest() -> None:
    hasty = [item.completion.startswith("<answer>") for item in tiny_data().demonstrations]
    assert sum(hasty[:1600]) / 1600 == pytest.approx(0.1, abs=0.03)  # 3.5 standard errors
    assert sum(hasty[1600:]) / 400 == pytest.approx(0.75, abs=0.075)


def test_careful_tries_in_one_order_and_stops_at_the_first() -> None:
    text = careful(Puzzle((9, 9, 2), 2), ("+", "-", "*"), (0, 60))
    assert text.startswith("9 + 9 = 18 ; 18 + 2 = 20 no 9 + 9 = 18 ; 18 - 2 = 16 no 9 + 9 = 18 ; 18 * 2 = 36 no 9 - 9")
    assert text.endswith("9 - 9 = 0 ; 0 + 2 = 2 yes <answer> ( 9 - 9 ) + 2 </answer>") and "81" not in text
    with pytest.raises(ValueError, match="2 from 9 9 9 has no solution from left to right"):
        careful(Puzzle((9, 9, 9), 2), ("+",), (0, 60))


@pytest.mark.parametrize(
    ("changes", "problem"),
    [
        ({"train_size": None}, "task.train_size and task.test_size: generated puzzles have no end"),
        ({"numbers": [3, 6]}, r"task.numbers: \[3, 6\]"),
        ({**OUTSIDE, "outside_numbers": [6]}, r"task.outside_numbers: \[6\]"),
        ({**OUTSIDE, "outside_number_range": [12, 1]}, "task.outside_number_range: 12 to 1"),
        ({**OUTSIDE, "path": "puzzles.jsonl"}, "task.outside_size: only generated puzzles"),
        (
            {**OUTSIDE, "outside_number_range": [1, 9], "number_range": [1, 9], "numbers": [3]},
            "task.outside_size: train has",
        ),
        ({**TINY, "demonstrated_range": [1, 61]}, "task.demonstrated_range: 1 to 61"),
        ({"number_range": [9, 1]}, "task.number_range: 9 to 1"),
        ({"target_range": [-1, 5]}, "task.target_range: -1 to 5"),
        ({"tiny": True}, "task.number_range: 1 to 99"),
        ({"demonstrations": 5}, "task.demonstrations: only tiny puzzles have them"),
        ({"tiny": True, "path": "x"}, "task.tiny: puzzles of a file or a dataset are not tiny"),
        ({"repo": "some/set"}, "task.revision: some/set is not pinned"),
    ],
)
def test_options_that_do_not_fit(changes: dict[str, Any], problem: str) -> None:
    for checked in (TASK.preflight, TASK.build):
        with pytest.raises(UserError, match=problem):
            checked(options(**changes))


@pytest.mark.parametrize("changes", [{**TINY, "train_size": 9000}, {"number_range": [50, 50], "target_range": [3, 3]}])
def test_more_puzzles_than_there_are(changes: dict[str, Any]) -> None:
    with pytest.raises(UserError, match="the options allow hardly more than"):
        TASK.build(options(**changes))


def rows(count: int) -> Iterator[dict[str, Any]]:
    """Different puzzles, in a fixed order."""
    for i in range(count):
        yield {"nums": [i + 1, 2, 3], "target": i + 6}


def write(path: Path, lines: list[Any]) -> Path:
    path.write_text("".join(f"{line if isinstance(line, str) else json.dumps(line)}\n" for line in lines))
    return path


def test_a_file_is_taken_in_its_order(tmp_path: Path) -> None:
    twice = [*rows(8), {"nums": [3, 2, 1], "target": 6}, {"nums": [3, 11, 2], "target": 16}, *list(rows(13))[10:]]
    path = write(tmp_path / "puzzles.jsonl", twice)
    chosen = options(path=path, first_test=10, train_size=None, dev_size=2, test_size=3)
    assert TASK.preflight(chosen) == f"13 puzzles of {path}" and TASK.remote(chosen) is None
    data = TASK.build(chosen)
    assert [problem.answer for problem in data.test] == ["16 from 11 2 3", "17 from 12 2 3", "18 from 13 2 3"]
    assert data.test[0].question == "Using the numbers [11, 2, 3], create an equation that equals 16."
    ids = [problem.id for problem in (*data.train, *data.dev)]
    assert sorted(ids) == [f"train-{i}" for i in range(8)] and ids[:6] == sorted(ids[:6])
    assert data.source["rows left out, they stand twice"] == 2, "one of train, and one of the test in another order"
    assert all(TASK.grade(str(problem.solution), problem)["correct"] for problem in data.train)
    prepare(chosen, tmp_path / "data")
    assert load_split(tmp_path / "data", "test") == data.test


@pytest.mark.parametrize(
    ("line", "problem"),
    [
        ({"nums": [1, 1, 1], "target": 14}, "the puzzle 14 from 1 1 1 has no solution"),
        ("{", "not valid JSON"),
        ([1, 2], "a row needs the list `nums` and the number `target`"),
        ({"nums": 3, "target": 3}, "a row needs the list `nums`"),
        ({"nums": [3], "target": 3}, "1 numbers, a puzzle has 2 to 5"),
        ({"nums": [1] * 6, "target": 3}, "6 numbers, a puzzle has 2 to 5"),
        ({"nums": [1, 2]}, "'None' is no whole number"),
        ({"nums": [1, 2], "target": True}, "'True' is no whole number"),
        ({"nums": [1, 2.0], "target": 3}, "'2.0' is no whole number"),
        ({"nums": [1, -2], "target": 3}, "'-2' is no whole number of 0 to 999999"),
        ({"nums": [1, 1_000_000], "target": 3}, "'1000000' is no whole number of 0 to 999999"),
        ({"nums": [1, "2"], "target": 3}, "'2' is no whole number"),
    ],
)
def test_a_bad_row_is_named(tmp_path: Path, line: Any, problem: str) -> None:
    path = write(tmp_path / "puzzles.jsonl", [*rows(3), line, *rows(9)])
    with pytest.raises(UserError, match=rf"puzzles\.jsonl, line 4: .*{problem}"):
        TASK.build(options(path=path, first_test=5, train_size=None, dev_size=1, test_size=3))


@pytest.mark.parametrize(
    ("changes", "problem"),
    [
        ({"first_test": 9}, "the test begins behind 9 rows, and there are 9"),
        ({"first_test": 8, "test_size": 2}, "the test begins behind 8 rows, and there are 9"),
        ({"first_test": 5, "train_size": 5, "dev_size": 1}, "there are 5 different puzzles for train and dev"),
        ({"first_test": 5, "dev_size": 5}, "there are 5 different puzzles for train and dev"),
    ],
)
def test_too_few_rows(tmp_path: Path, changes: dict[str, Any], problem: str) -> None:
    path = write(tmp_path / "puzzles.jsonl", list(rows(9)))
    sizes = {"train_size": None, "dev_size": 1, "test_size": None}
    with pytest.raises(UserError, match=problem):
        TASK.build(options(path=path, **{**sizes, **changes}))


def served(tmp_path: Path, columns: dict[str, list[Any]]) -> Path:
    """A small dataset, as the hub's client loads it from a folder."""
    datasets = pytest.importorskip("datasets")
    folder = tmp_path / "set"
    folder.mkdir()
    datasets.Dataset.from_dict(columns).to_parquet(folder / "train.parquet")
    return folder


def test_a_dataset_comes_through_the_hubs_client(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("datasets.config.HF_DATASETS_CACHE", tmp_path / "cache")
    some = [*rows(12), {"nums": [50, 60, 70], "target": 1}, *list(rows(30))[10:]]
    folder = served(tmp_path, {"nums": [row["nums"] for row in some], "target": [row["target"] for row in some]})
    chosen = options(
        repo=str(folder), revision=COMMIT, first_test=12, train_size=None, dev_size=2, test_size=None, seed=5
    )
    assert TASK.remote(chosen) == Remote(str(folder), COMMIT, "task.path") and TASK.test_problems(chosen) == 1024
    data = TASK.build(chosen)
    assert [problem.answer for problem in data.test][:2] == ["1 from 50 60 70", "16 from 11 2 3"]
    assert data.source["unsolvable in test"] == 1 and data.source["revision"] == COMMIT
    assert len(data.test) == 21 and len(data.train) == 8, "two rows of the test stand in train too"
    assert all(problem.solution is None for problem in data.train)


def test_a_dataset_with_other_columns(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("datasets.config.HF_DATASETS_CACHE", tmp_path / "cache")
    folder = served(tmp_path, {"numbers": [[1, 2]], "target": [3]})
    with pytest.raises(UserError, match=r"has the columns numbers, target\n  fix: use a dataset with `nums`"):
        TASK.build(options(repo=str(folder), revision=COMMIT))


def test_a_dataset_that_cannot_be_had(tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"cannot load .*nowhere at a+: .*\n  fix: .*or set task\.path to a file"):
        TASK.build(options(repo=str(tmp_path / "nowhere"), revision=COMMIT))


def test_rows_keep_the_order_of_their_numbers() -> None:
    assert parse_row({"nums": [9, 1, 5], "target": 0}, "line 1") == Puzzle((9, 1, 5), 0)
    assert Puzzle.read(str(Puzzle((9, 1, 5), 0))) == Puzzle((9, 1, 5), 0)
    with pytest.raises(ValueError, match="is no puzzle such as `14 from 3 4 2`"):
        Puzzle.read("18")


def test_what_a_tiny_model_writes_is_read_as_it_was_meant() -> None:
    tokenizer = word_tokenizer(TASK.vocabulary)
    data = tiny_data()
    answers = {problem.question: problem for problem in data.train}
    for item in data.demonstrations[::20]:
        ids = tokenizer(item.completion, add_special_tokens=False)["input_ids"]
        assert tokenizer.unk_token_id not in ids and len(ids) == len(item.completion.split())
        assert TASK.grade(tokenizer.decode(ids), answers[item.question]) == TASK.grade(
            item.completion, answers[item.question]
        )
