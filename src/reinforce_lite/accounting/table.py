"""The ledger for a person to read: every attempt, then what it all comes to."""

from collections.abc import Iterable, Sequence
from datetime import UTC

from reinforce_lite.accounting import budget
from reinforce_lite.accounting.ledger import Attempt
from reinforce_lite.settings import Settings

_HEAD = ("stage", "of", "started (UTC)", "seconds", "outcome", "cost", "total")
_LEFT = {"stage", "of", "started (UTC)", "outcome"}


def table(settings: Settings, attempts: Sequence[Attempt]) -> str:
    """Two tables in one text: the attempts with a running total, and the sums in US dollars and device hours."""
    if not attempts:
        return f"The ledger of {settings.experiment} is empty: nothing was spent.\n"
    rows, total = [], 0.0
    for attempt in attempts:
        total += attempt.usd
        rows.append((*_cells(attempt), usd(total)))
    return "\n".join([*_aligned(_HEAD, rows), "", *_aligned(("spend", "hours", "cost"), _sums(settings, attempts)), ""])


def subject(attempt: Attempt) -> str:
    """What an attempt was of, such as `llama leave_one_out seed0`; a dash if it was of the whole."""
    seed = None if attempt.seed is None else f"seed{attempt.seed}"
    return " ".join(part for part in (attempt.model, attempt.variant, seed) if part) or "-"


def usd(amount: float) -> str:
    """US dollars to a hundredth of a cent, for a short stage costs less than a cent.

    >>> usd(0.79), usd(-1234.5)
    ('$0.7900', '-$1,234.5000')
    """
    return f"{'-' if amount < 0 else ''}${abs(amount):,.4f}"


def _cells(attempt: Attempt) -> tuple[str, ...]:
    started = f"{attempt.started.astimezone(UTC):%Y-%m-%d %H:%M:%S}"
    return attempt.stage, subject(attempt), started, f"{attempt.seconds:,.1f}", attempt.outcome, usd(attempt.usd)


def _sums(settings: Settings, attempts: Sequence[Attempt]) -> Iterable[tuple[str, str, str]]:
    for stage, cost in budget.by_stage(attempts).items():
        many = f"{cost['attempts']} attempt{'s' if cost['attempts'] > 1 else ''}"
        yield f"{stage} ({many})", f"{cost['device_hours']:.4f}", usd(cost["usd"])
    spent = budget.spent_usd(attempts)
    yield "total", f"{sum(attempt.device_hours for attempt in attempts):.4f}", usd(spent)
    yield "limit", "", usd(settings.budget.limit_usd)
    yield "remains", "", usd(settings.budget.limit_usd - spent)
    idle = budget.idle_cost(settings.hardware, attempts)
    yield "idle between attempts, not in the total", f"{idle['idle_hours']:.4f}", usd(idle["idle_usd"])


def _aligned(head: Sequence[str], rows: Iterable[Sequence[str]]) -> list[str]:
    """Lines of columns as wide as their widest cell; what is counted stands on the right."""
    lines = [head, *rows]
    widths = [max(len(line[column]) for line in lines) for column in range(len(head))]
    left = [name in _LEFT or name == head[0] for name in head]
    return [
        "  ".join(
            cell.ljust(width) if first else cell.rjust(width)
            for cell, width, first in zip(line, widths, left, strict=True)
        ).rstrip()
        for line in lines
    ]
