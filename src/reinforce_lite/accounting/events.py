"""The lines of a ledger: what an event holds, how a line is appended, and how a line is read.

A writer may be killed, or the machine switched off, in the middle of a line. Such a *torn* line is an unfinished
beginning of an event. Anything else that is not an event is *corrupt*: money may be missing from the sum.
"""

import errno
import fcntl
import os
import re
from collections.abc import Iterator
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
        A line's number, from 1, and its event; None for a torn line, and for a corrupt one the error that tells of it.
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
