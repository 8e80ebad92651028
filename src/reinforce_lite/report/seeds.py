"""The change over training seeds: what one seed shows may be that seed's luck."""

from collections.abc import Sequence
from pathlib import Path
from statistics import fmean, stdev
from typing import Any

from reinforce_lite.config import Settings
from reinforce_lite.evaluation.statistics import hierarchical_bootstrap
from reinforce_lite.io.files import read_json
from reinforce_lite.report.compare import paired
from reinforce_lite.report.runs import Run, runs
from reinforce_lite.stages import EVALUATED

Verdicts = dict[int, list[bool]]
"""By training seed: whether each answer is right by the strict parser."""


def over_seeds(settings: Settings, folder: Path, model: str, *, seed: int) -> list[dict[str, Any]]:
    """The change of a model's variants over all their evaluated training seeds; it takes at least two.

    Args:
        settings: the experiment.
        folder: results/<experiment>.
        model: name of the policy.
        seed: of the bootstrap.

    Returns:
        For each such variant, the result first: variant, seeds, deltas (strict, by seed, as fractions), mean, sd
        (between seeds), ci95 (over seeds and questions), adjusted (the same at a level of alpha / number of models, for
        the claims: Bonferroni's bound, which is never narrower than Holm's); and, of a control, behind: the same of the
        result less it, over the seeds that both have; None of the result itself, or without two common seeds.

    Raises:
        UserError: an evaluation is absent or damaged.
    """
    mine = [run for run in runs(settings, folder) if run.model == model and _evaluated(run)]
    before: dict[str, dict[int, list[bool]]] = {}
    after: dict[str, dict[int, list[bool]]] = {}
    for run in mine:
        pairs = paired(run.baseline / EVALUATED["outcomes"], run.evaluated / EVALUATED["outcomes"])
        before.setdefault(run.variant, {})[run.seed] = [base["strict"] for base, _ in pairs]
        after.setdefault(run.variant, {})[run.seed] = [trained["strict"] for _, trained in pairs]
    result, rows = settings.variants[0], []
    for variant in (name for name in settings.variants if len(after.get(name, {})) > 1):
        change = _contrast(settings, before[variant], after[variant], seed)
        behind = None if variant == result else _contrast(settings, after[variant], after.get(result, {}), seed)
        rows.append({"variant": variant, **(change or {}), "behind": behind})
    return rows


def _evaluated(run: Run) -> bool:
    return not any(read_json(side / EVALUATED["summary"]).get("not_run") for side in (run.baseline, run.evaluated))


def _contrast(settings: Settings, control: Verdicts, result: Verdicts, seed: int) -> dict[str, Any] | None:
    """seeds, deltas, mean, sd, ci95 and adjusted of the one less the other; None without two common seeds."""
    seeds = [name for name in result if name in control]
    if len(seeds) < 2:
        return None
    sides: list[Sequence[Sequence[bool]]] = [[side[name] for name in seeds] for side in (control, result)]
    deltas = [fmean(theirs) - fmean(ours) for ours, theirs in zip(*sides, strict=True)]
    intervals = {
        name: list(
            hierarchical_bootstrap(
                *sides, resamples=settings.evaluation.bootstrap_resamples, seed=seed, confidence=confidence
            )
        )
        for name, confidence in (("ci95", 0.95), ("adjusted", 1 - settings.protocol.alpha / len(settings.models)))
    }
    return {"seeds": seeds, "deltas": deltas, "mean": fmean(deltas), "sd": stdev(deltas), **intervals}
