import tracemalloc
from fractions import Fraction
from math import comb
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from reinforce_lite.evaluation.statistics import (
    discordance,
    hierarchical_bootstrap,
    holm,
    mcnemar_exact,
    paired_bootstrap,
)

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
        # Airway hyper-responsiveness before and after stem cell transplantation (Bentur et al. 2009), n = 21:
        # Fagerland, Lydersen and Laake 2013, table 1; 2 x (1 + 8) / 2**8.
        (7, 1, 0.0703125),
        (10, 10, 1.0),
        # Complete response before and after consolidation therapy (Cavo et al. 2012), n = 161: Fagerland, Lydersen and
        # Laake 2017, Statistical Analysis of Contingency Tables, chapter 8, P = 0.052479;
        # 2 x (1 + 22 + 231 + 1540 + 7315 + 26334 + 74613) / 2**22.
        (16, 6, 0.052478790283203125),
        (2, 8, 0.109375),  # 2 x (1 + 10 + 45) / 2**10
    ],
)
def test_mcnemar_worked(gained: int, lost: int, p: float) -> None:
    assert mcnemar_exact(gained, lost) == pytest.approx(p, rel=1e-12)


def test_mcnemar_on_approval_ratings_agrees_with_the_textbook() -> None:
    # Agresti 1990, Categorical Data Analysis, pages 350-353: 86 against 150 of 1,600 changed their minds.
    # z = (86 - 150) / sqrt(236) = -4.17, so p is 3.1e-5 by the normal approximation; the exact one is a little larger.
    exact = Fraction(2 * sum(comb(236, k) for k in range(87)), 2**236)
    assert mcnemar_exact(86, 150) == pytest.approx(float(exact), rel=1e-9)
    assert float(exact) == pytest.approx(3.716e-5, abs=1e-8)


@given(st.integers(0, 400), st.integers(0, 400))
def test_mcnemar_is_the_binomial_sum(gained: int, lost: int) -> None:
    changed = gained + lost
    tail = Fraction(2 * sum(comb(changed, k) for k in range(min(gained, lost) + 1)), 2**changed)
    assert mcnemar_exact(gained, lost) == pytest.approx(float(min(tail, Fraction(1))), rel=1e-9)


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


def test_bootstrap_agrees_with_a_published_interval() -> None:
    # Cavo et al. 2012 as above, 16 and 6 changes of 161: Wald interval of the difference 0.0058 to 0.1184 (Fagerland,
    # Lydersen and Laake 2017, chapter 8). Differences are multiples of 1 / 161 = 0.0062.
    low, high = paired_bootstrap(*verdicts(16, 6, 59, 80), resamples=100_000, seed=2)
    assert low == pytest.approx(0.0058, abs=1 / 161)
    assert high == pytest.approx(0.1184, abs=1 / 161)


def test_the_interval_of_the_paired_bootstrap_holds_the_truth_in_95_of_100_experiments() -> None:
    n, gain, changed, experiments = 1319, 0.02, 0.10, 2000
    chances = [(changed + gain) / 2, (changed - gain) / 2, 1 - changed]
    drawn = np.random.default_rng(11).multinomial(n, chances, size=experiments).tolist()
    held = 0
    for seed, (gained, lost, same) in enumerate(drawn):
        low, high = paired_bootstrap(*verdicts(gained, lost, same, 0), resamples=1000, seed=seed)
        held += low <= gain <= high
    assert 0.93 <= held / experiments <= 0.97


def crossed(
    rng: np.random.Generator, seeds: int, n: int, gain: float, spread: float
) -> tuple[list[bool], list[list[bool]]]:
    """An experiment in which seeds differ: seed s gains `gain` + `spread` x z_s in truth, 12% of the verdicts change,
    and whether a verdict changes is half a matter of the question, half of the seed on that question."""
    before_Q = rng.random(n) < 0.7
    gains_S1 = gain + spread * rng.standard_normal((seeds, 1))
    up_S1, down_S1 = (0.12 + gains_S1) / 2 / 0.3, (0.12 - gains_S1) / 2 / 0.7
    own_SQ = np.where(rng.random((seeds, n)) < 0.5, rng.random(n), rng.random((seeds, n)))
    changed_SQ = own_SQ < np.where(before_Q, down_S1, up_S1)
    return before_Q.tolist(), (before_Q ^ changed_SQ).tolist()


