"""The report's figures for machines: summary.json, and where they came from."""

import hashlib
import json
from collections.abc import Iterable, Mapping, Sequence
from importlib.metadata import version
from io import BytesIO
from pathlib import Path
from typing import Any

from reinforce_lite import __version__
from reinforce_lite.budget import costs
from reinforce_lite.budget.ledger import Attempt
from reinforce_lite.config import Settings
from reinforce_lite.errors import UserError
from reinforce_lite.io.files import read_json, read_jsonl
from reinforce_lite.io.keyed import COMPUTED_WITH, OF_THE_JOB
from reinforce_lite.io.provenance import origin, sha256_file
from reinforce_lite.report import money
from reinforce_lite.report.summary_model import AttemptCost, RunResult, StageSeconds, Summary
from reinforce_lite.stages import POLICY, STAGES, Job, Layout, jobs

BOOTSTRAP_SEED = 0
"""Seed of the paired bootstrap; fixed, so that the same items always give the same interval."""

NOT_OVER = ("report", "crate")
"""Rules whose jobs are not over when the report is made: what is there is of an earlier one, or is still to come."""


def summarise(
    settings: Settings,
    comparisons: Sequence[Mapping[str, Any]],
    attempts: Sequence[Attempt],
    provenance: Mapping[str, Any],
    plan: Mapping[str, Any] | None = None,
    seconds: Sequence[Mapping[str, Any]] = (),
    more: Mapping[str, Mapping[str, Any]] | None = None,
) -> Summary:
    """Put the figures of an experiment together.

    Only `cost` and `provenance` depend on wall time: same seeds on the same machine give equal `models`.

    Args:
        settings: the experiment.
        comparisons: what `compare` returns, each with its `model`, `variant` and `seed`.
        attempts: the ledger.
        provenance: what `provenance` returns.
        plan: what `money.first_plan` returns.
        seconds: what `reconcile` returns.
        more: by model, over_seeds, sampled, noise_floor, by_kind and memorisation, what `build` has found of each.

    Raises:
        UserError: a model lacks the comparison of the first variant and the first seed.
        pydantic.ValidationError: a figure is impossible; the message names its key.
    """
    costs = {
        **cost(settings, attempts),
        "plan": plan,
        "per_point": money.per_point(settings, comparisons, attempts),
        "published": money.published(settings),
        "reconciliation": list(seconds),
    }
    models = {
        name: {**_model(settings, name, comparisons), **(more or {}).get(name, {"over_seeds": [], "sampled": None})}
        for name in settings.models
    }
    named = {"experiment": settings.experiment, "description": settings.description}
    return Summary.model_validate(
        {"schema_version": 1, **named, "models": models, "cost": costs, "provenance": dict(provenance)}
    )


def cost(settings: Settings, attempts: Sequence[Attempt]) -> dict[str, Any]:
    """What the ledger adds up to, in US dollars and device hours; every attempt counts, whatever came of it.

    The idle time between attempts stands beside it, and counts neither as spent nor against the limit.
    """
    hardware, spent = settings.hardware, costs.spent_usd(attempts)
    return {
        "usd": spent,
        "device_hours": sum(attempt.device_hours for attempt in attempts),
        "limit_usd": settings.budget.limit_usd,
        "remaining_usd": settings.budget.limit_usd - spent,
        "by_stage": costs.by_stage(attempts),
        "attempts": [attempt_row(attempt) for attempt in attempts],
        **costs.idle_cost(hardware, attempts),
        "price": {
            "usd_per_hour": hardware.usd_per_hour,
            "source": hardware.price_source,
            "date": hardware.price_date.isoformat(),
            "device": hardware.name,
        },
    }


def attempt_row(attempt: Attempt) -> dict[str, Any]:
    """What the summary keeps of an attempt: who, what came of it, seconds of wall time and US dollars."""
    return {key: getattr(attempt, key) for key in AttemptCost.model_fields}


def provenance(settings: Settings, folder: Path) -> dict[str, Any]:
    """What the results were made with, read from the files beside them.

    Returns:
        versions (of software), machine, origins (commit and image, and the results they made), revisions (`data`, and
        `models` by name), sums (SHA-256 of the data by file), seeds; and of the report itself: made_with, ledger (bytes
        read and their SHA-256) and files (SHA-256 of each result that it was made of).

    Raises:
        UserError: preflight.json, the manifest of the data or a policy.json is absent or not JSON.
    """
    others = [job for job in jobs(settings, device=False) if job.model and not STAGES[job.stage].device]
    files = _records(settings, folder) + [path for path in map(Layout(folder).path, others) if path.exists()]
    environment = dict(read_json(Layout(folder).preflight).get("environment", {}))
    manifest = read_json(Layout(folder).path(Job("prepare_dataset"), "manifest"))
    packages = environment.pop("packages", {})
    return {
        "versions": {"reinforce-lite": __version__, "python": environment.pop("python", None), **packages},
        "machine": environment,
        "origins": _origins(settings, folder),
        "revisions": {
            "data": manifest.get("source"),
            "models": {name: _policy(folder, name) for name in settings.models},
        },
        "sums": dict(manifest.get("sha256") or manifest.get("files") or {}),
        "seeds": {
            "training": list(settings.seeds),
            "task": settings.task.seed,
            "bootstrap": BOOTSTRAP_SEED,
            "start": {name: start.seed for name in settings.models if (start := settings.policies[name].start)},
        },
        "made_with": {**origin(), "matplotlib": version("matplotlib")},
        "ledger": ledger_sum(Layout(folder).ledger),
        "files": {str(path.relative_to(folder)): sha256_file(path) for path in files},
    }


