"""The result in a few lines, for MLflow's parent run."""

from collections.abc import Mapping, Sequence
from typing import Any

from reinforce_lite.report import plots, verdicts
from reinforce_lite.report.compare import p_text


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
        f"**{judged}** {plots.usd(cost['usd'])} of {plots.usd(cost['limit_usd'])} spent.",
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
            low, high = (100 * end for end in run["ci95"])
            sides = " | ".join(f"{run[side]['strict']:.1%}" for side in ("baseline", "trained"))
            change = f"{100 * run['delta']:+.1f} | [{low:+.1f}, {high:+.1f}]"
            lines.append(f"{name} {sides} | {change} | {p_text(run['mcnemar_p']).removeprefix('= ')} |")
    return "\n".join([*lines, "", "The whole of it is `report.html` among the artifacts.", "", summary["description"]])


def gain(summary: Mapping[str, Any]) -> str:
    """The change of each model's first run in points, with its 95% interval: for a column of MLflow's list of runs."""
    firsts = [(model, figures["runs"][0]) for model, figures in summary["models"].items() if figures["runs"]]
    return ", ".join(
        f"{model} {100 * run['delta']:+z.1f} [{100 * run['ci95'][0]:+z.1f}, {100 * run['ci95'][1]:+z.1f}]"
        for model, run in firsts
        if not run["not_run"]
    )


def figures(summary: Mapping[str, Any]) -> dict[str, float]:
    """Metrics of the parent run: strict accuracy before and after, by model, of the first variant and seed."""
    return {
        f"strict_{side}/{model}": result[side]["strict"]
        for model, result in summary["models"].items()
        for side in ("baseline", "trained")
        if result[side] is not None
    }
