"""Who may spend what: first the evaluations after training are reserved, then trainings share what is left.

All figures are US dollars. A plan is made by preflight and again whenever a stage starts, from what is known by then.
"""

import math
from collections.abc import Mapping, Sequence
from dataclasses import astuple, dataclass, replace
from typing import Literal, TypeVar

from reinforce_lite.budget.forecast import ZERO, Duration, Interval
from reinforce_lite.budget.table import aligned
from reinforce_lite.stages import Job

State = Literal["done", "pending", "not run"]
Key = TypeVar("Key")


@dataclass(frozen=True)
class Entry:
    """One job of a plan.

    Attributes:
        job: which one.
        state: `done` costs nothing more; `not run` will not be run under this budget.
        duration: what is left of it, in device-seconds; of what is not run, what it would take.
        begun: whether something has been spent on it.
    """

    job: Job
    state: State
    duration: Duration
    begun: bool = False


@dataclass(frozen=True)
class Plan:
    """What is left to do, and what it may cost.

    Attributes:
        limit_usd: what the experiment may cost.
        spent_usd: what it has cost so far, every attempt.
        usd_per_second: price of one device for a second.
        entries: every job, in the order of the configuration.
        reserve_usd: kept for the evaluations after training, at the high end of their forecasts.
        others_usd: expected for what is left and is no training and not reserved.
        shares_usd: what each pending training may spend.
        enough_usd: the smallest limit under which all is expected to fit, what is not run under this one too.
        steps: most steps of every training that are expected to fit; None if not even `min_steps` are.
        refused: why the plan can't fit; None if it can.
        seeds: the training seeds that the money is expected to suffice for.
        given_up: the other ones; their trainings and evaluations are not run.
        paid_at: other prices at which something was spent, US dollars for one device for an hour.
    """

    limit_usd: float
    spent_usd: float
    usd_per_second: float
    entries: Sequence[Entry]
    reserve_usd: float
    others_usd: float
    shares_usd: Mapping[Job, float]
    enough_usd: float
    steps: int | None
    refused: str | None
    seeds: Sequence[int] = ()
    given_up: Sequence[int] = ()
    paid_at: Sequence[float] = ()

    def entry(self, job: Job) -> Entry:
        """The entry of a job."""
        return next(entry for entry in self.entries if entry.job == job)

    def reserved_without(self, job: Job) -> float:
        """The reserve for the others, in US dollars."""
        rest = [entry for entry in self.entries if entry.job != job]
        return self.usd_per_second * sum(entry.duration.total.high for entry in pending(rest, "evaluate_trained"))

    def reserves(self, job: Job) -> dict[Job, float]:
        """The same for each of them."""
        reserved = (entry for entry in pending(self.entries, "evaluate_trained") if entry.job != job)
        return {entry.job: self.usd_per_second * entry.duration.total.high for entry in reserved}


def make(limit_usd: float, spent_usd: float, usd_per_second: float, entries: Sequence[Entry], min_steps: int) -> Plan:
    """Plan what is left.

    It is refused if it can't fit: even at the low ends of all forecasts, or because the expected cost of what is no
    training, with the reserve, leaves too little for `min_steps` of each training.

    Args:
        limit_usd: what the experiment may cost, US dollars.
        spent_usd: what it has cost, US dollars.
        usd_per_second: price of one device for one second.
        entries: every job with what is left of it.
        min_steps: fewest steps worth starting a training for.
    """
    wanted = [replace(entry, state="pending") if entry.state == "not run" else entry for entry in entries]
    everything = Bill(spent_usd, usd_per_second, wanted)
    seeds, given_up = whole_seeds(limit_usd, spent_usd, usd_per_second, entries)
    entries = [
        replace(entry, state="not run", duration=nothing_left())
        if entry.state == "not run" or entry.job.seed in given_up
        else entry
        for entry in entries
    ]
    bill = Bill(spent_usd, usd_per_second, entries)
    lowest = spent_usd + usd_per_second * sum(entry.duration.total.low for entry in pending(entries))
    needed = min(min_steps, bill.most)
    fitting = [steps for steps in range(max(1, needed), bill.most + 1) if bill.cost(steps) <= limit_usd]
    refused = None
    if lowest > limit_usd:
        refused = f"at least {dollars(lowest)} would be spent"
    elif bill.cost(needed) > limit_usd:
        refused = f"{dollars(bill.cost(needed))} is expected for no more than {needed} steps of each training"
    return Plan(
        limit_usd=limit_usd,
        spent_usd=spent_usd,
        usd_per_second=usd_per_second,
        entries=entries,
        reserve_usd=bill.reserve_usd,
        others_usd=bill.others_usd,
        shares_usd=_shares(limit_usd - spent_usd - bill.reserve_usd - bill.others_usd, bill),
        enough_usd=round_up(everything.cost(everything.most)),
        steps=max(fitting, default=None),
        refused=refused and f"budget.limit_usd {dollars(limit_usd)} cannot be kept: {refused}",
        seeds=seeds,
        given_up=given_up,
    )


