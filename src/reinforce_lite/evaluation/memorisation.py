"""How much of what a policy solves it has learnt by heart: problems of train, each with a perturbation, and LiMem."""

import random
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace
from statistics import fmean
from typing import Any

from reinforce_lite.errors import UserError
from reinforce_lite.evaluation.statistics import paired_bootstrap
from reinforce_lite.tasks import Problem, Task

PERTURBED = "/perturbed"
"""Follows the id of a problem in that of its perturbation."""

Verdicts = tuple[bool, bool]
"""Whether a problem of train is solved, and whether its perturbation is."""


def questions(task: Task[Any], train: Sequence[Problem], number: int, seed: int) -> list[Problem]:
    """Problems of train, drawn by a seed, each followed by its perturbation.

    A perturbation has another answer, and does not stand in train itself.

    Args:
        task: it perturbs them.
        train: the problems to learn from.
        number: how many of them; every policy is asked the same.
        seed: of the draw, `task.seed`.

    Raises:
        UserError: fewer can be had.
    """
    known, found = {problem.question for problem in train}, list[Problem]()
    for problem in random.Random(f"{seed}/memorisation").sample(train, len(train)) if number else []:
        other = task.perturbed(problem, random.Random(f"{seed}/memorisation/{problem.id}"))
        if other is not None and other.question not in known and other.answer != problem.answer:
            found += problem, replace(other, id=problem.id + PERTURBED)
        if len(found) == 2 * number:
            return found
    if not number:
        return []
    most = len(found) // 2
    fix = f"set it to {most} or less, or raise task.train_size" if most else "set it to 0, or choose another task"
    have = f"the task perturbs {most:,} of the {len(train):,} problems of train"
    raise UserError(f"evaluation.memorisation asks for {number:,} problems, and {have}", fix)


def by_problem(rows: Iterable[Mapping[str, Any]]) -> list[Verdicts]:
    """The verdicts of the strict parser, problem by problem.

    Args:
        rows: of memorisation.jsonl: id and strict.

    Raises:
        ValueError: a problem lacks its perturbation, or a perturbation its problem; or there is none.

    >>> by_problem([{"id": "train-7", "strict": True}, {"id": "train-7/perturbed", "strict": False}])
    [(True, False)]
    """
    strict = {row["id"]: bool(row["strict"]) for row in rows}
    both = {name: strict.get(name + PERTURBED) for name in strict if not name.endswith(PERTURBED)}
    if not both or None in both.values() or 2 * len(both) != len(strict):
        raise ValueError("every problem needs its perturbation, and every perturbation its problem")
    return [(strict[name], bool(still)) for name, still in both.items()]


def figures(rows: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
    """What `limem` says of the rows of memorisation.jsonl, and length_mean (tokens); ValueError as `by_problem`."""
    return {**limem(by_problem(rows)), "length_mean": fmean(row["length"] for row in rows)}


def limem(pairs: Sequence[Verdicts]) -> dict[str, Any]:
    """The score of Xie et al. 2024 (arXiv:2410.23123): LiMem = Acc x (1 - CR).

    Acc is the accuracy on the problems of train; CR, the consistency, counts those that are solved before and after a
    local perturbation and divides by those that are solved before. So LiMem is the share of all problems that are
    solved, and no longer once something in them has changed: what the perturbation lets a policy gain does not count.

    Returns:
        n; accuracy; consistency, None if nothing is solved; limem, 0 then.

    Raises:
        ZeroDivisionError: there is no problem.

    >>> limem([(True, True), (True, False), (True, False), (False, True)])
    {'n': 4, 'accuracy': 0.75, 'consistency': 0.3333333333333333, 'limem': 0.5}
    """
    n, solved, lost = len(pairs), sum(before for before, _ in pairs), sum(map(by_heart, pairs))
    consistency = (solved - lost) / solved if solved else None
    return {"n": n, "accuracy": solved / n, "consistency": consistency, "limem": lost / n}


def by_heart(pair: Verdicts) -> bool:
    """Whether a problem is solved, and no longer once it is perturbed."""
    return pair[0] and not pair[1]


def interval(pairs: Sequence[Verdicts], *, resamples: int, seed: int, confidence: float = 0.95) -> tuple[float, float]:
    """Percentile bootstrap interval of LiMem; problems are resampled with their pair of verdicts.

    Args:
        pairs: as of `limem`.
        resamples: how many resamples of the bootstrap.
        seed: seed of the resampling; the same seed gives the same interval.
        confidence: share of the resampled scores inside the interval.

    Raises:
        ValueError: there is no problem, or a bound is not sensible.
    """
    none, lost = [False] * len(pairs), list(map(by_heart, pairs))
    return paired_bootstrap(none, lost, resamples=resamples, seed=seed, confidence=confidence)
