"""MLflow's database, client and runs. Whatever MLflow raises is passed on.

The client is used, not the fluent API: the fluent API's active run is hidden global state.

The database holds no path: an artifact's address is `mlflow-artifacts:/<experiment>/<run>/...`, which MLflow's server
looks up under its `--artifacts-destination`. So a run made in a container opens outside of it, and the reverse.
"""

import json
import os
import shutil
import time
from collections.abc import Iterable, Mapping, Sequence
from datetime import datetime
from numbers import Real
from pathlib import Path
from typing import Any

from reinforce_lite.accounting.ledger import Attempt, Outcome
from reinforce_lite.accounting.provenance import sha256_file
from reinforce_lite.settings import Settings

PROXIED = "mlflow-artifacts:/"
"""How the address of an artifact begins that the server looks up under its --artifacts-destination."""

Row = Mapping[str, Any]
"""Values of one step, by name, with `step` among them; what is no number is not logged."""

_SQLITE = "sqlite:///"
# Limits of MLflow's log_batch and inputs.
_METRICS, _PARAMS, VALUE_CHARACTERS, _DIGEST_CHARACTERS = 1000, 100, 6000, 36
_STATUS: dict[Outcome, str] = {
    "finished": "FINISHED",
    "failed": "FAILED",
    "interrupted": "KILLED",
    "killed": "KILLED",
    "running": "RUNNING",
}


def client(settings: Settings) -> Any:
    """MLflow's client for the tracking address of the settings; a database that is not there is created."""
    os.environ["MLFLOW_DISABLE_TELEMETRY"] = "true"
    # By default a server that has gone is tried for minutes, on rented time.
    os.environ.setdefault("MLFLOW_HTTP_REQUEST_MAX_RETRIES", "1")
    os.environ.setdefault("MLFLOW_HTTP_REQUEST_TIMEOUT", "10")
    from mlflow import MlflowClient

    path = database(settings)
    if path is not None and not path.exists():
        _create_database(path)
    return MlflowClient(_address(settings))


def database(settings: Settings) -> Path | None:
    """The file of the tracking database, absolute because the working directory may change; None for a server."""
    uri = settings.tracking.uri
    return Path(uri.removeprefix(_SQLITE)).absolute() if uri.startswith(_SQLITE) else None


def _address(settings: Settings) -> str:
    path = database(settings)
    return settings.tracking.uri if path is None else f"{_SQLITE}{path}"


def _create_database(path: Path) -> None:
    """Create a tracking database completely, or not at all.

    MLflow creates it in dozens of migrations. If it is killed between two, it never accepts that database again.
    """
    from mlflow import MlflowClient

    path.parent.mkdir(parents=True, exist_ok=True)
    new = path.with_name(f".{path.name}.new")
    for left in (new, new.with_name(f"{new.name}-journal")):  # of a process that was killed here
        left.unlink(missing_ok=True)
    MlflowClient(f"{_SQLITE}{new}").search_experiments()
    new.replace(path)


def experiment_id(client: Any, settings: Settings) -> str:
    """Find, restore or create the experiment; returns its id."""
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


def search(client: Any, experiment_id: str, query: str) -> list[Any]:
    """All runs of an experiment that a query finds, the first one started first."""
    runs: list[Any] = []
    token = None
    while True:
        page = client.search_runs(
            [experiment_id], query, order_by=["attributes.start_time ASC"], max_results=10_000, page_token=token
        )
        runs += page
        token = page.token
        if not token:
            return runs


def terminate(client: Any, run_id: str, attempt: Attempt) -> None:
    """Give a run the status and the end of an attempt."""
    client.set_terminated(run_id, _STATUS[attempt.outcome], milliseconds(attempt.ended))


def monitor(settings: Settings, run_id: str) -> Any:
    """Begin to log what the machine does (`system/...`: processor, memory, disk, network, GPU); `finish()` ends it."""
    import logging

    from mlflow.system_metrics.system_metrics_monitor import SystemMetricsMonitor

    logging.getLogger("mlflow.system_metrics").setLevel(logging.ERROR)  # it announces the start of every stage
    started = SystemMetricsMonitor(run_id, tracking_uri=_address(settings))
    started.start()
    return started


def log_dataset(client: Any, run_id: str, path: Path, context: str) -> None:
    """Log a file as an input of a stage (the context): its path, size and SHA-256."""
    from mlflow.entities import Dataset, DatasetInput, InputTag

    digest, source = sha256_file(path), json.dumps({"uri": str(path)})
    profile = json.dumps({"sha256": digest, "bytes": path.stat().st_size})
    dataset = Dataset(path.stem, digest[:_DIGEST_CHARACTERS], "local", source, profile=profile)
    client.log_inputs(run_id, [DatasetInput(dataset, [InputTag("mlflow.data.context", context)])])


def log_artifact(client: Any, settings: Settings, run: Any, artifacts: Path, path: Path) -> None:
    """Copy a file to a run's artifacts; `artifacts` is the folder that a server would be given for them."""
    address = run.info.artifact_uri
    if not address.startswith(PROXIED) or settings.tracking.uri.startswith("http"):
        client.log_artifact(run.info.run_id, str(path))
        return
    folder = artifacts / address.removeprefix(PROXIED)  # where a server would have put it
    folder.mkdir(parents=True, exist_ok=True)
    shutil.copy(path, folder)


def log_params(client: Any, run: Any, params: Mapping[str, Any]) -> None:
    """Log the settings that a run lacks; a nested mapping becomes dotted names."""
    from mlflow.entities import Param

    entities = [
        Param(key, value[:VALUE_CHARACTERS]) for key, value in flatten(params).items() if key not in run.data.params
    ]
    for first in range(0, len(entities), _PARAMS):
        client.log_batch(run.info.run_id, params=entities[first : first + _PARAMS])


def log_metrics(client: Any, run_id: str, rows: Iterable[Row], when: int | None = None) -> None:
    """Log rows, each at its own `when` in milliseconds since 1970, else at the given one, which is now by default."""
    from mlflow.entities import Metric

    when = int(time.time() * 1000) if when is None else when
    entities = [
        Metric(key, float(value), int(row.get("when", when)), int(row["step"]))
        for row in rows
        for key, value in row.items()
        if key not in ("step", "when") and isinstance(value, Real)
    ]
    for first in range(0, len(entities), _METRICS):
        client.log_batch(run_id, metrics=entities[first : first + _METRICS])


def log_missing(client: Any, run: Any, rows: Sequence[Row], when: int | None = None) -> None:
    """Log the points of the rows that a run lacks; `run` is as MLflow has it now."""
    run_id = run.info.run_id
    there = {key for row in rows for key in row} & run.data.metrics.keys()
    steps = {key: {point.step for point in client.get_metric_history(run_id, key)} for key in there}
    missing = [{key: value for key, value in row.items() if row["step"] not in steps.get(key, ())} for row in rows]
    log_metrics(client, run_id, missing, when)


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


def milliseconds(when: datetime) -> int:
    """Milliseconds since 1970, as MLflow has times."""
    return round(when.timestamp() * 1000)
