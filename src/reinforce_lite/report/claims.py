"""Claims: how a report words and judges each.

A claim is one function with the decorator `claim`, which fixes its wording; its verdict is computed. No verdict is
written by hand. Each article has its claims in a file of its own (`articles`), and a task may bring others in its file.
"""

from collections.abc import Callable
from dataclasses import dataclass

from reinforce_lite.report.evidence import Evidence, Run
from reinforce_lite.report.verdicts import Verdict

Judged = tuple[Verdict, list[Run]]
"""The verdict, and the runs that it rests on."""


@dataclass(frozen=True)
class Claim:
    """A claim, as the report shows it and judges it.

    Attributes:
        name: how files and commands name it.
        said: the claim in words.
        rule: when it holds, in words; {margin} is the margin of the protocol in points.
        judge: from the evidence, and the model if it is a claim about each model.
        of_each_model: whether it is.
        applies: whether an experiment has it at all, of this model.
        article: whose it is, by the name that stands for all of an article's claims; None for a claim of nobody's.
    """

    name: str
    said: str
    rule: str
    judge: Callable[..., Judged]
    of_each_model: bool
    applies: Callable[[Evidence, str], bool]
    article: str | None


CLAIMS: list[Claim] = []
"""All that are registered."""


def claim(
    name: str,
    said: str,
    rule: str,
    *,
    of_each_model: bool = False,
    applies: Callable[[Evidence, str], bool] = lambda evidence, model: True,
    article: str | None = None,
) -> Callable[[Callable[..., Judged]], Callable[..., Judged]]:
    """Register the function that judges a claim; for the arguments see `Claim`."""

    def register(judge: Callable[..., Judged]) -> Callable[..., Judged]:
        CLAIMS.append(Claim(name, said, rule, judge, of_each_model, applies, article))
        return judge

    return register


def name(run: Run) -> str:
    """A run in words.

    >>> name(("tiny-llama", "leave_one_out", 0))
    'tiny-llama, leave_one_out, seed 0'
    """
    return f"{run[0]}, {run[1]}, seed {run[2]}"
