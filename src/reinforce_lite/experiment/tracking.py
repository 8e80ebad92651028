"""The MLflow view of an experiment: one parent run, and a child run for every attempt of the ledger.

It is a view. The ledger and the files of `results/` are what counts, so while a stage runs whatever goes wrong here is
a warning, not an error. What a stage logs while it runs are its curves and what the machine does. All else is taken
from the ledger and the result files, by `complete`, at the end of the attempt and whenever the view is rebuilt.
"""

import fcntl
import sys
import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import accumulate
from pathlib import Path
from typing import Any

from reinforce_lite.budget.ledger import Attempt, attempts, first_attempt, ledger_path
from reinforce_lite.config import Settings
from reinforce_lite.errors import UserError
from reinforce_lite.experiment.mlflow_runs import (
    ATTEMPT_TAG,
    CHILDREN,
    MOST_RUNS,
    Experiment,
    Row,
    client_of,
    milliseconds,
    monitor,
    move_unusable,
    unsynced,
)  # fmt: skip
from reinforce_lite.io import provenance
from reinforce_lite.io.files import read_json, read_jsonl
from reinforce_lite.io.interrupt import uninterrupted
from reinforce_lite.io.keyed import ASKED
from reinforce_lite.report.manifest import seal
from reinforce_lite.resources.precision import evaluation_of_job
from reinforce_lite.stages import STAGES, Layout

PAUSE_SECONDS = 60.0
"""After a failed call MLflow is left alone for so long: a locked database makes every call wait, on rented time."""
SPARING = 50
"""After a stage has shown the parent its figures, it does not for so many times as long: a fiftieth of its time."""
MOST_POINTS = 2000
"""Of a longer curve a rebuild logs every n-th step: MLflow takes minutes for all of it, and draws fewer. The file has
them all."""
ROOT_TAG = "manifest.root"
LOCKED_SECONDS = 60.0
"""A database that somebody keeps locked for so long counts as locked for ever."""


@dataclass(frozen=True)
class Results:
    """What the result files of an attempt hold, of what MLflow shows."""

    params: Mapping[str, Any] = field(default_factory=dict)
    rows: Sequence[Row] = ()
    artifacts: Sequence[Path] = ()
    dataset: Path | None = None
    origin: Mapping[str, Any] = field(default_factory=dict)  # git_commit and image


def results_of(settings: Settings, attempt: Attempt) -> Results:
    """Read what a finished attempt left; what is not there, or of a stage without results, is left out.

    Raises:
        UserError: a file is not JSON.
    """
    job, stage = attempt.job, STAGES.get(attempt.stage)
    if stage is None or stage.per == "experiment":
        return Results()
    layout, record = Layout.of(settings), _json(Layout.of(settings).path(job))
    files = {name: layout.path(job, name) for name, path in stage.files.items() if path.endswith(".jsonl")}
    data = [layout.needs(job)[name] for name, need in stage.needs.items() if need.startswith("prepare_dataset.")]
    dataset, origin = next(iter(data), None), record.get("made_with") or {}
    if job.stage == "fetch_policy":
        params = {key: value for key, value in record.items() if key not in ("weights", ASKED, "ledger", "sums")}
        rows = _rows(files["start"])
        return Results(params, rows, (), dataset if rows else None, origin)
    if job.stage == "train":
        params = {**job.run, **(_json(layout.path(job, "policy")).get("training") or {})}
        return Results(params, _rows(files["metrics"]), list(files.values()), dataset, origin)
    if stage.evaluates:
        engine = {"engine": record.get("engine", settings.evaluation.engine)}
        chosen = settings.model_copy(update={"evaluation": settings.evaluation.model_copy(update=engine)})
        figures = evaluation_metrics(record)
        many = {"n": figures.pop("n")} if "n" in figures else {}  # a constant is no curve
        params = {**job.run, **many, "evaluation": evaluation_of_job(chosen, job).model_dump(mode="json")}
        return Results(params, [{"step": 0, **figures}], list(files.values()), dataset, origin)
    return Results(record, [], list(files.values()), dataset, origin)


