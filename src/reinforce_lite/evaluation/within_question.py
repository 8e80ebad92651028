"""Do completions that show a behaviour score better than others, of the same question?

Easy questions may draw more of a behaviour than hard ones, or less; comparing completions of one group, which answer
the same question with the same policy, takes that out. It is still no cause: what makes a completion right may also
make it show the behaviour.
"""

from collections import defaultdict
from collections.abc import Mapping, Sequence
from statistics import fmean
from typing import Any

from reinforce_lite.evaluation.traces import BEHAVIOURS, behaviours
from reinforce_lite.tasks.answers import is_correct, strict

Row = Mapping[str, Any]


def within_question(rows: Sequence[Row], *, resamples: int = 10_000, seed: int = 0) -> dict[str, Any]:
    """Compare the completions of each group of a training with each other.

    A group is the completions of one question in one step. For a behaviour, the difference of a group is the mean score
    of its completions with the behaviour, less that of those without; groups of one kind only have none. The estimate
    is the mean of the differences, every group counting the same.

    Args:
        rows: of completions.jsonl, with step, question, answer, completion, reward and length (tokens).
        resamples: resamples of the bootstrap.
        seed: seed of the bootstrap.

    Returns:
        `completions` and `groups`, how many there are; under `behaviours` for each its `share` of the completions and
        the estimates of `reward` and of `strict` (accuracy by the strict parser, a fraction, whatever the reward was);
        `length`, the estimate of the length in tokens of right answers (strict parser) less that of wrong ones.
        Without a completion shares are None. An estimate is a mapping as `mean_difference` returns.
    """
    right = [is_correct(strict(row["completion"]), row["answer"]) for row in rows]
    shown = [behaviours(row["completion"]) for row in rows]
    groups: dict[tuple[Any, Any], list[int]] = defaultdict(list)
    for index, row in enumerate(rows):
        groups[row["step"], row["question"]].append(index)
    scores = {
        "reward": [float(row["reward"]) for row in rows],
        "strict": [float(verdict) for verdict in right],
        "length": [float(row["length"]) for row in rows],
    }

    def estimate(score: str, marked: Sequence[bool]) -> dict[str, Any]:
        differences = (_difference(members, scores[score], marked) for members in groups.values())
        return mean_difference([d for d in differences if d is not None], resamples=resamples, seed=seed)

    compared = {}
    for name in BEHAVIOURS:
        marked = [name in names for names in shown]
        share = fmean(marked) if rows else None
        compared[name] = {"share": share, **{score: estimate(score, marked) for score in ("reward", "strict")}}
    return {
        "completions": len(rows),
        "groups": len(groups),
        "behaviours": compared,
        "length": estimate("length", right),
    }


def mean_difference(differences: Sequence[float], *, resamples: int, seed: int) -> dict[str, Any]:
    """The mean of the differences of groups, with a percentile bootstrap interval over the groups (Efron 1979).

    Groups are taken as independent; a question that came in several epochs counts as several.

    Returns:
        `difference` (None without a group), `ci95` ([low, high]; None with less than two groups), `groups`.
    """
    if not differences:
        return {"difference": None, "ci95": None, "groups": 0}
    if len(differences) == 1:
        return {"difference": differences[0], "ci95": None, "groups": 1}
    import numpy as np
    from scipy.stats import bootstrap

    rng, batch = np.random.default_rng(seed), max(1, 1_000_000 // len(differences))  # 8 MB at a time
    interval = bootstrap(
        (differences,), np.mean, n_resamples=resamples, method="percentile", batch=batch, rng=rng
    ).confidence_interval
    return {
        "difference": fmean(differences),
        "ci95": [float(interval.low), float(interval.high)],
        "groups": len(differences),
    }


def _difference(members: Sequence[int], scores: Sequence[float], marked: Sequence[bool]) -> float | None:
    """Mean score of the marked members of a group less that of the others; None if all are of one kind."""
    yes = [scores[index] for index in members if marked[index]]
    no = [scores[index] for index in members if not marked[index]]
    return fmean(yes) - fmean(no) if yes and no else None
