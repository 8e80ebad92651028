"""The MLflow view of an experiment: one parent run, and a child run for every attempt of the ledger.

It is a view. The ledger and the files of `results/` are what counts, so while a stage runs whatever goes wrong here is
a warning, not an error. What a stage logs while it runs are its curves and what the machine does. All else is taken
from the ledger and the result files, by `complete`, at the end of the attempt and whenever the view is rebuilt.
"""

import fcntl
import hashlib
import json
import sqlite3
import sys
import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from reinforce_lite.accounting import ledger, provenance
from reinforce_lite.accounting import mlflow_runs as runs
from reinforce_lite.accounting.budget import remaining_usd, spent_usd
from reinforce_lite.accounting.ledger import Attempt
from reinforce_lite.errors import UserError
from reinforce_lite.files import read_json, read_jsonl
from reinforce_lite.layout import Layout
from reinforce_lite.precision import evaluation_of
from reinforce_lite.settings import Settings

PARENT_TAG, ATTEMPT_TAG = "reinforce_lite.experiment", "attempt"
PAUSE_SECONDS = 60.0
"""After a failed call MLflow is left alone for so long: a locked database makes every call wait, on rented time."""
LOCKED_SECONDS = 60.0
"""A database that somebody keeps locked for so long counts as locked for ever."""


@dataclass(frozen=True)
class Results:
    """What the result files of an attempt hold, of what MLflow shows."""

    params: Mapping[str, Any] = field(default_factory=dict)
    rows: Sequence[runs.Row] = ()
    artifacts: Sequence[Path] = ()
    dataset: Path | None = None
    origin: Mapping[str, Any] = field(default_factory=dict)  # git_commit and image


def results_of(settings: Settings, attempt: Attempt) -> Results:
    """Read what a finished attempt left; what is not there, or of a stage without results, is left out.

    Raises:
        UserError: a file is not JSON.
    """
    layout, model, variant, seed = Layout.of(settings), attempt.model, attempt.variant, attempt.seed
    what = {"model": model, "variant": variant, "seed": seed}
    if model is None:
        return Results()
    if attempt.stage == "fetch_policy":
        folder = layout.policy(model)
        policy = {key: value for key, value in _json(folder / "policy.json").items() if key != "weights"}
        rows = _rows(folder / "start.jsonl")
        dataset = layout.data / "demonstrations.jsonl" if rows else None
        return Results(policy, rows, (), dataset, policy.get("made_with") or {})
    if attempt.stage == "train" and variant is not None and seed is not None:
        folder = layout.train(model, variant, seed)
        params = {**what, **(_json(folder / "policy.json").get("training") or {})}
        artifacts = [folder / "metrics.jsonl", folder / "completions.jsonl"]
        origin = _json(folder / "training.json").get("made_with") or {}
        return Results(params, _rows(artifacts[0]), artifacts, layout.data / "train.jsonl", origin)
    if attempt.stage.startswith("evaluate"):
        folder = layout.evaluation(model, variant, seed)
        evaluation = _json(folder / "evaluation.json")
        engine = settings.evaluation.model_copy(update={"engine": evaluation.get("engine", settings.evaluation.engine)})
        asked = evaluation_of(settings.model_copy(update={"evaluation": engine}), model)
        params = {**what, "evaluation": asked.model_dump(mode="json")}
        artifacts = [folder / "items.jsonl", folder / "samples.jsonl"]
        rows = [{"step": 0, **evaluation_metrics(evaluation)}]
        return Results(params, rows, artifacts, layout.data / "test.jsonl", evaluation.get("made_with") or {})
    return Results()


def evaluation_metrics(evaluation: Mapping[str, Any]) -> dict[str, float]:
    """The single numbers of an evaluation.json, for curves; avg_at_k among them if answers were sampled."""
    names = ("n", "strict", "flexible", "truncated", "length_mean")
    figures = {name: evaluation[name] for name in names if name in evaluation}
    return figures | ({"avg_at_k": evaluation["sampled"]["strict"]["avg"]} if "sampled" in evaluation else {})


