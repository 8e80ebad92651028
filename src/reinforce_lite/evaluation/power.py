"""Power of McNemar's exact test: how small a gain a comparison can see. To be asked before money is spent.

Two evaluations of n questions differ in the verdict on a share of them, the discordance. A gain g is a surplus of
verdicts that turned right over verdicts that turned wrong, so a changed verdict is a gain with probability
(discordance + g) / (2 discordance). The test looks only at the changed ones; how many there are is itself
Binomial(n, discordance). Gains and discordances are shares of the questions: two points are 0.02.
"""

import math
from collections.abc import Callable
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

NEGLIGIBLE = 1e-12
"""Numbers of changed verdicts beyond either of these quantiles are left out of a sum over all of them."""

_PRECISION = 1e-7
"""How closely the smallest detectable gain is found, as a share of the questions."""


def power(questions: int, gain: float, discordance: float, alpha: float = 0.05) -> float:
    """Probability that McNemar's exact test calls a true gain significant, p < `alpha`, two-sided.

    The power of the test with m changed verdicts, averaged over m ~ Binomial(questions, discordance): the exact
    unconditional power of the exact conditional test (Duffy 1984, Biometrics 40, 1005-1015). As is usual, significance
    in the wrong direction counts too; at a gain of 0 the result is the probability of a false alarm.

    Args:
        questions: how many questions both policies answer.
        gain: true difference in accuracy, as a share of the questions; below 0 for a loss.
        discordance: share of the questions whose verdict changes, one way or the other.
        alpha: level of the test.

    Raises:
        ValueError: the gain exceeds the discordance, or an argument is not a possible number.

    >>> round(power(6, 0.5, 0.5), 6)  # only 6 changes, all one way, reach p = 2 / 2**6 = 0.03: probability 0.5**6
    0.015625
    """
    _require_possible(gain, discordance)
    return _rejection(questions, discordance, alpha)(gain)


def detectable_gain(questions: int, discordance: float, power: float = 0.8, alpha: float = 0.05) -> float | None:
    """The smallest gain that is called significant with at least this power, as a share of the questions.

    Found by bisection of the exact power, which grows with the gain.

    Returns:
        A gain of at most the discordance; None if the test would miss even that one too often.

    Raises:
        ValueError: an argument is not a possible number.

    >>> round(detectable_gain(1319, 0.12), 4)  # GSM8K
    0.0273
    """
    _require_power(power)
    rejection = _rejection(questions, discordance, alpha)
    low, high = 0.0, discordance
    if rejection(high) < power:
        return None
    while high - low > _PRECISION:
        middle = (low + high) / 2
        low, high = (low, middle) if rejection(middle) >= power else (middle, high)
    return high


def questions_needed(gain: float, discordance: float, power: float = 0.8, alpha: float = 0.05) -> int:
    """How many questions it takes to call a gain significant with at least this power; one fewer has less.

    Starts at the normal approximation of Connor (1987, Biometrics 43, 207-211) and bisects the exact power. Where more
    than half of the verdicts change, the power of a discrete test goes up and down a little as questions are added, and
    this is one of the places where it crosses the line.

    Raises:
        ValueError: the gain is 0 or exceeds the discordance, or another argument is not a possible number.
    """
    _require_power(power)
    _require_possible(gain, discordance)
    if gain == 0:
        raise ValueError("no number of questions shows a gain of 0")

    def enough(questions: int) -> bool:
        return _rejection(questions, discordance, alpha)(gain) >= power

    low, high = 0, _connor(gain, discordance, power, alpha)
    while not enough(high):  # the exact test needs some more than the approximation says
        low, high = high, high + high // 8 + 1
    while high - low > 1:
        middle = (low + high) // 2
        low, high = (low, middle) if enough(middle) else (middle, high)
    return high


def _connor(gain: float, discordance: float, power: float, alpha: float) -> int:
    """Connor's sample size for the test without continuity correction, rounded up.

    >>> _connor(0.4, 0.5, 0.8, 0.05), _connor(0.15, 0.45, 0.8, 0.05)
    (23, 155)
    """
    from scipy.stats import norm

    spread_null, spread = math.sqrt(discordance), math.sqrt(max(0.0, discordance - gain**2))
    return max(1, math.ceil(((norm.isf(alpha / 2) * spread_null + norm.ppf(power) * spread) / gain) ** 2))


def _rejection(questions: int, discordance: float, alpha: float) -> Callable[[float], float]:
    """The probability of p < `alpha` as a function of the gain; all that does not depend on the gain is done once."""
    from scipy.stats import binom

    changed_M, weights_M, critical_M = _outcomes(questions, discordance, alpha)

    def probability(gain: float) -> float:
        share = min(1.0, max(0.0, (1 + gain / discordance) / 2)) if discordance else 0.5
        rejected_M = binom.cdf(critical_M, changed_M, share) + binom.cdf(critical_M, changed_M, 1 - share)
        return float(weights_M @ rejected_M)

    return probability


def _outcomes(
    questions: int, discordance: float, alpha: float
) -> tuple["NDArray[np.int64]", "NDArray[np.float64]", "NDArray[np.float64]"]:
    """(m, P(m), k) for every number m of changed verdicts: the test is significant if at most k are of the rarer kind.

    p = 2 P(X <= k) with X ~ Binomial(m, 1/2); k is -1 where not even m changes of one kind are significant.
    """
    import numpy as np
    from scipy.stats import binom

    if questions < 1 or not 0 < alpha < 1:
        raise ValueError(f"questions must be positive and alpha in (0, 1): {questions}, {alpha}")
    if not 0 <= discordance <= 1:
        raise ValueError(f"the discordance is a share of the questions, between 0 and 1: {discordance}")
    first, last = binom.ppf(NEGLIGIBLE, questions, discordance), binom.isf(NEGLIGIBLE, questions, discordance)
    changed_M = np.arange(max(1, int(first)), int(last) + 1)  # with no change there is nothing to reject
    # The quantile is the smallest k with P(X <= k) >= alpha / 2; one less is the largest that stays below.
    critical_M = binom.ppf(alpha / 2, changed_M, 0.5) - 1
    return changed_M, binom.pmf(changed_M, questions, discordance), critical_M


def _require_possible(gain: float, discordance: float) -> None:
    if not abs(gain) <= discordance + NEGLIGIBLE:
        raise ValueError(
            f"a gain of {gain:g} needs at least so many verdicts to change, and the discordance is only {discordance:g}"
        )


def _require_power(power: float) -> None:
    if not 0 < power < 1:
        raise ValueError(f"the power is a probability between 0 and 1: {power}")
