"""A function of the user's own: what it may give, and what is said of everything else."""

import random
from itertools import count
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from reinforce_lite.errors import UserError
from reinforce_lite.tasks import Problem, own, own_sums, read_options, task_of, verdicts

PROBLEM = Problem("train-3", "what is 1 + 1 ?", "2", "1 + 1 = 2 <answer>2</answer>")
HALF = "def score(completion, problem):\n    return 0.5 if problem.answer in completion else 0\n"
PARTS = "def score(completion, problem):\n    return {'correct': '2' in completion, 'short': 0.25}\n"
numbers = count()


def file(folder: Path, text: str) -> str:
    """A file is read once a process, so each has a name of its own."""
    path = folder / f"mine{next(numbers)}.py"
    path.write_text(text)
    return f"{path}:score"


def earned(spelled: str, text: str) -> tuple[float, dict[str, float]]:
    return own.earned(spelled, {"correct": False}, random.Random(0), text, PROBLEM)


def test_a_number_is_the_reward_and_a_dictionary_is_summed(tmp_path: Path) -> None:
    assert [earned(file(tmp_path, HALF), text) for text in ("2", "3")] == [(0.5, {}), (0.0, {})]
    assert earned(file(tmp_path, PARTS), "2") == (1.25, {"correct": 1.0, "short": 0.25})
    assert earned("random", "2") in ((1.0, {}), (-1.0, {})), "other rewards are as they were"
    assert earned("strict", "2") == (-1.0, {})


def test_it_gets_what_the_results_hold_of_a_problem(tmp_path: Path) -> None:
    kept = "seen = []\ndef score(completion, problem):\n    seen.append(problem)\n    return 1\n"
    spelled = file(tmp_path, kept)
    own.scores(spelled, "x", PROBLEM)
    assert own.file_of(spelled).module.seen == [Problem("", PROBLEM.question, PROBLEM.answer)]


@pytest.mark.parametrize(
    ("text", "message"),
    [
        (None, r"mine\d+\.py cannot be loaded: No such file"),
        ("def score(:\n", r"mine\d+\.py:1 cannot be loaded: SyntaxError"),
        ("import math\nimport nothing_at_all\n", r"mine\d+\.py:2 cannot be loaded: ModuleNotFoundError"),
        ("raise SystemExit(3)\n", r"mine\d+\.py:1 cannot be loaded: SystemExit: 3"),
        ("x = 1\n", r"mine\d+\.py defines no function score"),
        ("score = 3\n", r"mine\d+\.py defines no function score"),
        ("def score(completion):\n    return 1\n", r"mine\d+\.py: score raised TypeError: .* takes 1 positional"),
        ("def score(c, p):\n    x = 0\n    return 1 / x\n", r"mine\d+\.py:3: score raised ZeroDivisionError: .* 'some"),
        ("import sys\ndef score(c, p):\n    sys.exit(0)\n", r"mine\d+\.py:3: score raised SystemExit"),
        ("def score(c, p):\n    pass\n", r"mine\d+\.py: score gave 'None' \(NoneType\) for the completion 'some text'"),
        ("def score(c, p):\n    return '1'\n", r"mine\d+\.py: score gave '1' \(str\)"),
        ("def score(c, p):\n    return float('nan')\n", r"mine\d+\.py: score gave 'nan' \(float\)"),
        ("def score(c, p):\n    return -float('inf')\n", r"mine\d+\.py: score gave '-inf' \(float\)"),
        ("def score(c, p):\n    return 10 ** 400\n", r"mine\d+\.py: score gave '1000.*' \(int\)"),
        ("def score(c, p):\n    return {}\n", r"mine\d+\.py: score gave '\{\}' \(dict\)"),
        ("def score(c, p):\n    return {'a': 1, 'b': None}\n", r"mine\d+\.py: score gave .* \(dict\)"),
        ("def score(c, p):\n    return {1: 1.0}\n", r"mine\d+\.py: score gave .* \(dict\)"),
        ("def score(c, p):\n    return [1.0]\n", r"mine\d+\.py: score gave .* \(list\)"),
    ],
)
def test_whatever_is_wrong_names_the_file_and_the_fix(tmp_path: Path, text: str | None, message: str) -> None:
    spelled = file(tmp_path, text or "")
    if text is None:
        Path(spelled.removesuffix(":score")).unlink()
    with pytest.raises(UserError, match=message) as caught:
        own.scores(spelled, "some text", PROBLEM)
    assert caught.value.fix


