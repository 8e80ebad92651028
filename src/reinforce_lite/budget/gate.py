"""Before every stage, and after each of its steps: may this go on?

A stage may spend what is left without the reserve, which is the money for the evaluations after training of others. A
training may spend its share and no more. The next step is assumed to cost as much as the second dearest of the last
ones: one that was dear because the machine stood still says nothing of the next. So the limit is passed by at most one
step, of each job that runs side by side, that costs more than those before it. What takes no step any more is ended
from outside (experiment/watch.py).
"""

import math
from collections import deque
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, replace
from typing import Protocol

from reinforce_lite.budget.books import Books
from reinforce_lite.budget.costs import spent_usd
from reinforce_lite.budget.ledger import Attempt, attempts, ledger_path, look_up
from reinforce_lite.budget.plan import Plan, dollars, given_up
from reinforce_lite.config import Settings
from reinforce_lite.io import clock, interrupt
from reinforce_lite.stages import Job

RECENT = 8
"""The number of steps that say what the next one may cost; of the plan's expectation and the first ones if fewer."""


Stop = Callable[[int], str | None]
"""Why a stage has to end after so many of its steps; None if it has not."""


class StoppedByBudgetError(Exception):
    """A stage was cut whose result is worth nothing unless it is whole; the message says where."""


class Meter(Protocol):
    """What has been spent up to this moment, in US dollars."""

    def spent(self) -> float:
        """By every attempt, failed and killed ones and this one included."""
        ...

    def own(self) -> float:
        """By this attempt."""
        ...


class LedgerMeter:
    """Reads the ledger, and adds the running attempt up to now.

    Of a ledger that is deleted or replaced meanwhile, what it said before counts: its writer says what has happened.
    """

    def __init__(self, settings: Settings, attempt: Attempt, reserved: Mapping[Job, float] | None = None) -> None:
        """`reserved` is money that is kept for jobs: what one that runs side by side spends of it is not counted."""
        self._books, self._attempt, self._others = Books(ledger_path(settings)), attempt, 0.0
        self._alone, self._reserved = settings.hardware.jobs_at_once == 1, reserved or {}
        self._before = {} if self._alone else self._by_job()

    def spent(self) -> float:
        """By every attempt, in US dollars; only what was written since the last time is read."""
        return self.others() + self.own()

    def others(self) -> float:
        """By every other attempt, those that run beside this one up to now."""
        if not self._alone:
            found = self._by_job()
            since = {job: found.get(job, 0.0) - self._before.get(job, 0.0) for job in self._reserved}
            return sum(found.values()) - sum(min(usd, since[job]) for job, usd in self._reserved.items())
        if self._books.update() - {self._attempt.id}:
            every = self._books.attempts(running=set())
            self._others = spent_usd(other for other in every if other.id != self._attempt.id)
        return self._others

    def own(self) -> float:
        """By this attempt, in US dollars."""
        return until_now(self._attempt)

    def _by_job(self) -> dict[Job, float]:
        """What the others have cost, those that run up to now."""
        found: dict[Job, float] = {}
        for other in self._books.attempts(look_up(self._books)):
            if other.id != self._attempt.id:
                runs = other.outcome == "running" and other.boot == clock.boot_id()
                found[other.job] = found.get(other.job, 0.0) + (until_now(other) if runs else other.usd)
        return found


def until_now(attempt: Attempt) -> float:
    """What an attempt of this boot that still runs has cost, in US dollars."""
    seconds = max(attempt.seconds, clock.steady_seconds() - attempt.clock)
    return seconds * attempt.count * attempt.usd_per_hour / 3600


@dataclass(frozen=True)
class Allowance:
    """What a stage may spend, in US dollars.

    Attributes:
        limit_usd: what the experiment may cost.
        reserve_usd: kept for the evaluations after training of others (a training's own counts as another's).
        share_usd: what this stage itself may cost; None for no bound of its own.
        at_once: jobs that may run side by side: each takes a step before any of them is asked again.
    """

    limit_usd: float
    reserve_usd: float
    share_usd: float | None = None
    at_once: int = 1


def allowance(plan: Plan, job: Job, at_once: int = 1) -> Allowance:
    """What a plan lets a job spend; what comes after its last step is kept for that."""
    after = plan.usd_per_second * plan.entry(job).duration.after.expected
    share = plan.shares_usd.get(job, 0.0) - after if job.stage == "train" else None
    return Allowance(plan.limit_usd, plan.reserved_without(job) + after, share, at_once)


def most_usd(plan: Plan, job: Job, others_usd: float | None = None) -> float:
    """What an attempt at a job may cost, whatever it does, with what comes after its last step.

    Args:
        plan: as it was when the attempt began.
        job: which one.
        others_usd: what all other attempts have cost by now; None if nothing runs side by side.
    """
    share = plan.shares_usd.get(job, math.inf) if job.stage == "train" else math.inf
    others = plan.spent_usd if others_usd is None else others_usd
    return min(plan.limit_usd - others - plan.reserved_without(job), share)


