"""The lines of a ledger: what an event holds, and how one is appended."""

import errno
import fcntl
import os
from dataclasses import dataclass
from datetime import date
from pathlib import Path
from typing import Annotated, Literal

from pydantic import AwareDatetime, BaseModel, ConfigDict, Field

from reinforce_lite.budget import chain
from reinforce_lite.errors import UserError

UNRECORDED = "unrecorded"
"""Stage of the attempt that stands for lost rows: whoever has accepted their loss says what they have cost."""


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


@dataclass(frozen=True)
class Row:
    """A line of the ledger, and where it ends."""

    end: int
    line: bytes

    def stands(self, descriptor: int) -> bool:
        """Whether an open ledger still has it."""
        return os.pread(descriptor, len(self.line), self.end - len(self.line)) == self.line


def append(path: Path, event: Event, after: Row | None = None, anew: bool = False) -> Row:
    """Add one line to the ledger and wait until the disk has it.

    It is one write under a lock that the kernel gives back with the process, so lines of several writers never mix.

    Args:
        path: of the ledger.
        event: which one.
        after: the row that this writer has written last, which has to be there still.
        anew: accept whatever is there, and begin a new chain.

    Raises:
        UserError: the file cannot be written, or is not what this writer or the head knows of it.
    """
    content = event.model_dump_json().encode()
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        flags = os.O_RDWR | os.O_APPEND | os.O_CLOEXEC | (os.O_CREAT if after is None else 0)
        descriptor = os.open(path, flags, 0o644)
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX)
            if after is not None and not after.stands(descriptor):
                raise chain.replaced(path)
            line, known = chain.seal(path, descriptor, content, anew)
            if os.write(descriptor, line) != len(line):
                raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
            os.fsync(descriptor)
            chain.write_head(path, known)
        finally:
            os.close(descriptor)
    except FileNotFoundError as problem:
        raise chain.replaced(path) from problem
    except OSError as problem:
        raise UserError(
            f"cannot write the ledger {path}: {problem.strerror}",
            "free some disk space or make the folder writable; nothing may run unrecorded",
        ) from problem
    return Row(known.bytes, line)
