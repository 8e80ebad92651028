"""Clocks and processes as the ledger sees them: nothing here changes when the wall clock is set."""

import os
import socket
import time
from functools import cache
from pathlib import Path

import psutil

_BOOTTIME: int | None = getattr(time, "CLOCK_BOOTTIME", None)  # Linux only
_FIRST = os.getpid()


def steady_seconds() -> float:
    """Seconds of a clock that cannot be set; on Linux it counts sleep too: a sleeping machine is still rented."""
    return time.monotonic() if _BOOTTIME is None else time.clock_gettime(_BOOTTIME)


@cache
def boot_id() -> str:
    """A name for this boot of this machine; `steady_seconds` can be compared within one boot only."""
    try:
        return Path("/proc/sys/kernel/random/boot_id").read_text(encoding="ascii").strip()
    except OSError:
        return f"{socket.gethostname()} {psutil.boot_time():.0f}"


def first_process() -> psutil.Process:
    """The process that has loaded this package: this one, or the one that it was forked from to work for it."""
    return psutil.Process(_FIRST)


def born_seconds(process: psutil.Process) -> float:
    """Seconds from the boot to the creation of a process: with boot and pid, this names the process."""
    return process.create_time() - psutil.boot_time()


def age_seconds(process: psutil.Process) -> float:
    """Seconds since the creation of a process."""
    if _BOOTTIME is not None:
        # Not by wall time: psutil's is up to a second early, because boot_time() is whole seconds.
        return max(0.0, steady_seconds() - born_seconds(process))
    return max(0.0, time.time() - process.create_time())


def is_alive(pid: int, born: float) -> bool:
    """Whether the process with this pid and birth (seconds after this boot) still runs on this machine."""
    try:
        process = psutil.Process(pid)
        return process.status() != psutil.STATUS_ZOMBIE and abs(born_seconds(process) - born) < 1
    except psutil.NoSuchProcess:
        return False
