"""A training that may cost what another one did: a control for what the same money buys otherwise. US dollars."""

from collections.abc import Callable, Iterable
from dataclasses import replace

from reinforce_lite.accounting.gate import LedgerMeter, Meter
from reinforce_lite.accounting.ledger import Attempt, attempts, ledger_path
from reinforce_lite.settings import Settings
from reinforce_lite.stages import Job

Stop = Callable[[int], str | None]


def cost_usd(ledger: Iterable[Attempt], job: Job) -> float:
    """What a job has cost so far, every attempt, failed and killed ones too."""
    return sum(row.usd for row in ledger if row.job == job)


class SameCost:
    """Ends a training once it has cost as much as another one.

    Args:
        stop: the rule of the budget, which goes before.
        meter: what this attempt has cost.
        ledger: every attempt before this one.
        job: the training.
        other: the variant whose cost is the measure.
        steps: most steps that are taken.

    Attributes:
        reached: why it ended, once it has cost as much; else None.
    """

    def __init__(self, stop: Stop, meter: Meter, ledger: Iterable[Attempt], job: Job, other: str, steps: int) -> None:
        before = list(ledger)
        self._stop, self._meter, self._steps, self._other = stop, meter, steps, other
        self._spent = cost_usd(before, job)
        self._limit = cost_usd(before, replace(job, variant=other))
        self.reached: str | None = None

    def __call__(self, steps_done: int) -> str | None:
        """Whether the training ends after so many steps, and why."""
        reason = self._stop(steps_done)
        if reason is None and steps_done < self._steps and self._spent + self._meter.own() >= self._limit:
            reason = self.reached = f"has cost what {self._other} did (${self._limit:.4f}) at step {steps_done}"
        return reason


def rule(settings: Settings, job: Job, attempt: Attempt, stop: Stop) -> SameCost | None:
    """The rule for the attempt at a training that runs, after the budget's `stop`; None if it names no other training.

    Raises:
        UserError: the ledger is corrupt.
    """
    training = settings.variant(str(job.variant))
    if training.same_cost_as is None:
        return None
    before = [row for row in attempts(ledger_path(settings)) if row.id != attempt.id]
    return SameCost(stop, LedgerMeter(settings, attempt), before, job, training.same_cost_as, training.steps)
