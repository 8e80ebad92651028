"""The lines of a ledger: what an event holds, how a line is appended, read and checked.

A writer may be killed, or the machine switched off, in the middle of a line. Such a *torn* line is an unfinished
beginning of an event. Anything else that is not an event is *corrupt*: money may be missing from the sum.
"""

import errno
import fcntl
import os
import re
from collections import defaultdict
from collections.abc import Iterator
from dataclasses import dataclass, field
from datetime import date
from pathlib import Path
from typing import Annotated, Literal

from pydantic import AwareDatetime, BaseModel, ConfigDict, Field, TypeAdapter, ValidationError

from reinforce_lite.errors import UserError


class Event(BaseModel):
    """What every event holds."""

    model_config = ConfigDict(extra="forbid", frozen=True, strict=True, allow_inf_nan=False)
    event: str
    id: str
    time: AwareDatetime  # wall time, which may be set back
    clock: float  # steady seconds, comparable within one boot
    boot: str


class Open(Event):
    """A process starts to use the device."""

    event: Literal["open"] = "open"
    stage: str
    model: str | None
    variant: str | None
    seed: int | None
    device: str
    count: Annotated[int, Field(ge=1)]
    usd_per_hour: Annotated[float, Field(ge=0)]
    price_source: str
    price_date: date
    host: str
    pid: int
    born: float  # seconds from the boot to the creation of the process
    age: Annotated[float, Field(ge=0)]  # seconds already used when this line was written


class Touch(Event):
    """The process still uses the device."""

    event: Literal["touch"] = "touch"


class Close(Event):
    """The process stops."""

    event: Literal["close"] = "close"
    outcome: Literal["finished", "failed", "interrupted"]
    error: str | None


_EVENT: TypeAdapter[Open | Touch | Close] = TypeAdapter(Annotated[Open | Touch | Close, Field(discriminator="event")])

# Any beginning of a flat JSON object as pydantic writes it, and every event is one.
_STRING = r'"(?:[^"\\]|\\.)*"'
_NUMBER = r"-?[0-9][0-9.eE+-]*"
_PAIR = rf"{_STRING}:(?:{_STRING}|{_NUMBER}|true|false|null)"
_CUT_STRING = r'"(?:[^"\\]|\\.)*\\?'
_CUT_VALUE = rf"(?:{_STRING}|{_CUT_STRING}|-?|{_NUMBER}|tr?u?e?|fa?l?s?e?|nu?l?l?)"
_TORN = re.compile(rf"(?:\{{(?:{_PAIR},)*(?:{_CUT_STRING}|{_STRING}:?|{_STRING}:{_CUT_VALUE})?)?")


def append(path: Path, event: Event) -> None:
    """Add one line to the ledger and wait until the disk has it.

    It is one write under a lock that the kernel gives back with the process, so lines of several writers never mix.

    Raises:
        UserError: the file cannot be written.
    """
    line = event.model_dump_json().encode() + b"\n"
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        descriptor = os.open(path, os.O_RDWR | os.O_APPEND | os.O_CREAT | os.O_CLOEXEC, 0o644)
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX)
            size = os.fstat(descriptor).st_size
            if size and os.pread(descriptor, 1, size - 1) != b"\n":
                line = b"\n" + line  # a torn line stays a line of its own
            if os.write(descriptor, line) != len(line):
                raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
            os.fsync(descriptor)
        finally:
            os.close(descriptor)
    except OSError as problem:
        raise UserError(
            f"cannot write the ledger {path}: {problem.strerror}",
            "free some disk space or make the folder writable; nothing may run unrecorded",
        ) from problem


def read(path: Path) -> Iterator[tuple[int, Open | Touch | Close | UserError | None]]:
    """Read the lines of a ledger; no file has no lines, and empty lines are skipped.

    Yields:
        A line's number, from 1, and its event; None for a torn line, and for a corrupt one the error that names it.
    """
    try:
        with path.open("rb") as handle:
            fcntl.flock(handle, fcntl.LOCK_SH)  # never half of a line that is being written
            content = handle.read()
    except FileNotFoundError:
        return
    for number, line in enumerate(content.split(b"\n"), 1):
        if not line.strip():
            continue
        try:
            yield number, _EVENT.validate_json(line)
        except ValidationError as problem:
            yield number, None if _is_torn(line) else _corrupt(path, number, problem)


def _is_torn(line: bytes) -> bool:
    # A machine that loses power may leave NUL bytes where the rest of the line was to be.
    return _TORN.fullmatch(line.rstrip(b"\0").decode(errors="replace")) is not None


def _corrupt(path: Path, number: int, problem: ValidationError) -> UserError:
    first = problem.errors(include_url=False)[0]
    where = "".join(f"{part}: " for part in first["loc"])
    return UserError(
        f"{path}, line {number}: not a ledger event ({where}{first['msg']})",
        "restore the line from a copy, or remove it if you know that nothing was spent by it",
    )


def torn_lines(path: Path) -> list[int]:
    """Numbers, from 1, of the lines that a killed writer left unfinished."""
    return [number for number, event in read(path) if event is None]


def check(path: Path) -> list[str]:
    """Look for corrupt and torn lines, and for events that an honest writer never leaves.

    Clocks are compared within one attempt and one boot: different processes take the time before it is their turn to
    write.

    Returns:
        One sentence for each problem; none for a sound ledger.
    """
    problems: list[str] = []
    histories: dict[str, _History] = defaultdict(_History)
    for number, event in read(path):
        if isinstance(event, UserError):
            problems.append(event.problem)
            continue
        torn = "torn: its writer was killed, so an attempt may lack its last sign of life"
        if wrong := torn if event is None else histories[event.id].add(event):
            problems.append(f"{path}, line {number}: {wrong}")
    return problems


@dataclass
class _History:
    """What the lines so far say of one attempt."""

    opened: bool = False
    closed: bool = False
    clocks: dict[str, float] = field(default_factory=dict)  # latest steady seconds by boot

    def add(self, event: Open | Touch | Close) -> str | None:
        """Take one more event; returns what is wrong with it, if anything is."""
        name = f"{event.event} of attempt {event.id}"
        last = self.clocks.get(event.boot, event.clock)
        self.clocks[event.boot] = max(last, event.clock)
        if isinstance(event, Open):
            again, self.opened = self.opened, True
            return f"attempt {event.id} is opened twice" if again else None
        if not self.opened:
            return f"{name}, which was never opened"
        if self.closed:
            return f"{name} after its close"
        self.closed = isinstance(event, Close)
        return f"{name}: the clock ran backwards by {last - event.clock:.3f} s" if event.clock < last else None
