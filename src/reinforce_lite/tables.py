"""Tables for a terminal."""

from collections.abc import Sequence


def aligned(rows: Sequence[Sequence[str]], sides: str) -> list[str]:
    """Lines of columns as wide as their widest cell, with two blanks between them.

    Args:
        rows: the cells; the head is a row like the others.
        sides: `l` or `r` for each column; the last letter also stands for all columns after it.

    >>> aligned([("name", "n"), ("a", "10")], "lr")
    ['name   n', 'a     10']
    """
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    sides = sides.ljust(len(widths), sides[-1])
    return [
        "  ".join(
            cell.ljust(width) if side == "l" else cell.rjust(width)
            for cell, width, side in zip(row, widths, sides, strict=True)
        ).rstrip()
        for row in rows
    ]
