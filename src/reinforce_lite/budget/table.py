"""Tables for a terminal."""

from collections.abc import Collection, Iterable, Sequence


def aligned(head: Sequence[str], rows: Iterable[Sequence[str]], left: Collection[int] = (0,)) -> list[str]:
    """Lines of columns as wide as their widest cell; text stands on the left (columns by number), figures on the right.

    >>> aligned(("stage", "hours"), [("train", "1.5"), ("fetch_policy", "10.0")])
    ['stage         hours', 'train           1.5', 'fetch_policy   10.0']
    """
    lines = [head, *rows]
    widths = [max(map(len, column)) for column in zip(*lines, strict=True)]
    return [
        "  ".join(
            cell.ljust(width) if column in left else cell.rjust(width)
            for column, (cell, width) in enumerate(zip(line, widths, strict=True))
        ).rstrip()
        for line in lines
    ]
