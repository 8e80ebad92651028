"""avg@k and pass@k: what sampled answers say about accuracy, and about the noise of measuring it.

No torch here: whoever looks at a finished evaluation takes the same figures again from its samples.
"""

from collections.abc import Iterable, Mapping, Sequence
from statistics import fmean, variance
from typing import Any

PARSERS = ("strict", "flexible")


def by_question(samples: Iterable[Mapping[str, Any]], parser: str) -> dict[str, list[bool]]:
    """The verdicts on each question's answers, in the order of the draws."""
    verdicts: dict[str, list[bool]] = {}
    for row in samples:
        verdicts.setdefault(row["id"], []).append(bool(row[parser]))
    return verdicts


def figures(samples: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
    """The figures of one policy.

    Args:
        samples: rows of samples.jsonl: id, strict, flexible, length; the same number k of answers for each question.

    Returns:
        n (questions), k, length_mean (tokens), and by parser: avg (mean accuracy of an answer), se (its standard error
        over questions), passed (share of questions with a right answer among the k), drawn (share of the variance of
        avg that is the luck of the draw, the rest being which questions were asked; None if k is 1 or nothing varies).

    Raises:
        ValueError: there is no sample, or the questions have different numbers of them.

    >>> rows = [{"id": i, "strict": s, "flexible": True, "length": 9} for i, s in zip("aabbcc", (1, 1, 1, 0, 0, 0))]
    >>> figures(rows)["strict"]
    {'avg': 0.5, 'se': 0.28867513459481287, 'passed': 0.6666666666666666, 'drawn': 0.3333333333333333}
    """
    counts = {len(row) for row in by_question(samples, PARSERS[0]).values()}
    if len(counts) != 1:
        raise ValueError(f"every question needs the same number of samples: {sorted(counts)}")
    told: dict[str, Any] = {parser: _figures(list(by_question(samples, parser).values())) for parser in PARSERS}
    length = fmean(row["length"] for row in samples)
    return {"n": len(by_question(samples, PARSERS[0])), "k": counts.pop(), "length_mean": length, **told}


def _figures(verdicts_QK: Sequence[Sequence[bool]]) -> dict[str, float | None]:
    n, k = len(verdicts_QK), len(verdicts_QK[0])
    means = [fmean(answers) for answers in verdicts_QK]
    spread = variance(means) if n > 1 else 0.0
    # Within a question each answer is a Bernoulli trial; variance() divides by k - 1, so this is unbiased.
    within = fmean(variance(map(float, answers)) for answers in verdicts_QK) if k > 1 else None
    drawn = None if within is None or spread == 0 else min(1.0, within / k / spread)
    return {"avg": fmean(means), "se": (spread / n) ** 0.5, "passed": fmean(map(any, verdicts_QK)), "drawn": drawn}
