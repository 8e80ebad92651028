"""One device, one stage at a time: locks that the kernel gives back with the process that holds them.

The first is a name (see `devices`), which containers with a network of their own do not see. Those that share the
results see the second, an exclusive flock on `.device.lock` beside the ledger. That file holds one record: who has the
lock, and an event for which the ledger had no room. The record is overwritten in place and never grows, so it can be
written while the disk is full.

Where jobs run side by side each device is a place with a name and a file: `.device.lock`, `.device.lock.1` and so on.
A job takes the first free place, and never beside a process that does the same job. Who chooses holds
`.device.choice.lock` for that instant.
"""

import errno
import fcntl
import os
import socket
import sys
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Annotated

from pydantic import AwareDatetime, BaseModel, ConfigDict, Field

from reinforce_lite.budget import devices
from reinforce_lite.budget.events import Close, Touch
from reinforce_lite.errors import UserError
from reinforce_lite.io import clock

TELL_SECONDS = 60.0
"""How often a waiting process says that it still waits."""
RECORD_BYTES = 16384
"""More than an event can have: its error is cut at 2,000 characters, of at most 6 bytes each."""


class Holder(BaseModel):
    """Who has the device."""

    model_config = ConfigDict(extra="forbid", frozen=True)
    attempt: str
    stage: str
    experiment: str = ""
    pid: int
    host: str
    since: AwareDatetime
    unwritten: Annotated[Touch | Close, Field(discriminator="event")] | None = None

    def __str__(self) -> str:
        """In words, for a person who waits."""
        return f"{self.stage} of {self.experiment} (process {self.pid} on {self.host}, since {self.since:%F %T} UTC)"


@dataclass(frozen=True)
class LockState:
    """What can be seen of a lock from outside."""

    held: bool
    holder: Holder | None  # the last one that wrote the record; None if it cannot be read


class DeviceLock:
    """The lock while this process has it.

    Attributes:
        holder: this process, and what the ledger had no room for.
        waited: whether somebody else had the device.
        before: who had the lock of this experiment last, None if unknown.
        adopts: whether that one used the device when this process came, or since.
        since: steady seconds.
        place: which of several devices it is.
        others: the locks of the other places, of a process that has them all.
    """

    place: int = 0
    others: Sequence["DeviceLock"] = ()

    def __init__(self, path: Path, descriptor: int, holder: Holder, waited: bool, seen: LockState | None) -> None:
        self._path, self._descriptor = path, descriptor
        self.before = _read(descriptor)
        self.holder = holder.model_copy(update={"unwritten": self.before.unwritten if self.before else None})
        self.waited = waited
        self.adopts = waited and (seen is None or seen.held or seen.holder != self.before)
        self.since = clock.steady_seconds()
        _write(path, descriptor, self.holder)

    def keep(self, event: Touch | Close | None) -> None:
        """Keep an event that the ledger has no room for, instead of the one before; None when it has been written.

        Raises:
            UserError: the record cannot be written either.
        """
        self.holder = self.holder.model_copy(update={"unwritten": event})
        _write(self._path, self._descriptor, self.holder)


_held: list[int] = []  # descriptors of this process
_shared = False  # whether a fork shares them


def lock_path(ledger: Path) -> Path:
    """Where the lock of a ledger's device is."""
    return ledger.with_name(".device.lock")


def all_paths(path: Path) -> list[Path]:
    """The lock file, and those of further devices that have been used."""
    return [path, *sorted(path.parent.glob(f"{path.name}.*"))]


@contextmanager
def hold(
    path: Path, attempt: str, stage: str, names: Sequence[str] = (), places: int = 1, one: bool = False
) -> Iterator[DeviceLock]:
    """Hold the devices of these names, and an experiment's lock file, for the block; stderr names whom it waits for.

    A process that is forked in the block does not share the locks, so a worker that outlives its killed parent holds
    nothing; but for one that is forked inside `shared`.

    Args:
        path: of the lock file.
        attempt: id of the attempt.
        stage: who holds it; no two of the same name are side by side.
        names: of the devices.
        places: how many jobs may run side by side, each with a lock file and one of the first names.
        one: take one place, the first that is free, instead of all names and all lock files.

    Raises:
        UserError: the file cannot be written, or its file system has no locks.
        RuntimeError: this process has a lock already, and would wait for itself.
    """
    path = path.absolute()
    if _held:
        raise RuntimeError(f"{path}: this process holds the device: a stage cannot be inside a stage")
    who = {"attempt": attempt, "stage": stage, "experiment": path.parent.name}
    holder = Holder(**who, pid=os.getpid(), host=socket.gethostname(), since=datetime.now(UTC))
    paths = [path, *(path.with_name(f"{path.name}.{place}") for place in range(1, places))]
    tell, seen = _Teller(stage), [look(path) for path in paths]
    try:
        try:
            if one:
                lock = _one_of(paths, names, holder, tell)
            else:
                for device in names:
                    _held.extend(devices.take(device, _named(holder), tell))
                taken = [_acquire(path, tell) for path in paths]
                each = zip(paths, taken, seen, strict=True)
                lock, *others = [DeviceLock(path, held, holder, tell.waited, state) for path, held, state in each]
                lock.others = others
        except OSError as problem:
            raise _unusable(path, problem) from problem
        yield lock
    finally:
        _forget()


