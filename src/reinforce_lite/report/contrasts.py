"""Two policies on the same questions, by whatever an answer can show: which of them shows it more often?"""

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from functools import lru_cache
from itertools import product
from pathlib import Path
from statistics import fmean

from reinforce_lite.config import Settings
from reinforce_lite.errors import UserError
from reinforce_lite.evaluation.statistics import discordance, holm, mcnemar_exact
from reinforce_lite.io.files import read_json
from reinforce_lite.report import verdicts
from reinforce_lite.report.compare import Item, Pair, paired
from reinforce_lite.report.evidence import Evidence, Run
from reinforce_lite.report.seeds import Verdicts, contrast
from reinforce_lite.report.summary import BOOTSTRAP_SEED
from reinforce_lite.report.summary_model import Counted
from reinforce_lite.report.verdicts import Verdict
from reinforce_lite.stages import EVALUATED, Layout
from reinforce_lite.tasks import Problem, named

Side = tuple[str, str | None]
"""A model and the variant that it was trained by; None before training."""
Shows = Callable[[Item], bool]
"""Whether an answer shows what is compared."""
Answers = Callable[[Path, Path], list[Pair]]
"""The answers of two evaluations, by their folders, question by question."""
SEARCH = "rejected_attempts"
"""The score of a task that counts attempts which an answer works out and gives up for another one, exactly."""


@dataclass(frozen=True)
class Contrast:
    """How much more often the answers of one side show something than those of another one.

    Attributes:
        theirs: the share of the other side's answers.
        ours: that of the one side.
        delta: ours less theirs, as a fraction.
        ci95: its interval, over questions and, with several training seeds, over these.
        adjusted: the same at the level that the number of comparisons leaves; for several seeds.
        p: McNemar's p-value by Holm over the comparisons; for one seed.
        seeds: those of the pairs.
        runs: what it rests on.
    """

    theirs: float
    ours: float
    delta: float
    ci95: Sequence[float]
    adjusted: Sequence[float]
    p: float
    seeds: Sequence[int]
    runs: Sequence[Run]

    def more(self, over: str, alpha: float, noise: Counted | None = None) -> Verdict:
        """Whether ours is more: `verdicts.beats`, or `verdicts.over_seeds` with several seeds; and more than noise."""
        over = f"{over} ({self.theirs:.1%}, ours {self.ours:.1%})"
        if len(self.seeds) > 1:
            verdict = verdicts.over_seeds(self.delta, self.adjusted, self.seeds, over)
        else:
            verdict = verdicts.beats(self.delta, self.ci95, self.p, alpha, over)
        return verdicts.beyond(verdict, self.delta, noise)


def answered(first: Path, second: Path) -> list[Pair]:
    """The answers to the test; UserError as `paired`."""
    return paired(first / EVALUATED["outcomes"], second / EVALUATED["outcomes"])


def evaluated(evidence: Evidence, side: Side) -> list[int]:
    """The training seeds of a side that was evaluated; the first one stands for a policy before training."""
    (model, variant), settings = side, evidence.settings
    if evidence.summary.models[model].baseline is None:
        return []
    layout = Layout(evidence.folder)
    if variant is None:
        return settings.seeds[:1]
    places = {seed: layout.evaluation(model, variant, seed) for seed in settings.seeds_of(variant)}
    return [seed for seed, place in places.items() if not read_json(place / EVALUATED["summary"]).get("not_run")]


def compared(
    evidence: Evidence,
    pairs: Sequence[tuple[Side, Side]],
    shows: Shows,
    among: Shows = lambda item: True,
    read: Answers = answered,
) -> list[Contrast | None]:
    """The comparisons of one claim, adjusted for their number.

    Args:
        evidence: what was measured.
        pairs: of each comparison their side and ours. A side of a single seed is compared with every seed of the other.
        shows: what is compared.
        among: the questions that are looked at, by their items.
        read: which answers.

    Returns:
        For each pair; None if one of the two was not evaluated or no such question was asked.
    """
    shown = [_shown(evidence, *pair, shows, among, read) for pair in pairs]
    settings, known = evidence.settings, [sides for sides in shown if sides]
    first = [(next(iter(before.values())), next(iter(after.values()))) for before, after, _ in known]
    p_values = iter(holm([mcnemar_exact(*discordance(*sides)) for sides in first]))
    level = settings.protocol.alpha / max(1, len(known))

    def one(before: Verdicts, after: Verdicts, runs: Sequence[Run], p: float) -> Contrast:
        found = contrast(settings, before, after, level=level, seed=BOOTSTRAP_SEED)
        theirs, ours = (fmean(map(fmean, side.values())) for side in (before, after))
        return Contrast(theirs, ours, found["mean"], found["ci95"], found["adjusted"], p, found["seeds"], runs)

    return [one(*sides, next(p_values)) if sides else None for sides in shown]


