import random

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from reinforce_lite.evaluation.memorisation import limem

verdicts = st.lists(st.tuples(st.booleans(), st.booleans()), min_size=1, max_size=60)


@given(verdicts)
def test_it_is_accuracy_times_one_minus_consistency(pairs: list[tuple[bool, bool]]) -> None:
    solved, still = zip(*pairs, strict=True)
    found = limem(solved, still, resamples=50, seed=0)
    assert found.accuracy == sum(solved) / len(solved)
    if not any(solved):
        assert found[1:] == (None, 0.0, 0.0, 0.0)
        return
    consistent = sum(1 for a, b in pairs if a and b) / sum(solved)
    assert found.consistency == consistent
    assert found.limem == pytest.approx(found.accuracy * (1 - consistent))
    assert 0 <= found.low <= found.high <= 1


def test_who_reasons_scores_nothing_and_who_recites_scores_the_accuracy() -> None:
    solved = [True] * 90 + [False] * 10
    assert limem(solved, solved, resamples=200, seed=1) == (0.9, 1.0, 0.0, 0.0, 0.0)
    recited = limem(solved, [False] * 100, resamples=200, seed=1)
    assert recited[:3] == (0.9, 0.0, 0.9) and recited.low < 0.9 < recited.high


def test_puzzles_gained_by_the_perturbation_do_not_count() -> None:
    solved, still = [True, False, False, False], [False, True, True, True]
    assert limem(solved, still, resamples=10, seed=0)[:3] == (0.25, 0.0, 0.25)


def test_the_interval_is_that_of_resampled_puzzles() -> None:
    rng = random.Random(5)
    solved = [rng.random() < 0.7 for _ in range(200)]
    still = [a and rng.random() < 0.6 for a in solved]
    draws = np.random.default_rng(3)
    a_N, b_N = np.array(solved), np.array(still)
    scores = []
    for _ in range(4000):
        some = draws.integers(0, 200, 200)
        right, both = a_N[some].sum(), (a_N & b_N)[some].sum()
        scores.append(right / 200 * (1 - both / right))
    found = limem(solved, still, resamples=4000, seed=0)
    assert (found.low, found.high) == pytest.approx(np.quantile(scores, [0.025, 0.975]), abs=0.011)
    assert found.low < found.limem < found.high
    assert found == limem(solved, still, resamples=4000, seed=0)


def test_bad_input_is_refused() -> None:
    with pytest.raises(ValueError, match="shorter"):
        limem([True, False], [True], resamples=10, seed=0)
    with pytest.raises(ValueError, match="no question"):
        limem([], [], resamples=10, seed=0)
    with pytest.raises(ValueError, match="resamples"):
        limem([True], [True], resamples=0, seed=0)
