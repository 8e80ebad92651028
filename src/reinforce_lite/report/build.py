"""Write summary.json, verdicts.json and report.html: everything a reader needs, in files that need nothing else."""

import hashlib
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from reinforce_lite.accounting.ledger import Attempt, attempts
from reinforce_lite.errors import UserError
from reinforce_lite.files import atomic_text, read_json, write_json
from reinforce_lite.layout import Layout
from reinforce_lite.report import money, traces
from reinforce_lite.report.claims import judge
from reinforce_lite.report.evidence import Evidence
from reinforce_lite.report.page import page_of
from reinforce_lite.report.runs import Run, runs
from reinforce_lite.report.sampled import sampled
from reinforce_lite.report.seeds import over_seeds
from reinforce_lite.report.summary import BOOTSTRAP_SEED, provenance, reconcile, summarise
from reinforce_lite.settings import Settings

PAGE = "report.html"
TRACES = "traces.json"

_CLAIMS = {"strict": "strict accuracy", "flexible": "flexible accuracy"}


def build(settings: Settings, folder: Path, mlflow_seconds: Mapping[str, float] | None = None) -> None:
    """Read the results of an experiment and write `folder`/summary.json, verdicts.json and report.html.

    Args:
        settings: the configuration of the experiment.
        folder: results/<experiment>.
        mlflow_seconds: sum of the durations of MLflow's runs by stage, for the reconciliation; None leaves it out.

    Raises:
        UserError: an input is absent, damaged, or contradicts another one.
    """
    ledger = attempts(folder / "ledger.jsonl")
    comparisons = [_compared(run) for run in runs(settings, folder)]
    summary = summary_of(settings, folder, comparisons, more_of(settings, folder), ledger, mlflow_seconds)
    audit = audit_of(settings, folder, summary, ledger)
    page = page_of(settings, folder, summary, ledger, audit)
    summary["provenance"]["files"][PAGE] = hashlib.sha256(page.encode()).hexdigest()
    write_json(folder / "summary.json", summary)
    write_json(folder / TRACES, audit["traces"])
    write_json(Layout(folder).verdicts, audit["verdicts"])
    with atomic_text(folder / PAGE) as handle:
        handle.write(page)


def more_of(settings: Settings, folder: Path) -> dict[str, dict[str, Any]]:
    """By model: over_seeds and sampled, what the functions of these names return.

    Raises:
        UserError: an evaluation is absent, damaged, or of other questions than another one.
    """
    return {
        model: {
            "over_seeds": over_seeds(settings, folder, model, seed=BOOTSTRAP_SEED),
            "sampled": sampled(settings, folder, model, seed=BOOTSTRAP_SEED),
        }
        for model in settings.models
    }


def summary_of(
    settings: Settings,
    folder: Path,
    comparisons: Sequence[Mapping[str, Any]],
    more: Mapping[str, Mapping[str, Any]],
    ledger: Sequence[Attempt],
    mlflow_seconds: Mapping[str, float] | None,
) -> dict[str, Any]:
    """The summary of an experiment, from its files and what `compare` and `more_of` returned; nothing is written.

    Raises:
        UserError: an input is absent or damaged.
    """
    told = [{**row, "stopped": money.stopped(folder, row["model"], row["variant"], row["seed"])} for row in comparisons]
    seconds = reconcile(ledger, folder / "benchmarks", mlflow_seconds)
    made_with, plan = provenance(settings, folder), money.first_plan(folder)
    return summarise(settings, told, ledger, made_with, plan, seconds, more)


def audit_of(
    settings: Settings, folder: Path, summary: Mapping[str, Any], ledger: Sequence[Attempt]
) -> dict[str, dict[str, Any]]:
    """What the completions show and how the claims stand, as traces.json and verdicts.json hold it; nothing is written.

    Raises:
        UserError: an input is absent or damaged.
    """
    shown = [traces.of_run(folder, model, settings.variants[0], settings.seeds[0]) for model in settings.models]
    judged = judge(Evidence(settings, folder, summary, ledger, shown))
    told = {"experiment": settings.experiment, "protocol": settings.protocol.model_dump(), "claims": judged}
    return {"traces": {"runs": shown}, "verdicts": told}


def _compared(run: Run) -> dict[str, Any]:
    """The comparison of a run, once it agrees with what the evaluations state."""
    figures: dict[str, Any] = read_json(run.comparison)
    if figures.get("not_run"):
        return figures
    for side, folder in (("baseline", run.baseline), ("trained", run.evaluated)):
        stated = read_json(folder / "evaluation.json")
        for parser, name in _CLAIMS.items():
            if abs(stated[parser] - figures[side][parser]) > 1e-6:
                raise UserError(
                    f"{folder / 'evaluation.json'} states another {name} than {run.comparison}",
                    "delete the comparison and run its rule again",
                )
    return figures
