"""report.html: what the templates are given, and how they become one file that needs nothing else."""

import base64
import hashlib
import json
import re
from collections.abc import Mapping, Sequence
from importlib import resources
from pathlib import Path
from typing import Any

from reinforce_lite.budget import costs
from reinforce_lite.budget.ledger import Attempt
from reinforce_lite.config import Settings
from reinforce_lite.evaluation.behaviours import BEHAVIOURS
from reinforce_lite.evaluation.detector_accuracy import measured
from reinforce_lite.io.files import read_json, read_jsonl
from reinforce_lite.io.keyed import COMPUTED_WITH
from reinforce_lite.io.shown import shown
from reinforce_lite.report import findings, gallery, money, numbers, plots, questions, verdicts
from reinforce_lite.report.articles import makes_the_articles
from reinforce_lite.report.compare import Pair, paired
from reinforce_lite.report.runs import Run, runs
from reinforce_lite.stages import EVALUATED, TRAINED, Job, Layout

ARTICLE_MODELS = ("meta-llama/", "microsoft/Phi")
"""How the repositories of the article's two models begin."""

ANSWERS = 12
"""So many pairs of answers are shown at first, and so many more whenever one asks for more."""

SECTIONS = {
    "claims": "Claims",
    "results": "Results",
    "training": "Training",
    "cost": "Money",
    "again": "Run it again",
    "provenance": "Provenance",
}
"""Names of the sections that an answer points to, by their ids."""


def page_of(
    settings: Settings,
    folder: Path,
    summary: Mapping[str, Any],
    ledger: Sequence[Attempt],
    claims: Sequence[Mapping[str, Any]],
    traces: Sequence[Mapping[str, Any]],
    gains: Sequence[Mapping[str, Any]],
) -> str:
    """The page that shows a summary and the files it was made of; nothing is written.

    Raises:
        UserError: an input is absent, damaged, or contradicts another one.
    """
    every_run = runs(settings, folder)
    p_values = findings.adjusted(summary["models"])
    return render(
        summary=summary,
        what=what_it_is(settings, summary, ledger),
        claims=claims,
        of_the_article=makes_the_articles(settings),
        accuracies={name: verdicts.accuracy_words(measured(name)) for name in BEHAVIOURS},
        several_seeds=any(figures["over_seeds"] for figures in summary["models"].values()),
        machines=machines(summary["provenance"]),
        common_cpu=(settings.hardware.device, settings.hardware.cpu_instructions) == ("cpu", "common"),
        traces=traces,
        protocol=settings.protocol,
        notice=notice(settings),
        models=[
            _model_view(name, settings, summary, [run for run in every_run if run.model == name], p_values)
            | {"parts": _parts(gain)}
            for name, gain in zip(settings.models, gains, strict=True)
        ],
        money=money.view(settings, folder, summary["cost"]),
        attempts=[_attempt_view(attempt) for attempt in ledger],
        devices=settings.hardware.count,
        side_by_side=settings.hardware.side_by_side,
        clock_seconds=costs.clock_seconds(ledger) if settings.hardware.side_by_side else None,
        seconds=summary["cost"]["reconciliation"],
        checks=read_json(Layout(folder).preflight).get("checks", []),
        details=_details(settings, folder, every_run),
        gallery=gallery.view(settings, _pairs(settings, every_run, summary)),
        page_size=ANSWERS,
        questions=questions.answers(settings, folder, summary),
        sections=SECTIONS,
        tally=verdicts.tally(claims),
        commit=_hash(next((origin["git_commit"] for origin in summary["provenance"]["origins"]), None)),
    )


def _hash(commit: str | None) -> str | None:
    """A commit that can be checked out: the hash alone; None if it is none, for it becomes a command to paste."""
    found = re.fullmatch("([0-9a-f]{40}|[0-9a-f]{64})(-dirty)?", commit or "")
    return found and found[1]


def what_it_is(settings: Settings, summary: Mapping[str, Any], ledger: Sequence[Attempt]) -> str:
    """The experiment in one sentence: models, training, task, questions, and the day on which the device was done."""
    task, count = settings.task, max((figures["n"] for figures in summary["models"].values()), default=0)
    source = Path(getattr(task, "repo", None) or getattr(task, "train", None) or task.name).name
    asked = task.name if source == task.name else f"{task.name} ({source})"
    day = f", {max(attempt.ended for attempt in ledger).date().isoformat()}" if ledger else ""
    return (
        f"{_listed(settings.models)} before and after reinforcement learning ({settings.variants[0]}) on {asked}: "
        f"greedy answers to {count:,} test questions{day}."
    )


def _listed(names: Sequence[str]) -> str:
    """Names as a sentence lists them."""
    return " and ".join(filter(None, (", ".join(names[:-1]), names[-1])))


def _parts(gain: Mapping[str, Any]) -> str | None:
    """What of a gain is prompt, format and training: its sentence without the gain, which stands above it."""
    parts = gain["sentence"].removeprefix(f"{gain['model']} ").partition(": ")[2]
    return parts[:1].upper() + parts[1:] if gain["gain"] else None


