"""The result in a few lines, for MLflow's parent run."""

from collections.abc import Mapping, Sequence
from typing import Any

from reinforce_lite.report import verdicts
from reinforce_lite.report.numbers import change, interval, p_cell, percent, usd


def markdown(summary: Mapping[str, Any], claims: Sequence[Mapping[str, Any]]) -> str:
    """A description in markdown: verdicts, figures of each run, and the cost.

    Args:
        summary: what `summarise` returns.
        claims: what `claims.judge` returns.
    """
    cost = summary["cost"]
    tally = ", ".join(f"{count} {kind}" for kind, count in verdicts.tally(claims).items())
    judged = f"{len(claims)} claims: {tally}." if claims else "No claims."
    lines = [
        f"**{judged}** {usd(cost['usd'])} of {usd(cost['limit_usd'])} spent.",
        "",
        "| model | variant, seed | strict before | after | change, points | 95% interval | McNemar p |",
        "| --- | --- | --- | --- | --- | --- | --- |",
    ]
    for model, figures in summary["models"].items():
        for run in figures["runs"]:
            name = f"| {model} | {run['variant']}, {run['seed']} |"
            if run["not_run"]:
                lines.append(f"{name} not run | | | | |")
                continue
            sides = " | ".join(percent(run[side]["strict"]) for side in ("baseline", "trained"))
            gained = f"{change(run['delta'])} | {interval(run['ci95'])}"
            lines.append(f"{name} {sides} | {gained} | {p_cell(run['mcnemar_p'])} |")
    return "\n".join([*lines, "", "The whole of it is `report.html` among the artifacts.", "", summary["description"]])


def gain(summary: Mapping[str, Any]) -> str:
    """The change of each model's first run in points, with its 95% interval: for a column of MLflow's list of runs."""
    firsts = [(model, figures["runs"][0]) for model, figures in summary["models"].items() if figures["runs"]]
    return ", ".join(
        f"{model} {change(run['delta'])} {interval(run['ci95'])}" for model, run in firsts if not run["not_run"]
    )


def figures(summary: Mapping[str, Any]) -> dict[str, float]:
    """Metrics of the parent run: strict accuracy before and after, by model, of the first variant and seed."""
    return {
        f"strict_{side}/{model}": result[side]["strict"]
        for model, result in summary["models"].items()
        for side in ("baseline", "trained")
        if result[side] is not None
    }
