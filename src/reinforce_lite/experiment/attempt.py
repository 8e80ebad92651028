"""The frame around every use of the device: a row in the ledger, signs of life, and a run in MLflow."""

import sys
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from threading import Event, Thread
from typing import Any
from uuid import uuid4

from reinforce_lite.budget import device_lock
from reinforce_lite.budget.device_lock import DeviceLock
from reinforce_lite.budget.ledger import Attempt, Ending, Ledger, attempts, ledger_path, settle
from reinforce_lite.config import Settings
from reinforce_lite.errors import UserError
from reinforce_lite.experiment.tracking import LiveRun

ERROR_CHARACTERS = 2000
"""Longest error text in the ledger; the whole of it is in the rule's log."""
INTERRUPTIONS = ("Interrupted", "StoppedByBudgetError")
"""Exceptions of a stage that was asked to stop, and can be continued."""


@dataclass(frozen=True)
class Account:
    """The attempt that runs, and its run in MLflow, to which a training logs its curves while people watch."""

    attempt: Attempt
    live: LiveRun

    def log_metrics(self, rows: Sequence[Mapping[str, Any]]) -> None:
        """Show curves in MLflow: each row has `step` and the numbers of that step. Trouble with MLflow never raises."""
        self.live.log_metrics(rows)


class AdoptedError(SystemExit):
    """The process that was waited for has written the results; uncaught, it ends the program with exit code 0."""

    def __init__(self, note: str) -> None:
        super().__init__(0)
        self.note = note


@contextmanager
def stage(
    settings: Settings,
    name: str,
    *,
    model: str | None = None,
    variant: str | None = None,
    seed: int | None = None,
    finished: Callable[[], bool] | None = None,
    admit: Callable[[], None] = lambda: None,
    touch_seconds: float = 15.0,
) -> Iterator[Account]:
    """Account for the block: what it costs goes into the ledger, what it records into MLflow.

    Use it once a process, around everything: it waits until no other stage of the experiment uses the device. The
    attempt starts when the process started, or when its wait was over. Any exception, an exit too, ends the attempt as
    failed; `Interrupted` ends it as interrupted. The time of the end is taken once, so ledger and MLflow agree.

    A full disk stops the stage before the block. If the disk fills up later, the block goes on and its results count.
    What the ledger has no room for is kept beside it, and the next stage writes it into the ledger or refuses to start.

    Args:
        settings: the experiment.
        name: of the stage.
        model: of a stage that has one.
        variant: of a stage that has one.
        seed: of a stage that has one.
        finished: whether the results are there. It is called after a wait only: if they are, the block is not run,
            nothing is recorded, and stderr names the process that wrote them.
        admit: called next, when nobody else can spend: what it raises ends the stage before anything is recorded.
        touch_seconds: between two signs of life.

    Raises:
        UserError: the ledger is corrupt or cannot be written (before the block runs).
        AdoptedError: the process waited for has written the results.
    """
    path, attempt_id = ledger_path(settings), uuid4().hex
    with device_lock.hold(device_lock.lock_path(path), attempt_id, name) as lock:
        if lock.waited and finished is not None and finished():
            raise _adopted(name, lock)
        admit()
        ledger = _writer(path, lock)
        since = lock.since if lock.waited else None
        run: dict[str, Any] = {"model": model, "variant": variant, "seed": seed}
        ledger.open(name, settings.hardware, **run, attempt_id=attempt_id, since=since)
        with _recorded(settings, ledger, ledger.attempt(attempt_id), touch_seconds) as running:
            yield running


@contextmanager
def _recorded(settings: Settings, ledger: Ledger, attempt: Attempt, touch_seconds: float) -> Iterator[Account]:
    """The opened attempt, until the block ends it in one way or another."""
    live: LiveRun | None = None
    try:
        with _signs_of_life(ledger, attempt.id, touch_seconds):
            live = LiveRun(settings, attempt)
            yield Account(attempt, live)
    except BaseException as problem:
        # By name: the classes belong to whoever raises them.
        ending: Ending = "interrupted" if type(problem).__name__ in INTERRUPTIONS else "failed"
        _end(ledger, attempt.id, live, ending, f"{type(problem).__name__}: {problem}"[:ERROR_CHARACTERS])
        raise
    _end(ledger, attempt.id, live, "finished", None)


def _adopted(name: str, lock: DeviceLock) -> AdoptedError:
    who = "another process" if lock.before is None else f"process {lock.before.pid}"
    adopted = AdoptedError(f"{name}: already done by {who}, adopted")
    print(adopted.note, file=sys.stderr, flush=True)
    return adopted


def _writer(path: Path, lock: DeviceLock) -> Ledger:
    """The ledger, with all events that the stages before had no room for."""
    settle(path, lock.holder.unwritten)
    if lock.holder.unwritten is not None:
        lock.keep(None)
    attempts(path)  # a corrupt ledger stops the rule before it spends
    return Ledger(path, spare=lock.keep)


def _end(ledger: Ledger, attempt_id: str, live: LiveRun | None, outcome: Ending, error: str | None) -> None:
    """Close the attempt. It never raises: the block's results, or why it failed, count more than the row's end."""
    try:
        attempt = ledger.close(attempt_id, outcome, error)
    except UserError as problem:
        print(f"warning: {problem.problem}; the attempt will end at its last sign of life", file=sys.stderr)
        return
    if live is not None:
        live.end(attempt)


@contextmanager
def _signs_of_life(ledger: Ledger, attempt_id: str, seconds: float) -> Iterator[None]:
    """Touch the attempt every so many seconds while the block runs."""
    stop = Event()
    thread = Thread(target=_touch, args=(ledger, attempt_id, seconds, stop), name="ledger", daemon=True)
    thread.start()
    try:
        yield
    finally:
        stop.set()
        thread.join()


def _touch(ledger: Ledger, attempt_id: str, seconds: float, stop: Event) -> None:
    warned = False
    while not stop.wait(seconds):
        try:
            ledger.touch(attempt_id)
        except UserError as problem:  # the disk may have room again by the next time
            if not warned:
                print(f"warning: {problem}", file=sys.stderr)
            warned = True