def notice(settings: Settings) -> str | None:
    """Said if the article's claims are judged and neither of its models was evaluated.

    Weights of a local path are not known to be theirs.
    """
    own = [settings.policies[name] for name in settings.models]
    theirs = any(policy.path is None and (policy.repo or "").startswith(ARTICLE_MODELS) for policy in own)
    if theirs or not makes_the_articles(settings):
        return None
    return "No Llama-3.2-3B or Phi-3.5-mini weights were run for this report. Its verdicts are about the models below."


def machines(provenance: Mapping[str, Any]) -> list[str]:
    """What computed the results: each device, with the instructions of its CPU that torch used where a CPU computed.

    Results of earlier versions do not say; then it is the CPU that preflight saw.
    """
    computed = [origin.get(COMPUTED_WITH) or {} for origin in provenance["origins"]]
    named = [(one["device"], one.get("CPU capability")) for one in computed if "device" in one]
    lines = dict.fromkeys(f"{device}, instruction set {used}" if used else str(device) for device, used in named)
    seen = (
        f"{provenance['machine'].get('cpu') or 'an unknown machine'}, as preflight saw it; instruction set not recorded"
    )
    return list(lines) or [seen]


def render(**context: Any) -> str:
    """The page; every text is escaped unless it is markup of our own."""
    from jinja2 import Environment, PackageLoader, StrictUndefined
    from markupsafe import Markup

    environment = Environment(
        loader=PackageLoader("reinforce_lite.report"),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
        extensions=["jinja2.ext.loopcontrols"],
        finalize=lambda value: value if isinstance(value, Markup) or not isinstance(value, str) else shown(value),
    )
    environment.filters.update(
        percent=numbers.percent,
        points=numbers.change,
        interval=numbers.interval,
        shares=numbers.shares,
        usd=numbers.usd,
        p=numbers.p_cell,
        duration=numbers.duration,
        decimal=numbers.decimal,
        plain=numbers.plain,
        text=_text,
    )
    script = (resources.files(__package__) / "templates/gallery.js").read_text(encoding="utf-8")
    # The page may run this script and no other, whatever a policy writes.
    digest = base64.b64encode(hashlib.sha256(script.encode()).digest()).decode()
    own = {"script": Markup(script), "script_hash": f"sha256-{digest}"}
    return environment.get_template("report.html.j2").render(**context, **own)


def _model_view(
    name: str, settings: Settings, summary: Mapping[str, Any], own: Sequence[Run], p_values: findings.Adjusted
) -> dict[str, Any]:
    """What the template shows of one model."""
    figures = summary["models"][name]
    drawn = plots.lines([(run.variant, run.seed, read_jsonl(run.trained / TRAINED["metrics"])) for run in own])
    return {
        "name": name,
        "figures": figures,
        "cost": money.of_gain(summary["cost"]["attempts"], name, figures["variant"]),
        **findings.of_model(name, figures, p_values, settings.protocol.alpha),
        "lines": drawn,
        "curves": plots.curves(name, drawn),
        "trainings": [(run, _training(run), _last(run)) for run in own],
        "gains": _gains(name, figures),
    }


def _training(run: Run) -> dict[str, Any]:
    absent: dict[str, Any] = dict.fromkeys(("not_run", "stopped", "steps_planned", "same_cost"))
    return absent | read_json(run.trained / TRAINED["summary"])


def _pairs(settings: Settings, every_run: Sequence[Run], summary: Mapping[str, Any]) -> dict[str, list[Pair]]:
    """The answers of the result of each model, before and after."""
    results = {name: next(run for run in every_run if run.model == name) for name in settings.models}
    return {
        name: paired(run.baseline / EVALUATED["outcomes"], run.evaluated / EVALUATED["outcomes"])
        for name, run in results.items()
        if not summary["models"][name]["not_run"]
    }


def _gains(name: str, figures: Mapping[str, Any]) -> Any:
    rows = [
        (f"{run['variant']}, seed {run['seed']}", run["delta"], *run["ci95"])
        for run in figures["runs"]
        if not run["not_run"]
    ]
    if not rows:
        return None
    published = figures["published"]
    gain = published["trained"] - published["baseline"] if published else None
    return plots.gains(rows, gain, f"{name}-gains")


def _last(run: Run) -> dict[str, float | None]:
    """The last measurement of drift of a run; None where there was none."""
    rows = read_jsonl(run.trained / TRAINED["metrics"])
    return {
        key: next((row[key] for row in reversed(rows) if row.get(key) is not None), None)
        for key in ("weights_changed", "kl_to_start")
    }


def _attempt_view(attempt: Attempt) -> dict[str, Any]:
    seed = None if attempt.seed is None else f"seed {attempt.seed}"
    price = f"{numbers.usd(attempt.usd_per_hour)} an hour"
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
    evaluations = {str(place.relative_to(folder)): read_json(place / EVALUATED["summary"]) for place in places}
    parts = {
        "Configuration": settings.model_dump(mode="json"),
        "Data manifest": read_json(Layout(folder).path(Job("prepare_dataset"), "manifest")),
        "Evaluations": evaluations,
    }
    return [(title, json.dumps(value, indent=2, ensure_ascii=False)) for title, value in parts.items()]


def _text(value: Any) -> str:
    """A value of the provenance in one line."""
    if value is None:
        return "unknown"
    if isinstance(value, float):
        return numbers.plain(value, 12)
    return value if isinstance(value, str) else json.dumps(value, ensure_ascii=False)