def _shown(
    evidence: Evidence, theirs: Side, ours: Side, shows: Shows, among: Shows, read: Answers
) -> tuple[Verdicts, Verdicts, list[Run]] | None:
    """By training seed of the pair, which answers of each side show it, and the runs; None if there is nothing."""
    layout, own, other = Layout(evidence.folder), evaluated(evidence, ours), evaluated(evidence, theirs)
    single = len(own) == 1 or len(other) == 1
    seeds = list(product(other, own)) if single else [(seed, seed) for seed in own if seed in other]
    before: Verdicts = {}
    after: Verdicts = {}
    runs: dict[Run, None] = {}
    for pair in seeds:
        at, places = pair[len(own) > 1], []
        for (model, variant), seed in zip((theirs, ours), pair, strict=True):
            places.append(layout.evaluation(model, variant, seed) if variant else layout.evaluation(model))
            runs |= {(model, variant, seed): None} if variant else {}
        both = [pair for pair in read(*places) if among(pair[0])]
        if both:
            before[at], after[at] = [shows(a) for a, _ in both], [shows(b) for _, b in both]
    return (before, after, list(runs)) if before else None


def more(
    evidence: Evidence, found: Sequence[Contrast | None], names: Sequence[str], models: Iterable[str | None]
) -> tuple[list[Verdict], list[Run]]:
    """Whether ours is more in each of several comparisons, and the runs that these rest on.

    Args:
        evidence: what was measured.
        found: the comparisons.
        names: what ours stand against.
        models: whose accuracy each is, which has to exceed its noise; None for anything else.
    """
    parts: list[Verdict] = []
    runs: dict[Run, None] = {}
    for one, over, model in zip(found, names, models, strict=True):
        if one is None:
            parts.append(verdicts.untested(f"an evaluation to hold against {over}"))
        else:
            noise = evidence.noise(model) if model else None
            parts.append(one.more(over, evidence.settings.protocol.alpha, noise))
            runs |= dict.fromkeys(one.runs)
    return parts, list(runs)


def against(
    evidence: Evidence,
    model: str,
    others: Sequence[str | None],
    shows: Shows,
    said: str,
    among: Shows = lambda item: True,
    *,
    noisy: bool = False,
) -> tuple[list[Verdict], list[Run]]:
    """Whether the result of a model is more than its base and its controls, adjusted over these and all models.

    Args:
        evidence: what was measured.
        model: whose.
        others: variants, None for the base.
        shows: what is compared.
        said: what ours stand against, in words; {} is the name of the other.
        among: the questions that are looked at.
        noisy: whether the difference has to exceed the model's noise.
    """
    result = evidence.settings.variants[0]
    every = [(name, other) for name in evidence.models for other in others]
    found = compared(evidence, [((name, other), (name, result)) for name, other in every], shows, among)
    own = {other: one for (name, other), one in zip(every, found, strict=True) if name == model}
    names = [said.replace("{}", other or "the base", 1) for other in own]
    return more(evidence, list(own.values()), names, [model if noisy else None] * len(own))


def right(item: Item) -> bool:
    """Whether an answer is right by the strict parser."""
    return bool(item["strict"])


def searches(settings: Settings) -> Shows:
    """Whether an answer rejects an attempt, by the task's own exact check."""
    return lambda item: _rejected(settings.task.name, item["completion"], item["question"], item["answer"]) > 0


def unchecked(settings: Settings) -> Verdict | None:
    """Said if the task cannot tell whether an answer searches; None if it can."""
    known = SEARCH in named(settings.task.name).scores
    return None if known else verdicts.elsewhere(f"{settings.task.name} has no exact check of attempts ({SEARCH})")


@lru_cache(maxsize=2**16)  # several claims ask for the same answers
def _rejected(task: str, text: str, question: str, answer: str) -> float:
    try:
        return named(task).grade(text, Problem("", question, answer))[SEARCH]
    except ValueError as error:
        wrong = f"the answer {answer[:60]!r} is none of {task}: {error}"
        raise UserError(wrong, "restore the file from a copy") from error