@dataclass(frozen=True)
class Experiment:
    """An experiment as MLflow has it.

    Attributes:
        settings: the experiment.
        client: MLflow's.
        id: MLflow's name of it.
        parent_id: the run under which all attempts stand.
        artifacts: the folder that a server would be given for them; a later change of directory must not move it.
    """

    settings: Settings
    client: Any
    id: str
    parent_id: str
    artifacts: Path

    def runs(self, query: str = f"tags.`{ATTEMPT_TAG}` != ''") -> list[Any]:
        """The runs of attempts, or those that a query finds, the first one started first."""
        return runs.search(self.client, self.id, query)

    def create_run(self, attempt: Attempt, origin: Mapping[str, Any]) -> Any:
        """Start the run of an attempt; `origin` is git_commit and image, where they are known."""
        tags, started = self._tags(attempt, origin), runs.milliseconds(attempt.started)
        return self.client.create_run(self.id, start_time=started, tags=tags, run_name=str(attempt.job))

    def complete(self, run: Any, spent: Sequence[Attempt], results: Results) -> None:
        """Log all that the run of an ended attempt lacks: its end and its cost, and what its result files hold.

        Args:
            run: as MLflow has it now.
            spent: every attempt up to the run's own, which is the last one.
            results: what its files hold.
        """
        run_id, attempt, ended = run.info.run_id, spent[-1], runs.milliseconds(spent[-1].ended)
        runs.log_missing(self.client, run, [self.cost([attempt], spent)], ended)
        runs.terminate(self.client, run_id, attempt)
        for key, value in self._tags(attempt, results.origin).items():
            if run.data.tags.get(key) != value and (key not in run.data.tags or key == "mlflow.parentRunId"):
                self.client.set_tag(run_id, key, value)
        runs.log_params(self.client, run, results.params)
        runs.log_missing(self.client, run, results.rows, ended)
        if results.dataset is not None and results.dataset.exists() and not run.inputs.dataset_inputs:
            runs.log_dataset(self.client, run_id, results.dataset, attempt.stage)
        self.log_artifacts(run, results.artifacts)

    def log_artifacts(self, run: Any, paths: Iterable[Path]) -> None:
        """Copy those files that are there to a run's artifacts."""
        for path in filter(Path.exists, paths):
            runs.log_artifact(self.client, self.settings, run, self.artifacts, path)

    def cost(self, own: Sequence[Attempt], spent: Sequence[Attempt]) -> dict[str, float]:
        """A point of the curves of cost: hours and US dollars of the own attempts, the limit, what is left of it."""
        limit = self.settings.budget.limit_usd
        hours = sum(attempt.device_hours for attempt in own)
        cost = {"step": len(own), "gpu_hours": hours, "cost_usd": spent_usd(own)}
        return {**cost, "budget_limit_usd": limit, "budget_remaining_usd": remaining_usd(limit, spent)}

    def _tags(self, attempt: Attempt, origin: Mapping[str, Any]) -> dict[str, str]:
        what = {"stage": attempt.stage, "model": attempt.model, "variant": attempt.variant, "seed": attempt.seed}
        known = {key: str(value) for key, value in what.items() if value is not None}
        parent = {"mlflow.parentRunId": self.parent_id, ATTEMPT_TAG: attempt.id}
        return {**parent, **known, **_made_with(self.settings, origin)}


def open_experiment(settings: Settings) -> Experiment:
    """Find or create the database, the experiment and its parent run; safe from several processes at once.

    MLflow never changes a parameter once logged. A setting that differs from what the parent run has goes into its tag
    `changed_settings` instead.

    Raises:
        UserError: the tracking database cannot be used.
    """
    lock = settings.results / ".mlflow.lock"
    try:
        lock.parent.mkdir(parents=True, exist_ok=True)
        with lock.open("a") as handle:
            fcntl.flock(handle, fcntl.LOCK_EX)
            client = runs.client(settings)
            experiment_id = runs.experiment_id(client, settings)
            parents = runs.search(client, experiment_id, f"tags.`{PARENT_TAG}` = '{settings.experiment}'")
            tags = {PARENT_TAG: settings.experiment, "mlflow.note.content": settings.description}
            new = {"experiment_id": experiment_id, "tags": tags, "run_name": settings.experiment}
            parent = parents[0] if parents else client.create_run(**new)
            _log_settings(client, parent, settings)
    except Exception as problem:
        raise UserError(
            f"MLflow cannot use tracking.uri {settings.tracking.uri}: {_one_line(problem)}",
            "correct tracking.uri, start its server, or move the database away to begin a new one",
        ) from problem
    return Experiment(settings, client, experiment_id, parent.info.run_id, Path(settings.tracking.artifacts).absolute())