def refusal(plan: Plan, job: Job, min_steps: int) -> str | None:
    """Why a job may not start: what it is expected to cost is not there. None if it may.

    A training needs the money for `min_steps`, or for what it has left if that is less.
    """
    if (reason := given_up(plan, job)) is not None:
        return reason
    allowed, duration = allowance(plan, job), plan.entry(job).duration
    steps = min(min_steps, duration.steps) if job.stage == "train" else duration.steps
    before = max(0.0, duration.around.expected - duration.after.expected)
    needed = plan.usd_per_second * (before + steps * duration.step.expected)
    left = allowed.limit_usd - plan.spent_usd - allowed.reserve_usd
    may = left if allowed.share_usd is None else min(left, allowed.share_usd)
    if may > 0 and needed <= may:
        return None
    return (
        f"not run: {dollars(plan.spent_usd)} of {dollars(plan.limit_usd)} are spent and {dollars(allowed.reserve_usd)} "
        f"are kept for evaluations after training, so {job} may cost {dollars(max(0.0, may))} and is expected to need "
        f"{dollars(needed)}"
    )


class Gate:
    """Says after every step of a stage whether there is money for the next one.

    Args:
        allowed: what the stage may spend.
        meter: what has been spent.
        steps: how many steps the stage has.
        unit: what its steps are called.
        usual: what a step is expected to cost, in US dollars; None if that is not known.

    Attributes:
        reason: of the end, once `stop` has given one.
    """

    def __init__(
        self, allowed: Allowance, meter: Meter, steps: int, unit: str = "step", usual: float | None = None
    ) -> None:
        self._allowed, self._meter, self._steps, self._unit = allowed, meter, steps, unit
        self._recent: deque[float] = deque([] if usual is None else [usual], maxlen=RECENT)
        self._last = meter.own()
        self.reason: str | None = None

    def begin(self, steps: int, unit: str = "step") -> None:
        """The first step follows: what has been spent before says nothing of the cost of a step."""
        self._steps, self._unit = steps, unit
        self._last = self._meter.own()

    def stop(self, steps_done: int) -> str | None:
        """Whether the stage has to end now, after so many of its steps.

        Returns:
            The reason, `stopped by budget at step 12 of 60`; None if there is money for one more step.
        """
        own = self._meter.own()
        self._recent.append(own - self._last)
        self._last = own
        if steps_done < self._steps and self._affords(sorted(self._recent)[-2:][0]):
            return None
        interrupt.finishing()
        if steps_done < self._steps:
            self.reason = f"stopped by budget at {self._unit} {steps_done} of {self._steps}"
        return self.reason

    def check(self, steps_done: int) -> None:
        """`stop` for a stage whose result is worth nothing unless it is whole.

        Raises:
            StoppedByBudgetError: it has to end now.
        """
        self.stop(steps_done)
        self.complete()

    def complete(self) -> None:
        """The last step of such a stage has been taken.

        Raises:
            StoppedByBudgetError: `stop` has given a reason.
        """
        if self.reason is not None:
            raise StoppedByBudgetError(self.reason)

    def _affords(self, usd: float) -> bool:
        allowed = self._allowed
        if self._meter.spent() + allowed.reserve_usd + usd * allowed.at_once > allowed.limit_usd:
            return False
        return allowed.share_usd is None or self._meter.own() + usd <= allowed.share_usd


class SameCost:
    """Ends a training once it has cost as much as another one: a control for what the same money buys otherwise.

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
        self._spent = spent_usd(attempt for attempt in before if attempt.job == job)
        self._limit = spent_usd(attempt for attempt in before if attempt.job == replace(job, variant=other))
        self.reached: str | None = None

    def __call__(self, steps_done: int) -> str | None:
        """Whether the training ends after so many steps, and why."""
        reason = self._stop(steps_done)
        if reason is None and steps_done < self._steps and self._spent + self._meter.own() >= self._limit:
            interrupt.finishing()
            reason = self.reached = f"has cost what {self._other} did (${self._limit:.4f}) at step {steps_done}"
        return reason


def same_cost(settings: Settings, attempt: Attempt, stop: Stop) -> SameCost | None:
    """The rule for the attempt at a training that runs, after the budget's `stop`; None if it names no other training.

    Raises:
        UserError: the ledger is corrupt.
    """
    training = settings.variant(str(attempt.variant))
    if training.same_cost_as is None:
        return None
    before = [other for other in attempts(ledger_path(settings)) if other.id != attempt.id]
    return SameCost(stop, LedgerMeter(settings, attempt), before, attempt.job, training.same_cost_as, training.steps)
