"""What a whole experiment is expected to cost and how long it will take, from the last plan and what has passed since.

A plan is made when a stage starts, and stands in plan.json; `status.described` has its form.
"""

import math
from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass
from typing import Any

from reinforce_lite.stages import Job


@dataclass(frozen=True)
class Outlook:
    """What a plan expects, seen from one of its jobs. Seconds are wall time: one job has all devices.

    Attributes:
        usd_per_second: of all rented devices.
        own_seconds: that the job was expected to take when it was planned; 0 if there is none.
        most_seconds: that it may take.
        others_seconds: that the other pending jobs are expected to take.
    """

    usd_per_second: float
    own_seconds: float = 0.0
    most_seconds: float = math.inf
    others_seconds: float = 0.0

    @classmethod
    def of(
        cls, plan: Mapping[str, Any], devices: int, job: Job | None = None, ended: Collection[Job] = ()
    ) -> "Outlook":
        """Of a plan as plan.json has it, for a job of it; `ended` are those that need no more since."""
        price = plan["usd_per_hour"] * devices / 3600
        own, others, most = 0.0, 0.0, math.inf
        for planned, seconds, limit in _pending(plan, price, devices):
            if planned == job:
                own, most = seconds, limit
            elif planned not in ended:
                others += seconds
        return cls(price, own, most, others)

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


def total(plan: Mapping[str, Any], devices: int) -> tuple[float, float]:
    """US dollars that a plan expects the whole experiment to cost, and hours from then on that what is left takes."""
    outlook = Outlook.of(plan, devices)
    return plan["spent_usd"] + outlook.usd(outlook.others_seconds), outlook.others_seconds / 3600


def _pending(plan: Mapping[str, Any], usd_per_second: float, devices: int) -> Iterable[tuple[Job, float, float]]:
    """Jobs that are still to be run, with the seconds that they are expected to take, and may take."""
    for row in plan["jobs"]:
        if row["state"] == "pending":
            share = row["share_usd"]
            most = share / usd_per_second if share is not None and usd_per_second else math.inf
            job = Job(row["stage"], row["model"], row["variant"], row["seed"])
            yield job, min(row["device_seconds"]["expected"] / devices, most), most
