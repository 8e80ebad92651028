"""An experiment as MLflow has it: one parent run, and a child run for every attempt. What MLflow raises is passed on.

The client is used, not the fluent API: the fluent API's active run is hidden global state.

The database holds no path: an artifact's address is `mlflow-artifacts:/<experiment>/<run>/...`, which MLflow's server
looks up under its `--artifacts-destination`. So a run made in a container opens outside of it, and the reverse.
"""

import base64
import hashlib
import json
import os
import shutil
import sqlite3
import time
import zlib
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from itertools import islice
from numbers import Real
from pathlib import Path
from typing import Any

from reinforce_lite.budget.ledger import Attempt, Outcome
from reinforce_lite.budget.plan import dollars
from reinforce_lite.config import Settings
from reinforce_lite.io import imports, provenance

PARENT_TAG, LEDGER_TAG, ATTEMPT_TAG = "reinforce_lite.experiment", "reinforce_lite.ledger", "attempt"
CHILDREN = f"tags.`{ATTEMPT_TAG}` != ''"
"""The query for the runs of attempts."""
PROXIED = "mlflow-artifacts:/"
"""How the address of an artifact begins that the server looks up under its --artifacts-destination."""

VIEW = "figures"
VIEW_TAG = f"mlflow.sharedViewState.{VIEW}"
"""The tag of an experiment that holds the view `VIEW` of its list of runs."""
COLUMNS = {
    "tags.`dollars`": 160, "tags.`hours`": 60, "tags.`gain`": 400, "metrics.`expected_usd`": 110,
    "metrics.`stage_step`": 90, "metrics.`stage_steps`": 90, "metrics.`reward_mean`": 110,
}  # fmt: skip
"""What the list of runs shows in that view, and how wide (pixels)."""

Row = Mapping[str, Any]
"""Values of one step by name, `step` among them, and `when` they were (default: now). Only numbers are logged."""

_SQLITE = "sqlite:///"
# MLflow's limits of a search, of log_batch, and of inputs.
MOST_RUNS, _METRICS, _PARAMS, _VALUE_CHARACTERS, _DIGEST_CHARACTERS = 50_000, 1000, 100, 6000, 36
_STATUS: dict[Outcome, str] = {
    "finished": "FINISHED",
    "failed": "FAILED",
    "interrupted": "KILLED",
    "killed": "KILLED",
    "running": "RUNNING",
}


def _number(value: Any) -> str | None:
    """A number as text, since nan is not equal to itself; None of anything else."""
    return repr(float(value)) if isinstance(value, Real) else None