def against_base(before: list[bool], after_by_seed: list[list[bool]], **how: Any) -> tuple[float, float]:
    """The interval of trainings against one baseline, which is the same for every seed."""
    return hierarchical_bootstrap([before] * len(after_by_seed), after_by_seed, **how)


def coverage(seeds: int, spread: float, experiments: int) -> float:
    """How often the interval holds the true gain; `spread` in standard errors of one paired comparison."""
    n, gain = 300, 0.02
    rng, held = np.random.default_rng(17), 0
    for number in range(experiments):
        data = crossed(rng, seeds, n, gain, spread * (0.12 / n) ** 0.5)
        low, high = against_base(*data, resamples=300, seed=number)
        held += low <= gain <= high
    return held / experiments


def test_the_interval_of_the_hierarchical_bootstrap_holds_the_truth_in_95_of_100_experiments() -> None:
    """With 5 seeds that differ as much as one paired comparison errs."""
    assert 0.93 <= coverage(5, 1.0, experiments=2000) <= 0.97


def test_three_seeds_are_too_few_for_a_hierarchical_interval_if_they_differ_much() -> None:
    """What the docstring says of three seeds: too wide if they are alike, about right between, too narrow if not."""
    alike, between, unlike = (coverage(3, spread, experiments=1000) for spread in (0.0, 1.0, 2.0))
    assert alike > 0.965 and 0.93 <= between <= 0.97 and 0.87 < unlike < 0.93


def test_hierarchical_bootstrap_of_one_seed_is_the_paired_one() -> None:
    before, after = verdicts(12, 5, 50, 33)
    assert against_base(before, [after], resamples=500, seed=3, confidence=0.9) == paired_bootstrap(
        before, after, resamples=500, seed=3, confidence=0.9
    )


def test_hierarchical_bootstrap_of_equal_seeds_is_the_paired_one_in_distribution() -> None:
    before, after = verdicts(12, 5, 50, 33)
    together = against_base(before, [after] * 4, resamples=40_000, seed=3)
    assert together == pytest.approx(paired_bootstrap(before, after, resamples=40_000, seed=4), abs=0.0101)


def test_hierarchical_bootstrap_agrees_with_resampled_indices() -> None:
    rng = np.random.default_rng(8)
    before, after = crossed(rng, seeds=3, n=60, gain=0.05, spread=0.05)
    differences_SQ = np.array(after, dtype=int) - np.array(before, dtype=int)
    means_R = [
        differences_SQ[np.ix_(rng.integers(0, 3, size=3), rng.integers(0, 60, size=60))].mean() for _ in range(20_000)
    ]
    measured = against_base(before, after, resamples=20_000, seed=9, confidence=0.8)
    assert measured == pytest.approx(np.quantile(means_R, [0.1, 0.9]), abs=1 / 180 + 1e-9)


def test_hierarchical_bootstrap_of_two_seeds_that_differ_wholly() -> None:
    # One seed answers everything, the other nothing: a resample of both seeds gains 0, 1/2 or 1 with chances 1:2:1.
    data = [False] * 30, [[True] * 30, [False] * 30]
    assert against_base(*data, resamples=2000, seed=0) == (0.0, 1.0)
    assert against_base(*data, resamples=2000, seed=0, confidence=0.4) == (0.5, 0.5)


def test_a_contrast_of_two_trainings_pairs_their_seeds() -> None:
    # Under both seeds the one answers the first 20 of 30 questions and the other the last 20: no difference. One that
    # answers all of them is ahead by a third.
    first, last = [True] * 20 + [False] * 10, [False] * 10 + [True] * 20
    low, high = hierarchical_bootstrap([first, first], [last, last], resamples=4000, seed=0)
    assert low == pytest.approx(-high, abs=0.02) and low < 0 < high
    low, high = hierarchical_bootstrap([first, last], [[True] * 30] * 2, resamples=4000, seed=0)
    assert 0 < low < 1 / 3 < high
    assert hierarchical_bootstrap([first], [last], resamples=300, seed=5) == paired_bootstrap(
        first, last, resamples=300, seed=5
    )
    with pytest.raises(ValueError, match="the same seeds: 1 and 2"):
        hierarchical_bootstrap([first], [last, last], resamples=10, seed=0)


