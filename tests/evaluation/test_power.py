"""The power of McNemar's exact test against published values, simulation and its own properties."""

from math import comb

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from reinforce_lite.evaluation.power import detectable_gain, power, questions_needed
from reinforce_lite.evaluation.statistics import mcnemar_exact

questions = st.integers(1, 3000)
discordances = st.floats(0.01, 1)
shares = st.floats(0, 1)  # of the discordance
alphas = st.floats(0.001, 0.2)


def by_enumeration(n: int, gain: float, discordance: float, alpha: float) -> float:
    """The definition, outcome by outcome: P(gained, lost) of every outcome whose p-value is below alpha."""
    up, down = (discordance + gain) / 2, (discordance - gain) / 2
    return sum(
        comb(n, gained) * comb(n - gained, lost) * up**gained * down**lost * (1 - discordance) ** (n - gained - lost)
        for gained in range(n + 1)
        for lost in range(n + 1 - gained)
        if mcnemar_exact(gained, lost) < alpha
    )


@pytest.mark.parametrize(
    ("n", "alpha", "published"),
    [
        # R package pwrss (checked by its authors against PASS and G*Power), tests of power.exact.mcnemar:
        # prob10 = 0.2, prob01 = 0.1, two-sided.
        (100, 0.05, 0.373077084),
        (249, 0.05, 0.801446921),
    ],
)
def test_power_agrees_with_published_values(n: int, alpha: float, published: float) -> None:
    assert power(n, 0.1, 0.3, alpha) == pytest.approx(published, abs=1e-9)


def test_power_of_a_one_sided_test_is_that_of_a_two_sided_one_at_twice_the_level() -> None:
    # pwrss as above, one-sided at 0.05, n = 200: 0.80298386; ours also counts a loss, which is most improbable.
    assert 0 < power(200, 0.1, 0.3, 0.1) - 0.80298386 < 1e-5


@pytest.mark.parametrize(
    ("n", "gain", "discordance", "alpha"),
    [(12, 0.3, 0.6, 0.05), (20, 0.25, 0.25, 0.05), (15, 0.0, 0.9, 0.1), (15, -0.2, 0.5, 0.05), (9, 0.7, 1.0, 0.01)],
)
def test_power_is_the_sum_over_all_outcomes(n: int, gain: float, discordance: float, alpha: float) -> None:
    assert power(n, gain, discordance, alpha) == pytest.approx(by_enumeration(n, gain, discordance, alpha), abs=1e-11)


def test_a_p_value_of_exactly_alpha_is_not_significant() -> None:
    # Five changes, all one way: p = 2 / 2**5 = 0.0625.
    assert power(5, 1.0, 1.0, 0.0625) == 0
    assert power(5, 1.0, 1.0, 0.0626) == 1


@pytest.mark.parametrize("gain", [0.0, 0.03])
def test_simulated_experiments_are_significant_as_often_as_the_power_says(gain: float) -> None:
    import numpy as np

    n, discordance, experiments = 1319, 0.12, 4_000
    chances = [(discordance + gain) / 2, (discordance - gain) / 2, 1 - discordance]
    outcomes, times = np.unique(
        np.random.default_rng(5).multinomial(n, chances, size=experiments)[:, :2], axis=0, return_counts=True
    )
    significant = sum(
        int(count) for outcome, count in zip(outcomes, times, strict=True) if mcnemar_exact(*map(int, outcome)) < 0.05
    )
    expected = power(n, gain, discordance)
    error = (expected * (1 - expected) / experiments) ** 0.5
    assert significant / experiments == pytest.approx(expected, abs=4 * error)


@given(questions, discordances, alphas)
def test_false_alarms_are_never_more_frequent_than_alpha(n: int, discordance: float, alpha: float) -> None:
    assert 0 <= power(n, 0.0, discordance, alpha) <= alpha + 1e-9


@given(questions, discordances, shares, shares, alphas)
def test_a_larger_gain_is_seen_more_often_and_a_loss_as_often(
    n: int, discordance: float, one: float, other: float, alpha: float
) -> None:
    smaller, larger = sorted((one * discordance, other * discordance))
    assert power(n, smaller, discordance, alpha) <= power(n, larger, discordance, alpha) + 1e-9
    assert power(n, -larger, discordance, alpha) == pytest.approx(power(n, larger, discordance, alpha), abs=1e-9)


@given(questions, discordances, shares, st.floats(0.001, 0.1), st.floats(1, 2))
def test_a_stricter_level_has_less_power(n: int, discordance: float, share: float, alpha: float, more: float) -> None:
    gain = share * discordance
    assert power(n, gain, discordance, alpha) <= power(n, gain, discordance, alpha * more) + 1e-9


