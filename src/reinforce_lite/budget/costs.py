"""Sums over the ledger."""

from collections.abc import Iterable
from itertools import pairwise
from typing import TypedDict

from reinforce_lite.budget.ledger import Attempt
from reinforce_lite.config import Hardware


class StageCost(TypedDict):
    """What the attempts of one stage cost together."""

    usd: float
    device_hours: float
    attempts: int


class IdleCost(TypedDict):
    """What the idle time between attempts, and beside one, adds to the bill; it is not counted against the limit."""

    idle_hours: float  # times rented devices
    idle_usd: float


def spent_usd(attempts: Iterable[Attempt]) -> float:
    """US dollars spent, by failed attempts too: a failed hour costs as much as a finished one."""
    return sum(attempt.usd for attempt in attempts)


def remaining_usd(limit_usd: float, attempts: Iterable[Attempt]) -> float:
    """US dollars left of the limit; negative when it was overrun."""
    return limit_usd - spent_usd(attempts)


def by_stage(attempts: Iterable[Attempt]) -> dict[str, StageCost]:
    """Cost of each stage, in the order in which the stages were first attempted."""
    stages: dict[str, StageCost] = {}
    for attempt in attempts:
        stage = stages.setdefault(attempt.stage, {"usd": 0.0, "device_hours": 0.0, "attempts": 0})
        stage["usd"] += attempt.usd
        stage["device_hours"] += attempt.device_hours
        stage["attempts"] += 1
    return stages


def idle_seconds(attempts: Iterable[Attempt], devices: int | None = None) -> float:
    """Seconds between attempts, in which the machine was rented and nothing ran.

    They are counted from the first sign of life to the last within one boot, by the clock of that boot; attempts that
    overlap count once. Across boots nothing is assumed: the machine may not have been rented in between.

    Args:
        attempts: of the ledger.
        devices: of which each attempt takes its own; then it is device-seconds, those beside an attempt among them.
    """
    boots: dict[str, list[tuple[float, int]]] = {}
    for attempt in attempts:
        taken = 1 if devices is None else attempt.count
        ends = (attempt.clock, taken), (attempt.clock + attempt.seconds, -taken)
        boots.setdefault(attempt.boot, []).extend(ends)
    idle = 0.0
    for changes in boots.values():
        free = devices or 1
        for (at, taken), (until, _) in pairwise(sorted(changes)):
            free -= taken
            idle += (until - at) * max(0, free)
    return idle


def clock_seconds(attempts: Iterable[Attempt]) -> float:
    """Seconds of the clock in which an attempt ran; those that run side by side count once."""
    rows = list(attempts)
    boots: dict[str, list[float]] = {}
    for attempt in rows:
        boots.setdefault(attempt.boot, []).extend((attempt.clock, attempt.clock + attempt.seconds))
    return sum(max(ends) - min(ends) for ends in boots.values()) - idle_seconds(rows)


def idle_cost(hardware: Hardware, attempts: Iterable[Attempt]) -> IdleCost:
    """Idle time in device hours and US dollars, at the price of this hardware."""
    if hardware.side_by_side:
        hours = idle_seconds(attempts, hardware.count) / 3600
    else:
        hours = idle_seconds(attempts) * hardware.count / 3600
    return {"idle_hours": hours, "idle_usd": hours * hardware.usd_per_hour}
