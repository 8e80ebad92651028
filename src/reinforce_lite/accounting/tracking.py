"""The MLflow view of an experiment: one parent run, and a child run for every attempt of the ledger.

It is a view. The ledger and the files of `results/` are what counts, so whatever goes wrong here is a warning, not an
error. The client is used, not the fluent API: the fluent API's active run is hidden global state.

The database holds no path: an artifact's address is `mlflow-artifacts:/<experiment>/<run>/...`, which MLflow's server
looks up under its `--artifacts-destination`. So a run made in a container opens outside of it, and the reverse.
"""

import fcntl
import json
import os
import shutil
import sys
import time
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from datetime import datetime
from numbers import Real
from pathlib import Path
from typing import Any

from reinforce_lite.accounting import budget, ledger, provenance
from reinforce_lite.accounting.ledger import Attempt, Outcome
from reinforce_lite.errors import UserError
from reinforce_lite.settings import Settings

PARENT_TAG = "reinforce_lite.experiment"
ATTEMPT_TAG = "attempt"
PROXIED = "mlflow-artifacts:/"
"""How the address of an artifact begins that the server looks up under its --artifacts-destination."""

PAUSE_SECONDS = 60.0
"""After a failed call MLflow is left alone for so long: a locked database makes every call wait, on rented time."""

# Limits of MLflow's log_batch and inputs.
_METRICS, _PARAMS, _VALUE_CHARACTERS, _DIGEST_CHARACTERS = 1000, 100, 6000, 36
_STATUS: dict[Outcome, str] = {
    "finished": "FINISHED",
    "failed": "FAILED",
    "interrupted": "KILLED",
    "killed": "KILLED",
    "running": "RUNNING",
}


def open_experiment(settings: Settings) -> str:
    """Make the database, the experiment and its parent run, or find them; safe from several processes at once.

    MLflow never changes a parameter once logged. A setting that differs from what the parent run has goes into its tag
    `changed_settings` instead.

    Returns:
        The id of the parent run.

    Raises:
        UserError: the tracking database cannot be used.
    """
    try:
        with _alone(settings):
            client = _client(settings)
            experiment_id = _experiment(client, settings)
            found = client.search_runs([experiment_id], f"tags.`{PARENT_TAG}` = '{settings.experiment}'")
            parent = found[-1] if found else _new_parent(client, experiment_id, settings)
            _log_settings(client, parent, settings)
    except Exception as problem:
        raise UserError(
            f"MLflow cannot use tracking.uri {settings.tracking.uri}: {_one_line(problem)}",
            "correct tracking.uri, start its server, or move the database away to begin a new one",
        ) from problem
    return str(parent.info.run_id)


def stage_seconds(settings: Settings) -> dict[str, float] | None:
    """Seconds of all child runs by stage, as MLflow has them; None, with a warning, if it cannot be asked."""
    try:
        client = _client(settings)
        experiment = client.get_experiment_by_name(settings.experiment)
        runs = client.search_runs([experiment.experiment_id], f"tags.`{ATTEMPT_TAG}` != ''", max_results=10_000)
    except Exception as problem:
        print(f"warning: the report lacks MLflow's times: {_one_line(problem)}", file=sys.stderr)
        return None
    seconds: dict[str, float] = {}
    for run in runs:
        if run.info.end_time is not None:
            stage = run.data.tags["stage"]
            seconds[stage] = seconds.get(stage, 0.0) + (run.info.end_time - run.info.start_time) / 1000
    return seconds