def evaluation_metrics(evaluation: Mapping[str, Any]) -> dict[str, float]:
    """The single numbers of an evaluation.json, for curves; avg_at_k among them if answers were sampled."""
    names = ("n", "strict", "flexible", "truncated", "length_mean")
    figures = {name: evaluation[name] for name in names if name in evaluation}
    return figures | ({"avg_at_k": evaluation["sampled"]["strict"]["avg"]} if "sampled" in evaluation else {})


def open_experiment(settings: Settings) -> tuple[Experiment, Any]:
    """Find or create the database, the experiment and its parent run; safe from several processes at once.

    Returns:
        The experiment and its parent run, which holds the settings.

    Raises:
        UserError: the tracking database cannot be used.
    """
    lock = settings.results / ".mlflow.lock"
    try:
        lock.parent.mkdir(parents=True, exist_ok=True)
        with lock.open("a") as handle:
            fcntl.flock(handle, fcntl.LOCK_EX)
            experiment = Experiment.of(settings)
            parent = experiment.parent(first_attempt(ledger_path(settings)))
            experiment.log_settings(parent)
    except Exception as problem:
        raise UserError(
            f"MLflow cannot use tracking.uri {settings.tracking.uri}: {_one_line(problem)}",
            "correct tracking.uri, start its server, or move the database away to begin a new one",
        ) from problem
    return experiment, parent


def complete(experiment: Experiment, parent: Any, run: Any, attempt: Attempt, spent: float, results: Results) -> None:
    """Log all that the run of an ended attempt lacks: its end and its cost, and what its result files hold.

    Args:
        experiment: in MLflow.
        parent: its parent run.
        run: the attempt's, as MLflow has it now.
        attempt: the ended one.
        spent: by every attempt up to this one, US dollars.
        results: what its files hold.
    """
    run_id, ended = run.info.run_id, milliseconds(attempt.ended)
    row = cost_row(experiment, 1, attempt, attempt.device_hours, attempt.usd, spent)
    experiment.log_missing(run, [row], results.params)
    experiment.log_missing(run, [{**one, "when": ended} for one in results.rows], {})
    experiment.terminate(run, attempt)
    for key, value in experiment.tags(parent, attempt, results.origin).items():
        if run.data.tags.get(key) != value and (key not in run.data.tags or key == "mlflow.parentRunId"):
            experiment.client.set_tag(run_id, key, value)
    if results.dataset is not None and results.dataset.exists() and not run.inputs.dataset_inputs:
        experiment.log_dataset(run_id, results.dataset, attempt.stage)
    experiment.log_artifacts(run, results.artifacts)


def cost_row(experiment: Experiment, step: int, last: Attempt, hours: float, usd: float, spent: float) -> Row:
    """A point of the curves of cost at the end of an attempt: hours and US dollars, and what is left of the limit."""
    return {
        "step": step,
        "when": milliseconds(last.ended),
        "device_hours": hours,
        "cost_usd": usd,
        "budget_remaining_usd": experiment.settings.budget.limit_usd - spent,
    }


def totals(experiment: Experiment, spent: Sequence[Attempt]) -> list[Row]:
    """The curves of cost of the parent: a point for every attempt, with the sums up to it."""
    hours = accumulate(attempt.device_hours for attempt in spent)
    usd = accumulate(attempt.usd for attempt in spent)
    rows = enumerate(zip(spent, hours, usd, strict=True), 1)
    return [cost_row(experiment, step, *sums, sums[-1]) for step, sums in rows]


