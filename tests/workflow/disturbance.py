"""Kill and stop a running workflow at random, and watch from outside what its processes cost."""

import contextlib
import random
import signal
import subprocess
import threading
import time
from dataclasses import dataclass, field

import psutil
from commands import ON_THE_DEVICE, both_of, command_of, running
from dag_runner import Workflow

VICTIMS = ("job", "Snakemake", "both")


@dataclass
class Watch:
    """Looks every 50 ms which commands run in a folder, and knows nothing of the ledger.

    Attributes:
        lives: (pid, time of birth) of every command that was seen, with its name and when it was seen last.
    """

    workflow: Workflow
    lives: dict[tuple[int, float], tuple[str, float]] = field(default_factory=dict)
    over: threading.Event = field(default_factory=threading.Event)

    def __enter__(self) -> "Watch":
        self.thread = threading.Thread(target=self._look, daemon=True)
        self.thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self.over.set()
        self.thread.join()

    def _look(self) -> None:
        while not self.over.wait(0.05):
            for process in psutil.process_iter():
                name = command_of(process)
                try:
                    if name is not None and process.cwd() == str(self.workflow.folder):
                        self.lives[process.pid, process.create_time()] = name, time.time()
                except psutil.Error:
                    continue

    def running(self) -> list[psutil.Process]:
        """The commands that run now."""
        found = [process for process in psutil.process_iter() if command_of(process) is not None]
        return [process for process in found if (process.pid, process.create_time()) in self.lives]

    def device_seconds(self) -> float:
        """How long the device was in use: a command that waits for another one's device is no second use."""
        spans = sorted((born, seen) for (_, born), (name, seen) in self.lives.items() if name in ON_THE_DEVICE)
        total, end = 0.0, 0.0
        for born, seen in spans:
            total += max(0.0, seen - max(born, end))
            end = max(end, seen)
        return total


@dataclass(frozen=True)
class Blow:
    """One disturbance: what was sent, to whom, and in which command."""

    signal: str
    victim: str
    command: str


def disturb(workflow: Workflow, moments: random.Random) -> Blow | None:
    """Start the workflow and strike it at a random moment; None if it came to its end before.

    One time in eight while Snakemake is still thinking, else in one of its first three jobs or soon after it.
    """
    number = signal.SIGTERM if moments.random() < 0.1 else signal.SIGKILL
    victim, early = moments.choice(VICTIMS), moments.random() < 1 / 8
    turn, delay = 0 if early else moments.choice((1, 2, 3)), moments.uniform(0, 3 if early else 6)
    with (workflow.folder / "snakemake.log").open("ab") as log:
        snakemake = subprocess.Popen(
            workflow.command(), cwd=workflow.folder, env=workflow.environment(), stdout=log, stderr=log,
            text=True, start_new_session=True,
        )  # fmt: skip
    seen = set[int]()
    while snakemake.poll() is None and len(seen) < turn:
        seen |= {process.pid for process in running(snakemake)}
        time.sleep(0.02)
    until = time.monotonic() + delay
    while snakemake.poll() is None and time.monotonic() < until:
        time.sleep(0.01)
    if snakemake.poll() is not None:
        return None
    jobs = running(snakemake)
    command = command_of(jobs[0]) if jobs else None
    if victim != "Snakemake":
        for job in jobs:
            # The watch, the work, or both.
            for process in moments.choice((lambda both: both, lambda both: both[:1], lambda both: both[-1:]))(
                both_of(job)
            ):
                with contextlib.suppress(psutil.NoSuchProcess):
                    process.send_signal(number)
    if victim != "job" or not jobs:
        snakemake.send_signal(number)
    if victim == "Snakemake" and number == signal.SIGKILL:
        snakemake.wait()  # and its job lives on, for the next call to deal with
    else:
        snakemake.wait(timeout=120)
    return Blow(signal.Signals(number).name, victim if jobs else "Snakemake", command or "between jobs")