@dataclass(frozen=True)
class Experiment:
    """An experiment in MLflow.

    Attributes:
        settings: the experiment.
        client: MLflow's.
        id: MLflow's name of the experiment.
        artifacts: the folder that a server would be given for them; a later change of directory must not move it.
    """

    settings: Settings
    client: Any
    id: str
    artifacts: Path

    @classmethod
    def of(cls, settings: Settings) -> "Experiment":
        """Find the experiment, restore it if it was deleted, or create it, and the database too."""
        client, artifacts = client_of(settings), settings.tracking.artifacts
        experiment = client.get_experiment_by_name(settings.experiment)
        if experiment is None:
            location = artifacts if ":/" in artifacts else f"{PROXIED}{settings.experiment}"
            # Without the kind the page opens on an empty list of LLM traces instead of the runs.
            tags = {"mlflow.experimentKind": "custom_model_development"}
            name = client.create_experiment(settings.experiment, artifact_location=location, tags=tags)
            known: Mapping[str, str] = {}
        else:
            name, known = experiment.experiment_id, experiment.tags
            if experiment.lifecycle_stage == "deleted":
                client.restore_experiment(name)
        for key, value in {"mlflow.note.content": settings.description, VIEW_TAG: view()}.items():
            if known.get(key) != value:
                client.set_experiment_tag(name, key, value)
        return cls(settings, client, str(name), Path(artifacts).absolute())

    def runs(self, query: str = CHILDREN) -> list[Any]:
        """The runs that a query finds, the first one started first."""
        order = ["attributes.start_time ASC"]
        return list(self.client.search_runs([self.id], query, order_by=order, max_results=MOST_RUNS))

    def parent(self, ledger: str | None) -> Any:
        """The run under which all attempts of a ledger stand, created if it is not there.

        A ledger is known by its first attempt, None before there is one. What was spent under another ledger of this
        name, whose results were deleted since, stays under the parent of its own.
        """
        parents = self.runs(f"tags.`{PARENT_TAG}` = '{self.settings.experiment}'")
        by_ledger = {parent.data.tags.get(LEDGER_TAG): parent for parent in reversed(parents)}
        found, free = by_ledger.get(ledger), by_ledger.get(None)
        if found is None and free is not None:
            own = {run.data.tags[ATTEMPT_TAG] for run in self.children(free)}
            found = free if ledger in own or not own else None
        if found is None:
            tags = {PARENT_TAG: self.settings.experiment, "mlflow.note.content": self.settings.description}
            found = self.client.create_run(self.id, tags=tags, run_name=self.settings.experiment)
        if ledger is not None and found.data.tags.get(LEDGER_TAG) != ledger:
            self.client.set_tag(found.info.run_id, LEDGER_TAG, ledger)
        return found

    def children(self, parent: Any) -> list[Any]:
        """The runs of attempts that stand under a parent."""
        return self.runs(f"{CHILDREN} and tags.`mlflow.parentRunId` = '{parent.info.run_id}'")

    def log_settings(self, parent: Any) -> None:
        """Log the configuration, and what made it.

        MLflow never changes a parameter once logged: what differs from it goes into the tag `changed_settings`.
        """
        values = self.settings.model_dump(mode="json")
        now = {key: value[:_VALUE_CHARACTERS] for key, value in flatten(values).items()}
        changed = {key: value for key, value in now.items() if parent.data.params.get(key, value) != value}
        tags = {"changed_settings": json.dumps(changed)[:_VALUE_CHARACTERS]} if changed else {}
        for key, value in {**self._made_with(provenance.origin()), **tags}.items():
            if parent.data.tags.get(key) != value:
                self.client.set_tag(parent.info.run_id, key, value)
        self.log_params(parent, values)

    def create_run(self, parent: Any, attempt: Attempt, origin: Mapping[str, Any]) -> Any:
        """Start the run of an attempt."""
        named = {"run_name": str(attempt.job), "tags": self.tags(parent, attempt, origin)}
        return self.client.create_run(self.id, start_time=milliseconds(attempt.started), **named)

    def tags(self, parent: Any, attempt: Attempt, origin: Mapping[str, Any]) -> dict[str, str]:
        """The tags of an attempt's run: its parent, what it was at, and what made it (git_commit and image)."""
        who = {"mlflow.parentRunId": parent.info.run_id, ATTEMPT_TAG: attempt.id, "stage": attempt.stage}
        known = {key: str(value) for key, value in {**who, **attempt.job.run}.items() if value is not None}
        return {**known, **self._made_with(origin)}

    def _made_with(self, origin: Mapping[str, Any]) -> dict[str, str]:
        text = json.dumps(self.settings.model_dump(mode="json"), sort_keys=True)
        known = {key: str(value) for key, value in origin.items() if value is not None}
        return {**known, "config_sha256": hashlib.sha256(text.encode()).hexdigest()}

    def tag_cost(self, parent: Any, row: Row) -> None:
        """Show on the parent what has been spent, of how much, and the device hours, by a row of its curves."""
        text = f"{dollars(row['cost_usd'])} of {dollars(self.settings.budget.limit_usd)}"
        for key, value in (("dollars", text), ("hours", f"{row['device_hours']:.2f}")):
            self.client.set_tag(parent.info.run_id, key, value)

    def terminate(self, run: Any, attempt: Attempt) -> None:
        """Give a run the status and the end of an attempt, unless it has both."""
        status, ended = _STATUS[attempt.outcome], milliseconds(attempt.ended)
        if (run.info.status, run.info.end_time) != (status, ended):
            self.client.set_terminated(run.info.run_id, status, ended)

    def log_params(self, run: Any, params: Mapping[str, Any]) -> None:
        """Log the settings that a run lacks; a nested mapping becomes dotted names."""
        self.log_missing(run, [], params)

    def log_metrics(self, run_id: str, rows: Iterable[Row]) -> None:
        """Log rows, in as few calls as MLflow allows."""
        self._log(run_id, rows, {})

    def log_missing(self, run: Any, rows: Sequence[Row], params: Mapping[str, Any]) -> None:
        """Log the points of the rows, and the settings, that a run lacks; `run` is as MLflow has it now."""
        there = {key for row in rows for key in row} & run.data.metrics.keys()
        same = {key for key in there if len(rows) == 1 and rows[0][key] == run.data.metrics[key]}
        histories = {key: self.client.get_metric_history(run.info.run_id, key) for key in there - same}
        # By value too: while an attempt ran, the parent had others at its step.
        logged = {(key, point.step, _number(point.value)) for key, points in histories.items() for point in points}
        logged |= {(key, rows[0]["step"], _number(rows[0][key])) for key in same}
        missing = [
            {key: value for key, value in row.items() if (key, row["step"], _number(value)) not in logged}
            for row in rows
        ]
        values = {key: value for key, value in flatten(params).items() if key not in run.data.params}
        self._log(run.info.run_id, missing, values)

    def _log(self, run_id: str, rows: Iterable[Row], params: Mapping[str, str]) -> None:
        """Log rows and flat settings, a thousand values a call."""
        from mlflow.entities import Metric, Param

        now = int(time.time() * 1000)
        metrics = (
            Metric(key, float(value), row.get("when", now), int(row["step"]))
            for row in rows
            for key, value in row.items()
            if key not in ("step", "when") and isinstance(value, Real)
        )
        settings = (Param(key, value[:_VALUE_CHARACTERS]) for key, value in params.items())
        while any(batch := (list(islice(metrics, _METRICS - _PARAMS)), list(islice(settings, _PARAMS)))):
            self.client.log_batch(run_id, metrics=batch[0], params=batch[1])

    def log_dataset(self, run_id: str, path: Path, context: str) -> None:
        """Log a file as an input of a stage (the context): its path, size and SHA-256."""
        from mlflow.entities import Dataset, DatasetInput, InputTag

        digest, source = provenance.sha256_file(path), json.dumps({"uri": str(path)})
        profile = json.dumps({"sha256": digest, "bytes": path.stat().st_size})
        dataset = Dataset(path.stem, digest[:_DIGEST_CHARACTERS], "local", source, profile=profile)
        self.client.log_inputs(run_id, [DatasetInput(dataset, [InputTag("mlflow.data.context", context)])])

    def log_artifacts(self, run: Any, paths: Iterable[Path]) -> None:
        """Copy those files that are there to a run's artifacts."""
        address = run.info.artifact_uri
        for path in filter(Path.exists, paths):
            if not address.startswith(PROXIED) or self.settings.tracking.uri.startswith("http"):
                self.client.log_artifact(run.info.run_id, str(path))
            else:
                folder = self.artifacts / address.removeprefix(PROXIED)  # where a server would have put it
                folder.mkdir(parents=True, exist_ok=True)
                shutil.copy(path, folder)


