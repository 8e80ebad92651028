"""The names of this host's devices; whoever binds a socket to a name has the device, whatever the experiment.

The kernel keeps these names: there is no file that could be deleted, and a name goes with the process that holds it.
"""

import errno
import os
import socket
import sys
import time
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path

from reinforce_lite.config import Hardware

POLL_SECONDS = 0.1
NAME_BYTES = 107
"""Longest name of a socket."""
MOST_CORES = 256
"""Cores that have a name: each takes two of the 1,024 files that a process may have open."""


def names(hardware: Hardware) -> list[str]:
    """The devices: of the CPU's cores `cpu`, `cpu/1` and so on, of a GPU `cuda:` and its index.

    Who takes the whole CPU takes the names of all cores, so nobody else has one. CUDA_VISIBLE_DEVICES says which GPUs
    there are. REINFORCE_LITE_DEVICE goes before: names with commas between them, each of a device, or of the CPU.
    """
    many = hardware.count if hardware.side_by_side else 1
    if hardware.device == "cpu":
        many, own = max(many, min(os.cpu_count() or 1, MOST_CORES)), ["cpu"]
    else:
        own = [f"cuda:{index}" for index in _visible(hardware)[: hardware.count]]
    if given := os.environ.get("REINFORCE_LITE_DEVICE"):
        own = [name.strip() for name in given.split(",")]
    own = sorted(set(own))
    return own + [f"{own[0]}/{place}" for place in range(len(own), many)]


def show_only(hardware: Hardware, place: int) -> None:
    """Let this process see one of the GPUs alone, before torch is loaded; of a CPU nothing is hidden."""
    if hardware.device == "cuda":
        visible = _visible(hardware)
        os.environ["CUDA_VISIBLE_DEVICES"] = visible[place % len(visible)]


def _visible(hardware: Hardware) -> list[str]:
    given = os.environ.get("CUDA_VISIBLE_DEVICES") or ",".join(map(str, range(hardware.count)))
    return [index.strip() for index in given.split(",")]


def take(device: str, who: str, wait: Callable[[str | None], None]) -> list[int]:
    """Take a device, and tell by a second name who has it.

    Args:
        device: its name.
        who: takes it.
        wait: called with the one who has it, again and again, until it is free.

    Returns:
        The descriptors that hold it.

    Raises:
        OSError: the kernel has no such sockets.
    """
    while (held := taken(device, who)) is None:
        wait(holder(device))
        time.sleep(POLL_SECONDS)
    return held


def taken(device: str, who: str) -> list[int] | None:
    """Take a device that is free, as `take` does; None if it is not.

    Raises:
        OSError: the kernel has no such sockets.
    """
    if sys.platform != "linux":  # where every name is a file
        return []
    if (held := _bound(_address(device))) is None:
        return None
    told = _bound(f"{_address(device)} {who}")
    return [held] if told is None else [held, told]


def _address(device: str) -> str:
    return f"\0reinforce-lite/{device}"


def _bound(address: str) -> int | None:
    """The descriptor of a socket of this name; None if somebody else has it."""
    made = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
    try:
        made.bind(address.encode()[:NAME_BYTES])
    except OSError as problem:
        made.close()
        if problem.errno == errno.EADDRINUSE:
            return None
        raise
    return made.detach()


def holder(device: str) -> str | None:
    """Who has a device, by the kernel's list of sockets; None for an instant after it was taken."""
    mark = f"@{_address(device)[1:]} "
    for _ in range(3):
        with suppress(OSError):
            for line in Path("/proc/net/unix").read_text(errors="replace").splitlines():
                if (told := line.partition(mark))[1]:
                    return told[2]
        time.sleep(0.01)
    return None