def test_hierarchical_bootstrap_repeats_with_its_seed() -> None:
    data = crossed(np.random.default_rng(1), seeds=3, n=1319, gain=0.02, spread=0.02)
    first = against_base(*data, resamples=200, seed=7)
    assert first == against_base(*data, resamples=200, seed=7)
    assert first != against_base(*data, resamples=200, seed=8)


@given(st.lists(st.lists(st.booleans(), min_size=5, max_size=5), min_size=1, max_size=60), st.integers(0, 2**32))
def test_hierarchical_interval_holds_the_estimate(rows: list[list[bool]], seed: int) -> None:
    before, *after = (list(column) for column in zip(*rows, strict=True))
    low, high = against_base(before, after, resamples=2000, seed=seed)
    gain = sum(sum(seed_after) - sum(before) for seed_after in after) / (len(after) * len(before))
    assert -1 <= low <= gain + 1e-12 and gain - 1e-12 <= high <= 1


def test_hierarchical_bootstrap_of_all_gsm8k_stays_small() -> None:
    data = crossed(np.random.default_rng(0), seeds=5, n=1319, gain=0.02, spread=0.01)
    tracemalloc.start()
    against_base(*data, resamples=10_000, seed=0)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak < 32 * 2**20  # seeds x questions x resamples would be 66 million numbers


def test_hierarchical_bootstrap_refuses_what_makes_no_sense() -> None:
    for before, after, said in (
        ([True], [], "no training seed"),
        ([], [[], []], "no question"),
        ([True, False], [[True, False], [True]], "more or fewer verdicts than the 2"),
        ([True, False], [[True]], "more or fewer verdicts"),
    ):
        with pytest.raises(ValueError, match=said):
            against_base(before, after, resamples=10, seed=0)
    with pytest.raises(ValueError, match="resamples must be positive"):
        against_base([True], [[True], [True]], resamples=0, seed=0)


@pytest.mark.parametrize(
    ("given_p", "adjusted"),
    [
        # The example in the documentation of pingouin.multicomp, method "holm".
        ([0.50, 0.003, 0.32, 0.054, 0.0003], [0.64, 0.012, 0.64, 0.162, 0.0015]),
        # The example in the documentation of stdlib's padjust, which follows R's p.adjust.
        ([0.319, 0.201, 0.4, 0.374, 0.113], [0.957, 0.804, 0.957, 0.957, 0.565]),
        ([0.04], [0.04]),
        ([0.6, 0.7], [1.0, 1.0]),
        ([0.02, 0.02], [0.04, 0.04]),
        ([], []),
    ],
)
def test_holm_worked(given_p: list[float], adjusted: list[float]) -> None:
    assert holm(given_p) == pytest.approx(adjusted, abs=1e-12)


@given(st.lists(st.floats(0, 1), max_size=20))
def test_holm_only_raises_and_keeps_the_order(p_values: list[float]) -> None:
    adjusted = holm(p_values)
    assert all(p <= q <= min(1, len(p_values) * p) + 1e-12 for p, q in zip(p_values, adjusted, strict=True))
    in_order = [adjusted[i] for i in sorted(range(len(p_values)), key=p_values.__getitem__)]
    assert in_order == sorted(in_order)


@given(st.lists(st.floats(0.0001, 1), min_size=1, max_size=10), st.floats(0.001, 0.2))
def test_holm_rejects_what_the_step_down_procedure_rejects(p_values: list[float], alpha: float) -> None:
    """The procedure as Holm states it: go up from the smallest, stop at the first that fails alpha / (tests left)."""
    rejected = 0
    for p in sorted(p_values):
        if p * (len(p_values) - rejected) >= alpha:
            break
        rejected += 1
    assert sum(q < alpha for q in holm(p_values)) == rejected


@pytest.mark.parametrize("bad", [-0.1, 1.1, float("nan")])
def test_holm_refuses_what_is_no_p_value(bad: float) -> None:
    with pytest.raises(ValueError, match="between 0 and 1"):
        holm([0.5, bad])