class LiveRun:
    """The run of one attempt. No method raises: stderr tells the first trouble, and the stage goes on."""

    def __init__(self, settings: Settings, attempt: Attempt) -> None:
        """Start the run under the parent, and end runs whose process was killed."""
        self._settings, self._name = settings, str(attempt.job)
        self._experiment: Experiment | None = None
        self._parent: Any = None
        self._monitor: Any = None
        self._run_id = ""
        self._warned, self._paused_until = False, 0.0
        self._place, self._parent_until = 0, 0.0
        self._guard(self._start, attempt)

    def log_metrics(self, rows: Sequence[Row]) -> None:
        """Log curves: each row has `step` and the numbers of that step; other values are left out."""
        if self._experiment is not None:
            self._log(self._experiment, self._run_id, rows)

    def show(self, figures: Mapping[str, float | None]) -> None:
        """Log figures of the whole experiment to the parent, unless that has just taken more than its share of time."""
        began = time.monotonic()
        if self._experiment is not None and began >= self._parent_until:
            row = {"step": self._place, **figures}
            self._log(self._experiment, self._parent.info.run_id, [row])
            self._parent_until = time.monotonic() + SPARING * (time.monotonic() - began)

    def end(self, attempt: Attempt) -> None:
        """End the run with its attempt, complete it from the result files, and bring the parent up to date."""
        self._paused_until = 0.0
        if self._monitor is not None:
            self._guard(self._monitor.finish)
        if self._experiment is not None:
            self._guard(self._end, self._experiment, attempt)

    def _log(self, experiment: Experiment, run_id: str, rows: Sequence[Row]) -> None:
        """A signal waits: in a call it would leave SQLite locked, and the monitor's thread stuck, which `end` joins."""
        with uninterrupted():
            self._guard(experiment.log_metrics, run_id, rows)

    def _start(self, attempt: Attempt) -> None:
        experiment, self._parent = open_experiment(self._settings)
        self._place = _end_killed(experiment, self._parent)
        self._run_id = experiment.create_run(self._parent, attempt, provenance.origin()).info.run_id
        experiment.client.update_run(self._parent.info.run_id, status="RUNNING")
        self._experiment = experiment
        self._monitor = monitor(self._settings, self._run_id)

    def _end(self, experiment: Experiment, attempt: Attempt) -> None:
        others = [row for row in attempts(ledger_path(self._settings)) if row.id != attempt.id]
        last = totals(experiment, [*others, attempt])[-1]
        experiment.log_metrics(self._parent.info.run_id, [last])
        experiment.tag_cost(self._parent, last)
        if not any(other.outcome == "running" for other in others):
            experiment.terminate(experiment.client.get_run(self._parent.info.run_id), attempt)
        results = results_of(self._settings, attempt) if attempt.outcome == "finished" else Results()
        run = experiment.client.get_run(self._run_id)
        complete(experiment, self._parent, run, attempt, last["cost_usd"], results)
        _tag_root(experiment, self._parent, str(attempt.job))

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


def _end_killed(experiment: Experiment, parent: Any) -> int:
    """End the runs that still say RUNNING although the ledger says that their process has gone.

    Returns:
        How many attempts the ledger has.
    """
    everything = attempts(ledger_path(experiment.settings))
    places, owners = {attempt.id: place for place, attempt in enumerate(everything)}, _owners(everything)
    for run in experiment.runs(f"{CHILDREN} and attributes.status = 'RUNNING'"):
        place = places.get(run.data.tags[ATTEMPT_TAG])
        if place is not None and everything[place].outcome != "running":
            results = results_of(experiment.settings, everything[place]) if place in owners else Results()
            spent = sum(attempt.usd for attempt in everything[: place + 1])
            complete(experiment, parent, run, everything[place], spent, results)
    return len(everything)


def rebuild(settings: Settings, locked_seconds: float = LOCKED_SECONDS) -> int:
    """Give every attempt of the ledger exactly one complete run; attempts that still run are left to their process.

    A run that is there stays, and a point of a curve that is there is not logged again. The results of a job belong to
    the last attempt that finished it; earlier ones have a row and a cost, but no curves.

    Returns:
        The number of runs that were created or completed.

    Raises:
        UserError: the ledger is corrupt, a result is not JSON, or MLflow cannot be used.
    """
    everything = attempts(ledger_path(settings))
    if not everything:
        return 0  # and no database is made for nothing
    if moved := move_unusable(settings, locked_seconds):
        _warn(moved)
    with unsynced():
        return _rebuild(settings, everything)


