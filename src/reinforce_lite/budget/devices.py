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


def names(hardware: Hardware) -> list[str]:
    """What a stage takes: of the CPU `cpu`, of a GPU `cuda:` and its index. REINFORCE_LITE_DEVICE goes before.

    CUDA_VISIBLE_DEVICES says which GPUs there are. The names of REINFORCE_LITE_DEVICE have commas between them.
    """
    if given := os.environ.get("REINFORCE_LITE_DEVICE"):
        return sorted({name.strip() for name in given.split(",")})
    if hardware.device == "cpu":
        return ["cpu"]
    visible = os.environ.get("CUDA_VISIBLE_DEVICES") or ",".join(map(str, range(hardware.count)))
    return sorted({f"cuda:{name.strip()}" for name in visible.split(",")[: hardware.count]})


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
    if sys.platform != "linux":  # where every name is a file
        return []
    address = f"\0reinforce-lite/{device}"
    while (held := _bound(address)) is None:
        wait(_holder(address))
        time.sleep(POLL_SECONDS)
    told = _bound(f"{address} {who}")
    return [held] if told is None else [held, told]


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


def _holder(address: str) -> str | None:
    """Who has a device, by the kernel's list of sockets; None for an instant after it was taken."""
    mark = f"@{address[1:]} "
    for _ in range(3):
        with suppress(OSError):
            for line in Path("/proc/net/unix").read_text(errors="replace").splitlines():
                if (told := line.partition(mark))[1]:
                    return told[2]
        time.sleep(0.01)
    return None