def test_gsm8k_at_twelve_percent_can_see_two_point_seven_points() -> None:
    # Normal approximation: (1.960 + 0.842) x sqrt(0.12 / 1319) = 0.0267; the exact test needs a little more.
    assert detectable_gain(1319, 0.12) == pytest.approx(0.0273, abs=5e-5)
    # The published gains, +26 and +8 of 1,319, in the same place.
    assert power(1319, 26 / 1319, 0.12) == pytest.approx(0.51, abs=0.02)
    assert power(1319, 8 / 1319, 0.12) < 0.1


@settings(max_examples=30)
@given(st.integers(20, 3000), st.floats(0.02, 0.6), st.floats(0.3, 0.95), st.floats(0.01, 0.1))
def test_the_detectable_gain_has_its_power_and_a_smaller_one_has_not(
    n: int, discordance: float, target: float, alpha: float
) -> None:
    gain = detectable_gain(n, discordance, target, alpha)
    if gain is None:
        assert power(n, discordance, discordance, alpha) < target
    else:
        assert power(n, gain, discordance, alpha) >= target > power(n, gain - 2e-7, discordance, alpha)


@settings(max_examples=30)
@given(st.integers(200, 3000), st.integers(50, 2000), st.floats(0.05, 0.5))
def test_the_detectable_gain_falls_with_more_questions_and_rises_with_more_discordance(
    n: int, more: int, discordance: float
) -> None:
    few, many = detectable_gain(n, discordance), detectable_gain(n + more, discordance)
    noisier = detectable_gain(n, 1.5 * discordance)
    assert few is not None and many is not None and noisier is not None
    assert many <= few <= noisier


def test_no_gain_is_detectable_where_too_few_verdicts_change() -> None:
    assert detectable_gain(20, 0.05) is None  # p < 0.05 takes six changes, and one is expected
    assert detectable_gain(1319, 0.0) is None


@settings(max_examples=20)
@given(st.floats(0.05, 0.5), st.floats(0.1, 1), st.floats(0.5, 0.95), st.floats(0.01, 0.1))
def test_the_questions_needed_suffice_and_one_fewer_does_not(
    discordance: float, share: float, target: float, alpha: float
) -> None:
    gain = share * discordance
    n = questions_needed(gain, discordance, target, alpha)
    assert power(n, gain, discordance, alpha) >= target
    assert n == 1 or power(n - 1, gain, discordance, alpha) < target


@pytest.mark.parametrize(
    ("gain", "discordance", "connor"),
    [
        (0.40, 0.50, 23),  # Connor (1987), worked at powerandsamplesize.com
        (0.15, 0.45, 155),  # Connor (1987), worked at clinicaltrials-tools.vercel.app
        (0.02, 0.12, 2353),  # (1.960 x sqrt(.12) + 0.842 x sqrt(.12 - .0004))**2 / .0004
    ],
)
def test_the_exact_test_needs_a_little_more_than_connor(gain: float, discordance: float, connor: int) -> None:
    needed = questions_needed(gain, discordance)
    assert connor < needed <= 1.25 * connor if connor < 100 else connor < needed <= 1.1 * connor


def test_pwrss_needs_as_many_questions() -> None:
    # 249 after rounding each of its four cells up: 248 lacks 80% (0.7998), 249 has it (0.8014).
    assert questions_needed(0.1, 0.3) == 249


def test_questions_and_detectable_gain_are_inverse() -> None:
    gain = detectable_gain(1319, 0.16, 0.9, 0.025)
    assert gain is not None
    assert questions_needed(gain, 0.16, 0.9, 0.025) == 1319


def test_a_loss_needs_as_many_questions_as_a_gain() -> None:
    assert questions_needed(-0.05, 0.2) == questions_needed(0.05, 0.2)


def test_a_gain_as_large_as_the_discordance_is_possible_whatever_the_rounding() -> None:
    gain = 0.725 - 0.705  # 0.020000000000000018
    assert gain > 0.02 and power(1319, gain, 0.02) == pytest.approx(power(1319, 0.02, 0.02), abs=1e-9)


def test_impossible_input_is_refused() -> None:
    for function in (lambda: power(100, 0.2, 0.1), lambda: questions_needed(-0.2, 0.1)):
        with pytest.raises(ValueError, match="needs at least so many verdicts to change"):
            function()
    with pytest.raises(ValueError, match="gain of 0"):
        questions_needed(0.0, 0.1)


@pytest.mark.parametrize("bad", [(0, 0.1, 0.05), (10, 1.2, 0.05), (10, -0.1, 0.05), (10, 0.1, 0.0), (10, 0.1, 1.0)])
def test_numbers_that_are_not_possible_are_refused(bad: tuple[int, float, float]) -> None:
    n, discordance, alpha = bad
    with pytest.raises(ValueError, match=r"must be positive|share of the questions"):
        detectable_gain(n, discordance, alpha=alpha)


@pytest.mark.parametrize("target", [0.0, 1.0, float("nan")])
def test_a_power_that_is_no_probability_is_refused(target: float) -> None:
    for function in (lambda: detectable_gain(100, 0.1, target), lambda: questions_needed(0.1, 0.2, target)):
        with pytest.raises(ValueError, match="probability"):
            function()
