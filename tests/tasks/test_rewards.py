import json
import os
import random
from pathlib import Path

import pytest

from reinforce_lite.errors import UserError
from reinforce_lite.tasks import REGISTRY, Problem, article, named, reward, verdicts
from toys import WORLD

GSM8K_DIR = os.environ.get("GSM8K_DIR")
needs_gsm8k = pytest.mark.skipif(not GSM8K_DIR, reason="GSM8K_DIR names no folder with the original files")

RIGHT = "9 * 2 = 18 <answer>18</answer>"
UNTAGGED = "9 * 2 = 18"
WRONG = "9 * 2 = 18 <answer>19</answer>"
GLUED = "<answer>1 or 8</answer>"


def graded(text, answer="18"):
    return WORLD.grade(text, Problem("test-0", "how many ?", answer))


def earned(name, text, answer="18"):
    return reward(name, graded(text, answer), random.Random(0))


@pytest.mark.parametrize(
    ("name", "right", "untagged", "wrong", "glued"),
    [
        ("strict", 1.0, -1.0, -1.0, -1.0),
        ("correct", 1.0, -1.0, -1.0, -1.0),
        ("flexible", 1.0, 1.0, -1.0, -1.0),
        ("published", 1.0, -1.0, -1.0, 1.0),
        ("released", 1.0, -1.0, 1.0, -1.0),
        ("format", 1.0, -1.0, 1.0, -1.0),
        ({"correct": 1.0, "format": 0.1}, 1.1, 0.0, 0.1, 0.0),
        ({"strict": 2.0, "flexible": -0.5}, 1.5, -0.5, 0.0, 0.0),
    ],
)
def test_what_each_reward_pays(name, right, untagged, wrong, glued):
    assert [earned(name, text) for text in (RIGHT, UNTAGGED, WRONG, GLUED)] == [right, untagged, wrong, glued]


@pytest.mark.parametrize(
    ("answer", "text", "strict", "published"),
    [("1080", "<answer>1,080</answer>", 1.0, 1.0), ("-5", "<answer>-5</answer>", 1.0, -1.0)],
)
def test_normalised_answers_mend_commas_but_not_signs(answer, text, strict, published):
    assert earned("strict", text, answer) == strict
    assert earned("published", text, answer) == published


EXAMPLES = {
    "countdown": ("make 18 from 9 and 2", "18 from 9 2"),
    "knights_knaves": (
        "ann says ben knave . ben says ann knave and ben knave .",
        "(1) ann is a knight\n(2) ben is a knave",
    ),
}


@pytest.mark.parametrize("task", REGISTRY)
def test_a_grade_has_the_scores_that_the_task_names_and_verdicts_are_bools(task):
    question, answer = EXAMPLES.get(task, ("how many ?", "18"))
    grade = named(task).grade(RIGHT, Problem("test-0", question, answer))
    assert tuple(grade) == named(task).scores
    assert isinstance(grade["correct"], bool) and isinstance(grade["format"], bool)
    assert all(isinstance(score, bool | float) for score in grade.values())


def test_verdicts_of_result_files():
    assert verdicts(graded(UNTAGGED)) == {"strict": False, "flexible": True}
    assert verdicts({"correct": True, "elegance": 0.5}) == {"strict": True, "flexible": True}, "one reading serves both"


def test_partial_credit_is_no_right_answer():
    with pytest.raises(UserError, match=r"`correct` is 0.5\n  fix: make it True or False"):
        verdicts({"correct": 0.5})


def test_a_score_that_is_no_verdict_pays_itself():
    grade = {"correct": True, "elegance": 0.25}
    assert reward("elegance", grade, random.Random(0)) == 0.25
    assert reward({"elegance": 4.0, "correct": -1.0}, grade, random.Random(0)) == 0.0


def test_random_ignores_the_text_and_is_fair():
    coins = [reward("random", graded(RIGHT), coin) for coin in [random.Random(0)] for _ in range(4000)]
    rng = random.Random(0)
    assert coins == [reward("random", graded("", "7"), rng) for _ in range(4000)]
    assert set(coins) == {1.0, -1.0}
    assert abs(sum(coins)) < 4 * 4000**0.5  # four standard deviations


