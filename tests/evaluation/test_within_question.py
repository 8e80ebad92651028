import json
import random
from typing import Any

import pytest

from reinforce_lite.evaluation.within_question import mean_difference, within_question


def row(step: int, question: str, waits: bool, reward: float, right: bool = True, length: int = 5) -> dict[str, Any]:
    work = "3 + 1 = 5 wait 3 + 1 = 4 ." if waits else "3 + 1 = 4 ."
    completion = f"{work} <answer> {4 if right else 7} </answer>"
    fixed = {"answer": "4", "advantage": 0.0, "length": length}
    return {"step": step, "question": question, "completion": completion, "reward": reward, **fixed}


def test_worked() -> None:
    rows = [
        row(0, "a", True, 1),
        row(0, "a", True, -1),
        row(0, "a", False, -1),  # with: 0, without: -1, difference 1
        row(0, "b", True, 1),
        row(0, "b", False, 1),
        row(0, "b", False, 1),
        row(0, "b", False, 1),
        row(0, "b", False, -1),  # with: 1, without: 0.5, difference 0.5
        row(0, "c", True, -1),
        row(0, "c", True, -1),  # of one kind
        row(1, "a", False, -1),  # another step is another group
    ]
    found = within_question(rows, resamples=200)
    assert (found["completions"], found["groups"]) == (11, 4)
    backtracking = found["behaviours"]["backtracking"]
    assert backtracking["share"] == pytest.approx(5 / 11)
    assert backtracking["reward"]["difference"] == 0.75  # every group counts the same
    assert backtracking["reward"]["groups"] == 2
    assert backtracking["reward"]["ci95"] == [0.5, 1.0]
    assert backtracking["strict"]["difference"] == 0  # all are right, whatever they were paid
    nobody = {"difference": None, "ci95": None, "groups": 0}
    assert found["behaviours"]["tables"] == {"share": 0, "reward": nobody, "strict": nobody}
    json.dumps(found, allow_nan=False)


def test_hard_questions_do_not_count_against_what_is_done_on_them() -> None:
    # On the easy question 1 of 10 waits, on the hard one 9 of 10; over all, waiting seems to make things worse.
    easy = [row(0, "easy", True, 1)] + [row(0, "easy", False, reward) for reward in [1] * 8 + [-1]]
    hard = [row(0, "hard", True, reward) for reward in [1] * 2 + [-1] * 7] + [row(0, "hard", False, -1)]
    rows = easy + hard
    rewards = {waits: [r["reward"] for r in rows if ("wait" in r["completion"]) == waits] for waits in (True, False)}
    assert sum(rewards[True]) / 10 < sum(rewards[False]) / 10
    found = within_question(rows, resamples=200)["behaviours"]["backtracking"]["reward"]
    assert found["difference"] == pytest.approx(((1 - 7 / 9) + (-5 / 9 + 1)) / 2)


def test_length_of_right_answers_less_that_of_wrong_ones() -> None:
    rows = [
        row(0, "a", False, -1, right=True, length=10),  # the strict parser decides, not the reward
        row(0, "a", False, 1, right=False, length=4),
        row(0, "a", False, 1, right=False, length=6),  # 10 - 5
        row(0, "b", False, 1, right=True, length=7),
        row(0, "b", False, 1, right=False, length=8),  # -1
        row(0, "c", False, 1, right=True, length=100),
    ]
    length = within_question(rows, resamples=200)["length"]
    assert (length["difference"], length["groups"], length["ci95"]) == (2, 2, [-1.0, 5.0])


def test_the_order_of_the_rows_does_not_matter() -> None:
    rng = random.Random(0)
    rows = [row(s, q, rng.random() < 0.5, rng.choice([-1, 1])) for s in range(4) for q in "abc" for _ in range(4)]
    shuffled = rng.sample(rows, len(rows))
    first, second = (within_question(r, resamples=100)["behaviours"]["backtracking"] for r in (rows, shuffled))
    assert first["reward"]["difference"] == pytest.approx(second["reward"]["difference"])
    assert first["reward"]["groups"] == second["reward"]["groups"] > 0


def test_no_rows() -> None:
    found = within_question([])
    assert found["completions"] == 0 and found["behaviours"]["tables"]["share"] is None
    json.dumps(found, allow_nan=False)


@pytest.mark.parametrize(
    ("differences", "found"),
    [
        ([], {"difference": None, "ci95": None, "groups": 0}),
        ([0.5], {"difference": 0.5, "ci95": None, "groups": 1}),
        ([0.5, 0.5, 0.5], {"difference": 0.5, "ci95": [0.5, 0.5], "groups": 3}),
    ],
)
def test_few_groups(differences: list[float], found: dict[str, Any]) -> None:
    assert mean_difference(differences, resamples=100, seed=0) == found


def test_the_interval_has_the_width_that_theory_gives() -> None:
    # 50 differences of +1 and 50 of -1: standard error 1 / sqrt(100) = 0.1.
    low, high = mean_difference([1.0, -1.0] * 50, resamples=20_000, seed=1)["ci95"]
    assert low == pytest.approx(-0.196, abs=0.021) and high == pytest.approx(0.196, abs=0.021)  # steps of 0.02


def test_the_interval_repeats_with_its_seed() -> None:
    values = [random.Random(0).gauss(0, 1) for _ in range(30)]
    values += [random.Random(1).gauss(0, 1) for _ in range(30)]
    first = mean_difference(values, resamples=500, seed=7)
    assert first == mean_difference(values, resamples=500, seed=7) != mean_difference(values, resamples=500, seed=8)
