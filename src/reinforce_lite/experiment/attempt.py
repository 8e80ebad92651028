"""The frame around every use of the device: its lock, and a row in the ledger."""

import sys
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from uuid import uuid4

from reinforce_lite.budget import device_lock, devices
from reinforce_lite.budget.device_lock import DeviceLock
from reinforce_lite.budget.ledger import Attempt, Ending, Ledger, attempts, ledger_path, settle
from reinforce_lite.config import Settings
from reinforce_lite.errors import UserError
from reinforce_lite.experiment.tracking import LiveRun
from reinforce_lite.stages import Job

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


class Row:
    """A stage's row in the ledger, open until its process has ended.

    Attributes:
        attempt: as it was opened.
        tell: called at last with the closed attempt; None if it cannot be written.
    """

    def __init__(self, ledger: Ledger, attempt: Attempt) -> None:
        self.attempt, self._ledger, self._warned = attempt, ledger, False
        self.tell: Callable[[Attempt | None], None] = lambda closed: None

    def touch(self) -> None:
        """Record that the device is still in use. It never raises: the disk may have room again by the next time."""
        try:
            self._ledger.touch(self.attempt.id)
        except UserError as problem:
            if not self._warned:
                print(f"warning: {problem}", file=sys.stderr)
            self._warned = True

    def close(self, outcome: Ending, error: str | None = None) -> None:
        """Close the row. It never raises: the stage's results, or why it failed, count more than the row's end."""
        closed = None
        try:
            closed = self._ledger.close(self.attempt.id, outcome, error)
        except UserError as problem:
            print(f"warning: {problem.problem}; the attempt will end at its last sign of life", file=sys.stderr)
        self.tell(closed)


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
) -> Iterator[Row]:
    """Account for the block: what it costs goes into the ledger.

    Use it once a process, around everything: it waits until no other stage uses the device. The attempt starts when the
    process started, or when its wait was over. Any exception, an exit too, ends the attempt as failed; `Interrupted`
    ends it as interrupted. The time of the end is taken once, so ledger and MLflow agree.

    A full disk stops the stage before the block. If the disk fills up later, the block goes on and its results count.
    What the ledger has no room for is kept beside it, and the next stage writes it into the ledger or refuses to start.

    Args:
        settings: the experiment.
        name: of the stage.
        model: of a stage that has one.
        variant: of a stage that has one.
        seed: of a stage that has one.
        finished: whether the results are there. It is called after a wait for the same experiment only: if they are,
            the block is not run, nothing is recorded, and stderr names the process that wrote them.
        admit: called next, when nobody else can spend: what it raises ends the stage before anything is recorded.

    Raises:
        UserError: the ledger is corrupt or cannot be written (before the block runs).
        AdoptedError: the process waited for has written the results.
    """
    path, attempt_id = ledger_path(settings), uuid4().hex
    hardware = settings.hardware
    names, places = devices.names(hardware), hardware.jobs_at_once
    one = hardware.taken_by(name) < hardware.count
    who = str(Job(name, model or "", variant, seed)) if places > 1 else name
    with device_lock.hold(device_lock.lock_path(path), attempt_id, who, names, places, one) as lock:
        if lock.adopts and finished is not None and finished():
            raise _adopted(name, lock)
        if one:
            devices.show_only(hardware, lock.place)
        admit()
        ledger = _writer(path, lock)
        since = lock.since if lock.waited else None
        run: dict[str, Any] = {"model": model, "variant": variant, "seed": seed}
        ledger.open(name, settings.hardware, **run, attempt_id=attempt_id, since=since)
        row = Row(ledger, ledger.attempt(attempt_id))
        try:
            yield row
        except BaseException as problem:
            # By name: the classes belong to whoever raises them.
            ending: Ending = "interrupted" if type(problem).__name__ in INTERRUPTIONS else "failed"
            row.close(ending, f"{type(problem).__name__}: {problem}"[:ERROR_CHARACTERS])
            raise
        row.close("finished")


def _adopted(name: str, lock: DeviceLock) -> AdoptedError:
    who = "another process" if lock.before is None else f"process {lock.before.pid}"
    adopted = AdoptedError(f"{name}: already done by {who}, adopted")
    print(adopted.note, file=sys.stderr, flush=True)
    return adopted


def _writer(path: Path, lock: DeviceLock) -> Ledger:
    """The ledger, with all events that the stages before had no room for."""
    for one in (lock, *lock.others):
        settle(path, one.holder.unwritten)
        if one.holder.unwritten is not None:
            one.keep(None)
    attempts(path)  # a corrupt ledger stops the rule before it spends
    return Ledger(path, spare=lock.keep)
