"""Write summary.json, verdicts.json and report.html: everything a reader needs, in files that need nothing else."""

import hashlib
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from reinforce_lite.accounting.ledger import Attempt, attempts
from reinforce_lite.errors import UserError
from reinforce_lite.files import atomic_text, read_json, read_jsonl, write_json
from reinforce_lite.layout import Layout
from reinforce_lite.report import money, plots, traces
from reinforce_lite.report.claims import judge
from reinforce_lite.report.compare import examples, format_remark, p_text, paired, verdict
from reinforce_lite.report.evidence import Evidence
from reinforce_lite.report.summary import BOOTSTRAP_SEED, provenance, reconcile, summarise
from reinforce_lite.settings import Settings

ARTICLE_MODELS = ("meta-llama/", "microsoft/Phi")
"""How the repositories of the article's two models begin."""

PAGE = "report.html"
TRACES = "traces.json"

EXAMPLES = 3
"""How many completions of each kind are shown."""

_CLAIMS = {"strict": "strict accuracy", "flexible": "flexible accuracy"}


@dataclass(frozen=True)
class Run:
    """One trained policy: which, the folders of its evaluations and its training, and the file of its comparison."""

    model: str
    variant: str
    seed: int
    baseline: Path
    evaluated: Path
    trained: Path
    comparison: Path


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
    summary = summary_of(settings, folder, comparisons, ledger, mlflow_seconds)
    audit = audit_of(settings, folder, summary, ledger)
    page = page_of(settings, folder, summary, ledger, audit)
    summary["provenance"]["files"][PAGE] = hashlib.sha256(page.encode()).hexdigest()
    write_json(folder / "summary.json", summary)
    write_json(folder / TRACES, audit["traces"])
    write_json(Layout(folder).verdicts, audit["verdicts"])
    with atomic_text(folder / PAGE) as handle:
        handle.write(page)


def summary_of(
    settings: Settings,
    folder: Path,
    comparisons: Sequence[Mapping[str, Any]],
    ledger: Sequence[Attempt],
    mlflow_seconds: Mapping[str, float] | None,
) -> dict[str, Any]:
    """The summary of an experiment, from its files and what `compare` returned for each run; nothing is written.

    Raises:
        UserError: an input is absent or damaged.
    """
    told = [{**row, "stopped": money.stopped(folder, row["model"], row["variant"], row["seed"])} for row in comparisons]
    seconds = reconcile(ledger, folder / "benchmarks", mlflow_seconds)
    return summarise(settings, told, ledger, provenance(settings, folder), money.first_plan(folder), seconds)


def audit_of(
    settings: Settings, folder: Path, summary: Mapping[str, Any], ledger: Sequence[Attempt]
) -> dict[str, dict[str, Any]]:
    """What the completions show and how the claims stand, as traces.json and verdicts.json hold it; nothing is written.

    Raises:
        UserError: an input is absent or damaged.
    """
    shown = [
        traces.of_run(settings, model, settings.variants[0], settings.seeds[0], seed=BOOTSTRAP_SEED, folder=folder)
        for model in settings.models
    ]
    judged = judge(Evidence(settings, folder, summary, ledger, shown))
    told = {"experiment": settings.experiment, "protocol": settings.protocol.model_dump(), "claims": judged}
    return {"traces": {"runs": shown}, "verdicts": told}


def page_of(
    settings: Settings,
    folder: Path,
    summary: Mapping[str, Any],
    ledger: Sequence[Attempt],
    audit: Mapping[str, Mapping[str, Any]],
) -> str:
    """The page that shows a summary and the files it was made of; nothing is written.

    Raises:
        UserError: an input is absent, damaged, or contradicts another one.
    """
    every_run = runs(settings, folder)
    return render(
        summary=summary,
        claims=audit["verdicts"]["claims"],
        traces=audit["traces"]["runs"],
        protocol=settings.protocol,
        notice=notice(settings),
        models=[
            _model_view(name, summary, [run for run in every_run if run.model == name]) for name in settings.models
        ],
        money=money.view(settings, folder, summary["cost"], ledger),
        cost_plot=plots.costs(summary["cost"]["by_stage"], summary["cost"]["limit_usd"]),
        attempts=[_attempt_view(attempt) for attempt in ledger],
        seconds=summary["cost"]["reconciliation"],
        checks=read_json(folder / "preflight.json").get("checks", []),
        details=_details(settings, folder, every_run),
        each=EXAMPLES,
    )


def runs(settings: Settings, folder: Path) -> list[Run]:
    """Every trained policy of the experiment, the result before its controls."""
    layout = Layout(folder)
    return [
        Run(
            model,
            variant,
            seed,
            baseline=layout.evaluation(model),
            evaluated=layout.evaluation(model, variant, seed),
            trained=layout.train(model, variant, seed),
            comparison=layout.comparison(model, variant, seed),
        )
        for model in settings.models
        for variant in settings.variants
        for seed in settings.seeds
    ]


