"""Countdown: its grammar, grade, puzzles and data."""

import random
from fractions import Fraction

import pytest
from hypothesis import given
from hypothesis import strategies as st

from reinforce_lite.tasks import Options, Problem, read_options
from reinforce_lite.tasks.countdown import TASK, judge
from reinforce_lite.tasks.expressions import parse
from reinforce_lite.tasks.puzzles import Puzzle

PUZZLE = Puzzle((3, 4, 2), 14)
PROBLEM = Problem("test-0", "", str(PUZZLE))
COMMIT = "a" * 40
SIGNS = {"-": "-\u2212", "*": "*\u00d7\u00b7\u22c5", "/": "/\u00f7", "+": "+"}


def tagged(expression: str) -> str:
    return f"3 + 4 is 7, so <answer>{expression}</answer>"


def options(**changes: object) -> Options:
    return read_options({"name": "countdown", "train_size": 40, "dev_size": 10, "test_size": 20, **changes})


TINY = {
    "tiny": True, "prompt": "bare", "numbers": [3], "number_range": [1, 9], "target_range": [0, 60],
    "operators": ["+", "-", "*"],
}  # fmt: skip


RIGHT, WRONG, INVALID, NO_FORMAT = (True,) * 3, (False, True, True), (False, False, True), (False,) * 3


@pytest.mark.parametrize(
    ("expression", "verdicts", "reason"),
    [
        ("(3 + 4) * 2", RIGHT, None),
        ("2*(4+3)", RIGHT, None),
        ("  ( ( 3 ) + 4 ) * 2\n", RIGHT, None),
        ("(3 + 4) \u00d7 2", RIGHT, None),
        ("(3 + 4) \u00b7 2", RIGHT, None),
        ("(3 + 4) \u00f7 (1 \u00f7 2)", INVALID, "not each number of the puzzle exactly once"),
        ("-(\u22123 \u2212 4) * 2", RIGHT, None),
        ("+3 * 4 + 2", RIGHT, None),
        ("3 * 4 - -2", RIGHT, None),
        ("(3 + 4) * 2 = 14", RIGHT, None),
        ("(3 + 4) * 2 = 7 * 2 = 14.0", RIGHT, None),
        ("(3 + 4) * 2 = 15", INVALID, "another result behind `=` than its own"),
        ("(3 + 4) * 2 = 1 + 1 + 1 + 11", INVALID, "more numbers behind `=` than in the puzzle"),
        ("14 = (3 + 4) * 2", INVALID, "not each number of the puzzle exactly once"),
        ("(3 + 4) * 2 =", NO_FORMAT, "it ends where a number is due"),
        ("3 + 4 + 2", WRONG, "it makes 9, not 14"),
        ("3 / 4 / 2", WRONG, "it makes 3/8, not 14"),
        ("3 + 4", INVALID, "not each number of the puzzle exactly once"),
        ("3 + 4 * 2 + 3", INVALID, "not each number of the puzzle exactly once"),
        ("5 + 7 + 2", INVALID, "not each number of the puzzle exactly once"),
        ("3 * 4 + 3 - 1", INVALID, "not each number of the puzzle exactly once"),
        ("4 * 4 - 2", INVALID, "not each number of the puzzle exactly once"),
        ("7 * 2", INVALID, "not each number of the puzzle exactly once"),
        ("34 - 2", INVALID, "not each number of the puzzle exactly once"),
        ("3 / (4 - 2 - 2)", INVALID, "not each number of the puzzle exactly once"),
        ("14", INVALID, "not each number of the puzzle exactly once"),
        ("3.0 * 4 + 2", RIGHT, None),
        ("3 ** 2 + 4", NO_FORMAT, "'*' stands where a number is due"),
        ("3 // 2 + 4", NO_FORMAT, "'/' stands where a number is due"),
        ("3 - - -4 + 2", NO_FORMAT, "'-' stands where a number is due"),
        ("(3)(4)(2)", NO_FORMAT, "no operator stands before '('"),
        ("(3 + 4 * 2", NO_FORMAT, "a parenthesis is not closed"),
        ("3 + 4) * 2", NO_FORMAT, "a parenthesis is closed that was not opened"),
        ("()", NO_FORMAT, "')' stands where a number is due"),
        ("", NO_FORMAT, "it ends where a number is due"),
        ("3 * 4 + 2 or (3 + 4) * 2", NO_FORMAT, "'o' is no part of an expression"),
        ("3 * 4 + 2, (3 + 4) * 2", NO_FORMAT, "',' is no part of an expression"),
        ("\uff13 * 4 + 2", NO_FORMAT, "'\uff13' is no part of an expression"),
        ("__import__('os')", NO_FORMAT, "'_' is no part of an expression"),
        ("3 * 4 + 2e0", NO_FORMAT, "'e' is no part of an expression"),
        ("3 * 4 + 2.", NO_FORMAT, "no operator stands before '.'"),
        ("9" * 5000, NO_FORMAT, "a number of more than 9 digits"),
        ("9*" * 60_000 + "9", NO_FORMAT, "longer than an expression"),
    ],
)
def test_an_answer_is_judged_with_a_reason(expression: str, verdicts: tuple[bool, ...], reason: str | None) -> None:
    judged = judge(tagged(expression), PUZZLE)
    assert (judged.correct, judged.valid, judged.format) == verdicts
    assert judged.reason == reason
    grade = TASK.grade(tagged(expression), PROBLEM)
    assert (grade["correct"], grade["valid_expression"], grade["format"]) == verdicts
    assert TASK.unread(tagged(expression)) == (None if judged.format else reason)