class Child:
    """The run of one attempt. No method raises: the first trouble is told on stderr, and the stage goes on."""

    def __init__(self, settings: Settings, attempt: Attempt) -> None:
        """Start the run under the parent, and end runs whose process was killed."""
        self._settings, self._name = settings, run_name(attempt)
        self._client: Any = None
        self._parent_id, self._run_id = "", ""
        self._artifacts = Path(settings.tracking.artifacts).absolute()  # a later change of directory must not move it
        self._warned, self._paused_until = False, 0.0
        self._guard(self._start, attempt)

    def log_params(self, params: Mapping[str, Any]) -> None:
        """Log settings; a nested mapping becomes dotted names."""
        if self._run_id:
            self._guard(_log_params, self._client, self._run_id, params)

    def log_metrics(self, rows: Sequence[Mapping[str, Any]]) -> None:
        """Log rows of numbers, each with its `step`, in as few calls as MLflow allows; other values are left out."""
        if self._run_id:
            self._guard(_log_metrics, self._client, self._run_id, rows)

    def log_dataset(self, path: Path, name: str) -> None:
        """Log a file as an input: its path, size and SHA-256."""
        if self._run_id:
            self._guard(self._log_dataset, path, name)

    def log_artifact(self, path: Path) -> None:
        """Copy a file to the run's artifacts."""
        if self._run_id:
            self._guard(self._log_artifact, path)

    def end(self, attempt: Attempt) -> None:
        """End the run at the attempt's end, with its hours and cost, and bring the parent's totals up to date."""
        self._paused_until = 0.0
        if self._run_id:
            self._guard(self._end, attempt)

    def _start(self, attempt: Attempt) -> None:
        self._parent_id = open_experiment(self._settings)
        self._client = _client(self._settings)
        self._settle()
        tags = {
            "mlflow.parentRunId": self._parent_id,
            ATTEMPT_TAG: attempt.id,
            "stage": attempt.stage,
            "model": attempt.model,
            "variant": attempt.variant,
            "seed": attempt.seed,
            **provenance.origin(),
        }
        run = self._client.create_run(
            self._client.get_run(self._parent_id).info.experiment_id,
            start_time=_milliseconds(attempt.started),
            tags={key: str(value) for key, value in tags.items() if value is not None},
            run_name=self._name,
        )
        self._client.update_run(self._parent_id, status="RUNNING")
        self._run_id = str(run.info.run_id)

    def _settle(self) -> None:
        """End the runs that still say RUNNING although the ledger says that their process has gone."""
        known = {attempt.id: attempt for attempt in self._attempts()}
        parent = self._client.get_run(self._parent_id)
        query = f"tags.mlflow.parentRunId = '{self._parent_id}' and attributes.status = 'RUNNING'"
        for run in self._client.search_runs([parent.info.experiment_id], query):
            attempt = known.get(run.data.tags.get(ATTEMPT_TAG, ""))
            if attempt is not None and attempt.outcome != "running":
                self._end_run(run.info.run_id, attempt, [attempt], list(known.values()))

    def _end(self, attempt: Attempt) -> None:
        everything = self._attempts()
        self._end_run(self._run_id, attempt, [attempt], everything)
        if not any(other.outcome == "running" for other in everything):
            self._end_run(self._parent_id, attempt, everything, everything)
        else:
            self._log_cost(self._parent_id, everything, everything, attempt.ended)

    def _end_run(self, run_id: str, attempt: Attempt, own: Sequence[Attempt], everything: Sequence[Attempt]) -> None:
        self._log_cost(run_id, own, everything, attempt.ended)
        self._client.set_terminated(run_id, _STATUS[attempt.outcome], _milliseconds(attempt.ended))

    def _log_cost(self, run_id: str, own: Sequence[Attempt], everything: Sequence[Attempt], when: datetime) -> None:
        row = {
            "step": len(own),
            "gpu_hours": sum(attempt.device_hours for attempt in own),
            "cost_usd": budget.spent_usd(own),
            "budget_remaining_usd": budget.remaining_usd(self._settings.budget.limit_usd, everything),
        }
        _log_metrics(self._client, run_id, [row], _milliseconds(when))

    def _log_dataset(self, path: Path, name: str) -> None:
        from mlflow.entities import Dataset, DatasetInput, InputTag

        digest, source = provenance.sha256_file(path), {"uri": str(path)}
        profile = {"sha256": digest, "bytes": path.stat().st_size}
        dataset = Dataset(name, digest[:_DIGEST_CHARACTERS], "local", json.dumps(source), profile=json.dumps(profile))
        context = InputTag("mlflow.data.context", self._name.split()[0])
        self._client.log_inputs(self._run_id, [DatasetInput(dataset, [context])])

    def _log_artifact(self, path: Path) -> None:
        address = self._client.get_run(self._run_id).info.artifact_uri
        if not address.startswith(PROXIED) or self._settings.tracking.uri.startswith("http"):
            self._client.log_artifact(self._run_id, str(path))
            return
        folder = self._artifacts / address.removeprefix(PROXIED)  # where a server would have put it
        folder.mkdir(parents=True, exist_ok=True)
        shutil.copy(path, folder)

    def _attempts(self) -> list[Attempt]:
        return ledger.attempts(ledger.ledger_path(self._settings))

    def _guard(self, action: Callable[..., None], *arguments: Any) -> None:
        if time.monotonic() < self._paused_until:
            return
        try:
            action(*arguments)
        except Exception as problem:
            self._paused_until = time.monotonic() + PAUSE_SECONDS
            if not self._warned:
                text = f"warning: {self._name}: MLflow will lack part of this stage: {_one_line(problem)}"
                print(text, file=sys.stderr, flush=True)
            self._warned = True


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


