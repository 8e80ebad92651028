"""Sampled answers of base and trained policy, question by question: a second view of the change, and of its noise."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from statistics import fmean
from typing import Any

from reinforce_lite.config import Settings
from reinforce_lite.errors import UserError
from reinforce_lite.evaluation import avg_at_k
from reinforce_lite.io.files import read_json, read_jsonl
from reinforce_lite.report.runs import runs
from reinforce_lite.stages import EVALUATED, Layout

Samples = Sequence[Mapping[str, Any]]


def sampled(settings: Settings, folder: Path, model: str, *, seed: int) -> dict[str, Any] | None:
    """avg@k of a model before and after each of its trainings.

    Args:
        settings: the experiment.
        folder: results/<experiment>.
        model: name of the policy.
        seed: of the bootstrap.

    Returns:
        n (questions), k, baseline (avg, se, passed, drawn of the strict parser, see `avg_at_k`) and runs: variant,
        seed, the same four, delta and ci95 of avg against the base, paired by question. None if nothing was sampled.

    Raises:
        UserError: a file of samples is absent or damaged, or two are not of the same questions.
    """
    layout = Layout(folder)
    before = samples_of(settings, layout.evaluation(model))
    if before is None:
        return None
    rows = []
    for run in (run for run in runs(settings, folder) if run.model == model):
        after = samples_of(settings, run.evaluated)
        if after is not None:
            gain = change(before, after, settings.evaluation.bootstrap_resamples, seed, run.evaluated)
            rows.append({"variant": run.variant, "seed": run.seed, **_figures(after, run.evaluated)["strict"], **gain})
    base = _figures(before, layout.evaluation(model))
    return {"n": base["n"], "k": base["k"], "baseline": base["strict"], "runs": rows}


def samples_of(settings: Settings, place: Path) -> Samples | None:
    """The sampled answers of an evaluation; None if it was not run or nothing was to be sampled.

    Raises:
        UserError: the file is absent or damaged.
    """
    if not settings.evaluation.samples or "sampled" not in read_json(place / EVALUATED["summary"]):
        return None
    return read_jsonl(place / EVALUATED["samples"])


def _figures(samples: Samples, place: Path) -> dict[str, Any]:
    try:
        return avg_at_k.figures(samples)
    except ValueError as error:
        raise UserError(f"{place / 'samples.jsonl'}: {error}", "evaluate this policy again") from error


def change(before: Samples, after: Samples, resamples: int, seed: int, where: Path) -> dict[str, Any]:
    """Delta of avg@k and its 95% percentile interval from resampled questions (scipy.stats.bootstrap).

    Raises:
        UserError: the two are not of the same questions.
    """
    import numpy as np
    from scipy.stats import bootstrap

    sides = [avg_at_k.by_question(side, "strict") for side in (before, after)]
    if sides[0].keys() != sides[1].keys():
        raise UserError(f"{where}: samples.jsonl is of other questions than the baseline's", "evaluate both again")
    differences_Q = [fmean(sides[1][name]) - fmean(sides[0][name]) for name in sides[0]]
    if len(differences_Q) < 2:  # nothing to resample
        return {"delta": differences_Q[0], "ci95": [differences_Q[0]] * 2}
    how: dict[str, Any] = {"n_resamples": resamples, "batch": 1000, "method": "percentile"}
    interval = bootstrap((differences_Q,), np.mean, rng=np.random.default_rng(seed), **how).confidence_interval
    return {"delta": fmean(differences_Q), "ci95": [float(interval.low), float(interval.high)]}
