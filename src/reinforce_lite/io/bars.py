"""Progress: a bar that is drawn again and again, or, where several jobs share one output, lines with the job's name."""

import sys
from collections.abc import Iterable
from typing import Any

LINE_SECONDS = 10.0
"""Between two lines."""

_job: str | None = None  # whose progress it is, where others show theirs beside it


def in_lines(job: str) -> None:
    """From now on this process shows lines that begin with the name of its job."""
    global _job
    _job = job


def bar(parts: Iterable[Any], what: str, unit: str, **more: Any) -> Any:
    """The parts, with the progress through them on stderr; see `tqdm`, which takes `more`."""
    from tqdm import tqdm

    if _job is None:
        return tqdm(parts, desc=what, unit=unit, mininterval=2, **more)
    form = "{desc}: {n_fmt}/{total_fmt} {unit}, {elapsed}, {remaining} left{postfix}"
    name = _job if _job.startswith(what) else f"{_job}, {what}"
    look: dict[str, Any] = {
        "file": _Lines(),
        "bar_format": form,
        "mininterval": LINE_SECONDS,
        "maxinterval": LINE_SECONDS,
    }
    return tqdm(parts, desc=name, unit=unit, **look, **more)


class _Lines:
    """Writes a line for each time that a bar is drawn."""

    def write(self, text: str) -> None:
        if line := text.strip():
            sys.stderr.write(f"{line}\n")

    def flush(self) -> None:
        sys.stderr.flush()