def _rebuild(settings: Settings, everything: Sequence[Attempt]) -> int:
    (experiment, parent), owners = open_experiment(settings), _owners(everything)
    known: dict[str, list[Any]] = {}
    for run in experiment.runs():
        known.setdefault(run.data.tags[ATTEMPT_TAG], []).append(run)
    curves = totals(experiment, everything)
    for place, (attempt, total) in enumerate(zip(everything, curves, strict=True)):
        own = known.pop(attempt.id, [])
        if attempt.outcome == "running":
            continue
        results = results_of(settings, attempt) if place in owners else Results()
        run = own[0] if own else experiment.create_run(parent, attempt, results.origin)
        complete(experiment, parent, run, attempt, total["cost_usd"], results)
        _delete(experiment, own[1:])
    mine = {run.info.run_id for run in experiment.children(parent)}
    _delete(experiment, [run for runs in known.values() for run in runs if run.info.run_id in mine])
    ended = [total for attempt, total in zip(everything, curves, strict=True) if attempt.outcome != "running"]
    parent = experiment.client.get_run(parent.info.run_id)
    experiment.log_missing(parent, ended, {})
    experiment.tag_cost(parent, curves[-1])
    if len(ended) == len(everything):
        experiment.terminate(parent, everything[-1])
    return len(ended)


def _delete(experiment: Experiment, runs: Iterable[Any]) -> None:
    """Delete runs that double a cost, or whose attempt the ledger does not have; MLflow keeps deleted runs."""
    for run in runs:
        experiment.client.delete_run(run.info.run_id)


def _owners(everything: Sequence[Attempt]) -> set[int]:
    """Places of the attempts that the results in the files belong to."""
    return set({row.job: place for place, row in enumerate(everything) if row.outcome == "finished"}.values())


def publish(settings: Settings, note: str, figures: Mapping[str, float], files: Iterable[Path], gain: str = "") -> None:
    """Put the result where one looks first: on the experiment's parent run. Trouble is a warning.

    Args:
        settings: the experiment.
        note: the run's description, in markdown.
        figures: metrics by name.
        files: its artifacts; those of an earlier report are replaced.
        gain: of each model, for the list of runs.
    """
    try:
        experiment, parent = open_experiment(settings)
        for key, value in (("mlflow.note.content", note), ("gain", gain)):
            experiment.client.set_tag(parent.info.run_id, key, value)
        experiment.log_metrics(parent.info.run_id, [{"step": 0, **figures}])
        experiment.log_artifacts(parent, files)
        _tag_root(experiment, parent, "report")
    except Exception as problem:
        _warn(f"MLflow's parent run lacks the result: {_one_line(problem)}")


def publish_root(settings: Settings, stage: str) -> None:
    """Put the manifest's root on the experiment's parent run, as this stage leaves it. Trouble is a warning."""
    try:
        _tag_root(*open_experiment(settings), stage)
    except Exception as problem:
        _warn(f"MLflow's parent run lacks the manifest's root: {_one_line(problem)}")


def _tag_root(experiment: Experiment, parent: Any, stage: str) -> None:
    """The root as it is now, and under the stage's name, where a later one does not replace it."""
    root = seal(experiment.settings.folder).root
    for tag in (ROOT_TAG, f"{ROOT_TAG}.{stage.replace(' ', '.')}"):
        experiment.client.set_tag(parent.info.run_id, tag, root)


def stage_seconds(settings: Settings) -> dict[str, float] | None:
    """Seconds of the ledger's attempts by stage, as MLflow has them; None, with a warning, if it cannot be asked.

    Raises:
        UserError: the ledger is not sound.
    """
    seconds: dict[str, float] = {}
    known = {attempt.id for attempt in attempts(ledger_path(settings))}
    try:
        client = client_of(settings)
        found = client.get_experiment_by_name(settings.experiment)
        if found is None:  # a database made anew, beside results that are older
            _warn("the report lacks MLflow's times: it knows no such experiment; `ledger --rebuild-mlflow` adds it")
            return None
        for run in client.search_runs([found.experiment_id], CHILDREN, max_results=MOST_RUNS):
            if run.info.end_time is not None and run.data.tags[ATTEMPT_TAG] in known:
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
    rows = read_jsonl(path) if path.exists() else []
    return rows[:: -(-len(rows) // MOST_POINTS) or 1]
