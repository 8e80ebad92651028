"""How much of what a policy solves it has learnt by heart: LiMem, with its interval."""

from collections.abc import Sequence
from typing import NamedTuple

from reinforce_lite.evaluation.statistics import discordance, paired_bootstrap


class Memorisation(NamedTuple):
    """LiMem and its parts.

    Attributes:
        accuracy: share of the puzzles that are solved.
        consistency: share of the solved puzzles that are still solved after the perturbation; None if none is solved.
        limem: accuracy x (1 - consistency); 0 if none is solved.
        low: of the interval of `limem`.
        high: of the interval of `limem`.
    """

    accuracy: float
    consistency: float | None
    limem: float
    low: float
    high: float


def limem(
    solved: Sequence[bool], still: Sequence[bool], *, resamples: int, seed: int, confidence: float = 0.95
) -> Memorisation:
    """The score of Xie et al. 2024 (arXiv:2410.23123): LiMem = Acc x (1 - CR).

    Acc is the accuracy on the puzzles of training; CR counts those that are solved before and after a local
    perturbation and divides by those that are solved before. So LiMem is the share of all puzzles that are solved, and
    no longer once something in them has changed: what the perturbation lets a policy gain does not count. Puzzles are
    resampled with their pair of verdicts; only those belong here that have a perturbation.

    Args:
        solved: one verdict a puzzle.
        still: verdicts on the perturbed puzzles, in the same order.
        resamples: how many resamples of the bootstrap.
        seed: seed of the resampling; the same seed gives the same interval.
        confidence: share of the resampled scores inside the interval.

    Raises:
        ValueError: the lengths differ, there is no puzzle, or a bound is not sensible.

    >>> limem([True, True, True, False], [True, False, False, True], resamples=100, seed=0)[:3]
    (0.75, 0.3333333333333333, 0.5)
    """
    kept = [a and b for a, b in zip(solved, still, strict=True)]
    low, high = paired_bootstrap(kept, solved, resamples=resamples, seed=seed, confidence=confidence)
    n, right = len(solved), sum(solved)
    _, lost = discordance(solved, kept)
    return Memorisation(right / n, sum(kept) / right if right else None, lost / n, low, high)
