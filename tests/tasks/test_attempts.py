"""Attempts at a puzzle that are computed and given up; grading in time linear in the text."""

import sys
from types import FrameType
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from reinforce_lite.tasks import Problem
from reinforce_lite.tasks.attempts import attempts, rejected
from reinforce_lite.tasks.countdown import TASK
from reinforce_lite.tasks.puzzles import Puzzle, careful

PUZZLE = Puzzle((3, 4, 2), 14)


@pytest.mark.parametrize(
    ("text", "count"),
    [
        ("", 0),
        ("<answer>(3 + 4) * 2</answer>", 0),
        ("(3 + 4) * 2 = 14", 0),
        ("3 + 4 + 2 = 9, too low.", 0),  # given up for nothing
        ("3 + 4 + 2 = 9, too low. (3 + 4) * 2 = 14", 1),
        ("3 + 4 + 2 = 9 no, 3 * 4 * 2 = 24 no, (3 + 4) * 2 = 14 yes", 2),
        ("3 + 4 + 2 = 9 no, 3 * 4 * 2 = 24 no", 1),
        ("(3 + 4) * 2 = 14. Also 3 * 4 + 2 = 14.", 0),  # both are right
        ("3 + 4 = 7 ; 7 + 2 = 9 no 3 + 4 = 7 ; 7 * 2 = 14 yes", 1),
        ("3 + 4 = 7 ; 7 + 2 = 9 no 3 + 4 = 7", 1),  # the next one has begun
        ("3 + 4 = 7, and 3 - 4 = -1, and -1 * 2 = -2.", 0),  # the first was never complete
        ("3 - 4 = -1; -1 + 2 = 1. No. 3 * 4 = 12; 12 + 2 = 14.", 1),
        ("3 / 2 = 1.5, 1.5 * 4 = 6. Try (3 + 4) * 2 = 14.", 1),
        ("3 + 4 + 2 = 9. 3 + 4 + 2 = 9. 3 + 4 + 2 = 9.", 0),  # the same again is no other attempt
        ("3 + 4 + 2 = 9. 3 + 4 + 2 = 9. 3 * 4 + 2 = 14.", 1),
        ("3 + 4 + 2 = 10 no. 3 * 4 + 2 = 14.", 0),  # a wrong sum is no step
        ("3 + 4 = 8; 8 + 2 = 10 no. 3 * 4 + 2 = 14.", 0),
        ("5 + 4 + 2 = 11 no. 3 * 4 + 2 = 14.", 0),  # 5 is no number of the puzzle
        ("3 + 4 = 7 no. 3 * 4 + 2 = 14.", 0),  # not all of the numbers
        ("3 * 4 * 2 = 12 * 2 = 24, too high. 3 * 4 + 2 = 12 + 2 = 14", 1),
        ("1. 3 + 4 + 2 = 9\n2. 3 * 4 * 2 = 24\n3. 3 * 4 + 2 = 14", 2),
        ("1) 3 + 4 + 2 = 9\n2) 3 * 4 + 2 = 14", 1),
        ("- 3 + 4 + 2 = 9\n- 3 * 4 + 2 = 14", 1),
        ("**3 + 4 + 2 = 9** (too low)\n* 3 \u00d7 4 + 2 = 14", 1),
        ("3 / (2 - 2) = 1. 3 * 4 + 2 = 14", 0),
        ("wait, let me try again: no, that is wrong", 0),  # words play no part
        ("= = 3 + = 4 == 2 (((", 0),
    ],
)
def test_attempts_that_are_given_up(text: str, count: int) -> None:
    assert rejected(text, PUZZLE) == count
    assert TASK.grade(text, Problem("", "", str(PUZZLE)))["rejected_attempts"] == count


def test_attempts_in_their_order() -> None:
    found = attempts("3 + 4 = 7 ; 7 + 2 = 9 no 3 * 4 = 12", PUZZLE)
    assert [(len(attempt.steps), attempt.value) for attempt in found] == [(2, 9), (1, None)]


@given(st.tuples(*[st.integers(1, 9)] * 3), st.lists(st.sampled_from("+-*"), min_size=2, max_size=2))
def test_what_a_careful_demonstration_rejects_is_what_it_calls_so(numbers: tuple[int, ...], chosen: list[str]) -> None:
    left, result = numbers[0], 0
    for operator, right in zip(chosen, numbers[1:], strict=True):
        left = result = {"+": left + right, "-": left - right, "*": left * right}[operator]
        if not 0 <= result <= 60:
            return
    puzzle = Puzzle(numbers, result)
    text = careful(puzzle, ("+", "-", "*"), (0, 60))
    assert rejected(text, puzzle) == text.split().count("no")


def operations(text: str) -> int:
    """Lines of this package that grading executes: a measure that no busy machine changes."""
    count = 0

    def trace(frame: FrameType, event: str, _: Any) -> Any:
        nonlocal count
        count += event == "line"
        return trace if "reinforce_lite" in frame.f_code.co_filename else None

    before = sys.gettrace()
    sys.settrace(trace)
    try:
        TASK.grade(text, Problem("", "", str(PUZZLE)))
        TASK.unread(text)
    finally:
        sys.settrace(before)
    return count


WORST = {
    "digits": lambda n: "9" * n,
    "factors": lambda n: "9*" * (n // 2) + "9",
    "signs": lambda n: "-" * n + "3",
    "open": lambda n: "(" * n,
    "nested": lambda n: "(" * (n // 2) + "3" + ")" * (n // 2) + " + 4 * 2",
    "signs before parentheses": lambda n: "-(" * (n // 3) + "3" + ")" * (n // 3) + " + 4 * 2",
    "equal signs": lambda n: "3+4+2=" * (n // 6) + "9",
    "blanks": lambda n: "3" + " " * n + "+ 4 + 2",
    "unicode": lambda n: "3 \u00d7 " * (n // 4) + "4",
    "points": lambda n: "1.5" * (n // 3),
    "attempts": lambda n: "3 + 4 + 2 = 9 no " * (n // 17),
    "tags": lambda n: "<answer>" * (n // 8),
    "closed tags": lambda n: "<answer>3</answer>" * (n // 18),
}


@pytest.mark.parametrize("name", WORST)
@pytest.mark.parametrize("frame", ["{}", "<answer>{}</answer>"])
def test_operations_grow_with_the_text_and_no_faster(name: str, frame: str) -> None:
    small, large = (operations(frame.format(WORST[name](n))) for n in (2_000, 8_000))
    assert large <= 4.1 * small + 200


@pytest.mark.parametrize("name", WORST)
def test_a_megabyte_is_graded(name: str) -> None:
    for frame in ("{}", "<answer>{}</answer>", "{}\n<answer>(3 + 4) * 2</answer>"):
        grade = TASK.grade(frame.format(WORST[name](1_000_000)), Problem("", "", str(PUZZLE)))
        assert grade["correct"] is frame.endswith("2</answer>")


def test_an_answer_of_a_hundred_thousand_characters_is_read() -> None:
    deep = f"<answer>{'(' * 49_990}3 * 4{')' * 49_990} + 2</answer>"
    grade = TASK.grade(deep, Problem("", "", str(PUZZLE)))
    assert grade["correct"] and len(deep) > 99_980
    assert TASK.unread("<answer>" + "9*" * 49_999 + "9</answer>") is None