def test_a_file_that_is_not_utf8(tmp_path: Path) -> None:
    spelled = file(tmp_path, "")
    Path(spelled.removesuffix(":score")).write_bytes(b"# caf\xe9\n")
    with pytest.raises(UserError, match=r"mine\d+\.py cannot be loaded: it is not UTF-8"):
        own.file_of(spelled)


def test_other_functions_of_the_file_are_named(tmp_path: Path) -> None:
    spelled = file(tmp_path, "from math import sqrt\ndef reward(c, p):\n    return 1\n").replace(":score", ":scores")
    with pytest.raises(UserError) as caught:
        own.file_of(spelled)
    assert caught.value.fix.endswith("or name one of: reward")


def test_what_runs_is_what_was_read_first(tmp_path: Path) -> None:
    spelled = file(tmp_path, HALF)
    before = own.sums(spelled)
    Path(spelled.removesuffix(":score")).write_text(HALF.replace("0.5", "0.75"))
    assert own.scores(spelled, "2", PROBLEM) == 0.5 and own.sums(spelled) == before, "in the middle of a training"
    (tmp_path / "results").mkdir()
    (tmp_path / "results/older.py").touch()
    own.file_of(spelled).copy(tmp_path / "results")
    (copied,) = (tmp_path / "results").iterdir()
    assert copied.read_text() == HALF
    again = str(own.in_folder(spelled, tmp_path / "results"))
    assert own.sums(again) == before and own.scores(again, "2", PROBLEM) == 0.5


def test_dataclasses_of_the_file_work(tmp_path: Path) -> None:
    text = (
        "from dataclasses import dataclass\n@dataclass\nclass A:\n    x: 'float'\ndef score(c, p):\n    return A(2).x\n"
    )
    assert own.scores(file(tmp_path, text), "", PROBLEM) == 2


@pytest.mark.parametrize(
    ("returned", "grade"),
    [
        ("True", {"correct": True, "score": 1.0}),
        ("0.99", {"correct": False, "score": 0.99}),
        ("1.5", {"correct": True, "score": 1.5}),
        ("{'correct': False, 'close': 2}", {"score": 2.0, "correct": False, "close": 2.0}),
        ("{'correct': 1, 'flexible': 0.5}", {"score": 1.5, "correct": True, "flexible": False}),
    ],
)
def test_as_a_grade_one_or_more_is_correct(tmp_path: Path, returned: str, grade: dict[str, Any]) -> None:
    found = own.graded(file(tmp_path, f"def score(c, p):\n    return {returned}\n"), "", PROBLEM)
    assert found == grade and type(found["correct"]) is bool
    assert verdicts(found)["strict"] is grade["correct"]


def test_a_grade_without_a_verdict_is_refused(tmp_path: Path) -> None:
    spelled = file(tmp_path, "def score(c, p):\n    return {'right': 1.0}\n")
    with pytest.raises(UserError, match="gave a dictionary without `correct`") as caught:
        own.graded(spelled, "", PROBLEM)
    assert "`correct`" in caught.value.fix


def test_questions_are_graded_by_it(tmp_path: Path) -> None:
    (tmp_path / "q.jsonl").write_text('{"question": "a?", "answer": "x\\ny"}\n{"question": "b?", "answer": "z"}\n')
    spelled = file(tmp_path, "def score(completion, problem):\n    return completion == problem.answer\n")
    section = {"name": "jsonl", "dev_size": 0, "test_size": 1, "train": str(tmp_path / "q.jsonl"), "grade": spelled}
    options = read_options(section)
    task = task_of(options)
    data = task.build(options)
    for problem in (*data.train, *data.test):
        assert task.grade(problem.answer, problem) == {"correct": True, "score": 1.0}
        assert task.grade("", problem)["correct"] is False
    assert own_sums(options) == own.sums(spelled)
    assert own_sums(read_options({**section, "grade": "exact"})) == {}
    moved = own.kept(options, tmp_path / "data")
    assert moved.grade == str(tmp_path / "data" / Path(spelled).name)


@given(st.one_of(st.text(), st.integers(), st.none(), st.lists(st.text()), st.dictionaries(st.text(), st.floats())))
def test_only_a_file_with_a_function_is_an_own_function(value: Any) -> None:
    assert not own.is_own(value) or (".py:" in value and value.rpartition(":")[2].isidentifier())
