"""The ledger: every second of rented device time, in an append-only file of JSON lines.

Three events are written: `open` when a process starts to use the device, `touch` every few seconds while it does,
`close` when it stops. Together they make an attempt. A process that is killed writes no `close`; its attempt ends at
its last `touch`, so at most one touch interval is lost. A line is never changed or removed. A line torn by a killed
writer stays in the file, and is skipped with a warning; any other line that is not an event is an error.

An attempt runs if its process holds the device (see `device_lock`). Without a lock file, as older versions left it, an
attempt is judged by pid and birth on the same host, and by silence elsewhere.
"""

import socket
import sys
import warnings
from collections import defaultdict
from collections.abc import Callable, Sequence
from dataclasses import dataclass, fields
from datetime import UTC, date, datetime, timedelta
from functools import cached_property
from pathlib import Path
from typing import Any, Literal
from uuid import uuid4

import psutil

from reinforce_lite.budget import device_lock, events
from reinforce_lite.budget.device_lock import LockState
from reinforce_lite.budget.events import Close, Event, Open, Touch
from reinforce_lite.config import Hardware, Settings
from reinforce_lite.errors import UserError
from reinforce_lite.io import clock
from reinforce_lite.stages import Job, Layout

Ending = Literal["finished", "failed", "interrupted"]
"""How a process can end an attempt; interrupted: it was asked to stop, and can be continued."""

Outcome = Literal["finished", "failed", "interrupted", "running", "killed"]

SILENCE_SECONDS = 60.0
"""A process of another host can't be looked up: without a sign of life for so long it counts as killed."""

_billed_until = float("-inf")  # steady seconds at this process's last close, where its next attempt starts


@dataclass(frozen=True)
class Attempt:
    """One process's use of the device, from the process's creation, or the end of its wait, to its end."""

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
    boot: str = ""  # which boot of which machine
    clock: float = 0.0  # steady seconds of the boot at the start

    @property
    def job(self) -> Job:
        """What the attempt was at; one of the whole experiment, such as preflight, has no model."""
        return Job(self.stage, self.model or "", self.variant, self.seed)

    @cached_property
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


_COPIED = {field.name for field in fields(Attempt)} & Open.model_fields.keys() - {"clock"}


class Ledger:
    """Writer of one ledger file; safe to use from several processes and threads at once."""

    def __init__(self, path: Path, spare: Callable[[Touch | Close | None], None] | None = None) -> None:
        """`spare` keeps the last event that the file had no room for, which is an error without it.

        It gets None when there is room again.
        """
        self.path = path
        self._spare, self._spared = spare, False
        self._opened: dict[str, Open] = {}

    def open(
        self,
        stage: str,
        hardware: Hardware,
        *,
        model: str | None = None,
        variant: str | None = None,
        seed: int | None = None,
        attempt_id: str | None = None,
        since: float | None = None,
    ) -> str:
        """Start an attempt of this process and return its id.

        It starts at the creation of the process, because the device is rented while libraries are imported too. A
        second attempt of the same process starts where the one before was closed.

        Args:
            stage: what the process does.
            hardware: the device and its price.
            model: of a stage that has one.
            variant: of a stage that has one.
            seed: of a stage that has one.
            attempt_id: a new name; None makes one.
            since: steady seconds at which the wait for the device was over; None if there was none.

        Raises:
            UserError: the file cannot be written.
        """
        process, now = psutil.Process(), _now()
        birth = clock.steady_seconds() - clock.age_seconds(process)
        opened = Open(
            id=attempt_id or uuid4().hex,
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
            age=max(0.0, now["clock"] - max(birth, _billed_until, since or 0.0)),
        )
        events.append(self.path, opened)
        self._opened[opened.id] = opened
        return opened.id

    def touch(self, attempt_id: str) -> None:
        """Record that an attempt still uses the device.

        Raises:
            UserError: the file cannot be written.
        """
        self._append(Touch(id=attempt_id, **_now()))

    def close(self, attempt_id: str, outcome: Ending, error: str | None = None) -> Attempt:
        """End an attempt that this object opened; returns it as `attempts` will read it.

        Raises:
            UserError: the file cannot be written.
            KeyError: this object did not open the attempt.
        """
        global _billed_until
        opened = self._opened[attempt_id]
        closed = Close(id=attempt_id, **_now(), outcome=outcome, error=error)
        self._append(closed)
        _billed_until = closed.clock
        return _fold(opened, [closed], "killed")

    def attempt(self, attempt_id: str) -> Attempt:
        """An attempt as it was when this object opened it.

        Raises:
            KeyError: this object did not open the attempt.
        """
        return _fold(self._opened[attempt_id], [], "running")

    def _append(self, event: Touch | Close) -> None:
        try:
            events.append(self.path, event)
        except UserError as problem:
            if self._spare is None:
                raise
            self._spare(event)
            if not self._spared:
                print(f"warning: {problem.problem}; until it can, the end is kept beside it", file=sys.stderr)
            self._spared = True
        else:
            if self._spared and self._spare is not None:
                self._spare(None)
            self._spared = False