def ledger_sum(path: Path, bytes_read: int | None = None) -> dict[str, Any]:
    """What a ledger was when it was read; it is only appended to, so that its first bytes must stay what they are.

    Args:
        path: of the ledger; no file means that nothing was spent.
        bytes_read: look at so many bytes only; None for all.

    Returns:
        bytes, and sha256 of them.
    """
    digest, length = hashlib.sha256(), 0
    with path.open("rb") if path.exists() else BytesIO() as handle:
        while block := handle.read(min(2**20, 2**20 if bytes_read is None else bytes_read - length)):
            digest.update(block)
            length += len(block)
    return {"bytes": length, "sha256": digest.hexdigest()}


def _records(settings: Settings, folder: Path) -> list[Path]:
    """The records that are there and say which commit and image made them.

    Stage after stage for the models, then run after run.
    """
    stages, models = list(STAGES), settings.models

    def place(job: Job) -> tuple[int, ...]:
        if job.variant is None:
            return 0, stages.index(job.stage), models.index(job.model)
        return 1, models.index(job.model), settings.runs.index((job.variant, int(job.seed or 0)))

    paths = [Layout(folder).path(job) for job in sorted(jobs(settings), key=place)]
    return [path for path in paths if path.exists()]


def reconcile(
    attempts: Iterable[Attempt], benchmarks: Path, mlflow_seconds: Mapping[str, float] | None = None
) -> list[dict[str, Any]]:
    """Seconds of every stage as the ledger, Snakemake and MLflow measured them, each by its own clock.

    Args:
        attempts: the ledger.
        benchmarks: folder of Snakemake's benchmark files (key `s`): <rule>.jsonl, or <rule>/**/*.jsonl.
        mlflow_seconds: sum of the durations of MLflow's runs by stage, if known.

    Returns:
        One row a stage: ledger (all attempts), finished (those that finished), snakemake, mlflow; None where that
        source has nothing. Snakemake keeps a benchmark only of the last job that finished. `NOT_OVER` is left out.

    Raises:
        UserError: a benchmark file is not JSON lines, or a row has no number under `s`.
    """
    rows: dict[str, dict[str, Any]] = {}

    def add(stage: str, column: str, seconds: float) -> None:
        row = rows.setdefault(stage, {**dict.fromkeys(StageSeconds.model_fields), "stage": stage})
        row[column] = (row[column] or 0.0) + seconds

    for attempt in attempts:
        add(attempt.stage, "ledger", attempt.seconds)
        if attempt.outcome == "finished":
            add(attempt.stage, "finished", attempt.seconds)
    for path in sorted(benchmarks.rglob("*.jsonl")):
        rule = path.relative_to(benchmarks).parts[0].removesuffix(".jsonl")
        if rule not in NOT_OVER:
            add(rule, "snakemake", benchmark_seconds(path))
    for stage, seconds in (mlflow_seconds or {}).items():
        add(stage, "mlflow", seconds)
    return list(rows.values())


def _policy(folder: Path, model: str) -> dict[str, Any]:
    policy = read_json(Layout(folder).policy(model) / POLICY)
    return {key: value for key, value in policy.items() if key not in OF_THE_JOB}


def _origins(settings: Settings, folder: Path) -> list[dict[str, Any]]:
    """Which commit, container image, libraries and device made each result; those of the same origin stand together.

    An experiment may be continued by another version or elsewhere: the finished results are not made again. A result
    that went on with other libraries or on another device (`other_numbers`) stands alone.
    """
    made: dict[str, dict[str, Any]] = {}
    for file in _records(settings, folder):
        record = read_json(file)
        if "not_run" not in record:
            who = {key: record.get("made_with", {}).get(key) for key in ("git_commit", "image")}
            who |= {key: record[key] for key in (COMPUTED_WITH, "other_numbers") if key in record}
            results = made.setdefault(json.dumps(who, sort_keys=True), {**who, "results": []})["results"]
            results.append(str(file.parent.relative_to(folder)))
    return list(made.values())


def _model(settings: Settings, name: str, comparisons: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
    runs = [{key: row.get(key) for key in RunResult.model_fields} for row in comparisons if row["model"] == name]
    variant, seed = settings.variants[0], settings.seeds[0]
    main = next((run for run in runs if (run["variant"], run["seed"]) == (variant, seed)), None)
    if main is None:
        problem = f"{name} has no evaluation of {variant}, seed {seed}"
        raise UserError(problem, "run the rules that train and evaluate it")
    published = settings.published(name)
    return {**main, "published": published.model_dump() if published else None, "runs": runs}


def benchmark_seconds(path: Path) -> float:
    """Seconds of one job by Snakemake's clock.

    Raises:
        UserError: the file is not JSON lines, or a row has no number under `s`.
    """
    try:
        return sum(float(row["s"]) for row in read_jsonl(path))
    except (KeyError, TypeError, ValueError) as error:
        raise UserError(f"{path}: a row has no seconds under 's'", "delete the file and run its rule again") from error
