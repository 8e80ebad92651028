"""What TinyZero's reward pays, faults included: rows by the behaviour of its own scorer."""

import pytest

from reinforce_lite.tasks import Problem, reward
from reinforce_lite.tasks.countdown import TASK
from reinforce_lite.tasks.puzzles import Puzzle
from reinforce_lite.tasks.tinyzero import reward as pays

NUMBERS, TARGET = (2, 3, 4), 14


@pytest.mark.parametrize(
    ("text", "paid"),
    [
        ("(3 + 4) * 2", 0.0),  # no tag
        ("<answer>(3 + 4) * 2", 0.0),
        ("<ANSWER>(3 + 4) * 2</ANSWER>", 0.0),
        ("<answer>(3 + 4) * 2</answer>", 1.0),
        ("<think>...</think>\n<answer> (3 + 4) * 2 </answer>", 1.0),
        ("<answer>(3 + 4) * 2</answer>\n", 0.0),  # the last line is empty
        ("<answer>(3 + 4) * 2</answer>\nSo I am done.", 0.0),  # only the last line is searched
        ("<answer>\n(3 + 4) * 2\n</answer>", 0.0),  # no answer stands in one line
        ("<answer>1</answer> <answer>(3 + 4) * 2</answer>", 1.0),  # the last match counts
        ("<answer>(3 + 4) * 2</answer> <answer>1</answer>", 0.1),
        ("<answer><answer>(3 + 4) * 2</answer>", 0.1),  # from the first opening tag
        ("<answer></answer>", 0.1),
        ("<answer>none</answer>", 0.1),
        ("<answer>14</answer>", 0.1),  # other numbers
        ("<answer>3 + 4 + 2</answer>", 0.1),  # another result
        ("<answer>(3 + 4) * 2 = 14</answer>", 0.1),  # 14 is one number too many
        ("<answer>(3 + 4) \u00d7 2</answer>", 0.1),
        ("<answer>(3 + 4 * 2</answer>", 0.1),
        ("<answer>2(3 + 4)</answer>", 0.1),
        ("<answer>3 + 4 - 2 / (2 - 2)</answer>", 0.1),
        ("<answer>-(-3 - 4) * 2</answer>", 1.0),
        ("<answer>(03 + 4) * 2</answer>", 0.1),  # Python knows no 03
    ],
)
def test_what_it_pays(text: str, paid: float) -> None:
    assert pays(text, NUMBERS, TARGET) == paid
    assert TASK.grade(text, Problem("", "", str(Puzzle(NUMBERS, TARGET))))["tinyzero"] == paid


@pytest.mark.parametrize(
    ("answer", "numbers", "target", "paid"),
    [
        ("2 ** 3 + 4", (2, 3, 4), 12, 1.0),
        ("2 * * 3 + 4", (2, 3, 4), 12, 0.1),
        ("9 // 2", (9, 2), 4, 1.0),
        ("3.5 * 4", (3, 5, 4), 14, 1.0),  # the runs of digits are the numbers
        ("3. + 4", (3, 4), 7, 1.0),
        ("1 / 3 * 3", (1, 3, 3), 1, 1.0),  # a float, and near enough
        ("999999 / 1000000 * 14 + 0", (999999, 1000000, 14, 0), 14, 0.1),  # 1.4e-5 off
        ("1 / (3 - 3)", (1, 3, 3), 1, 0.1),
        ("(-8) ** (1 / 3) * 1", (8, 1, 3, 1), 2, 0.1),  # a complex number
        (
            "2 ** 99999 // 2 ** 99999",
            (2, 99999, 2, 99999),
            1,
            0.1,
        ),  # the original pays: 30,000 digits are too many here
        ("9 ** 9 ** 9", (9, 9, 9), 9, 0.1),  # the original computes 370 million digits
        ("1 ** 9 ** 9", (1, 9, 9), 1, 1.0),
        ("--3 + 4", (3, 4), 7, 1.0),
        ("-" * 5000 + "3 + 4", (3, 4), 7, 0.1),
        ("(" * 300 + "3" + ")" * 300 + "+ 4", (3, 4), 7, 0.1),  # Python's limit is 200
        ("\uff13 + 4", (3, 4), 7, 0.1),  # a digit to `int`, none to Python's parser
        ("()", (), 0, 0.1),
        ("...", (), 0, 0.1),
        ("3\u00a0+ 4", (3, 4), 7, 0.1),
        ("3 \t  +      4", (3, 4), 7, 1.0),
        ("9" * 5000, (9,), 9, 0.1),
    ],
)
def test_of_what_stands_in_the_tag(answer: str, numbers: tuple[int, ...], target: int, paid: float) -> None:
    assert pays(f"<answer>{answer}</answer>", numbers, target) == paid


def test_as_a_reward_it_pays_itself() -> None:
    grade = TASK.grade("<answer>1</answer>", Problem("", "", "14 from 3 4 2"))
    assert reward("tinyzero", grade, None) == 0.1  # type: ignore[arg-type]
    assert reward({"tinyzero": 1.0, "correct": 1.0}, grade, None) == 0.1  # type: ignore[arg-type]


def test_the_prompts_are_the_originals() -> None:
    question = TASK.build(TASK.options(name="countdown", train_size=1, dev_size=0, test_size=1)).test[0].question
    system, user, assistant = TASK.messages("tinyzero", question)
    assert system["content"].startswith("A conversation between User and Assistant. The user asks a question,")
    assert user["content"].startswith("Using the numbers [") and "], create an equation that equals " in question
    assert user["content"].endswith(
        "each number can only be used once. Show your work in <think> </think> tags. And return the final answer in "
        "<answer> </answer> tags, for example <answer> (1 + 2) / 3 </answer>."
    )
    assert assistant["content"] == "Let me solve this step by step.\n<think>"
    assert TASK.messages("tinyzero_instruct", question)[1:] == [user, assistant]
