"""Make the MLflow view anew from the ledger and the files of `results/`.

What MLflow has is completed: a run that is there stays, a point of a curve that is there is not logged again. The
results of a run belong to the last attempt at it that finished; earlier ones have a row and a cost, but no curves.
"""

import sqlite3
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from reinforce_lite.accounting import ledger
from reinforce_lite.accounting import mlflow_runs as runs
from reinforce_lite.accounting.ledger import Attempt
from reinforce_lite.accounting.tracking import open_experiment
from reinforce_lite.files import read_json, read_jsonl
from reinforce_lite.layout import Layout
from reinforce_lite.settings import Settings

LOCKED_SECONDS = 60.0
"""A database that somebody keeps locked for so long counts as locked for ever."""


@dataclass
class Results:
    """What the files of an attempt's results say."""

    params: dict[str, Any] = field(default_factory=dict)
    rows: list[dict[str, Any]] = field(default_factory=list)
    artifacts: list[Path] = field(default_factory=list)
    dataset: Path | None = None
    origin: dict[str, Any] = field(default_factory=dict)  # commit and image


def rebuild(settings: Settings, locked_seconds: float = LOCKED_SECONDS) -> int:
    """Give every attempt of the ledger exactly one complete run; attempts that still run are left to their process.

    Returns:
        The number of runs that were made or completed.

    Raises:
        UserError: the ledger is corrupt, a result is not JSON, or MLflow cannot be used.
    """
    everything = ledger.attempts(ledger.ledger_path(settings))
    _make_room(settings, locked_seconds)
    parent_id = open_experiment(settings)
    client = runs.client(settings)
    owners = {_key(attempt): attempt.id for attempt in everything if attempt.outcome == "finished"}
    done = 0
    for number, attempt in enumerate(everything, 1):
        if attempt.outcome == "running":
            continue
        results = read_results(settings, attempt) if owners.get(_key(attempt)) == attempt.id else Results()
        run_id, spent = _only_run(client, parent_id, attempt, results.origin), everything[:number]
        _complete(client, settings, run_id, attempt, results)
        _log_missing(client, run_id, [runs.cost_row(settings, [attempt], spent)], attempt)
        runs.terminate(client, run_id, attempt)
        _log_missing(client, parent_id, [runs.cost_row(settings, spent, spent)], attempt)
        done += 1
    if everything and done == len(everything):
        runs.terminate(client, parent_id, everything[-1])
    return done


def read_results(settings: Settings, attempt: Attempt) -> Results:
    """Read what a finished attempt left; what is not there, or of a stage without results, is left out.

    Raises:
        UserError: a file is not JSON.
    """
    layout, model, variant, seed = Layout.of(settings), attempt.model, attempt.variant, attempt.seed
    if model is None:
        return Results()
    if attempt.stage == "train" and variant is not None and seed is not None:
        return _trained(layout.train(model, variant, seed), layout.data / "train.jsonl", _what(attempt))
    if attempt.stage.startswith("evaluate"):
        folder = layout.evaluation(model, variant, seed)
        return _evaluated(folder, layout.data / "test.jsonl", _what(attempt), settings)
    if attempt.stage == "fetch_policy":
        return _fetched(layout.policy(model), layout.data / "demonstrations.jsonl")
    return Results()


def _trained(folder: Path, data: Path, what: Mapping[str, Any]) -> Results:
    policy, training = _json(folder / "policy.json"), _json(folder / "training.json")
    return Results(
        params={**what, **(policy.get("training") or {})},
        rows=_rows(folder / "metrics.jsonl"),
        artifacts=_there(folder / "metrics.jsonl", folder / "completions.jsonl"),
        dataset=data,
        origin=training.get("made_with") or {},
    )


def _evaluated(folder: Path, data: Path, what: Mapping[str, Any], settings: Settings) -> Results:
    evaluation = _json(folder / "evaluation.json")
    figures = evaluation_metrics(evaluation)
    return Results(
        params={**what, "evaluation": settings.evaluation.model_dump(mode="json")},
        rows=[{"step": 0, **figures}] if figures else [],
        artifacts=_there(folder / "items.jsonl") + _there(folder / "samples.jsonl"),
        dataset=data,
        origin=evaluation.get("made_with") or {},
    )


def evaluation_metrics(evaluation: Mapping[str, Any]) -> dict[str, float]:
    """The single numbers of an evaluation.json, for curves; avg_at_k among them if answers were sampled."""
    names = ("n", "strict", "flexible", "truncated", "length_mean")
    told = {name: evaluation[name] for name in names if name in evaluation}
    return told | ({"avg_at_k": evaluation["sampled"]["strict"]["avg"]} if "sampled" in evaluation else {})


