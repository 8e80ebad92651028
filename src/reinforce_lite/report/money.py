"""The money page: what was planned, what it came to, and what a gained point cost. All sums are US dollars."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from reinforce_lite.budget.forecast import Interval
from reinforce_lite.budget.ledger import Attempt
from reinforce_lite.config import Settings
from reinforce_lite.io.files import read_json
from reinforce_lite.report import plots
from reinforce_lite.stages import Layout, jobs

PUBLISHED_HOURS = 12
"""What the article says its run took on one card."""
PUBLISHED_STEPS, PUBLISHED_STEP_SECONDS = 558, 77
"""Steps of that run, and seconds of one, read from its log."""


def first_plan(folder: Path) -> dict[str, Any] | None:
    """The plan that the run set out with: the first one that was not refused, else the first; None if there is none.

    Returns:
        made (ISO time), limit_usd, spent_usd (before it), enough_usd, refused (the reason or null), and by_stage: low,
        expected and high of what was left to do.
    """
    path = Layout(folder).plan
    plans = read_json(path).get("plans", []) if path.exists() else []
    if not plans:
        return None
    plan = next((plan for plan in plans if plan["refused"] is None), plans[0])
    stages: dict[str, Interval] = {}
    for row in plan["jobs"]:
        stages[row["stage"]] = stages.get(row["stage"], Interval.exactly(0.0)) + Interval(**row["usd"])
    kept = {key: plan[key] for key in ("limit_usd", "spent_usd", "enough_usd", "refused")}
    return {"made": plan["time"], **kept, "by_stage": {name: vars(usd) for name, usd in stages.items()}}


def per_point(
    settings: Settings, comparisons: Sequence[Mapping[str, Any]], attempts: Sequence[Attempt]
) -> list[dict[str, Any]]:
    """What each training cost, every attempt, for one point of strict accuracy that it gained.

    Returns:
        For each run: model, variant, seed, training_usd, usd_per_point and its ends, [at the high end of the gain, at
        its low end]; None where there is no gain.
    """
    rows = []
    for row in (row for row in comparisons if row["model"] in settings.models and row["delta"] is not None):
        run = {key: row[key] for key in ("model", "variant", "seed")}
        own = (a for a in attempts if a.stage == "train" and (a.model, a.variant, a.seed) == tuple(run.values()))
        usd, (low, high) = sum(attempt.usd for attempt in own), row["ci95"]
        ends = [_per_point(usd, high), _per_point(usd, low)]
        rows.append({**run, "training_usd": usd, "usd_per_point": _per_point(usd, row["delta"]), "ends": ends})
    return rows


def of_gain(attempts: Sequence[Mapping[str, Any]], model: str, variant: str) -> dict[str, dict[str, float]]:
    """What the result of a model cost, every attempt and every seed.

    Args:
        attempts: those of the summary.
        model: its name.
        variant: the result.

    Returns:
        training, and all (the making and evaluation of its base and its own evaluation included): usd and seconds.
    """
    every = [row for row in attempts if row["model"] == model and row["variant"] in (None, variant)]
    training = [row for row in every if row["stage"] == "train"]
    return {
        name: {key: sum(row[key] for row in rows) for key in ("usd", "seconds")}
        for name, rows in (("training", training), ("all", every))
    }


def _per_point(usd: float, gain: float) -> float | None:
    return usd / (100 * gain) if gain > 0 else None


def published(settings: Settings) -> dict[str, float]:
    """What the article's run would have cost at this price: by its 12 hours, and by its steps."""
    price = settings.hardware.usd_per_hour
    return {
        "usd_by_hours": PUBLISHED_HOURS * price,
        "usd_by_steps": PUBLISHED_STEPS * PUBLISHED_STEP_SECONDS / 3600 * price,
    }


def unlike_the_articles(settings: Settings) -> str | None:
    """Why the cost of an experiment says nothing about the article's; None if it does."""
    if not any(settings.published(model) for model in settings.models):
        return "none of them was trained here"
    if settings.hardware.device == "cpu":
        return "this ran on a CPU"
    training = settings.variant(settings.variants[0])
    if (asked := training.steps * training.questions_per_step) < PUBLISHED_STEPS:
        return f"its training asked {PUBLISHED_STEPS} questions, this one {asked}"
    return None if settings.hardware.usd_per_hour else "this one had no price"


def not_run(settings: Settings, folder: Path) -> list[dict[str, Any]]:
    """What was not run or was stopped, and why: job, its seed or None, reason; in the order of the configuration."""
    layout, rows = Layout(folder), []
    for job in jobs(settings):
        path = layout.path(job)
        record = read_json(path) if path.exists() else {}
        reason = record.get("not_run") or (record.get("stopped") if job.stage == "train" else None)
        if reason:
            rows.append({"job": str(job), "seed": job.seed, "reason": str(reason)})
    return rows


def view(settings: Settings, folder: Path, cost: Mapping[str, Any]) -> dict[str, Any]:
    """What the template shows of all this; `cost` is that of the summary."""
    actual, planned = cost["by_stage"], cost["plan"]["by_stage"] if cost["plan"] else {}
    nothing = {"usd": 0.0, "attempts": 0}
    rows = [
        {"stage": stage, "planned": planned.get(stage), **actual.get(stage, nothing)}
        for stage in dict.fromkeys((*actual, *planned))
    ]
    article = any(settings.published(model) for model in settings.models) and settings.hardware.device == "cuda"
    reasons: dict[str, list[str]] = {}
    for row in not_run(settings, folder):
        reasons.setdefault(row["reason"], []).append(row["job"])
    return {
        "rows": rows,
        "plot": plots.planned([(row["stage"], row["planned"], row["usd"]) for row in rows if row["planned"]]),
        "not_run": list(reasons.items()),
        "article": article,
        "points": [{**row, "published": _published_point(settings, row["model"])} for row in cost["per_point"]],
    }


def _published_point(settings: Settings, model: str) -> float | None:
    """What a point of the article's gain with this model would have cost at this price."""
    figures = settings.published(model)
    return None if figures is None else _per_point(PUBLISHED_HOURS * settings.hardware.usd_per_hour,
                                                   figures.trained - figures.baseline)  # fmt: skip
