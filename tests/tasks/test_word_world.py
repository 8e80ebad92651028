import random
from decimal import Decimal

import pytest
from hypothesis import given
from hypothesis import strategies as st

from reinforce_lite.tasks import Options
from reinforce_lite.tasks.answers import strict
from reinforce_lite.tasks.word_world import LARGEST, TASK, VOCABULARY, demonstrate, make_problem

SETTINGS = Options(name="word_world", prompt="bare", train_size=200, dev_size=50, test_size=100, demonstrations=2000)


@given(st.integers(0, 10_000), st.sampled_from([1, 2]))
def test_sums_are_right_and_every_word_is_known(seed: int, steps: int) -> None:
    rng = random.Random(seed)
    problem = make_problem(rng, steps)
    assert len(problem.sums) == steps
    previous = None
    for left, operator, right, result in problem.sums:
        assert {"+": left + right, "-": left - right, "*": left * right}[operator] == result
        assert previous is None or left == previous, "the second sum goes on from the first"
        assert 0 < result <= LARGEST
        previous = result
    for style in ("careful", "wait", "hasty"):
        words = f"{problem.text} {demonstrate(problem, style, rng)}".split()
        assert set(words) <= set(VOCABULARY)


@given(st.integers(0, 10_000))
def test_careful_is_right_and_hasty_only_after_one_step(seed: int) -> None:
    rng = random.Random(seed)
    one, two = make_problem(rng, 1), make_problem(rng, 2)
    for problem in (one, two):
        for style in ("careful", "wait"):
            assert strict(demonstrate(problem, style, rng)) == Decimal(problem.answer)
    assert strict(demonstrate(one, "hasty", rng)) == Decimal(one.answer)
    assert strict(demonstrate(two, "hasty", rng)) == Decimal(two.sums[0][3]) != Decimal(two.answer)


def test_splits_share_no_question_and_depend_on_the_seed() -> None:
    dataset = TASK.build(SETTINGS)
    everything = [p.question for p in (*dataset.train, *dataset.dev, *dataset.test)]
    everything += [d.question for d in dataset.demonstrations]
    assert len(set(everything)) == len(everything) == 2350
    assert TASK.build(SETTINGS) == dataset
    assert TASK.build(SETTINGS.model_copy(update={"seed": 1})).test != dataset.test


def test_the_skill_comes_first_and_the_habit_is_the_majority_of_the_rest() -> None:
    hasty = [d.completion.startswith("<answer>") for d in TASK.build(SETTINGS).demonstrations]
    assert not any(hasty[:1400])
    assert sum(hasty[1400:]) / 600 == pytest.approx(0.85, abs=0.05)  # 3 standard errors