def _fetched(folder: Path, data: Path) -> Results:
    policy = {key: value for key, value in _json(folder / "policy.json").items() if key != "weights"}
    started = folder / "start.jsonl"
    return Results(
        params=policy,
        rows=_rows(started),
        dataset=data if started.exists() else None,
        origin=policy.get("made_with") or {},
    )


def _complete(client: Any, settings: Settings, run_id: str, attempt: Attempt, results: Results) -> None:
    """Log what the run lacks."""
    run = client.get_run(run_id)
    for key, value in {**runs.attempt_tags(attempt), **results.origin, **runs.config_tag(settings)}.items():
        if value is not None and key not in run.data.tags:
            client.set_tag(run_id, key, str(value))
    params = {key: value for key, value in runs.flatten(results.params).items() if key not in run.data.params}
    runs.log_params(client, run_id, params)
    _log_missing(client, run_id, results.rows, attempt)
    if results.dataset is not None and results.dataset.exists() and not run.inputs.dataset_inputs:
        runs.log_dataset(client, run_id, results.dataset, results.dataset.stem, attempt.stage)
    for path in results.artifacts:
        runs.log_artifact(client, settings, Path(settings.tracking.artifacts).absolute(), run_id, path)


def _log_missing(client: Any, run_id: str, rows: Sequence[Mapping[str, Any]], attempt: Attempt) -> None:
    """Log the points of the rows that MLflow does not have, at the end of their attempt."""
    keys = {key for row in rows for key in row if key != "step"}
    known = {key: {point.step for point in client.get_metric_history(run_id, key)} for key in keys}
    missing = [
        {key: value for key, value in row.items() if key == "step" or row["step"] not in known[key]} for row in rows
    ]
    runs.log_metrics(client, run_id, missing, runs.milliseconds(attempt.ended))


def _only_run(client: Any, parent_id: str, attempt: Attempt, origin: Mapping[str, Any]) -> str:
    """The run of an attempt, made if there is none; of several the first one stays."""
    experiment_id = client.get_run(parent_id).info.experiment_id
    query = f"tags.`{runs.ATTEMPT_TAG}` = '{attempt.id}'"
    found = client.search_runs([experiment_id], query, order_by=["attributes.start_time ASC"])
    for double in found[1:]:
        client.delete_run(double.info.run_id)  # MLflow keeps it among the deleted runs
    if not found:
        return runs.create_run(client, parent_id, attempt, origin)
    client.set_tag(found[0].info.run_id, "mlflow.parentRunId", parent_id)
    return str(found[0].info.run_id)


def _make_room(settings: Settings, locked_seconds: float) -> None:
    """Move a database that SQLite cannot use aside, with what belongs to it; nothing is deleted."""
    path = runs.database(settings)
    if path is None or not path.exists():
        return
    trouble = _trouble(path, locked_seconds)
    if trouble is None:
        return
    aside = f"{path.name}.{datetime.now(UTC):%Y%m%dT%H%M%S}.aside"
    for suffix in ("", "-wal", "-shm", "-journal"):
        part = path.with_name(path.name + suffix)
        if part.exists():
            part.rename(path.with_name(aside + suffix))
    text = f"{path} {trouble}; it is now {aside}, and a new one is made. Other experiments in it: rebuild each."
    print(f"warning: {text}", file=sys.stderr, flush=True)


def _trouble(path: Path, locked_seconds: float) -> str | None:
    """Why SQLite cannot use a database, None if it can."""
    connection = sqlite3.connect(path, timeout=locked_seconds, isolation_level=None)
    try:
        connection.execute("BEGIN IMMEDIATE")
        found = connection.execute("PRAGMA quick_check(1)").fetchone()[0]
        connection.execute("ROLLBACK")
        return None if found == "ok" else f"is damaged ({found})"
    except sqlite3.OperationalError as problem:
        return f"cannot be used ({problem})"
    except sqlite3.DatabaseError as problem:
        return f"is damaged ({problem})"
    finally:
        connection.close()


def _key(attempt: Attempt) -> tuple[str, str | None, str | None, int | None]:
    return attempt.stage, attempt.model, attempt.variant, attempt.seed


def _what(attempt: Attempt) -> dict[str, Any]:
    return {"model": attempt.model, "variant": attempt.variant, "seed": attempt.seed}


def _json(path: Path) -> dict[str, Any]:
    return dict(read_json(path)) if path.exists() else {}


def _rows(path: Path) -> list[dict[str, Any]]:
    return read_jsonl(path) if path.exists() else []


def _there(*paths: Path) -> list[Path]:
    return [path for path in paths if path.exists()]