def view() -> str:
    """The state of the page of runs that shows `COLUMNS`, as MLflow (3.17) keeps a view that is shared."""
    state = {
        "selectedColumns": ["attributes.`Created`", *COLUMNS],
        "columnOrder": list(COLUMNS),
        "columnWidths": COLUMNS,
    }
    return f"deflate;{base64.b64encode(zlib.compress(json.dumps(state).encode())).decode()}"


def client_of(settings: Settings) -> Any:
    """MLflow's client for the tracking address of the settings; a database that is not there is created."""
    os.environ["MLFLOW_DISABLE_TELEMETRY"] = "true"
    os.environ.setdefault("MLFLOW_LOGGING_LEVEL", "WARNING")  # that it makes tables is no news for a user
    # By default a server that has gone is tried for minutes, on rented time.
    os.environ.setdefault("MLFLOW_HTTP_REQUEST_MAX_RETRIES", "1")
    os.environ.setdefault("MLFLOW_HTTP_REQUEST_TIMEOUT", "10")
    with imports.quick():
        from mlflow import MlflowClient

    path = database(settings)
    if path is not None and not path.exists():
        _create_database(path)
    return MlflowClient(_address(settings))


@contextmanager
def unsynced() -> Iterator[None]:
    """Let SQLite not wait for the disk at every commit of a connection that is made in the block.

    That takes most of the time of many small writes. If the machine loses power meanwhile, the database may be damaged;
    a rebuild then moves it aside.
    """
    from sqlalchemy import event
    from sqlalchemy.engine import Engine

    def relax(connection: Any, record: Any) -> None:
        if isinstance(connection, sqlite3.Connection):
            connection.execute("PRAGMA synchronous = OFF")

    event.listen(Engine, "connect", relax)
    try:
        yield
    finally:
        event.remove(Engine, "connect", relax)


def monitor(settings: Settings, run_id: str) -> Any:
    """Begin to log what the machine does (`system/...`: processor, memory, disk, network, GPU); `finish()` ends it."""
    import logging

    from mlflow.system_metrics.system_metrics_monitor import SystemMetricsMonitor

    logging.getLogger("mlflow.system_metrics").setLevel(logging.ERROR)  # it announces the start of every stage
    started = SystemMetricsMonitor(run_id, tracking_uri=_address(settings))
    started.start()
    return started


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


def move_unusable(settings: Settings, locked_seconds: float) -> str | None:
    """Move a database that SQLite cannot use aside, with what belongs to it; nothing is deleted.

    Args:
        settings: the experiment.
        locked_seconds: a database that somebody keeps locked for so long counts as locked for ever.

    Returns:
        What was moved and why; None if the database can be used, or there is none.
    """
    path = database(settings)
    if path is None or not path.exists() or (trouble := _trouble(path, locked_seconds)) is None:
        return None
    aside = f"{path.name}.{datetime.now(UTC):%Y%m%dT%H%M%S}.aside"
    for suffix in ("", "-wal", "-shm", "-journal"):
        part = path.with_name(path.name + suffix)
        if part.exists():
            part.rename(path.with_name(aside + suffix))
    return f"{path} {trouble}; it is now {aside}, and a new one is created. Other experiments in it: rebuild each."


def _trouble(path: Path, locked_seconds: float) -> str | None:
    """Why SQLite cannot use a database, None if it can."""
    connection = sqlite3.connect(path, timeout=locked_seconds, isolation_level=None)
    try:
        connection.execute("BEGIN IMMEDIATE")
        answer = connection.execute("PRAGMA quick_check(1)").fetchone()[0]
        connection.execute("ROLLBACK")
        return None if answer == "ok" else f"is damaged ({answer})"
    except sqlite3.OperationalError as problem:
        return f"cannot be used ({problem})"
    except sqlite3.DatabaseError as problem:
        return f"is damaged ({problem})"
    finally:
        connection.close()


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
