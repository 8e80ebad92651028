"""The runs of the MLflow view: how one is made, filled and ended. Whatever MLflow raises is passed on.

The client is used, not the fluent API: the fluent API's active run is hidden global state.

The database holds no path: an artifact's address is `mlflow-artifacts:/<experiment>/<run>/...`, which MLflow's server
looks up under its `--artifacts-destination`. So a run made in a container opens outside of it, and the reverse.
"""

import hashlib
import json
import os
import shutil
import time
from collections.abc import Iterable, Mapping, Sequence
from datetime import datetime
from numbers import Real
from pathlib import Path
from typing import Any

from reinforce_lite.accounting import budget, provenance
from reinforce_lite.accounting.ledger import Attempt, Outcome
from reinforce_lite.settings import Settings

PARENT_TAG = "reinforce_lite.experiment"
ATTEMPT_TAG = "attempt"
PROXIED = "mlflow-artifacts:/"
"""How the address of an artifact begins that the server looks up under its --artifacts-destination."""

_SQLITE = "sqlite:///"
# Limits of MLflow's log_batch and inputs.
_METRICS, _PARAMS, _VALUE_CHARACTERS, _DIGEST_CHARACTERS = 1000, 100, 6000, 36
_STATUS: dict[Outcome, str] = {
    "finished": "FINISHED",
    "failed": "FAILED",
    "interrupted": "KILLED",
    "killed": "KILLED",
    "running": "RUNNING",
}


def create_run(client: Any, parent_id: str, attempt: Attempt, origin: Mapping[str, Any]) -> str:
    """Make the run of an attempt under the parent; returns its id."""
    tags = {"mlflow.parentRunId": parent_id, **attempt_tags(attempt), **origin}
    run = client.create_run(
        client.get_run(parent_id).info.experiment_id,
        start_time=milliseconds(attempt.started),
        tags={key: str(value) for key, value in tags.items() if value is not None},
        run_name=run_name(attempt),
    )
    return str(run.info.run_id)


def attempt_tags(attempt: Attempt) -> dict[str, str | int | None]:
    """The tags by which a run is found again."""
    what = {"stage": attempt.stage, "model": attempt.model, "variant": attempt.variant, "seed": attempt.seed}
    return {ATTEMPT_TAG: attempt.id, **what}


def end_run(
    client: Any, settings: Settings, run_id: str, own: Sequence[Attempt], everything: Sequence[Attempt]
) -> None:
    """End a run, with the hours and the cost of its own attempts, as the last of them ended."""
    log_cost(client, settings, run_id, own, everything)
    terminate(client, run_id, own[-1])


def log_cost(
    client: Any, settings: Settings, run_id: str, own: Sequence[Attempt], everything: Sequence[Attempt]
) -> None:
    """Log what a run's own attempts cost, and what all of them leave of the limit."""
    log_metrics(client, run_id, [cost_row(settings, own, everything)], milliseconds(own[-1].ended))


def cost_row(settings: Settings, own: Sequence[Attempt], everything: Sequence[Attempt]) -> dict[str, float]:
    """A point of the curves of cost: hours and US dollars of the run, the limit, and what all attempts leave of it."""
    return {
        "step": len(own),
        "gpu_hours": sum(attempt.device_hours for attempt in own),
        "cost_usd": budget.spent_usd(own),
        "budget_limit_usd": settings.budget.limit_usd,
        "budget_remaining_usd": budget.remaining_usd(settings.budget.limit_usd, everything),
    }


def terminate(client: Any, run_id: str, attempt: Attempt) -> None:
    """Give a run the status and the end of an attempt."""
    client.set_terminated(run_id, _STATUS[attempt.outcome], milliseconds(attempt.ended))


def monitor(settings: Settings, run_id: str) -> Any:
    """Begin to log what the machine does (`system/...`: processor, memory, disk, network, GPU); `finish()` ends it."""
    import logging

    from mlflow.system_metrics.system_metrics_monitor import SystemMetricsMonitor

    logging.getLogger("mlflow.system_metrics").setLevel(logging.ERROR)  # else every stage tells of its beginning
    path = database(settings)
    uri = settings.tracking.uri if path is None else f"{_SQLITE}{path}"
    started = SystemMetricsMonitor(run_id, tracking_uri=uri)
    started.start()
    return started


def log_dataset(client: Any, run_id: str, path: Path, name: str, context: str) -> None:
    """Log a file as an input of a stage: its path, size and SHA-256."""
    from mlflow.entities import Dataset, DatasetInput, InputTag

    digest, source = provenance.sha256_file(path), {"uri": str(path)}
    profile = {"sha256": digest, "bytes": path.stat().st_size}
    dataset = Dataset(name, digest[:_DIGEST_CHARACTERS], "local", json.dumps(source), profile=json.dumps(profile))
    client.log_inputs(run_id, [DatasetInput(dataset, [InputTag("mlflow.data.context", context)])])


def log_artifact(client: Any, settings: Settings, artifacts: Path, run_id: str, path: Path) -> None:
    """Copy a file to a run's artifacts; `artifacts` is the folder that a server would be given for them."""
    address = client.get_run(run_id).info.artifact_uri
    if not address.startswith(PROXIED) or settings.tracking.uri.startswith("http"):
        client.log_artifact(run_id, str(path))
        return
    folder = artifacts / address.removeprefix(PROXIED)  # where a server would have put it
    folder.mkdir(parents=True, exist_ok=True)
    shutil.copy(path, folder)


def config_tag(settings: Settings) -> dict[str, str]:
    """The tag by which runs of the same configuration are found: SHA-256 of all its values."""
    text = json.dumps(settings.model_dump(mode="json"), sort_keys=True)
    return {"config_sha256": hashlib.sha256(text.encode()).hexdigest()}