def _log_settings(client: Any, parent: Any, settings: Settings) -> None:
    for key, value in _made_with(settings, provenance.origin()).items():
        if parent.data.tags.get(key) != value:
            client.set_tag(parent.info.run_id, key, value)
    values = settings.model_dump(mode="json")
    runs.log_params(client, parent, values)
    now = {key: value[: runs.VALUE_CHARACTERS] for key, value in runs.flatten(values).items()}
    changed = {key: value for key, value in now.items() if parent.data.params.get(key, value) != value}
    if changed:
        client.set_tag(parent.info.run_id, "changed_settings", json.dumps(changed)[: runs.VALUE_CHARACTERS])


def _made_with(settings: Settings, origin: Mapping[str, Any]) -> dict[str, str]:
    """Tags of what made a run: commit, image, and the SHA-256 of its configuration's values."""
    text = json.dumps(settings.model_dump(mode="json"), sort_keys=True)
    known = {key: str(value) for key, value in origin.items() if value is not None}
    return {**known, "config_sha256": hashlib.sha256(text.encode()).hexdigest()}


class LiveRun:
    """The run of one attempt. No method raises: stderr tells the first trouble, and the stage goes on."""

    def __init__(self, settings: Settings, attempt: Attempt) -> None:
        """Start the run under the parent, and end runs whose process was killed."""
        self._settings, self._name = settings, str(attempt.job)
        self._experiment: Experiment | None = None
        self._monitor: Any = None
        self._run_id = ""
        self._warned, self._paused_until = False, 0.0
        self._guard(self._start, attempt)

    def log_metrics(self, rows: Sequence[runs.Row]) -> None:
        """Log curves: each row has `step` and the numbers of that step; other values are left out."""
        if self._experiment is not None:
            self._guard(runs.log_metrics, self._experiment.client, self._run_id, rows)

    def end(self, attempt: Attempt) -> None:
        """End the run with its attempt, complete it from the result files, and bring the parent up to date."""
        self._paused_until = 0.0
        if self._monitor is not None:
            self._guard(self._monitor.finish)
        if self._experiment is not None:
            self._guard(self._end, self._experiment, attempt)

    def _start(self, attempt: Attempt) -> None:
        experiment = open_experiment(self._settings)
        _end_killed(experiment, self._attempts())
        self._run_id = experiment.create_run(attempt, provenance.origin()).info.run_id
        experiment.client.update_run(experiment.parent_id, status="RUNNING")
        self._experiment = experiment
        self._monitor = runs.monitor(self._settings, self._run_id)

    def _end(self, experiment: Experiment, attempt: Attempt) -> None:
        client, parent_id = experiment.client, experiment.parent_id
        others = [row for row in self._attempts() if row.id != attempt.id]
        spent = [*others, attempt]
        runs.log_metrics(client, parent_id, [experiment.cost(spent, spent)], runs.milliseconds(attempt.ended))
        if not any(other.outcome == "running" for other in others):
            runs.terminate(client, parent_id, attempt)
        results = results_of(self._settings, attempt) if attempt.outcome == "finished" else Results()
        experiment.complete(client.get_run(self._run_id), spent, results)

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
                _warn(f"{self._name}: MLflow will lack part of this stage: {_one_line(problem)}")
            self._warned = True


def _end_killed(experiment: Experiment, everything: Sequence[Attempt]) -> None:
    """End the runs that still say RUNNING although the ledger says that their process has gone."""
    places, owners = {attempt.id: place for place, attempt in enumerate(everything)}, _owners(everything)
    for run in experiment.runs(f"tags.`{ATTEMPT_TAG}` != '' and attributes.status = 'RUNNING'"):
        place = places.get(run.data.tags[ATTEMPT_TAG])
        if place is not None and everything[place].outcome != "running":
            results = results_of(experiment.settings, everything[place]) if place in owners else Results()
            experiment.complete(run, everything[: place + 1], results)


