"""The MLflow view of an experiment: one parent run, and a child run for every attempt of the ledger.

It is a view. The ledger and the files of `results/` are what counts, so whatever goes wrong here is a warning, not an
error, and `rebuild` makes the view anew from them.
"""

import fcntl
import sys
import time
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from reinforce_lite.accounting import ledger, provenance
from reinforce_lite.accounting import mlflow_runs as runs
from reinforce_lite.accounting.ledger import Attempt
from reinforce_lite.errors import UserError
from reinforce_lite.settings import Settings

PAUSE_SECONDS = 60.0
"""After a failed call MLflow is left alone for so long: a locked database makes every call wait, on rented time."""


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
            client = runs.client(settings)
            experiment_id = runs.experiment_id(client, settings)
            found = client.search_runs([experiment_id], f"tags.`{runs.PARENT_TAG}` = '{settings.experiment}'")
            parent = found[-1] if found else runs.new_parent(client, experiment_id, settings)
            runs.log_settings(client, parent, settings)
    except Exception as problem:
        raise UserError(
            f"MLflow cannot use tracking.uri {settings.tracking.uri}: {_one_line(problem)}",
            "correct tracking.uri, start its server, or move the database away to begin a new one",
        ) from problem
    return str(parent.info.run_id)


def publish(settings: Settings, note: str, figures: Mapping[str, float], files: Iterable[Path]) -> None:
    """Put the result where one looks first: on the experiment's parent run. Trouble is a warning.

    Args:
        settings: the experiment.
        note: the run's description, in markdown.
        figures: metrics by name.
        files: its artifacts; those of an earlier report are replaced.
    """
    try:
        parent_id, client = open_experiment(settings), runs.client(settings)
        client.set_tag(parent_id, "mlflow.note.content", note)
        runs.log_metrics(client, parent_id, [{"step": 0, **figures}])
        for path in files:
            runs.log_artifact(client, settings, Path(settings.tracking.artifacts).absolute(), parent_id, path)
    except Exception as problem:
        print(f"warning: MLflow's parent run lacks the result: {_one_line(problem)}", file=sys.stderr)


def stage_seconds(settings: Settings) -> dict[str, float] | None:
    """Seconds of all child runs by stage, as MLflow has them; None, with a warning, if it cannot be asked."""
    try:
        client = runs.client(settings)
        experiment = client.get_experiment_by_name(settings.experiment)
        query = f"tags.`{runs.ATTEMPT_TAG}` != ''"
        found = client.search_runs([experiment.experiment_id], query, max_results=10_000)
    except Exception as problem:
        print(f"warning: the report lacks MLflow's times: {_one_line(problem)}", file=sys.stderr)
        return None
    seconds: dict[str, float] = {}
    for run in found:
        if run.info.end_time is not None:
            stage = run.data.tags["stage"]
            seconds[stage] = seconds.get(stage, 0.0) + (run.info.end_time - run.info.start_time) / 1000
    return seconds


class Child:
    """The run of one attempt. No method raises: the first trouble is told on stderr, and the stage goes on."""

    def __init__(self, settings: Settings, attempt: Attempt) -> None:
        """Start the run under the parent, and end runs whose process was killed."""
        self._settings, self._name = settings, runs.run_name(attempt)
        self._client: Any = None
        self._monitor: Any = None
        self._parent_id, self._run_id = "", ""
        self._artifacts = Path(settings.tracking.artifacts).absolute()  # a later change of directory must not move it
        self._warned, self._paused_until = False, 0.0
        self._guard(self._start, attempt)

    def log_params(self, params: Mapping[str, Any]) -> None:
        """Log settings; a nested mapping becomes dotted names."""
        if self._run_id:
            self._guard(runs.log_params, self._client, self._run_id, params)

    def log_metrics(self, rows: Sequence[Mapping[str, Any]]) -> None:
        """Log rows of numbers, each with its `step`, in as few calls as MLflow allows; other values are left out."""
        if self._run_id:
            self._guard(runs.log_metrics, self._client, self._run_id, rows)

    def log_dataset(self, path: Path, name: str) -> None:
        """Log a file as an input: its path, size and SHA-256."""
        if self._run_id:
            context = self._name.split()[0]
            self._guard(runs.log_dataset, self._client, self._run_id, path, name, context)

    def log_artifact(self, path: Path) -> None:
        """Copy a file to the run's artifacts."""
        if self._run_id:
            self._guard(runs.log_artifact, self._client, self._settings, self._artifacts, self._run_id, path)

    def end(self, attempt: Attempt) -> None:
        """End the run at the attempt's end, with its hours and cost, and bring the parent's totals up to date."""
        self._paused_until = 0.0
        if self._monitor is not None:
            self._guard(self._monitor.finish)
        if self._run_id:
            self._guard(self._end, attempt)

    def _start(self, attempt: Attempt) -> None:
        self._parent_id = open_experiment(self._settings)
        self._client = runs.client(self._settings)
        self._settle()
        made_with = {**provenance.origin(), **runs.config_tag(self._settings)}
        run_id = runs.create_run(self._client, self._parent_id, attempt, made_with)
        self._client.update_run(self._parent_id, status="RUNNING")
        self._run_id = run_id
        self._monitor = runs.monitor(self._settings, run_id)

    def _settle(self) -> None:
        """End the runs that still say RUNNING although the ledger says that their process has gone."""
        known = {attempt.id: attempt for attempt in self._attempts()}
        parent = self._client.get_run(self._parent_id)
        query = f"tags.mlflow.parentRunId = '{self._parent_id}' and attributes.status = 'RUNNING'"
        for run in self._client.search_runs([parent.info.experiment_id], query):
            attempt = known.get(run.data.tags.get(runs.ATTEMPT_TAG, ""))
            if attempt is not None and attempt.outcome != "running":
                runs.end_run(self._client, self._settings, run.info.run_id, [attempt], list(known.values()))

    def _end(self, attempt: Attempt) -> None:
        everything = self._attempts()
        runs.end_run(self._client, self._settings, self._run_id, [attempt], everything)
        # The parent ends with this attempt, whatever was opened after it.
        known = [other for other in everything if other.id != attempt.id]
        log = runs.log_cost if any(other.outcome == "running" for other in known) else runs.end_run
        log(self._client, self._settings, self._parent_id, [*known, attempt], everything)

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


@contextmanager
def _alone(settings: Settings) -> Iterator[None]:
    """Hold the lock under which databases, experiments and parent runs are made."""
    path = settings.results / ".mlflow.lock"
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.open("a") as handle:
        fcntl.flock(handle, fcntl.LOCK_EX)
        yield


def _one_line(problem: Exception) -> str:
    text = problem.problem if isinstance(problem, UserError) else f"{type(problem).__name__}: {problem}"
    return " ".join(text.split())[:300]