def run_name(attempt: Attempt) -> str:
    """Name of an attempt's run, such as `train llama leave_one_out seed0`."""
    seed = None if attempt.seed is None else f"seed{attempt.seed}"
    return " ".join(part for part in (attempt.stage, attempt.model, attempt.variant, seed) if part)


def flatten(values: Mapping[str, Any], prefix: str = "") -> dict[str, str]:
    """Nested mappings as dotted names, values as text (JSON unless they are text already).

    >>> flatten({"a": {"b": 1, "c": [2, 3]}, "d": "x", "e": None})
    {'a.b': '1', 'a.c': '[2, 3]', 'd': 'x', 'e': 'null'}
    """
    flat: dict[str, str] = {}
    for key, value in values.items():
        if isinstance(value, Mapping) and value:
            flat |= flatten(value, f"{prefix}{key}.")
        else:
            flat[f"{prefix}{key}"] = value if isinstance(value, str) else json.dumps(value, default=str)
    return flat


def client(settings: Settings) -> Any:
    """MLflow's client for the tracking address of the settings."""
    os.environ["MLFLOW_DISABLE_TELEMETRY"] = "true"
    # A server that has gone would otherwise be asked for minutes, on rented time.
    os.environ.setdefault("MLFLOW_HTTP_REQUEST_MAX_RETRIES", "1")
    os.environ.setdefault("MLFLOW_HTTP_REQUEST_TIMEOUT", "10")
    from mlflow import MlflowClient

    path = database(settings)
    if path is None:
        return MlflowClient(settings.tracking.uri)
    if not path.exists():
        _make_database(path)
    return MlflowClient(f"{_SQLITE}{path}")


def _make_database(path: Path) -> None:
    """Make a tracking database whole, or not at all.

    MLflow makes it in dozens of migrations. Killed in the midst of them, it finds tables that it does not expect, and
    would refuse that database for ever.
    """
    from mlflow import MlflowClient

    path.parent.mkdir(parents=True, exist_ok=True)
    new = path.with_name(f".{path.name}.new")
    for left in (new, new.with_name(f"{new.name}-journal")):  # of a process that was killed here
        left.unlink(missing_ok=True)
    MlflowClient(f"{_SQLITE}{new}").search_experiments()
    new.replace(path)


def database(settings: Settings) -> Path | None:
    """The file of the tracking database, absolute, for a later change of directory must not move it; None if none."""
    uri = settings.tracking.uri
    return Path(uri.removeprefix(_SQLITE)).absolute() if uri.startswith(_SQLITE) else None


def experiment_id(client: Any, settings: Settings) -> str:
    """Find or make the experiment; returns its id."""
    experiment = client.get_experiment_by_name(settings.experiment)
    if experiment is None:
        folder = settings.tracking.artifacts
        location = folder if ":/" in folder else f"{PROXIED}{settings.experiment}"
        # Without the kind the page opens on an empty list of LLM traces instead of the runs.
        tags = {"mlflow.experimentKind": "custom_model_development"}
        return str(client.create_experiment(settings.experiment, artifact_location=location, tags=tags))
    if experiment.lifecycle_stage == "deleted":
        client.restore_experiment(experiment.experiment_id)
    return str(experiment.experiment_id)


def new_parent(client: Any, experiment_id: str, settings: Settings) -> Any:
    """Make the run under which all attempts of the experiment stand."""
    tags = {PARENT_TAG: settings.experiment, "mlflow.note.content": settings.description}
    return client.create_run(experiment_id, tags=tags, run_name=settings.experiment)


def log_settings(client: Any, parent: Any, settings: Settings) -> None:
    """Log the configuration, and what made it; what the parent has otherwise goes into its tag `changed_settings`."""
    for key, value in {**config_tag(settings), **provenance.origin()}.items():
        if value is not None and parent.data.tags.get(key) != value:
            client.set_tag(parent.info.run_id, key, value)
    wanted = {key: value[:_VALUE_CHARACTERS] for key, value in flatten(settings.model_dump(mode="json")).items()}
    logged = parent.data.params
    log_params(client, parent.info.run_id, {key: value for key, value in wanted.items() if key not in logged})
    changed = {key: value for key, value in wanted.items() if logged.get(key, value) != value}
    if changed:
        client.set_tag(parent.info.run_id, "changed_settings", json.dumps(changed)[:_VALUE_CHARACTERS])


def log_params(client: Any, run_id: str, params: Mapping[str, Any]) -> None:
    """Log settings; a nested mapping becomes dotted names."""
    from mlflow.entities import Param

    entities = [Param(key, value[:_VALUE_CHARACTERS]) for key, value in flatten(params).items()]
    for first in range(0, len(entities), _PARAMS):
        client.log_batch(run_id, params=entities[first : first + _PARAMS])


def log_metrics(client: Any, run_id: str, rows: Iterable[Mapping[str, Any]], when: int | None = None) -> None:
    """Log rows with a `step` at a time in milliseconds since 1970, now by default."""
    from mlflow.entities import Metric

    when = int(time.time() * 1000) if when is None else when
    entities = [
        Metric(key, float(value), when, int(row["step"]))
        for row in rows
        for key, value in row.items()
        if key != "step" and isinstance(value, Real)
    ]
    for first in range(0, len(entities), _METRICS):
        client.log_batch(run_id, metrics=entities[first : first + _METRICS])


def milliseconds(when: datetime) -> int:
    """Milliseconds since 1970, as MLflow has times."""
    return round(when.timestamp() * 1000)
