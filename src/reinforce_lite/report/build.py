"""Write summary.json, verdicts.json and report.html: everything a reader needs, in files that need nothing else."""

import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from reinforce_lite.budget.ledger import Attempt, attempts
from reinforce_lite.config import Settings
from reinforce_lite.errors import UserError
from reinforce_lite.io.files import atomic_text, read_json, write_json
from reinforce_lite.report import money, shares, traces
from reinforce_lite.report.articles import judge
from reinforce_lite.report.compare import paired, under_read
from reinforce_lite.report.evidence import Evidence
from reinforce_lite.report.kinds import by_kind
from reinforce_lite.report.manifest import seal
from reinforce_lite.report.memorised import memorised
from reinforce_lite.report.noise import noise_floor
from reinforce_lite.report.page import page_of
from reinforce_lite.report.runs import Run, runs
from reinforce_lite.report.sampled import sampled
from reinforce_lite.report.seeds import over_seeds
from reinforce_lite.report.summary import BOOTSTRAP_SEED, provenance, reconcile, summarise
from reinforce_lite.report.summary_model import Summary
from reinforce_lite.stages import EVALUATED, STAGES, TRAINED, Layout
from reinforce_lite.tasks import task_of

SUMMARY, VERDICTS, TRACES, PAGE = (STAGES["report"].files[name] for name in ("summary", "verdicts", "traces", "html"))

_CLAIMS = {"strict": "strict accuracy", "flexible": "flexible accuracy"}


@dataclass(frozen=True)
class Report:
    """The files of a report: what summary.json, verdicts.json and traces.json hold, and the text of report.html."""

    summary: Summary
    verdicts: dict[str, Any]
    traces: dict[str, Any]
    page: str


def build(settings: Settings, folder: Path, mlflow_seconds: Mapping[str, float] | None = None) -> None:
    """Read the results of an experiment and write its report: four files in `folder`, and the manifest of them all.

    Args:
        settings: the configuration of the experiment.
        folder: results/<experiment>.
        mlflow_seconds: sum of the durations of MLflow's runs by stage, for the reconciliation; None leaves it out.

    Raises:
        UserError: an input is absent, damaged, or contradicts another one.
    """
    results = seal(folder).results
    sealed = {"root": results.root, "files": len(results.files)}
    report = report_of(settings, folder, attempts(Layout(folder).ledger), mlflow_seconds, sealed)
    summary = report.summary.as_json()
    summary["provenance"]["files"][PAGE] = hashlib.sha256(report.page.encode()).hexdigest()
    write_json(folder / SUMMARY, summary)
    write_json(folder / TRACES, report.traces)
    write_json(folder / VERDICTS, report.verdicts)
    with atomic_text(folder / PAGE) as handle:
        handle.write(report.page)
    seal(folder)


def report_of(
    settings: Settings,
    folder: Path,
    ledger: Sequence[Attempt],
    mlflow_seconds: Mapping[str, float] | None,
    sealed: Mapping[str, Any] | None = None,
) -> Report:
    """The report of the results in `folder`, which prints the root of their Merkle tree; nothing is written.

    Raises:
        UserError: an input is absent, damaged, or contradicts another one.
    """
    every_run = runs(settings, folder)
    records = [read_json(run.trained / TRAINED["summary"]) for run in every_run]
    comparisons = [
        {**_compared(run), **_under_read(settings, run), "stopped": one.get("stopped")}
        for run, one in zip(every_run, records, strict=True)
    ]
    more = {
        model: {
            "over_seeds": over_seeds(settings, folder, model, seed=BOOTSTRAP_SEED),
            "sampled": sampled(settings, folder, model, seed=BOOTSTRAP_SEED),
            "noise_floor": noise_floor(settings, folder, model, seed=BOOTSTRAP_SEED),
            **({"by_kind": kinds} if (kinds := by_kind(settings, folder, model, seed=BOOTSTRAP_SEED)) else {}),
            **({"memorisation": own} if (own := memorised(settings, folder, model, seed=BOOTSTRAP_SEED)) else {}),
        }
        for model in settings.models
    }
    seconds, plan = reconcile(ledger, folder / "benchmarks", mlflow_seconds), money.first_plan(folder)
    made = {**provenance(settings, folder), **({"manifest": sealed} if sealed else {})}
    summary = summarise(settings, comparisons, ledger, made, plan, seconds, more)
    result, seeds = settings.variants[0], settings.seeds
    shown = [traces.of_run(folder, model, result, seed) for model in settings.models for seed in seeds]
    evidence = Evidence(settings, folder, summary, ledger)
    judged, gains = judge(evidence), [share.as_json() for share in shares.of_every_model(evidence)]
    page = page_of(settings, folder, summary.as_json(), ledger, judged, shown, gains)
    protocol = settings.protocol.model_dump()
    verdicts = {"experiment": settings.experiment, "protocol": protocol, "claims": judged, "gains": gains}
    return Report(summary, verdicts, {"runs": shown}, page)


def _compared(run: Run) -> dict[str, Any]:
    """The comparison of a run, once it agrees with what the evaluations state."""
    figures: dict[str, Any] = read_json(run.comparison)
    if figures.get("not_run"):
        return figures
    for side, folder in (("baseline", run.baseline), ("trained", run.evaluated)):
        stated = read_json(folder / EVALUATED["summary"])
        for parser, name in _CLAIMS.items():
            if abs(stated[parser] - figures[side][parser]) > 1e-6:
                raise UserError(
                    f"{folder / 'evaluation.json'} states another {name} than {run.comparison}",
                    "delete the comparison and run its rule again",
                )
    return figures


def _under_read(settings: Settings, run: Run) -> dict[str, Any]:
    """What the flexible parser misses; nothing if a policy was not evaluated."""
    if read_json(run.comparison).get("not_run"):
        return {}
    pairs = paired(run.baseline / EVALUATED["outcomes"], run.evaluated / EVALUATED["outcomes"])
    resamples = settings.evaluation.bootstrap_resamples
    try:
        figures = under_read(pairs, task_of(settings.task), resamples=resamples, seed=BOOTSTRAP_SEED)
    except ValueError as error:
        wrong = f"{run.baseline / EVALUATED['outcomes']}: a gold answer is none of the task: {error}"
        raise UserError(wrong, "restore the file from a copy, or evaluate both policies again") from error
    return {"under_read": figures}