def _client(settings: Settings) -> Any:
    os.environ["MLFLOW_DISABLE_TELEMETRY"] = "true"
    # A server that has gone would otherwise be asked for minutes, on rented time.
    os.environ.setdefault("MLFLOW_HTTP_REQUEST_MAX_RETRIES", "1")
    os.environ.setdefault("MLFLOW_HTTP_REQUEST_TIMEOUT", "10")
    from mlflow import MlflowClient

    uri = settings.tracking.uri
    if uri.startswith("sqlite:///"):
        database = Path(uri.removeprefix("sqlite:///")).absolute()  # a later change of directory must not move it
        database.parent.mkdir(parents=True, exist_ok=True)
        uri = f"sqlite:///{database}"
    return MlflowClient(uri)


def _experiment(client: Any, settings: Settings) -> str:
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


def _new_parent(client: Any, experiment_id: str, settings: Settings) -> Any:
    tags = {PARENT_TAG: settings.experiment, "mlflow.note.content": settings.description}
    return client.create_run(experiment_id, tags=tags, run_name=settings.experiment)


def _log_settings(client: Any, parent: Any, settings: Settings) -> None:
    wanted = {key: value[:_VALUE_CHARACTERS] for key, value in flatten(settings.model_dump(mode="json")).items()}
    logged = parent.data.params
    _log_params(client, parent.info.run_id, {key: value for key, value in wanted.items() if key not in logged})
    changed = {key: value for key, value in wanted.items() if logged.get(key, value) != value}
    if changed:
        client.set_tag(parent.info.run_id, "changed_settings", json.dumps(changed)[:_VALUE_CHARACTERS])


def _log_params(client: Any, run_id: str, params: Mapping[str, Any]) -> None:
    from mlflow.entities import Param

    entities = [Param(key, value[:_VALUE_CHARACTERS]) for key, value in flatten(params).items()]
    for first in range(0, len(entities), _PARAMS):
        client.log_batch(run_id, params=entities[first : first + _PARAMS])


def _log_metrics(client: Any, run_id: str, rows: Iterable[Mapping[str, Any]], when: int | None = None) -> None:
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


@contextmanager
def _alone(settings: Settings) -> Iterator[None]:
    """Hold the lock under which databases, experiments and parent runs are made."""
    path = settings.results / ".mlflow.lock"
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.open("a") as handle:
        fcntl.flock(handle, fcntl.LOCK_EX)
        yield


def _milliseconds(when: datetime) -> int:
    return round(when.timestamp() * 1000)


def _one_line(problem: Exception) -> str:
    text = problem.problem if isinstance(problem, UserError) else f"{type(problem).__name__}: {problem}"
    return " ".join(text.split())[:300]