def ledger_path(settings: Settings) -> Path:
    """Where the ledger of an experiment is."""
    return Layout.of(settings).ledger


def attempts(path: Path) -> list[Attempt]:
    """Read the ledger; no file means that nothing was spent yet.

    Events of unknown attempts and events after a `close` do not count; `check` lists them.

    Returns:
        The attempts in the order in which they were opened.

    Raises:
        UserError: a line is corrupt (the message names it).
    """
    opens, later = _collect(path, warn=True)
    running: set[str] = set()
    if not all(_is_closed(later[name]) for name in opens):
        state = device_lock.look(device_lock.lock_path(path))
        running = _running(state, opens, later)
        later = _collect(path)[1]  # a process that has gone since closed its attempt before
        if state and state.holder and state.holder.unwritten:
            later[state.holder.unwritten.id].append(state.holder.unwritten)
    return [_fold(opened, later[name], "running" if name in running else "killed") for name, opened in opens.items()]


def settle(path: Path, event: Touch | Close | None) -> None:
    """Write the event that an earlier process had no room for, unless it is there.

    Raises:
        UserError: there is still no room, or a line is corrupt.
    """
    if event is not None:
        opens, later = _collect(path)
        if event.id in opens and event not in later[event.id] and not _is_closed(later[event.id]):
            events.append(path, event)


def _collect(path: Path, warn: bool = False) -> tuple[dict[str, Open], dict[str, list[Touch | Close]]]:
    """The opens, and what came after them, by attempt."""
    opens: dict[str, Open] = {}
    later: dict[str, list[Touch | Close]] = defaultdict(list)
    for number, event in events.read(path):
        if event is None:
            if warn:
                warnings.warn(f"{path}, line {number}: skipped a line torn by a killed writer", stacklevel=3)
        elif isinstance(event, UserError):
            raise event
        elif isinstance(event, Open):
            opens.setdefault(event.id, event)
        else:
            later[event.id].append(event)
    return opens, later


def _running(state: LockState | None, opens: dict[str, Open], later: dict[str, list[Touch | Close]]) -> set[str]:
    """Ids of the attempts whose process still runs."""
    if state is not None:
        return {state.holder.attempt} if state.held and state.holder else set()
    return {name for name, opened in opens.items() if _lives(opened, [opened, *later[name]][-1])}


def _is_closed(later: Sequence[Touch | Close]) -> bool:
    return any(isinstance(event, Close) for event in later)


def _now() -> dict[str, Any]:
    return {"time": datetime.now(UTC), "clock": clock.steady_seconds(), "boot": clock.boot_id()}


def _fold(opened: Open, later: Sequence[Touch | Close], unclosed: Literal["running", "killed"]) -> Attempt:
    close = next((event for event in later if isinstance(event, Close)), None)
    counted = later if close is None else later[: later.index(close) + 1]
    elapsed = max([0.0, *(_between(opened, event) for event in counted)])
    started = opened.time - timedelta(seconds=opened.age)
    return Attempt(
        started=started,
        ended=started + timedelta(seconds=opened.age + elapsed),
        outcome=close.outcome if close else unclosed,
        error=close.error if close else None,
        clock=opened.clock - opened.age,
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
