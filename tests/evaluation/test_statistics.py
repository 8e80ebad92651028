import pytest
from hypothesis import given
from hypothesis import strategies as st

from reinforce_lite.evaluation.statistics import discordance, mcnemar_exact, paired_bootstrap

counts = st.integers(0, 2000)
verdict_pairs = st.lists(st.tuples(st.booleans(), st.booleans()), min_size=1, max_size=200)


def verdicts(gained: int, lost: int, both: int, neither: int) -> tuple[list[bool], list[bool]]:
    before = [False] * gained + [True] * lost + [True] * both + [False] * neither
    after = [True] * gained + [False] * lost + [True] * both + [False] * neither
    return before, after


@pytest.mark.parametrize(
    ("gained", "lost", "p"),
    [
        (0, 0, 1.0),
        (1, 0, 1.0),  # 2 x 1/2
        (5, 0, 0.0625),  # 2 / 2**5
        (7, 1, 0.0703125),  # 2 x (1 + 8) / 2**8; Fagerland et al. 2013 give 0.070
        (10, 10, 1.0),
        (16, 6, 0.052478790283203125),  # 2 x (1 + 22 + 231 + 1540 + 7315 + 26334 + 74613) / 2**22
        (2, 8, 0.109375),  # 2 x (1 + 10 + 45) / 2**10
    ],
)
def test_mcnemar_worked(gained: int, lost: int, p: float) -> None:
    assert mcnemar_exact(gained, lost) == pytest.approx(p, rel=1e-12)


def test_mcnemar_on_approval_ratings_agrees_with_the_textbook() -> None:
    # Agresti, Categorical Data Analysis: 86 against 150 changed their minds; z = -4.17, so p is about 3e-5.
    assert 2e-5 < mcnemar_exact(86, 150) < 5e-5


@given(counts, counts)
def test_mcnemar_is_symmetric_and_a_probability(gained: int, lost: int) -> None:
    p = mcnemar_exact(gained, lost)
    assert p == mcnemar_exact(lost, gained)
    assert 0 < p <= 1


@given(st.integers(0, 300), st.integers(0, 300))
def test_one_more_on_the_larger_side_is_stronger_evidence(smaller: int, extra: int) -> None:
    assert mcnemar_exact(smaller + extra + 1, smaller) <= mcnemar_exact(smaller + extra, smaller) + 1e-12


def test_mcnemar_refuses_negative_counts() -> None:
    with pytest.raises(ValueError, match="negative"):
        mcnemar_exact(-1, 2)


@given(verdict_pairs)
def test_discordance_is_the_difference_in_correct_answers(pairs: list[tuple[bool, bool]]) -> None:
    before, after = zip(*pairs, strict=True)
    gained, lost = discordance(before, after)
    assert gained - lost == sum(after) - sum(before)
    assert (lost, gained) == discordance(after, before)


def test_discordance_needs_equal_lengths() -> None:
    with pytest.raises(ValueError, match="shorter"):
        discordance([True, False], [True])


def test_bootstrap_has_the_width_that_theory_gives() -> None:
    # n = 400, 40 gained, 20 lost: difference .05, standard error sqrt((60/400 - .05**2) / 400) = .0192.
    low, high = paired_bootstrap(*verdicts(40, 20, 300, 40), resamples=20_000, seed=1)
    assert low == pytest.approx(0.05 - 1.96 * 0.0192, abs=0.003)
    assert high == pytest.approx(0.05 + 1.96 * 0.0192, abs=0.003)


def test_bootstrap_agrees_with_resampled_indices() -> None:
    import numpy as np

    before, after = verdicts(12, 5, 50, 33)
    differences_N = np.array(after, dtype=int) - np.array(before, dtype=int)
    rng = np.random.default_rng(3)
    means_R = differences_N[rng.integers(0, 100, size=(20_000, 100))].mean(axis=1)
    expected = np.quantile(means_R, [0.05, 0.95])
    measured = paired_bootstrap(before, after, resamples=20_000, seed=4, confidence=0.9)
    assert measured == pytest.approx(expected, abs=0.0101)  # means are multiples of .01


@given(st.integers(1, 300), st.sampled_from([(False, True), (True, False), (True, True), (False, False)]))
def test_equal_differences_have_no_spread(n: int, pair: tuple[bool, bool]) -> None:
    difference = pair[1] - pair[0]
    interval = paired_bootstrap([pair[0]] * n, [pair[1]] * n, resamples=200, seed=0)
    assert interval == (difference, difference)


@given(verdict_pairs, st.integers(0, 2**32))
def test_bootstrap_interval_holds_the_estimate(pairs: list[tuple[bool, bool]], seed: int) -> None:
    before, after = zip(*pairs, strict=True)
    low, high = paired_bootstrap(before, after, resamples=2000, seed=seed)
    assert -1 <= low <= (sum(after) - sum(before)) / len(pairs) <= high <= 1


def test_bootstrap_repeats_with_its_seed_and_narrows_with_less_confidence() -> None:
    data = verdicts(30, 10, 100, 60)
    first = paired_bootstrap(*data, resamples=5000, seed=7)
    assert first == paired_bootstrap(*data, resamples=5000, seed=7)
    half = paired_bootstrap(*data, resamples=5000, seed=7, confidence=0.5)
    assert first[0] < half[0] < half[1] < first[1]


@pytest.mark.parametrize(
    "bad", [{"resamples": 0}, {"resamples": 10, "confidence": 1.0}, {"resamples": 10, "confidence": 0.0}]
)
def test_bootstrap_refuses_bounds_that_are_not_sensible(bad: dict[str, float]) -> None:
    with pytest.raises(ValueError, match="resamples must be positive"):
        paired_bootstrap([True], [False], seed=0, **bad)  # type: ignore[arg-type]


def test_bootstrap_refuses_no_questions() -> None:
    with pytest.raises(ValueError, match="no question"):
        paired_bootstrap([], [], resamples=10, seed=0)