def test_random_draws_once():
    used, twin = random.Random(5), random.Random(5)
    reward("random", {"correct": False}, used)
    twin.random()
    assert used.getstate() == twin.getstate()


@pytest.mark.parametrize("name", [*WORLD.scores, "strict", {"correct": 1.0}])
def test_other_rewards_leave_the_coin_alone(name):
    coin = random.Random(5)
    state = coin.getstate()
    reward(name, graded(RIGHT), coin)
    assert coin.getstate() == state


def test_a_gold_answer_that_is_no_number():
    with pytest.raises(ValueError, match="not a number"):
        graded(RIGHT, "eighteen")


@pytest.mark.parametrize(
    ("text", "reading"),
    [
        ("<answer>18</answer>", 18.0),
        ("<answer>$1,080.50</answer>", 1080.5),
        ("<answer>3 or 4</answer>", 34.0),
        ("<answer>1/2</answer>", 12.0),
        ("<answer>48/2 = 24</answer>", 48224.0),
        ("<answer>-5</answer>", 5.0),
        ("<answer>3</answer><answer>4</answer>", 4.0),
        ("<answer>5.</answer>", 5.0),
        ("<answer>1.2.3</answer>", None),
        ("<answer>none</answer>", None),
        ("<answer>18", None),
        ("18</answer>", None),
        ("18", None),
    ],
)
def test_published_glues_digits_together(text, reading):
    assert article.published(text) == reading


def test_published_verdict_fails_commas_and_signs_of_the_gold_answer():
    assert article.published_is_correct("<answer>18</answer>", "18")
    assert not article.published_is_correct("<answer>1,080</answer>", "1,080")
    assert article.published_is_correct("<answer>1,080</answer>", "1080")
    assert not article.published_is_correct("<answer>-5</answer>", "-5")
    assert article.published_is_correct("<answer>-5</answer>", "5")


@pytest.mark.parametrize(
    ("text", "gold", "paid"),
    [
        ("<answer>18</answer>", "18", True),
        ("<ANSWER>18.0</ANSWER>", "18", True),
        ("6 * 3 = 18 <answer>7</answer>", "18", True),  # the number is in the reasoning, the answer is wrong
        ("so 18 <answer>7", "18", True),
        ("<answer>7</answer> or 18", "18", True),
        ("18</answer> 7", "18", False),  # before a closing tag without an opening one is not searched
        ("7</answer> 18", "18", True),
        ("<answer>7</answer> 18 <answer>8</answer>", "18", False),  # between two pairs is not searched
        ("<answer>7 <answer>18</answer>", "18", True),
        ("<answer>18 <answer>7</answer>", "18", True),
        ("<answer>18", "18", False),
        ("the answer is 18", "18", False),
        ("<answer>3 or 18</answer>", "18", True),
        ("<answer>18 eggs</answer>", "18", True),
        ("<answer>18eggs</answer>", "18", False),
        ("<answer>1,080</answer>", "1080", False),
        ("<answer>1080</answer>", "1,080", False),
        ("<answer>-5</answer>", "-5", False),
        ("<answer>-5</answer>", "5", True),
        ("<answer>18.5</answer>", "18", False),
        ("<answer>18.</answer>", "18", True),
    ],
)
def test_released_verdict(text, gold, paid):
    assert article.released_is_correct(text, gold) is paid


@needs_gsm8k
def test_released_verdict_pays_gold_reasoning_with_a_wrong_answer():
    lines = (Path(GSM8K_DIR) / "train.jsonl").read_text(encoding="utf-8").splitlines()
    rng = random.Random(0)
    paid = 0
    for line in (sample := rng.sample(lines, 500)):
        solution, _, gold = json.loads(line)["answer"].partition("\n#### ")
        paid += article.released_is_correct(f"{solution}\n<answer>999983</answer>", gold)
    assert paid / len(sample) > 0.9
