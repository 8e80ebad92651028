"""The ledger: every second of rented device time, in an append-only file of JSON lines.

Three events are written: `open` when a process starts to use the device, `touch` every few seconds while it does,
`close` when it stops. Folded together they make an attempt. A process that is killed writes no `close`; its attempt
ends at its last `touch`, so at most one touch interval is lost. A line is never changed or removed. A line torn by a
killed writer stays in the file, is skipped with a warning and is listed by `torn_lines`; any other line that is not an
event is an error.
"""

import socket
import warnings
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, date, datetime, timedelta
from pathlib import Path
from typing import Any, Literal
from uuid import uuid4

import psutil

from reinforce_lite.accounting import clock, events
from reinforce_lite.accounting.events import Close, Event, Open, Touch
from reinforce_lite.errors import UserError
from reinforce_lite.settings import Hardware, Settings

Outcome = Literal["finished", "failed", "running", "killed"]

SILENCE_SECONDS = 60.0
"""A process of another host can't be looked up: without a sign of life for so long it counts as killed."""

_COPIED = {"id", "stage", "model", "variant", "seed", "device", "count", "usd_per_hour", "price_source", "price_date"}
_billed_until = float("-inf")  # steady seconds at this process's last close, where its next attempt starts


@dataclass(frozen=True)
class Attempt:
    """One process's use of the device, from the process's creation to its end."""

    id: str
    stage: str
    model: str | None
    variant: str | None
    seed: int | None
    started: datetime
    ended: datetime  # of a running or killed attempt: its last sign of life
    outcome: Outcome
    device: str
    count: int
    usd_per_hour: float
    price_source: str
    price_date: date
    error: str | None = None

    @property
    def seconds(self) -> float:
        """Seconds of wall time, never negative."""
        return max(0.0, (self.ended - self.started).total_seconds())

    @property
    def device_hours(self) -> float:
        """Hours times rented devices."""
        return self.seconds * self.count / 3600

    @property
    def usd(self) -> float:
        """Cost in US dollars: device hours times the price of one device for one hour."""
        return self.device_hours * self.usd_per_hour


class Ledger:
    """Writer of one ledger file; safe to use from several processes and threads at once."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self._opened: dict[str, Open] = {}

    def open(
        self,
        stage: str,
        hardware: Hardware,
        *,
        model: str | None = None,
        variant: str | None = None,
        seed: int | None = None,
    ) -> str:
        """Start an attempt of this process and return its id.

        It starts at the creation of the process, because the device is rented while libraries are imported too; a
        second attempt of the same process starts where the one before was closed.

        Raises:
            UserError: the file cannot be written.
        """
        process, now = psutil.Process(), _now()
        birth = clock.steady_seconds() - clock.age_seconds(process)
        opened = Open(
            id=uuid4().hex,
            **now,
            stage=stage,
            model=model,
            variant=variant,
            seed=seed,
            device=hardware.name,
            **hardware.model_dump(include={"count", "usd_per_hour", "price_source", "price_date"}),
            host=socket.gethostname(),
            pid=process.pid,
            born=clock.born_seconds(process),
            age=max(0.0, now["clock"] - max(birth, _billed_until)),
        )
        events.append(self.path, opened)
        self._opened[opened.id] = opened
        return opened.id

    def touch(self, attempt_id: str) -> None:
        """Record that an attempt still uses the device.

        Raises:
            UserError: the file cannot be written.
        """
        events.append(self.path, Touch(id=attempt_id, **_now()))

    def close(self, attempt_id: str, outcome: Literal["finished", "failed"], error: str | None = None) -> Attempt:
        """End an attempt that this object opened; returns it as `attempts` will read it.

        Raises:
            UserError: the file cannot be written.
            KeyError: this object did not open the attempt.
        """
        global _billed_until
        opened = self._opened[attempt_id]
        closed = Close(id=attempt_id, **_now(), outcome=outcome, error=error)
        events.append(self.path, closed)
        _billed_until = closed.clock
        return _fold(opened, [closed])

    def attempt(self, attempt_id: str) -> Attempt:
        """An attempt as it was when this object opened it.

        Raises:
            KeyError: this object did not open the attempt.
        """
        return _fold(self._opened[attempt_id], [])


def ledger_path(settings: Settings) -> Path:
    """Where the ledger of an experiment is."""
    return settings.folder / "ledger.jsonl"


def attempts(path: Path) -> list[Attempt]:
    """Read the ledger; no file means that nothing was spent yet.

    Events of unknown attempts and events after a `close` do not count; `check` lists them.

    Returns:
        The attempts in the order in which they were opened.

    Raises:
        UserError: a line is corrupt (the message names it).
    """
    opens: dict[str, Open] = {}
    later: dict[str, list[Touch | Close]] = {}
    for number, event in events.read(path):
        if event is None:
            warnings.warn(f"{path}, line {number}: skipped a line torn by a killed writer", stacklevel=2)
        elif isinstance(event, UserError):
            raise event
        elif isinstance(event, Open):
            opens.setdefault(event.id, event)
        else:
            later.setdefault(event.id, []).append(event)
    return [_fold(opened, later.get(opened.id, [])) for opened in opens.values()]


def torn_lines(path: Path) -> list[int]:
    """Numbers, from 1, of the lines that a killed writer left unfinished."""
    return [number for number, event in events.read(path) if event is None]


def check(path: Path) -> list[str]:
    """Look for lines that the project never writes; torn lines are not among them.

    Returns:
        One sentence for each problem; none for a sound ledger.
    """
    problems = []
    closed: dict[str, bool] = {}
    for number, event in events.read(path):
        where = f"{path}, line {number}"
        if isinstance(event, UserError):
            problems.append(event.problem)
        elif isinstance(event, Open):
            if event.id in closed:
                problems.append(f"{where}: attempt {event.id} is opened twice")
            closed.setdefault(event.id, False)
        elif event is not None:
            if event.id not in closed:
                problems.append(f"{where}: {event.event} of attempt {event.id}, which was never opened")
            elif closed[event.id]:
                problems.append(f"{where}: {event.event} of attempt {event.id} after its close")
            elif isinstance(event, Close):
                closed[event.id] = True
    return problems


def _now() -> dict[str, Any]:
    return {"time": datetime.now(UTC), "clock": clock.steady_seconds(), "boot": clock.boot_id()}


def _fold(opened: Open, later: Sequence[Touch | Close]) -> Attempt:
    end = next((index for index, event in enumerate(later) if isinstance(event, Close)), len(later))
    close = later[end] if end < len(later) else None
    counted = later[: end + 1]
    elapsed = max([0.0, *(_between(opened, event) for event in counted)])
    started = opened.time - timedelta(seconds=opened.age)
    last = counted[-1] if counted else opened
    ending: Outcome = "running" if close is None and _lives(opened, last) else "killed"
    return Attempt(
        started=started,
        ended=started + timedelta(seconds=opened.age + elapsed),
        outcome=close.outcome if isinstance(close, Close) else ending,
        error=close.error if isinstance(close, Close) else None,
        **opened.model_dump(include=_COPIED),
    )


def _between(first: Event, second: Event) -> float:
    """Seconds between two events: by the steady clock within one boot, else by wall time."""
    if first.boot == second.boot:
        return second.clock - first.clock
    return (second.time - first.time).total_seconds()


def _lives(opened: Open, last: Event) -> bool:
    if opened.host != socket.gethostname():
        return abs((datetime.now(UTC) - last.time).total_seconds()) < SILENCE_SECONDS
    return opened.boot == clock.boot_id() and clock.is_alive(opened.pid, opened.born)
