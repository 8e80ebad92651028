"""A stage without a process of its own, for tests that look at its row and its run in MLflow from inside."""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from reinforce_lite.config import Settings
from reinforce_lite.experiment import attempt
from reinforce_lite.experiment.attempt import Account
from reinforce_lite.experiment.tracking import LiveRun


@contextmanager
def stage(settings: Settings, name: str, **run: Any) -> Iterator[Account]:
    """As `watch.work` runs a body, but here."""
    with attempt.stage(settings, name, **run) as row:
        live = LiveRun(settings, row.attempt)
        row.tell = lambda closed: live.end(closed) if closed else None
        yield Account(row.attempt, live)