def rebuild(settings: Settings, locked_seconds: float = LOCKED_SECONDS) -> int:
    """Give every attempt of the ledger exactly one complete run; attempts that still run are left to their process.

    A run that is there stays, and a point of a curve that is there is not logged again. The results of a job belong to
    the last attempt that finished it; earlier ones have a row and a cost, but no curves.

    Returns:
        The number of runs that were created or completed.

    Raises:
        UserError: the ledger is corrupt, a result is not JSON, or MLflow cannot be used.
    """
    everything = ledger.attempts(ledger.ledger_path(settings))
    _move_unusable(settings, locked_seconds)
    experiment, owners = open_experiment(settings), _owners(everything)
    known: dict[str, list[Any]] = {}
    for run in experiment.runs():
        known.setdefault(run.data.tags[ATTEMPT_TAG], []).append(run)
    totals: list[runs.Row] = []
    for place, attempt in enumerate(everything):
        if attempt.outcome == "running":
            continue
        results = results_of(settings, attempt) if place in owners else Results()
        own, spent = known.get(attempt.id, []), everything[: place + 1]
        for double in own[1:]:
            experiment.client.delete_run(double.info.run_id)  # MLflow keeps it among the deleted runs
        experiment.complete(own[0] if own else experiment.create_run(attempt, results.origin), spent, results)
        totals.append({**experiment.cost(spent, spent), "when": runs.milliseconds(attempt.ended)})
    runs.log_missing(experiment.client, experiment.client.get_run(experiment.parent_id), totals)
    if everything and len(totals) == len(everything):
        runs.terminate(experiment.client, experiment.parent_id, everything[-1])
    return len(totals)


def _owners(everything: Sequence[Attempt]) -> set[int]:
    """Places of the attempts that the results in the files belong to."""
    return set({row.job: place for place, row in enumerate(everything) if row.outcome == "finished"}.values())


def _move_unusable(settings: Settings, locked_seconds: float) -> None:
    """Move a database that SQLite cannot use aside, with what belongs to it; nothing is deleted."""
    path = runs.database(settings)
    if path is None or not path.exists() or (trouble := _trouble(path, locked_seconds)) is None:
        return
    aside = f"{path.name}.{datetime.now(UTC):%Y%m%dT%H%M%S}.aside"
    for suffix in ("", "-wal", "-shm", "-journal"):
        part = path.with_name(path.name + suffix)
        if part.exists():
            part.rename(path.with_name(aside + suffix))
    _warn(f"{path} {trouble}; it is now {aside}, and a new one is created. Other experiments in it: rebuild each.")


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


def publish(settings: Settings, note: str, figures: Mapping[str, float], files: Iterable[Path]) -> None:
    """Put the result where one looks first: on the experiment's parent run. Trouble is a warning.

    Args:
        settings: the experiment.
        note: the run's description, in markdown.
        figures: metrics by name.
        files: its artifacts; those of an earlier report are replaced.
    """
    try:
        experiment = open_experiment(settings)
        experiment.client.set_tag(experiment.parent_id, "mlflow.note.content", note)
        runs.log_metrics(experiment.client, experiment.parent_id, [{"step": 0, **figures}])
        experiment.log_artifacts(experiment.client.get_run(experiment.parent_id), files)
    except Exception as problem:
        _warn(f"MLflow's parent run lacks the result: {_one_line(problem)}")


def stage_seconds(settings: Settings) -> dict[str, float] | None:
    """Seconds of all child runs by stage, as MLflow has them; None, with a warning, if it cannot be asked."""
    seconds: dict[str, float] = {}
    try:
        client = runs.client(settings)
        experiment = client.get_experiment_by_name(settings.experiment)
        for run in runs.search(client, experiment.experiment_id, f"tags.`{ATTEMPT_TAG}` != ''"):
            if run.info.end_time is not None:
                stage = run.data.tags["stage"]
                seconds[stage] = seconds.get(stage, 0.0) + (run.info.end_time - run.info.start_time) / 1000
    except Exception as problem:
        _warn(f"the report lacks MLflow's times: {_one_line(problem)}")
        return None
    return seconds


def _warn(text: str) -> None:
    print(f"warning: {text}", file=sys.stderr, flush=True)


def _one_line(problem: Exception) -> str:
    text = problem.problem if isinstance(problem, UserError) else f"{type(problem).__name__}: {problem}"
    return " ".join(text.split())[:300]


def _json(path: Path) -> dict[str, Any]:
    return dict(read_json(path)) if path.exists() else {}


def _rows(path: Path) -> list[dict[str, Any]]:
    return read_jsonl(path) if path.exists() else []
