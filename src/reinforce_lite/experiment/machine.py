"""What this machine has: its GPU, its memory, its processor."""

import os
import shutil
import subprocess
from dataclasses import dataclass

import psutil

from reinforce_lite.io.provenance import environment
from reinforce_lite.resources.memory import GIB

DRIVER = 580
"""The oldest of NVIDIA's drivers that the CUDA installation works with."""


@dataclass(frozen=True)
class Gpu:
    """One GPU, as nvidia-smi tells it: its name, its memory in GiB and its driver."""

    name: str
    memory_gib: float
    driver: str


def gpus() -> list[Gpu]:
    """The GPUs of this machine; none where nvidia-smi is absent or says nothing that can be read."""
    program = shutil.which("nvidia-smi")
    if program is None:
        return []
    query = ["--query-gpu=name,memory.total,driver_version", "--format=csv,noheader,nounits"]
    try:
        done = subprocess.run([program, *query], capture_output=True, text=True, timeout=30, check=True)
        rows = [line.split(", ") for line in done.stdout.splitlines() if line.strip()]
        return [Gpu(name, round(float(mib) / 1024, 1), driver) for name, mib, driver in rows]
    except (OSError, subprocess.SubprocessError, ValueError):
        return []


def memory_gib() -> float:
    """The machine's memory in GiB."""
    return round(psutil.virtual_memory().total / GIB, 1)


def cores() -> int:
    """Cores that this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def processor() -> str:
    """The name of the processor."""
    return str(environment()["cpu"])
