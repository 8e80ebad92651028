"""The change over training seeds: what one seed shows may be that seed's luck."""

from collections.abc import Sequence
from functools import partial
from pathlib import Path
from statistics import fmean, stdev
from typing import Any

from reinforce_lite.config import Settings
from reinforce_lite.evaluation.statistics import hierarchical_bootstrap
from reinforce_lite.io.files import read_json
from reinforce_lite.report.compare import Item, paired
from reinforce_lite.report.runs import Run, runs
from reinforce_lite.stages import EVALUATED
from reinforce_lite.tasks import Task, task_of

PARSERS = ("strict", "flexible", "lenient")
Verdicts = dict[int, list[bool]]
"""By training seed: whether each answer is right by the strict parser."""


def over_seeds(settings: Settings, folder: Path, model: str, *, seed: int) -> list[dict[str, Any]]:
    """The change of a model's variants over all their evaluated training seeds, once the result has two of them.

    Args:
        settings: the experiment.
        folder: results/<experiment>.
        model: name of the policy.
        seed: of the bootstrap.

    Returns:
        For each variant, the result first: variant; what `contrast` returns of its strict verdicts against the base;
        flexible and lenient, the same by those (see `right`), lenient None if the task has none; and, of a control,
        behind: the same of the strict verdicts of the result against it. A control of several seeds is compared over
        those that both have, one of a single seed with every seed of the result. None of the result itself, or without
        two seeds to compare.

    Raises:
        UserError: an evaluation is absent or damaged.
    """
    found: dict[tuple[str, str], tuple[Verdicts, Verdicts]] = {}
    task = task_of(settings.task)
    for run in (run for run in runs(settings, folder) if run.model == model and _evaluated(run)):
        pairs = paired(run.baseline / EVALUATED["outcomes"], run.evaluated / EVALUATED["outcomes"])
        for parser in PARSERS:
            read = [[right(item, parser, task) for item in pair] for pair in pairs]
            if None not in read[0]:
                before, after = found.setdefault((run.variant, parser), ({}, {}))
                before[run.seed], after[run.seed] = ([bool(one) for one in side] for side in zip(*read, strict=True))
    result = found.get((settings.variants[0], "strict"), ({}, {}))[1]
    if len(result) < 2:
        return []
    compared = partial(contrast, settings, level=settings.protocol.alpha / len(settings.models), seed=seed)
    rows = []
    for variant in (name for name in settings.variants if (name, "strict") in found):
        control, ours = _matched(found[variant, "strict"][1], result)
        behind = compared(control, ours) if variant != settings.variants[0] and len(ours) > 1 else None
        by = {parser: compared(*found[variant, parser]) for parser in PARSERS if (variant, parser) in found}
        rows.append({"variant": variant, **by.pop("strict"), "lenient": None, **by, "behind": behind})
    return rows


def right(item: Item, parser: str, task: Task[Any]) -> bool | None:
    """Whether an answer is right by a parser; the lenient one counts what the flexible one misses, if it can miss."""
    if parser != "lenient":
        return bool(item[parser])
    missed = task.under_read(item["completion"], item["answer"])
    return None if missed is None else item["flexible"] or missed


def _matched(control: Verdicts, result: Verdicts) -> tuple[Verdicts, Verdicts]:
    """Both by the same seeds: those that both have, or all of the result's for a control that has a single one."""
    if len(control) == 1:
        return dict.fromkeys(result, *control.values()), result
    common = [seed for seed in result if seed in control]
    return {seed: control[seed] for seed in common}, {seed: result[seed] for seed in common}


def _evaluated(run: Run) -> bool:
    return not any(read_json(side / EVALUATED["summary"]).get("not_run") for side in (run.baseline, run.evaluated))


def contrast(settings: Settings, before: Verdicts, after: Verdicts, *, level: float, seed: int) -> dict[str, Any]:
    """The change between two sides, which have the same seeds.

    Args:
        settings: the experiment.
        before: verdicts of the one side, by training seed.
        after: those of the other, on the same questions in the same order.
        level: alpha divided by the number of comparisons that belong together: Bonferroni's bound, which is never
            narrower than Holm's.
        seed: of the bootstrap.

    Returns:
        seeds, deltas (after less before by seed, as fractions), mean, sd (between seeds; None of one), ci95 (over
        seeds and questions), adjusted (the same at `level`, for the claims).
    """
    seeds = list(after)
    sides: list[Sequence[Sequence[bool]]] = [[side[name] for name in seeds] for side in (before, after)]
    deltas = [fmean(theirs) - fmean(ours) for ours, theirs in zip(*sides, strict=True)]
    resamples, intervals = settings.evaluation.bootstrap_resamples, {}
    for name, confidence in (("ci95", 0.95), ("adjusted", 1 - level)):
        ends = hierarchical_bootstrap(*sides, resamples=resamples, seed=seed, confidence=confidence)
        intervals[name] = list(ends)
    sd = stdev(deltas) if len(deltas) > 1 else None
    return {"seeds": seeds, "deltas": deltas, "mean": fmean(deltas), "sd": sd, **intervals}
