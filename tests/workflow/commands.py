"""The package's own commands among the processes that a Snakemake has started."""

import subprocess
import time
from collections.abc import Collection

import psutil

ALL = ("preflight", "prepare-dataset", "fetch-policy", "evaluate", "train", "compare", "report", "crate")
ON_THE_DEVICE = ("preflight", "fetch-policy", "evaluate", "train")


def command_of(process: psutil.Process) -> str | None:
    """Which of the package's own commands a process runs; None if it is another program."""
    try:
        line = process.cmdline()
    except psutil.Error:
        return None
    return line[2] if len(line) > 2 and line[1].endswith("/reinforce-lite") else None


def running(snakemake: subprocess.Popen[str]) -> list[psutil.Process]:
    """The commands that run below a Snakemake now; of a stage the process that watches, not the one that works."""
    try:
        below = psutil.Process(snakemake.pid).children(recursive=True)
    except psutil.Error:
        return []
    found = {process.pid: process for process in below if command_of(process) is not None}
    return [process for process in found.values() if parent_of(process) not in found]


def parent_of(process: psutil.Process) -> int | None:
    """Its pid; None if the process has gone."""
    try:
        return process.ppid()
    except psutil.Error:
        return None


def both_of(job: psutil.Process) -> list[psutil.Process]:
    """The processes of a command: the one that watches, and of a stage on the device the one that works."""
    try:
        return [job, *(process for process in job.children() if command_of(process) is not None)]
    except psutil.Error:
        return [job]


def first_of(snakemake: subprocess.Popen[str], wanted: Collection[str]) -> psutil.Process | None:
    """Wait for the first process that runs one of these commands; None if Snakemake ended before one was seen."""
    while snakemake.poll() is None:
        for process in running(snakemake):
            if command_of(process) in wanted:
                return process
        time.sleep(0.02)
    return None
