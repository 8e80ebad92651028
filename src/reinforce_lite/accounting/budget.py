"""Sums over the ledger."""

from collections.abc import Iterable
from typing import TypedDict

from reinforce_lite.accounting.ledger import Attempt


class StageCost(TypedDict):
    """What the attempts of one stage cost together."""

    usd: float
    device_hours: float
    attempts: int


def spent_usd(attempts: Iterable[Attempt]) -> float:
    """US dollars spent, whatever came of the attempts: a failed hour costs as much as a finished one."""
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
