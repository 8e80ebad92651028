"""What a training sampled, as the claims about thinking ask: words, other scripts, lengths, and what each earned."""

import re
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from statistics import fmean

from reinforce_lite.evaluation.behaviours import foreign_share
from reinforce_lite.evaluation.statistics import mcnemar_exact
from reinforce_lite.io.files import read_jsonl

WORDS = {
    "verify": r"verif(?:y|ies|ied|ying|ication)",
    "re-evaluate": r"re-?evaluat\w{1,6}",
    "recheck": r"re-?check\w{0,4}",
    "wait": r"wait",
}
"""Words that speak of thinking, and the patterns of their forms."""

_WORDS = {word: re.compile(rf"\b{pattern}\b", re.IGNORECASE) for word, pattern in WORDS.items()}


@dataclass(frozen=True)
class Drawn:
    """One completion of a training: its step, reward and tokens, its `WORDS`, and whether it has another script."""

    step: int
    reward: float
    length: int
    words: frozenset[str]
    foreign: bool


Group = Sequence[Drawn]
"""The completions to one question."""


def drawn(path: Path, size: int) -> list[Group]:
    """The completions of a training, group after group.

    Args:
        path: of its completions.jsonl.
        size: completions of a group.

    Raises:
        UserError: the file is absent or damaged.
    """
    rows = [_read(row["completion"], row["step"], row["reward"], row["length"]) for row in read_jsonl(path)]
    return [rows[at : at + size] for at in range(0, len(rows), size)]


def _read(text: str, step: int, reward: float, length: int) -> Drawn:
    words = frozenset(word for word, pattern in _WORDS.items() if pattern.search(text))
    return Drawn(step, reward, length, words, foreign_share(text) > 0)


@dataclass(frozen=True)
class Within:
    """What completions that have something earn beside the others to the same questions.

    Attributes:
        having: how many have it.
        mean: their mean reward.
        others: that of all that have it not.
        better: questions to which those with it earned more on average than those without.
        worse: questions to which they earned less.
        p: two-sided p-value of the sign test over these questions (Dixon and Mood 1946).
    """

    having: int
    mean: float
    others: float
    better: int
    worse: int
    p: float

    @property
    def words(self) -> str:
        """The numbers."""
        return (
            f"mean reward {self.mean:.2f} of the {self.having:,} completions with it, {self.others:.2f} without; to "
            f"{self.better:,} questions they earned more than the others, to {self.worse:,} less"
        )


def within(groups: Iterable[Group], having: Callable[[Group], Sequence[bool]]) -> Within | None:
    """Compare the completions of each group that have something with those that have not.

    The questions are their own controls: what is hard makes policies think more, and earns less.

    Args:
        groups: of one or several trainings.
        having: says for each of a group whether it has it.

    Returns:
        None if no group has completions of both kinds.
    """
    sides: tuple[list[float], list[float]] = ([], [])
    better = worse = pairs = 0
    for group in groups:
        chosen = having(group)
        own = [one.reward for one, has in zip(group, chosen, strict=True) if has]
        other = [one.reward for one, has in zip(group, chosen, strict=True) if not has]
        sides[0].extend(own)
        sides[1].extend(other)
        if own and other:
            pairs += 1
            better, worse = better + (fmean(own) > fmean(other)), worse + (fmean(own) < fmean(other))
    if not pairs:
        return None
    return Within(len(sides[0]), fmean(sides[0]), fmean(sides[1]), better, worse, mcnemar_exact(better, worse))


def longer(group: Group) -> list[bool]:
    """Which completions of a group are longer than its middle one."""
    middle = sorted(one.length for one in group)[(len(group) - 1) // 2]
    return [one.length > middle for one in group]


def by_step(shown: Iterable[tuple[int, bool]]) -> list[float]:
    """For each step in order, the share of its completions that show something; of pairs of a step and whether.

    >>> by_step([(1, True), (0, False), (1, False)])
    [0.0, 0.5]
    """
    steps: dict[int, list[bool]] = {}
    for step, shows in shown:
        steps.setdefault(step, []).append(shows)
    return [fmean(steps[step]) for step in sorted(steps)]
