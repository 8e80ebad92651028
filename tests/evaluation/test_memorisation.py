import random
from collections.abc import Sequence

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from reinforce_lite.errors import UserError
from reinforce_lite.evaluation.memorisation import PERTURBED, by_problem, interval, limem, questions
from reinforce_lite.tasks import Problem, named
from toys import WORLD

ISLAND = named("knights_knaves")
OPTIONS = ISLAND.options.model_validate(
    {
        "name": "knights_knaves", "form": "words", "prompt": "bare", "people": [2, 3], "test_people": [3],
        "train_size": 40, "dev_size": 0, "test_size": 5,
    }
)  # fmt: skip
TRAIN = ISLAND.build(OPTIONS).train

verdicts = st.lists(st.tuples(st.booleans(), st.booleans()), min_size=1, max_size=60)


@given(verdicts)
def test_it_is_accuracy_times_one_minus_consistency(pairs: list[tuple[bool, bool]]) -> None:
    found, solved = limem(pairs), sum(a for a, _ in pairs)
    low, high = interval(pairs, resamples=50, seed=0)
    assert found["n"] == len(pairs) and found["accuracy"] == solved / len(pairs)
    if not solved:
        assert (found["consistency"], found["limem"], low, high) == (None, 0.0, 0.0, 0.0)
        return
    assert found["consistency"] == sum(1 for a, b in pairs if a and b) / solved
    assert found["limem"] == pytest.approx(found["accuracy"] * (1 - found["consistency"]))
    assert 0 <= low <= high <= 1


def test_who_reasons_scores_nothing_and_who_recites_scores_the_accuracy() -> None:
    reasons = [(True, True)] * 90 + [(False, False)] * 10
    assert limem(reasons) == {"n": 100, "accuracy": 0.9, "consistency": 1.0, "limem": 0.0}
    assert interval(reasons, resamples=200, seed=1) == (0.0, 0.0)
    recites = [(solved, False) for solved, _ in reasons]
    low, high = interval(recites, resamples=200, seed=1)
    assert limem(recites) == {"n": 100, "accuracy": 0.9, "consistency": 0.0, "limem": 0.9} and low < 0.9 < high


def test_puzzles_gained_by_the_perturbation_do_not_count() -> None:
    pairs = [(True, False), (False, True), (False, True), (False, True)]
    assert limem(pairs) == {"n": 4, "accuracy": 0.25, "consistency": 0.0, "limem": 0.25}


def test_the_interval_is_that_of_resampled_puzzles() -> None:
    rng = random.Random(5)
    solved = [rng.random() < 0.7 for _ in range(200)]
    pairs = [(a, a and rng.random() < 0.6) for a in solved]
    draws = np.random.default_rng(3)
    a_N, b_N = np.array(pairs).T
    scores = []
    for _ in range(4000):
        some = draws.integers(0, 200, 200)
        right, both = a_N[some].sum(), (a_N & b_N)[some].sum()
        scores.append(right / 200 * (1 - both / right))
    low, high = interval(pairs, resamples=4000, seed=0)
    assert (low, high) == pytest.approx(np.quantile(scores, [0.025, 0.975]), abs=0.011)
    assert low < limem(pairs)["limem"] < high
    assert (low, high) == interval(pairs, resamples=4000, seed=0)


def test_bad_input_is_refused() -> None:
    with pytest.raises(ValueError, match="no question"):
        interval([], resamples=10, seed=0)
    with pytest.raises(ValueError, match="resamples"):
        interval([(True, True)], resamples=0, seed=0)


def rows(*ids: str) -> list[dict[str, object]]:
    return [{"id": name, "strict": name == "a"} for name in ids]


def test_verdicts_come_in_pairs() -> None:
    assert by_problem(rows("a", f"a{PERTURBED}", "b", f"b{PERTURBED}")) == [(True, False), (False, False)]
    for bad in ([], ["a"], ["a", f"b{PERTURBED}"], [f"a{PERTURBED}"], ["a", f"a{PERTURBED}", f"b{PERTURBED}"]):
        with pytest.raises(ValueError, match="every problem needs its perturbation"):
            by_problem(rows(*bad))


def test_each_question_of_train_is_followed_by_its_perturbation() -> None:
    asked = questions(ISLAND, TRAIN, 30, seed=3)
    own, other = asked[::2], asked[1::2]
    assert len({problem.id for problem in own}) == len(other) == 30 and set(own) <= set(TRAIN)
    assert {ISLAND.kind(problem) for problem in own} == {"2 people", "3 people"}, "drawn from all of train"
    for one, changed in zip(own, other, strict=True):
        assert changed.id == one.id + PERTURBED and ISLAND.kind(changed) == ISLAND.kind(one)
        assert changed.question != one.question and changed.answer != one.answer
    assert not {problem.question for problem in other} & {problem.question for problem in TRAIN}


def test_every_policy_is_asked_the_same_whatever_else_is_known_of_the_problems() -> None:
    bare = [Problem(problem.id, problem.question, problem.answer) for problem in TRAIN]
    asked = questions(ISLAND, TRAIN, 30, seed=3)
    again = questions(ISLAND, bare, 30, seed=3)
    assert [(p.id, p.question, p.answer) for p in asked] == [(p.id, p.question, p.answer) for p in again]
    assert asked[:20] == questions(ISLAND, TRAIN, 10, seed=3) and asked != questions(ISLAND, TRAIN, 30, seed=4)
    assert questions(ISLAND, TRAIN, 0, seed=3) == questions(WORLD, TRAIN, 0, seed=3) == []


def test_a_perturbation_that_stands_in_train_itself_is_left_out() -> None:
    class Echo(type(ISLAND)):  # type: ignore[misc]
        def perturbed(self, problem: Problem, rng: random.Random) -> Problem | None:
            return TRAIN[0] if problem.id == TRAIN[1].id else super().perturbed(problem, rng)  # type: ignore[no-any-return]

    asked = questions(Echo(), TRAIN, 30, seed=0)
    assert TRAIN[1].id + PERTURBED not in {problem.id for problem in asked}


def test_a_perturbation_with_the_same_answer_shows_nothing_and_is_left_out() -> None:
    class Reworded(type(ISLAND)):  # type: ignore[misc]
        def perturbed(self, problem: Problem, rng: random.Random) -> Problem | None:
            return Problem("", f"once more : {problem.question}", problem.answer)

    with pytest.raises(UserError, match="the task perturbs 0 of the 40 problems"):
        questions(Reworded(), TRAIN, 1, seed=0)


@pytest.mark.parametrize(
    ("task", "train", "said", "fix"),
    [
        (
            ISLAND,
            TRAIN[:7],
            "asks for 1,200 problems, and the task perturbs 7 of the 7",
            "set it to 7 or less, or raise",
        ),
        (WORLD, TRAIN, "and the task perturbs 0 of the 40 problems of train", "set it to 0, or choose another task"),
    ],
)
def test_more_than_can_be_had_is_refused(task: object, train: Sequence[Problem], said: str, fix: str) -> None:
    with pytest.raises(UserError, match=said) as caught:
        questions(task, train, 1200, seed=0)  # type: ignore[arg-type]
    assert caught.value.problem.startswith("evaluation.memorisation ") and caught.value.fix.startswith(fix)