def notice(settings: Settings) -> str | None:
    """Said when neither of the article's models was evaluated; weights of a local path are not known to be theirs."""
    chosen = [settings.policies[name] for name in settings.models]
    if any(policy.path is None and (policy.repo or "").startswith(ARTICLE_MODELS) for policy in chosen):
        return None
    return "No Llama-3.2-3B or Phi-3.5-mini weights were run for this report."


def render(**context: Any) -> str:
    """The page; every text is escaped unless it is markup of our own."""
    from jinja2 import Environment, PackageLoader, StrictUndefined

    environment = Environment(
        loader=PackageLoader("reinforce_lite.report"),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
        extensions=["jinja2.ext.loopcontrols"],
    )
    environment.filters.update(
        percent=lambda share: f"{share:.1%}",
        points=lambda change: f"{100 * change:+.1f}",
        usd=plots.usd,
        p=p_text,
        seconds=lambda value: "\N{EN DASH}" if value is None else f"{value:,.1f}",
        text=_text,
    )
    return environment.get_template("report.html.j2").render(**context)


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


def _model_view(name: str, summary: Mapping[str, Any], own: Sequence[Run]) -> dict[str, Any]:
    """What the template shows of one model."""
    figures = summary["models"][name]
    kind, sentence = verdict(figures, name)
    main = own[0]
    drawn = plots.lines([(run.variant, run.seed, read_jsonl(run.trained / "metrics.jsonl")) for run in own])
    return {
        "name": name,
        "figures": figures,
        "kind": kind,
        "sentence": sentence,
        "remark": None if figures["not_run"] else format_remark(figures),
        "published": _published_remark(figures),
        "controls": [verdict(run, f"{run['variant']}, seed {run['seed']}") for run in figures["runs"][1:]],
        "lines": drawn,
        "curves": plots.curves(name, drawn),
        "trainings": [(run, _training(run), _last(run)) for run in own],
        "examples": {} if figures["not_run"] else _examples(main),
        "gains": _gains(name, figures),
    }


def _training(run: Run) -> dict[str, Any]:
    absent: dict[str, Any] = dict.fromkeys(("not_run", "stopped", "steps_planned"))
    return absent | read_json(run.trained / "training.json")


def _examples(run: Run) -> dict[str, Any]:
    return examples(paired(run.baseline / "items.jsonl", run.evaluated / "items.jsonl"), EXAMPLES)


def _gains(name: str, figures: Mapping[str, Any]) -> Any:
    rows = [
        (f"{run['variant']}, seed {run['seed']}", *(100 * value for value in (run["delta"], *run["ci95"])))
        for run in figures["runs"]
        if not run["not_run"]
    ]
    if not rows:
        return None
    published = figures["published"]
    gain = 100 * (published["trained"] - published["baseline"]) if published else None
    return plots.gains(rows, gain, f"{name}-gains")


def _published_remark(figures: Mapping[str, Any]) -> str | None:
    published = figures["published"]
    if published is None or figures["not_run"]:
        return None
    gain = published["trained"] - published["baseline"]
    low, high = figures["ci95"]
    where = "inside" if low <= gain <= high else "outside"
    return (
        f"The article reports {published['baseline']:.1%} before and {published['trained']:.1%} after "
        f"({100 * gain:+.1f} points, without an interval); that gain lies {where} our interval."
    )


def _last(run: Run) -> dict[str, float | None]:
    """The last measurement of drift of a run; None where there was none."""
    rows = read_jsonl(run.trained / "metrics.jsonl")
    return {
        key: next((row[key] for row in reversed(rows) if row.get(key) is not None), None)
        for key in ("weights_changed", "kl_to_start")
    }


def _attempt_view(attempt: Attempt) -> dict[str, Any]:
    seed = None if attempt.seed is None else f"seed {attempt.seed}"
    price = f"{plots.usd(attempt.usd_per_hour)} an hour"
    count = f"{attempt.count} of " if attempt.count > 1 else ""
    return {
        "stage": attempt.stage,
        "what": ", ".join(part for part in (attempt.model, attempt.variant, seed) if part) or "\N{EN DASH}",
        "started": attempt.started.strftime("%Y-%m-%d %H:%M:%S %Z").strip(),
        "seconds": attempt.seconds,
        "outcome": attempt.outcome,
        "usd": attempt.usd,
        "price": f"{count}{attempt.device}, {price}, {attempt.price_source}, {attempt.price_date.isoformat()}",
    }


def _details(settings: Settings, folder: Path, every_run: Sequence[Run]) -> list[tuple[str, str]]:
    """(title, JSON) of what stands folded at the end of the page."""
    places = dict.fromkeys([run.baseline for run in every_run] + [run.evaluated for run in every_run])
    evaluations = {str(place.relative_to(folder)): read_json(place / "evaluation.json") for place in places}
    parts = {
        "Configuration": settings.model_dump(mode="json"),
        "Data manifest": read_json(folder / "data" / "manifest.json"),
        "Evaluations": evaluations,
    }
    return [(title, json.dumps(value, indent=2, ensure_ascii=False)) for title, value in parts.items()]


def _text(value: Any) -> str:
    """A value of the provenance in one line."""
    if value is None:
        return "unknown"
    return value if isinstance(value, str) else json.dumps(value, ensure_ascii=False)