class Bill:
    """What pending jobs are expected to cost, US dollars.

    Args:
        spent_usd: spent so far.
        usd_per_second: price of one device for a second.
        entries: the jobs.

    Attributes:
        trainings: the pending ones.
        reserve_usd: for the evaluations after training, at the high end of their forecasts.
        others_usd: for what is neither training nor reserved.
        most: most steps that a training has left.
    """

    def __init__(self, spent_usd: float, usd_per_second: float, entries: Sequence[Entry]) -> None:
        self.usd_per_second, self.trainings = usd_per_second, pending(entries, "train")
        others = [e for e in pending(entries) if e.job.stage not in ("train", "evaluate_trained")]
        reserved = sum(entry.duration.total.high for entry in pending(entries, "evaluate_trained"))
        self.reserve_usd = usd_per_second * reserved
        self.others_usd = usd_per_second * sum(entry.duration.total.expected for entry in others)
        around = usd_per_second * sum(entry.duration.around.expected for entry in self.trainings)
        self._before_steps = spent_usd + self.reserve_usd + self.others_usd + around
        self.most = max((entry.duration.steps for entry in self.trainings), default=0)

    def cost(self, steps: int) -> float:
        """Of so many steps of each training, or as many as it has left, and of all else."""
        taken = sum(min(steps, entry.duration.steps) * entry.duration.step.expected for entry in self.trainings)
        return self._before_steps + self.usd_per_second * taken


def whole_seeds(
    limit_usd: float, spent_usd: float, usd_per_second: float, entries: Sequence[Entry]
) -> tuple[list[int], list[int]]:
    """Which training seeds the money is expected to suffice for, with all their steps, and which are given up.

    The last ones are given up, whole: two seeds that were trained as planned say more than three that were cut short.
    The first seed is never given up, nor one on which something has been spent. A seed is given up if one of its
    trainings will not be run under this budget.

    Returns:
        (kept, given up), in the order of the configuration.
    """
    seeds = list(dict.fromkeys(entry.job.seed for entry in entries if entry.job.seed is not None))
    begun = {entry.job.seed for entry in entries if entry.begun}
    left_out = {e.job.seed for e in entries if e.job.stage == "train" and e.state == "not run"} - begun
    fixed = [seed for seed in seeds if seed in begun or seed == seeds[0]]
    open_ones = [seed for seed in seeds if seed not in fixed and seed not in left_out]

    def fits(kept: set[int | None]) -> bool:
        """Whether the trainings of these seeds, and all that is of none, are expected to stay within the limit."""
        bill = Bill(spent_usd, usd_per_second, [entry for entry in entries if entry.job.seed in {None, *kept}])
        return bill.cost(bill.most) <= limit_usd

    most = next((n for n in range(len(open_ones), 0, -1) if fits({*fixed, *open_ones[:n]})), 0)
    kept = {*fixed, *open_ones[:most]}
    return [seed for seed in seeds if seed in kept], [seed for seed in seeds if seed not in kept]


def given_up(plan: Plan, job: Job) -> str | None:
    """Why a job is not run, if its seed is given up."""
    if job.seed not in plan.given_up:
        return None
    kept, every = len(plan.seeds), len(plan.seeds) + len(plan.given_up)
    return f"not run: seed {job.seed} is given up: the money is expected to suffice for {kept} of {every} seeds"


def pending(entries: Sequence[Entry], stage: str | None = None) -> list[Entry]:
    """The jobs that are still to be run, of one stage or of all."""
    return [entry for entry in entries if entry.state == "pending" and stage in (None, entry.job.stage)]


def left(duration: Duration, steps_done: int) -> Duration:
    """What is left of a job after so many steps."""
    return replace(duration, steps=max(0, duration.steps - steps_done))


def passed(duration: Duration, job: Job, seconds: float) -> Duration:
    """What is left of a job that runs beside, after so many device-seconds; of a training its steps are known apart."""
    after = duration.after
    if job.stage == "train":
        return replace(duration, around=after)
    ends = ((kept, whole - seconds) for kept, whole in zip(astuple(after), astuple(duration.total), strict=True))
    return Duration(Interval(*map(max, ends)), after=after)


def nothing_left() -> Duration:
    """Of a job that is done."""
    return Duration(ZERO)