@contextmanager
def shared() -> Iterator[None]:
    """A process that is forked in the block holds the locks too, until both have ended."""
    global _shared
    _shared = True
    try:
        yield
    finally:
        _shared = False


def held(path: Path) -> bool:
    """Whether somebody holds a lock file."""
    with suppress(OSError), path.open("rb") as handle:
        return _is_held(handle.fileno())
    return False


def look(path: Path) -> LockState | None:
    """See whether a lock file is held, and by whom; None if there is no such file or it cannot be read."""
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


def _named(holder: Holder) -> str:
    return f"{holder.stage} of {holder.experiment} (process {holder.pid})"


def _one_of(paths: Sequence[Path], names: Sequence[str], holder: Holder, tell: "_Teller") -> DeviceLock:
    """Take the first free place, once no other place has a process that does the same job."""
    twin: Holder | None = None
    while True:
        with _choosing(paths[0]):
            there = [state.holder for state in map(look, paths) if state and state.held and state.holder]
            twins = [other for other in there if other.stage == holder.stage]
            for place, path in enumerate(paths) if not twins else ():
                if (descriptor := _taken(path, names[place : place + 1], holder)) is not None:
                    # Its record is written before anybody else may choose.
                    lock = DeviceLock(path, descriptor, holder, tell.waited, None)
                    lock.place, lock.adopts, lock.before = place, twin is not None, twin or lock.before
                    return lock
        twin = twins[0] if twins else twin
        tell(next(iter((*twins, *there)), None) or next(filter(None, map(devices.holder, names[: len(paths)])), None))
        time.sleep(devices.POLL_SECONDS)


@contextmanager
def _choosing(path: Path) -> Iterator[None]:
    """Nobody else chooses a place meanwhile."""
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.with_name(".device.choice.lock").open("a") as handle:
        fcntl.flock(handle, fcntl.LOCK_EX)
        yield


def _taken(path: Path, names: Sequence[str], holder: Holder) -> int | None:
    """The descriptor of a place's file, which is now held with the device's name; None if either is not free."""
    for name in names:
        if (sockets := devices.taken(name, _named(holder))) is None:
            return None
        _held.extend(sockets)
    descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o644)
    _held.append(descriptor)
    while not _is_held(descriptor):  # or somebody only looks
        if _won(descriptor):
            return descriptor
    _forget()
    return None


def _acquire(path: Path, tell: "_Teller") -> int:
    """Take the lock of the file; its descriptor."""
    while True:
        path.parent.mkdir(parents=True, exist_ok=True)
        descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o644)
        _held.append(descriptor)
        _lock(descriptor, tell)
        with suppress(FileNotFoundError):  # deleted while this process waited: others would lock a new one
            if os.path.samestat(os.fstat(descriptor), path.stat()):
                return descriptor
        os.close(_held.pop())


def _lock(descriptor: int, tell: "_Teller") -> None:
    while not _won(descriptor):
        if _is_held(descriptor):
            tell(_read(descriptor))
        time.sleep(devices.POLL_SECONDS)


def _won(descriptor: int) -> bool:
    with suppress(BlockingIOError):
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        return True
    return False


class _Teller:
    """Says at once whom a process waits for, and again every minute."""

    def __init__(self, stage: str) -> None:
        self._stage, self._next = stage, float("-inf")
        self.waited = False

    def __call__(self, holder: Holder | str | None) -> None:
        now = time.monotonic()
        if now >= self._next:
            still = "still " if self.waited else ""
            text = f"{self._stage}: {still}waiting for the device, held by {holder or 'another process'}"
            with suppress(OSError):  # a terminal that is gone
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


def _forget() -> None:
    """Give the locks back; a forked child closes its copies, which would keep them when the parent is killed."""
    while _held:
        os.close(_held.pop())


def _forget_in_child() -> None:
    if not _shared:
        _forget()


os.register_at_fork(after_in_child=_forget_in_child)