def test_a_division_by_zero_has_no_value() -> None:
    judged = judge(tagged("3 / (2 - 2)"), Puzzle((2, 2, 3), 5))
    assert judged == (True, False, False, "a division by zero")


@pytest.mark.parametrize(
    ("text", "correct"),
    [
        ("(3 + 4) * 2", False),
        ("<answer>(3 + 4) * 2", False),
        ("<ANSWER> (3 + 4) * 2 </Answer> is what I get", True),
        ("<answer>3</answer> no, <answer>(3 + 4) * 2</answer>", True),
        ("<answer>(3 + 4) * 2</answer> no, <answer>3 + 4 + 2</answer>", False),
        ("<answer>3 <answer>(3 + 4) * 2</answer></answer>", True),
        ("<answer><answer>(3 + 4) * 2</answer>", True),
        ("<answer>(3 + 4) * 2 <b></b></answer>", False),
    ],
)
def test_the_last_complete_tag_counts(text: str, correct: bool) -> None:
    assert TASK.grade(text, PROBLEM)["correct"] is correct


Tree = int | tuple[str, "Tree", "Tree"] | tuple[str, "Tree"]


@st.composite
def trees(draw: st.DrawFn, numbers: list[int]) -> Tree:
    """An expression over these numbers, with a sign here and there."""
    if len(numbers) == 1:
        tree: Tree = numbers[0]
    else:
        cut = draw(st.integers(1, len(numbers) - 1))
        tree = (draw(st.sampled_from("+-*/")), draw(trees(numbers[:cut])), draw(trees(numbers[cut:])))
    return (draw(st.sampled_from("+-")), tree) if draw(st.integers(0, 5)) == 0 else tree


def value(tree: Tree) -> Fraction:
    """By the definition."""
    match tree:
        case (sign, operand):
            return -value(operand) if sign == "-" else value(operand)
        case (operator, left, right):
            a, b = value(left), value(right)
            return {"+": a + b, "-": a - b, "*": a * b}[operator] if operator != "/" else a / b
    return Fraction(tree)


def written(tree: Tree, rng: random.Random, outer: int = 0) -> str:
    """With no more parentheses than needed, or more, and with any sign that stands for an operator."""
    blank = rng.choice(("", " ", "  "))
    match tree:
        case (sign, operand):
            inner = written(operand, rng, 4)
            text, rank = f"{rng.choice(SIGNS[sign])}{blank}{inner}", 3
        case (operator, left, right):
            rank = 1 if operator in "+-" else 2
            shown = rng.choice(SIGNS[operator])
            text = f"{written(left, rng, rank)}{blank}{shown}{blank}{written(right, rng, rank + 1)}"
        case number:
            text, rank = str(number), 5
    return f"({text})" if rank < outer or rng.random() < 0.1 else text


@given(st.data(), st.lists(st.integers(0, 99), min_size=1, max_size=6), st.randoms(use_true_random=False))
def test_a_printed_expression_has_its_value(data: st.DataObject, numbers: list[int], rng: random.Random) -> None:
    tree = data.draw(trees(numbers))
    text = written(tree, rng)
    try:
        exact = value(tree)
    except ZeroDivisionError:
        assert judge(tagged(text), Puzzle(tuple(numbers), 1)).reason == "a division by zero"
        return
    assert parse(text).value() == exact
    target = int(exact) if exact.denominator == 1 and exact >= 0 else 7
    judged = judge(tagged(text), Puzzle(tuple(rng.sample(numbers, len(numbers))), target))
    assert judged.valid and judged.correct == (exact == target)


PIECES = [
    "<answer>",
    "</answer>",
    "(",
    ")",
    "3",
    "4",
    "2",
    "+",
    "-",
    "*",
    "/",
    "=",
    ".",
    " ",
    "\n",
    "\u00d7",
    "14",
    "no",
]


@given(st.one_of(st.text(), st.lists(st.sampled_from(PIECES), max_size=60).map("".join)))
def test_whatever_the_text_it_is_graded(text: str) -> None:
    for written_text in (text, f"<answer>{text}</answer>"):
        grade = TASK.grade(written_text, PROBLEM)
        assert tuple(grade) == TASK.scores
        assert grade["correct"] <= grade["valid_expression"] <= grade["format"]
        assert grade["tinyzero"] in (0.0, 0.1, 1.0)
        assert (TASK.unread(written_text) is None) == grade["format"]
        assert (judge(written_text, PUZZLE).reason is None) == grade["correct"]