def share(available: float, needs: Mapping[Key, float], weights: Mapping[Key, float]) -> dict[Key, float]:
    """Divide what is available in proportion to weights; what one does not need goes to the others.

    What none of them needs is divided in the same proportion, so that a bad forecast stops nobody early.

    >>> share(10.0, {"a": 2.0, "b": 9.0}, {"a": 1.0, "b": 1.0})
    {'a': 2.0, 'b': 8.0}
    """
    shares = dict.fromkeys(needs, 0.0)
    rest, wanting = max(0.0, available), [key for key in needs if weights[key] > 0]
    while wanting:
        unit = rest / sum(weights[key] for key in wanting)
        satisfied = [key for key in wanting if needs[key] <= unit * weights[key]]
        if not satisfied:
            return shares | {key: unit * weights[key] for key in wanting}
        for key in satisfied:
            shares[key] = needs[key]
            rest -= needs[key]
        rest = max(0.0, rest)
        wanting = [key for key in wanting if key not in satisfied]
    total = sum(weights.values())
    return {key: value + (rest * weights[key] / total if total else 0.0) for key, value in shares.items()}


def _shares(available: float, bill: Bill) -> dict[Job, float]:
    """Divide what is available for the trainings in proportion to what their steps are expected to cost.

    So if all is expected to fit, nobody gets less than it is expected to need. What has no step left cannot be cut
    short, and comes first.
    """
    needs = {entry.job: bill.usd_per_second * entry.duration.total.high for entry in bill.trainings}
    expected = {entry.job: entry.duration.step.expected * entry.duration.steps for entry in bill.trainings}
    whole = {job: need for job, need in needs.items() if not expected[job]}
    others = {job: need for job, need in needs.items() if expected[job]}
    if not others:
        return share(available, whole, dict.fromkeys(whole, 1.0))
    return whole | share(available - sum(whole.values()), others, {job: expected[job] for job in others})


def round_up(usd: float) -> float:
    """Up to a round sum: to cents above a dollar, else to two significant digits.

    >>> round_up(8.231), round_up(0.01234), round_up(0.0)
    (8.24, 0.013, 0.0)
    """
    if usd <= 0:
        return 0.0
    digits = 2 if usd >= 1 else 1 - math.floor(math.log10(usd))
    return round(math.ceil(usd * 10**digits - 1e-9) / 10**digits, digits)


def enough(plan: Plan) -> str:
    """Which budget would be enough, in words."""
    return f"budget.limit_usd: {plan.enough_usd:g} would be enough"


def refused(plan: Plan) -> str | None:
    """Why a whole plan is refused, and what would fit; None if it is not."""
    if plan.refused is None:
        return None
    fewer = f"at this limit training.steps: {plan.steps} would fit"
    if plan.steps is None:
        fewer = "no number of steps fits at this limit"
    return f"not run: {plan.refused}; {enough(plan)}; {fewer}"


def table(plan: Plan) -> str:
    """The plan for people: device-seconds from low to high, and US dollars."""
    rows = []
    for entry in plan.entries:
        seconds, share, pending = entry.duration.total, plan.shares_usd.get(entry.job), entry.state == "pending"
        forecast = f"{seconds.low:,.0f} - {seconds.expected:,.0f} - {seconds.high:,.0f}" if pending else entry.state
        cost = dollars(plan.usd_per_second * seconds.expected) if pending else ""
        rows.append((str(entry.job), forecast, cost, "" if share is None else dollars(share)))
    head = ("", "device-seconds (low - expected - high)", "expected", "may cost")
    lines = aligned(head, rows, left=range(len(head)))
    lines.append(
        f"spent {dollars(plan.spent_usd)} of {dollars(plan.limit_usd)}; kept for evaluations after training "
        f"{dollars(plan.reserve_usd)}; expected for what is no training {dollars(plan.others_usd)}"
    )
    if plan.paid_at:
        now, *then = (f"${price:g}" for price in (plan.usd_per_second * 3600, *plan.paid_at))
        lines.append(f"price: {now} a device hour from now on; some was spent at {', '.join(then)}")
    if plan.given_up:
        names = ", ".join(map(str, plan.given_up))
        lines.append(f"training seeds: {len(plan.seeds)} fit; given up: {names}")
    return "\n".join([*lines, refused(plan) or enough(plan)])


def dollars(usd: float) -> str:
    """US dollars with as many digits as a decision needs.

    >>> dollars(9.5), dollars(0.00123)
    ('$9.50', '$0.0012')
    """
    return f"${usd:,.2f}" if usd >= 1 else f"${usd:,.4f}"
