"""The frame around every use of the device: a row in the ledger, signs of life, and a run in MLflow."""

import sys
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from threading import Event, Thread
from typing import Any, Literal

from reinforce_lite.accounting.ledger import Attempt, Ledger, attempts, ledger_path
from reinforce_lite.accounting.tracking import Child
from reinforce_lite.errors import UserError
from reinforce_lite.settings import Settings

ERROR_CHARACTERS = 2000
"""Longest error text in the ledger; the whole of it is in the rule's log."""


class Stage:
    """What a rule may record while it uses the device. Trouble with MLflow never raises."""

    def __init__(self, attempt: Attempt, child: Child) -> None:
        self.attempt = attempt
        self._child = child

    def log_params(self, params: Mapping[str, Any]) -> None:
        """Record settings; a nested mapping becomes dotted names."""
        self._child.log_params(params)

    def log_metrics(self, rows: Sequence[Mapping[str, Any]]) -> None:
        """Record curves: each row has `step` and the numbers of that step; other values are left out."""
        self._child.log_metrics(rows)

    def log_summary(self, summary: Mapping[str, float]) -> None:
        """Record single numbers."""
        self._child.log_metrics([{"step": 0, **summary}])

    def log_dataset(self, path: Path, name: str) -> None:
        """Record the file that was read, by its digest."""
        self._child.log_dataset(path, name)

    def log_artifact(self, path: Path) -> None:
        """Copy a file into the tracking server's artifacts."""
        self._child.log_artifact(path)


@contextmanager
def stage(
    settings: Settings,
    name: str,
    *,
    model: str | None = None,
    variant: str | None = None,
    seed: int | None = None,
    touch_seconds: float = 15.0,
) -> Iterator[Stage]:
    """Account for the block: what it costs goes into the ledger, what it records into MLflow.

    Use it once a process, around everything: the attempt starts when the process started. Any exception, an interrupt
    or exit too, ends the attempt as failed. The time of the end is taken once, so ledger and MLflow agree.

    Raises:
        UserError: the ledger is corrupt (before the block runs) or cannot be written.
    """
    path = ledger_path(settings)
    attempts(path)  # a corrupt ledger is to stop the rule before it spends
    ledger = Ledger(path)
    attempt_id = ledger.open(name, settings.hardware, model=model, variant=variant, seed=seed)
    child: Child | None = None
    try:
        with _signs_of_life(ledger, attempt_id, touch_seconds):
            child = Child(settings, ledger.attempt(attempt_id))
            yield Stage(ledger.attempt(attempt_id), child)
    except BaseException as problem:
        _end(ledger, attempt_id, child, "failed", f"{type(problem).__name__}: {problem}"[:ERROR_CHARACTERS])
        raise
    _end(ledger, attempt_id, child, "finished", None)


def _end(
    ledger: Ledger, attempt_id: str, child: Child | None, outcome: Literal["finished", "failed"], error: str | None
) -> None:
    attempt = ledger.close(attempt_id, outcome, error)
    if child is not None:
        child.end(attempt)


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
