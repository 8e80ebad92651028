"""What the lines of a ledger add up to: its attempts, read once and then only what was added."""

import sys
import warnings
from dataclasses import dataclass, fields
from datetime import date, datetime, timedelta
from pathlib import Path
from typing import Literal

from reinforce_lite.budget import chain
from reinforce_lite.budget.events import Close, Event, Open, Touch
from reinforce_lite.budget.reader import Reader
from reinforce_lite.errors import UserError
from reinforce_lite.stages import Job

Ending = Literal["finished", "failed", "interrupted"]
"""How a process can end an attempt; interrupted: it was asked to stop, and can be continued."""

Outcome = Literal["finished", "failed", "interrupted", "running", "killed"]


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
    born: float = 0.0  # at the creation of the process, which may have waited for the device

    @property
    def job(self) -> Job:
        """What the attempt was at; one of the whole experiment, such as preflight, has no model."""
        return Job(self.stage, self.model or "", self.variant, self.seed)

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


_TEXTS = ("stage", "model", "variant", "device", "price_source", "boot")  # the same in many attempts
_COPIED = {field.name for field in fields(Attempt)} & Open.model_fields.keys() - {"clock"}


@dataclass
class Unclosed:
    """An attempt so far, of which no close was read.

    Attributes:
        opened: its first event.
        last: its last one.
        elapsed: the most seconds that lie between the first event and another.
    """

    opened: Open
    last: Open | Touch | Close
    elapsed: float = 0.0

    def add(self, event: Touch | Close) -> None:
        """Take one more event."""
        self.last, self.elapsed = event, max(self.elapsed, between(self.opened, event))

    def attempt(self, unclosed: Literal["running", "killed"]) -> Attempt:
        """The attempt; `unclosed` is its outcome if it has no close."""
        opened, close = self.opened, self.last if isinstance(self.last, Close) else None
        started = opened.time - timedelta(seconds=opened.age)
        copied = opened.model_dump(include=_COPIED)
        return Attempt(
            started=started,
            ended=started + timedelta(seconds=opened.age + self.elapsed),
            outcome=close.outcome if close else unclosed,
            error=close.error if close else None,
            clock=opened.clock - opened.age,
            **copied | {key: sys.intern(copied[key]) for key in _TEXTS if copied[key] is not None},
        )


class Books:
    """The attempts of a ledger.

    Attributes:
        reader: of its lines, and what is wrong with them.
        unclosed: the attempts without a close, by id.
        lines: the number of the line that opens an attempt, by id.
    """

    def __init__(self, path: Path, until: int | None = None) -> None:
        """Of a ledger up to a length in bytes; None for all."""
        self.path, self.reader = path, Reader(path, until)
        self.unclosed: dict[str, Unclosed] = {}
        self.lines: dict[str, int] = {}
        self._closed: dict[str, Attempt] = {}

    def update(self) -> set[str]:
        """Read what was added since the last time; returns the ids of the attempts it is of."""
        changed = set()
        for number, event in self.reader.events():
            changed.add(event.id)
            if isinstance(event, Open):
                self.lines[event.id], self.unclosed[event.id] = number, Unclosed(event, event)
                continue
            self.unclosed[event.id].add(event)
            if isinstance(event, Close):
                self._closed[event.id] = self.unclosed.pop(event.id).attempt("killed")
        return changed

    def require_sound(self) -> None:
        """Warn of torn lines.

        Raises:
            UserError: money may be missing; the message names the line.
        """
        for finding in self.reader.findings:
            if finding.money:
                raise UserError(finding.of(self.path), chain.FIX)
            if finding.kind == "torn":
                text = f"{self.path}, line {finding.line}: skipped a line torn by a killed writer"
                warnings.warn(text, stacklevel=3)

    def attempts(self, running: set[str]) -> list[Attempt]:
        """All attempts, in the order in which they were opened; those in `running` run if they have no close."""
        return [
            self._closed.get(name) or self.unclosed[name].attempt("running" if name in running else "killed")
            for name in self.lines
        ]


def between(first: Event, second: Event) -> float:
    """Seconds between two events: by the steady clock within one boot, else by wall time."""
    if first.boot == second.boot:
        return second.clock - first.clock
    return (second.time - first.time).total_seconds()
