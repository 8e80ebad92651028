"""One device, one stage at a time: a lock that the kernel gives back with the process that holds it.

The lock is an exclusive flock on `.device.lock` beside the ledger. It works between processes, and between containers
that share the file system and the kernel, where pids and host names say nothing. The file holds one record: who has the
lock, and an event for which the ledger had no room. The record is overwritten in place and never grows, so it can be
written while the disk is full.
"""

import errno
import fcntl
import os
import signal
import socket
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from types import FrameType
from typing import Annotated

from pydantic import AwareDatetime, BaseModel, ConfigDict, Field

from reinforce_lite.budget.events import Close, Touch
from reinforce_lite.errors import UserError
from reinforce_lite.io import clock

POLL_SECONDS = 0.1
TELL_SECONDS = 60.0
"""How often a waiting process says that it still waits."""
RECORD_BYTES = 16384
"""More than an event can have: its error is cut at 2,000 characters, of at most 6 bytes each."""


class Holder(BaseModel):
    """Who has the device."""

    model_config = ConfigDict(extra="forbid", frozen=True)
    attempt: str
    stage: str
    pid: int
    host: str
    since: AwareDatetime
    unwritten: Annotated[Touch | Close, Field(discriminator="event")] | None = None

    def __str__(self) -> str:
        """In words, for a person who waits."""
        return f"{self.stage} (process {self.pid} on {self.host}, since {self.since:%Y-%m-%d %H:%M:%S} UTC)"


@dataclass(frozen=True)
class LockState:
    """What can be seen of a lock from outside."""

    held: bool
    holder: Holder | None  # the last one that wrote the record; None if it cannot be read


class DeviceLock:
    """The lock while this process has it."""

    def __init__(self, path: Path, descriptor: int, holder: Holder, waited: bool, before: Holder | None) -> None:
        self.path = path
        self.holder = holder
        self.waited = waited  # whether somebody else had it
        self.before = before  # who had it last, None if unknown
        self.since = clock.steady_seconds()
        self._descriptor = descriptor

    def keep(self, event: Touch | Close | None) -> None:
        """Keep an event that the ledger has no room for, instead of the one before; None when it has been written.

        Raises:
            UserError: the record cannot be written either.
        """
        self.holder = self.holder.model_copy(update={"unwritten": event})
        _write(self.path, self._descriptor, self.holder)


_held: dict[Path, int] = {}  # descriptors by path


def lock_path(ledger: Path) -> Path:
    """Where the lock of a ledger's device is."""
    return ledger.with_name(".device.lock")


@contextmanager
def hold(path: Path, attempt: str, stage: str) -> Iterator[DeviceLock]:
    """Hold the device for the block; wait for its present holder, whom stderr names.

    SIGTERM and Ctrl-C end a waiting process at once, whatever they do to a working one. A process that is forked in the
    block does not share the lock, so a worker that outlives its killed parent holds nothing.

    Raises:
        UserError: the file cannot be written, or its file system has no locks.
        RuntimeError: this process has the lock already, and would wait for itself.
    """
    path = path.absolute()
    if path in _held:
        raise RuntimeError(f"{path} is held by this process: a stage cannot be inside a stage")
    with _ended_by_signals():
        descriptor, waited, before = _acquire(path, stage)
    _held[path] = descriptor
    try:
        who = {"attempt": attempt, "stage": stage, "pid": os.getpid(), "host": socket.gethostname()}
        holder = Holder(**who, since=datetime.now(UTC), unwritten=before.unwritten if before else None)
        lock = DeviceLock(path, descriptor, holder, waited, before)
        _write(path, descriptor, holder)
        yield lock
    finally:
        if _held.get(path) == descriptor:  # not in a forked child, which has closed its copy
            del _held[path]
            os.close(descriptor)


def look(path: Path) -> LockState | None:
    """See whether a lock is held, and by whom; None if there is no such file or it cannot be read."""
    try:
        descriptor = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
    except OSError:
        return None
    try:
        return LockState(_is_held(descriptor), _read(descriptor))
    except OSError:
        return None
    finally:
        os.close(descriptor)


def _acquire(path: Path, stage: str) -> tuple[int, bool, Holder | None]:
    """Returns the descriptor, whether somebody had the lock, and the record that they left."""
    tell = _Teller(stage)
    while True:
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
            descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o644)
            kept = False
            try:
                _lock(descriptor, tell)
                with suppress(FileNotFoundError):  # deleted while this process waited: others would lock a new one
                    kept = os.path.samestat(os.fstat(descriptor), path.stat())
                if kept:
                    return descriptor, tell.waited, _read(descriptor)
            finally:
                if not kept:
                    os.close(descriptor)
        except OSError as problem:
            raise _unusable(path, problem) from problem


def _lock(descriptor: int, tell: "_Teller") -> None:
    while True:
        with suppress(BlockingIOError):
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
            return
        if _is_held(descriptor):
            tell(_read(descriptor))
        time.sleep(POLL_SECONDS)


class _Teller:
    """Says at once whom a process waits for, and again every minute."""

    def __init__(self, stage: str) -> None:
        self._stage, self._next = stage, float("-inf")
        self.waited = False

    def __call__(self, holder: Holder | None) -> None:
        now = time.monotonic()
        if now >= self._next:
            still = "still " if self.waited else ""
            text = f"{self._stage}: {still}waiting for the device, held by {holder or 'another process'}"
            print(text, file=sys.stderr, flush=True)
            self.waited, self._next = True, now + TELL_SECONDS


def _is_held(descriptor: int) -> bool:
    """Whether somebody has the lock for themselves; those who only look share it for an instant."""
    try:
        fcntl.flock(descriptor, fcntl.LOCK_SH | fcntl.LOCK_NB)
    except BlockingIOError:
        return True
    fcntl.flock(descriptor, fcntl.LOCK_UN)
    return False


def _read(descriptor: int) -> Holder | None:
    for _ in range(3):  # a reader may meet a writer in the middle of the record
        record = os.pread(descriptor, RECORD_BYTES, 0)
        with suppress(ValueError):
            return Holder.model_validate_json(record)
        if not record.strip():
            break
        time.sleep(0.01)
    return None


def _write(path: Path, descriptor: int, holder: Holder) -> None:
    record = holder.model_dump_json().encode().ljust(RECORD_BYTES)
    try:
        if os.pwrite(descriptor, record, 0) != len(record):
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        os.fsync(descriptor)
    except OSError as problem:
        raise _unusable(path, problem) from problem


def _unusable(path: Path, problem: OSError) -> UserError:
    return UserError(
        f"cannot lock the device with {path}: {problem.strerror}",
        "free some disk space, make the folder writable, or set results to a file system that has locks",
    )


@contextmanager
def _ended_by_signals() -> Iterator[None]:
    """Leave at once on SIGTERM and SIGINT: there is nothing to save yet."""
    if threading.current_thread() is not threading.main_thread():
        yield  # Python runs signal handlers in the main thread only
        return
    before = {number: signal.signal(number, _leave) for number in (signal.SIGTERM, signal.SIGINT)}
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, signal.SIG_DFL if handler is None else handler)


def _leave(number: int, frame: FrameType | None) -> None:
    raise SystemExit(128 + number)


def _forget() -> None:
    """In a forked child: its copy of the descriptor would keep the lock when the parent is killed."""
    for descriptor in _held.values():
        os.close(descriptor)
    _held.clear()


os.register_at_fork(after_in_child=_forget)
