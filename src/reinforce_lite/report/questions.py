"""What a stranger asks of a result first, answered in a line each, with the place of the page that says more."""

from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any, NamedTuple

from reinforce_lite.config import Settings
from reinforce_lite.io.files import read_json, read_jsonl
from reinforce_lite.report import money
from reinforce_lite.report.numbers import change, percent, plain, shares, usd
from reinforce_lite.report.runs import runs
from reinforce_lite.stages import EVALUATED, TRAINED, Job, Layout


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
        summary: what summary.json holds.

    Raises:
        UserError: a record of the experiment is absent or damaged.
    """
    provenance, cost, level = summary["provenance"], summary["cost"], plain(settings.protocol.alpha)
    price = cost["price"]
    return [
        Answer("Which commit?", _commits(provenance["origins"]), "provenance"),
        Answer("Which data?", _data(settings, folder, provenance), "provenance"),
        Answer("Which weights?", _weights(provenance["revisions"]["models"]), "provenance"),
        Answer("Which variants?", _variants(settings), "results"),
        Answer("How many seeds?", _seeds(settings, folder), "results"),
        Answer("How many questions and tokens?", _tokens(settings, folder), "training"),
        Answer("What was excluded?", _excluded(settings, folder), "cost"),
        *_under_read(summary["models"]),
        Answer(
            "What was decided beforehand?",
            f"level {level}, two-sided, Holm over the models; the last checkpoint; {_asked(settings)}; "
            "strict accuracy decides",
            "claims",
        ),
        Answer(
            "Which price?",
            f"{usd(price['usd_per_hour'])} an hour for {price['device']}, by {price['source']}, read on "
            f"{price['date']}; it holds for failed attempts too",
            "cost",
        ),
        Answer("How do I run it again, and check it?", "by the commands below", "again"),
    ]


def _commits(origins: Iterable[Mapping[str, Any]]) -> str:
    makers = dict.fromkeys((origin["git_commit"] or "unknown", origin["image"]) for origin in origins)
    named = [commit + (f" in the container image {image}" if image else ", no container") for commit, image in makers]
    return "; ".join(named) or "none: nothing was made"


def _data(settings: Settings, folder: Path, provenance: Mapping[str, Any]) -> str:
    manifest = read_json(Layout(folder).path(Job("prepare_dataset"), "manifest"))
    counts = ", ".join(f"{count:,} {split}" for split, count in manifest.get("counts", {}).items() if count)
    source = provenance["revisions"]["data"] or {}
    shown = ", ".join(f"{key} {value}" for key, value in source.items() if isinstance(value, str | int))
    name = settings.task.name
    return f"{name}: {counts or 'unknown counts'} ({shown or 'source unknown'}; SHA-256 of each file below)"


def _weights(models: Mapping[str, Mapping[str, Any]]) -> str:
    return "; ".join(
        f"{name}: {source.get('source') or 'source unknown'}"
        + (f", revision {source['revision']}" if source.get("revision") else "")
        for name, source in models.items()
    )


def _variants(settings: Settings) -> str:
    keys = {name: settings.training_variants[name].items() for name in settings.variants}
    shown = {name: ", ".join(f"{key} {_value(value)}" for key, value in items) for name, items in keys.items()}
    return "; ".join(f"{name} ({text})" if text else name for name, text in shown.items())


def _value(value: Any) -> str:
    """A value of a variant in words."""
    return plain(value, 6) if isinstance(value, float) else str(value)


def _seeds(settings: Settings, folder: Path) -> str:
    planned = settings.seeds
    records = [(run.seed, read_json(run.evaluated / EVALUATED["summary"])) for run in runs(settings, folder)]
    evaluated = [seed for seed in planned if any(own == seed and not r.get("not_run") for own, r in records)]
    names = ", ".join(map(str, evaluated)) or "none"
    left_out = f" of {len(planned)} planned, the budget left the others out" if len(evaluated) < len(planned) else ""
    if len(evaluated) < 2:
        return f"{len(evaluated)} training seed ({names}){left_out}, so nothing is known about others"
    some = None if len(settings.variants) < 2 else settings.control_seeds
    controls = f"; controls have {', '.join(map(str, some))} alone" if some and len(some) < len(planned) else ""
    every = f"{len(evaluated)} training seeds ({names}){left_out}"
    return f"{every}; all of them bear on the claims{controls}"


def _tokens(settings: Settings, folder: Path) -> str:
    every = runs(settings, folder)
    trained = [read_json(run.trained / TRAINED["summary"]) for run in every]
    places = dict.fromkeys([run.baseline for run in every] + [run.evaluated for run in every])
    evaluated = [record for place in places if not (record := read_json(place / EVALUATED["summary"])).get("not_run")]
    questions = max((record["n"] for record in evaluated), default=0)
    written = round(sum(record["n"] * record["length_mean"] for record in evaluated))
    drawn = [(row["n"] * row["k"], row["length_mean"]) for record in evaluated if (row := record.get("sampled"))]
    sampled = round(sum(count * length for count, length in drawn))
    more = f" and {sum(count for count, _ in drawn):,} sampled answers of {sampled:,}" if drawn else ""
    if of_train := [(2 * row["n"], row["length_mean"]) for one in evaluated if (row := one.get("memorisation"))]:
        tokens = round(sum(count * length for count, length in of_train))
        more += f" and {sum(count for count, _ in of_train):,} of {tokens:,} to problems of train and perturbed ones"
    completions, tokens = (sum(record.get(key) or 0 for record in trained) for key in ("completions", "tokens"))
    return (
        f"{questions:,} test questions, answered by {len(evaluated)} policies in {written:,} tokens{more}; "
        f"{completions:,} completions of {tokens:,} tokens in training (prompts not counted)"
    )


def _under_read(models: Mapping[str, Mapping[str, Any]]) -> Iterator[Answer]:
    """How much the last-number rule misses, if it misses anything anywhere."""
    found = {name: row for name, model in models.items() if (row := model["under_read"])}
    if not any(row[side]["count"] for row in found.values() for side in ("baseline", "trained")):
        return

    def side(row: Mapping[str, Any]) -> str:
        return f"{percent(row['share'])} of the answers ({row['count']:,}; 95% interval {shares(row['ci95'])})"

    parts = [
        f"{name}: before training {side(row['baseline'])}, after it {side(row['trained'])}; if they counted, the "
        f"flexible change would be {change(row['change']['delta'])} points"
        for name, row in found.items()
    ]
    why = "They hold the right number in their last sentence, but another one comes last"
    yield Answer("How many right answers does the flexible parser miss?", f"{'; '.join(parts)}. {why}", "results")


def _asked(settings: Settings) -> str:
    """Which test questions are asked, and how often."""
    limit = settings.evaluation.limit
    questions = "all test questions" if limit is None else f"the first {limit:,} test questions"
    return f"{questions}, once" + (", and by the base once more" if settings.evaluation.noise_floor else "")


def _excluded(settings: Settings, folder: Path) -> str:
    counts, parts = read_json(Layout(folder).path(Job("prepare_dataset"), "manifest")).get("counts", {}), []
    if settings.evaluation.limit is not None:
        parts.append(f"test questions after the first {settings.evaluation.limit:,}")
    if counts.get("dev"):
        parts.append(f"{counts['dev']:,} dev problems, from training")
    places = [run.trained for run in runs(settings, folder)]
    dropped = [row["groups_dropped"] for place in places for row in read_jsonl(place / TRAINED["metrics"])]
    if dropped:
        share = sum(dropped) / len(dropped)
        parts.append(f"from gradients {share:.0%} of the groups, whose completions were rewarded alike")
    skipped = sum(read_json(place / TRAINED["summary"]).get("steps_skipped") or 0 for place in places)
    if skipped:
        parts.append(f"{skipped} steps that were not finite")
    left_out = money.not_run(settings, folder)
    parts.append(f"by the budget: {len(left_out)} jobs, named there" if left_out else "nothing by the budget")
    return "; ".join(parts) + ". Every test answer counts: one that was cut or has no number is wrong"
