"""What a whole experiment is expected to cost and how long it will take, from the last plan and what has passed since.

A plan is made when a stage starts, and stands in plan.json; `status.described` has its form.
"""

import math
from collections import deque
from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass
from typing import Any

from reinforce_lite.budget.gate import RECENT, Meter
from reinforce_lite.budget.plan import dollars
from reinforce_lite.config import Hardware
from reinforce_lite.io import clock
from reinforce_lite.stages import Job


@dataclass(frozen=True)
class Outlook:
    """What a plan expects, seen from one of its jobs. Seconds are those of a job on the devices that it takes.

    Attributes:
        usd_per_second: of these devices.
        own_seconds: that the job was expected to take when it was planned; 0 if there is none.
        most_seconds: that it may take.
        others_seconds: that the other pending jobs are expected to take, one after the other.
        at_once: jobs that run side by side.
    """

    usd_per_second: float
    own_seconds: float = 0.0
    most_seconds: float = math.inf
    others_seconds: float = 0.0
    at_once: int = 1

    @classmethod
    def of(
        cls, plan: Mapping[str, Any], hardware: Hardware, job: Job | None = None, ended: Collection[Job] = ()
    ) -> "Outlook":
        """Of a plan as plan.json has it, for a job of it; `ended` are those that need no more since."""
        devices = hardware.count // hardware.jobs_at_once
        price = hardware.usd_per_hour * devices / 3600
        own, others, most = 0.0, 0.0, math.inf
        for planned, seconds, limit in _pending(plan, price, devices):
            if planned == job:
                own, most = seconds, limit
            elif planned not in ended:
                others += seconds
        return cls(price, own, most, others, hardware.jobs_at_once)

    def own_left(self, elapsed: float, left: int, step_seconds: float | None) -> float:
        """Seconds that are left of the job.

        Args:
            elapsed: since it was planned.
            left: its steps.
            step_seconds: what one of the last took; None if that is not known, and the plan counts.
        """
        expected = self.own_seconds - elapsed if step_seconds is None else left * step_seconds
        return max(0.0, min(expected, self.most_seconds - elapsed))

    def usd(self, seconds: float) -> float:
        """What so many seconds cost."""
        return seconds * self.usd_per_second

    def until_end(self, own: float = 0.0, others: float | None = None) -> float:
        """Seconds of the clock until all is done, at best: so many of this job, and of the others as planned."""
        others = self.others_seconds if others is None else others
        return max(own, (own + others) / self.at_once)


@dataclass(frozen=True)
class Figures:
    """What an experiment costs and when it ends, while a stage runs: US dollars, and seconds from now on."""

    spent_usd: float
    expected_usd: float
    stage_seconds: float
    all_seconds: float


class Pace:
    """Tells the figures of a running stage after each of its steps.

    Args:
        outlook: of the plan, seen from the stage.
        meter: what has been spent.
        began: steady seconds at the start of the attempt.
    """

    def __init__(self, outlook: Outlook, meter: Meter, began: float) -> None:
        self._outlook, self._meter, self._began = outlook, meter, began
        self._seen: deque[tuple[float, int]] = deque(maxlen=RECENT)
        self._others = meter.spent() - meter.own()  # when this job began

    def after(self, done: int, of: int) -> Figures:
        """The figures after so many of its steps."""
        now, outlook = clock.steady_seconds(), self._outlook
        self._seen.append((now, done))
        (first, before), took = self._seen[0], None
        if done > before:
            took = (now - first) / (done - before)
        own = outlook.own_left(now - self._began, of - done, took)
        spent, others = self._meter.spent(), outlook.others_seconds
        if outlook.usd_per_second:  # what runs beside has less left than was planned
            others = max(0.0, others - (spent - self._meter.own() - self._others) / outlook.usd_per_second)
        return Figures(spent, spent + outlook.usd(own + others), own, outlook.until_end(own, others))


def in_all(plan: Mapping[str, Any], hardware: Hardware) -> str:
    """What a plan expects the whole experiment to cost, and how long what was left of it takes, in words.

    `expected_cost` in workflow/rules/processes.smk says the same where the package is not installed.
    """
    outlook = Outlook.of(plan, hardware)
    usd, hours = plan["spent_usd"] + outlook.usd(outlook.others_seconds), outlook.until_end() / 3600
    limit = dollars(plan["limit_usd"])
    return f"cost: the plan expects {dollars(usd)} in all, of {limit}, and {hours:.2f} hours for the rest"


def _pending(plan: Mapping[str, Any], usd_per_second: float, devices: int) -> Iterable[tuple[Job, float, float]]:
    """Jobs that are still to be run, with the seconds that they are expected to take, and may take."""
    for row in plan["jobs"]:
        if row["state"] == "pending":
            share = row["share_usd"]
            most = share / usd_per_second if share is not None and usd_per_second else math.inf
            job = Job(row["stage"], row["model"], row["variant"], row["seed"])
            yield job, min(row["device_seconds"]["expected"] / devices, most), most
