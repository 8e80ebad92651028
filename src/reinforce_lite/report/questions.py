"""What a stranger asks of a result first, answered in a line each, with the place of the page that says more."""

from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any, NamedTuple

from reinforce_lite.files import read_json, read_jsonl
from reinforce_lite.report import money, plots
from reinforce_lite.settings import Settings
from reinforce_lite.stages import Layout


class Answer(NamedTuple):
    """A question, its answer in words, and the id of the section that says more."""

    question: str
    answer: str
    section: str


def answers(settings: Settings, folder: Path, summary: Mapping[str, Any]) -> list[Answer]:
    """The questions in the order of the page.

    Args:
        settings: the experiment.
        folder: results/<experiment>.
        summary: what `summarise` returns.

    Raises:
        UserError: a record of the experiment is absent or damaged.
    """
    provenance, cost = summary["provenance"], summary["cost"]
    price = cost["price"]
    return [
        Answer("Which commit?", _commits(provenance["origins"]), "provenance"),
        Answer("Which data?", _data(settings, folder, provenance), "provenance"),
        Answer("Which weights?", _weights(provenance["revisions"]["models"]), "provenance"),
        Answer("Which variants?", _variants(settings), "results"),
        Answer("How many seeds?", _seeds(settings, folder), "results"),
        Answer("How many questions and tokens?", _tokens(settings, folder), "training"),
        Answer("What was excluded?", _excluded(settings, folder), "cost"),
        Answer("What was decided beforehand?", _protocol(settings), "claims"),
        Answer(
            "Which price?",
            f"{plots.usd(price['usd_per_hour'])} an hour for {price['device']}, asked by {price['source']} on "
            f"{price['date']}; {plots.usd(cost['usd'])} in all, failed attempts included",
            "cost",
        ),
        Answer("How do I run it again, and check it?", "by the commands below", "again"),
    ]


def _commits(origins: Iterable[Mapping[str, Any]]) -> str:
    made = dict.fromkeys((origin["git_commit"] or "unknown", origin["image"]) for origin in origins)
    told = [commit + (f" in the container image {image}" if image else ", no container") for commit, image in made]
    return "; ".join(told) or "none: nothing was made"


def _data(settings: Settings, folder: Path, provenance: Mapping[str, Any]) -> str:
    manifest = read_json(Layout(folder).data / "manifest.json")
    counts = ", ".join(f"{count:,} {split}" for split, count in manifest.get("counts", {}).items() if count)
    source = provenance["revisions"]["data"] or {}
    shown = ", ".join(f"{key} {value}" for key, value in source.items() if isinstance(value, str | int))
    return (
        f"{settings.task.name}: {counts or 'unknown counts'} ({shown or 'source unknown'}; SHA-256 of each file below)"
    )


def _weights(models: Mapping[str, Mapping[str, Any]]) -> str:
    told = []
    for name, source in models.items():
        revision = f", revision {source['revision']}" if source.get("revision") else ""
        told.append(f"{name}: {source.get('source') or 'source unknown'}{revision}")
    return "; ".join(told)


def _variants(settings: Settings) -> str:
    told = []
    for name in settings.variants:
        keys = ", ".join(f"{key} {value}" for key, value in settings.training_variants[name].items())
        told.append(f"{name} ({keys})" if keys else name)
    return "; ".join(told)


def _seeds(settings: Settings, folder: Path) -> str:
    planned, layout = settings.seeds, Layout(folder)
    run = [
        seed
        for seed in planned
        if any(
            not read_json(layout.evaluation(model, variant, seed) / "evaluation.json").get("not_run")
            for model in settings.models
            for variant in settings.variants
            if seed in settings.seeds_of(variant)
        )
    ]
    names = ", ".join(map(str, run)) or "none"
    left_out = f" of {len(planned)} planned, the budget left the others out" if len(run) < len(planned) else ""
    if len(run) < 2:
        return f"{len(run)} training seed ({names}){left_out}, so nothing is known about others"
    some = None if len(settings.variants) < 2 else settings.control_seeds
    controls = f"; controls have {', '.join(map(str, some))} alone" if some and len(some) < len(planned) else ""
    told = f"{len(run)} training seeds ({names}){left_out}; the first is the result, and all of them bear on the claims"
    return told + controls


def _tokens(settings: Settings, folder: Path) -> str:
    layout = Layout(folder)
    trained = [read_json(layout.train(*run) / "training.json") for run in _runs(settings)]
    places = [layout.evaluation(model) for model in settings.models]
    places += [layout.evaluation(*run) for run in _runs(settings)]
    evaluated = [found for place in places if not (found := read_json(place / "evaluation.json")).get("not_run")]
    asked = max((found["n"] for found in evaluated), default=0)
    written = round(sum(found["n"] * found["length_mean"] for found in evaluated))
    drawn = [found["sampled"] for found in evaluated if "sampled" in found]
    sampled = round(sum(found["n"] * found["k"] * found["length_mean"] for found in drawn))
    more = f" and {sum(found['n'] * found['k'] for found in drawn):,} sampled answers of {sampled:,}" if drawn else ""
    completions, tokens = (sum(found.get(key) or 0 for found in trained) for key in ("completions", "tokens"))
    return (
        f"{asked:,} test questions, answered by {len(evaluated)} policies in {written:,} tokens{more}; "
        f"{completions:,} completions of {tokens:,} tokens in training (prompts not counted)"
    )


def _excluded(settings: Settings, folder: Path) -> str:
    layout, parts = Layout(folder), []
    counts = read_json(layout.data / "manifest.json").get("counts", {})
    if settings.evaluation.limit is not None:
        parts.append(f"test questions after the first {settings.evaluation.limit:,}")
    if counts.get("dev"):
        parts.append(f"{counts['dev']:,} dev problems, from training")
    dropped = [
        row["groups_dropped"] for run in _runs(settings) for row in read_jsonl(layout.train(*run) / "metrics.jsonl")
    ]
    if dropped:
        parts.append(
            f"from gradients {sum(dropped) / len(dropped):.0%} of the groups, whose completions all weigh nothing"
        )
    skipped = sum(read_json(layout.train(*run) / "training.json").get("steps_skipped") or 0 for run in _runs(settings))
    if skipped:
        parts.append(f"{skipped} steps that were not finite")
    left_out = money.not_run(settings, folder)
    parts.append(f"by the budget: {len(left_out)} jobs, named there" if left_out else "nothing by the budget")
    return "; ".join(parts) + ". No test answer: one that was cut or has no number counts as wrong"


def _protocol(settings: Settings) -> str:
    protocol = settings.protocol
    return (
        f"level {protocol.alpha:g}, two-sided, Holm over the models; the last checkpoint; all test questions, once; "
        "strict accuracy decides"
    )


def _runs(settings: Settings) -> list[tuple[str, str, int]]:
    return [(model, *run) for model in settings.models for run in settings.runs]
