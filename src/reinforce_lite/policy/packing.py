"""Rows of unequal length, put together so that little of a batch is padding."""

from collections.abc import Iterable, Sized
from typing import TypeVar

Row = TypeVar("Row", bound=Sized)


def packed(rows: Iterable[Row], budget_tokens: int) -> list[list[Row]]:
    """Sort by length, longest first, and cut so that rows x longest row stays within the budget.

    One row may exceed the budget alone; rows of one length keep their order.

    >>> packed(["a", "four", "two", "fo"], budget_tokens=6)
    [['four'], ['two', 'fo'], ['a']]
    """
    batches: list[list[Row]] = []
    for row in sorted(rows, key=len, reverse=True):
        # The first row of a batch is its longest, so it sets the padded width.
        if batches and len(batches[-1][0]) * (len(batches[-1]) + 1) <= budget_tokens:
            batches[-1].append(row)
        else:
            batches.append([row])
    return batches
