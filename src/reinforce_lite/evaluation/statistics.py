"""Paired statistics: the same questions, answered before and after training."""

import sys
from collections.abc import Sequence


def discordance(before: Sequence[bool], after: Sequence[bool]) -> tuple[int, int]:
    """Count the questions whose verdict changed.

    Args:
        before: one verdict a question, right or wrong.
        after: verdicts on the same questions in the same order.

    Returns:
        (gained, lost): wrong before and right after; right before and wrong after.

    Raises:
        ValueError: the lengths differ.

    >>> discordance([True, False, False, True], [True, True, True, False])
    (2, 1)
    """
    pairs = list(zip(before, after, strict=True))
    return sum(not b and a for b, a in pairs), sum(b and not a for b, a in pairs)


def mcnemar_exact(gained: int, lost: int) -> float:
    """Two-sided p-value of McNemar's exact test.

    Under the null hypothesis a changed verdict is as often a gain as a loss, so `gained` is
    Binomial(gained + lost, 1/2) (McNemar 1947; the exact conditional form in Fagerland, Lydersen and Laake 2013).
    Questions whose verdict stayed say nothing.

    Returns:
        A value in (0, 1]; 1.0 if nothing changed. A p-value too small for a float is given as the smallest normal one.

    Raises:
        ValueError: a count is negative.

    >>> round(mcnemar_exact(7, 1), 4)  # 2 x (1 + 8) / 2**8
    0.0703
    """
    if gained < 0 or lost < 0:
        raise ValueError(f"counts cannot be negative: gained {gained}, lost {lost}")
    if gained + lost == 0:
        return 1.0
    from scipy.stats import binomtest

    p = float(binomtest(min(gained, lost), gained + lost, 0.5).pvalue)
    return max(p, sys.float_info.min)


def paired_bootstrap(
    before: Sequence[bool], after: Sequence[bool], *, resamples: int, seed: int, confidence: float = 0.95
) -> tuple[float, float]:
    """Percentile bootstrap interval for the difference in accuracy, after minus before, over the same questions.

    Questions are resampled with their pair of verdicts (Efron 1979). A pair's difference is +1, -1 or 0, so the counts
    of a resample of n questions are Multinomial(n, (gained, lost, same) / n): they are drawn from that directly, which
    is the same distribution as drawing n indices.

    Args:
        before: one verdict a question, right or wrong.
        after: verdicts on the same questions in the same order.
        resamples: how many resamples.
        seed: seed of the resampling; the same seed gives the same interval.
        confidence: share of the resampled differences inside the interval.

    Returns:
        (low, high) as fractions; both equal the difference if all questions have the same one.

    Raises:
        ValueError: the lengths differ, there is no question, or a bound is not sensible.
    """
    import numpy as np

    if resamples < 1 or not 0 < confidence < 1:
        raise ValueError(f"resamples must be positive and confidence in (0, 1): {resamples}, {confidence}")
    gained, lost = discordance(before, after)
    n = len(before)
    if n == 0:
        raise ValueError("there is no question to resample")
    shares = np.array([gained, lost, n - gained - lost]) / n
    counts_R3 = np.random.default_rng(seed).multinomial(n, shares, size=resamples)
    differences_R = (counts_R3[:, 0] - counts_R3[:, 1]) / n
    tail = (1 - confidence) / 2
    low, high = np.quantile(differences_R, [tail, 1 - tail])
    return float(low), float(high)
