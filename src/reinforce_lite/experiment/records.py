"""Snakemake's own records (9.27) of the files that it has made: whether there are any, and one that makes it run a job.

They lie in the working directory.
"""

import os
from base64 import urlsafe_b64encode
from collections.abc import Sequence
from pathlib import Path

from reinforce_lite.io.files import write_json

DISOWNED = "made otherwise: "
"""How the parameter begins that stands in the record of a result which no key confirms."""


def known(outputs: Sequence[Path]) -> bool:
    """Whether Snakemake has records of all files of a job, or knows that it was not finished."""
    recorded = [_record(path) for path in outputs]
    whole = all(path.exists() and DISOWNED not in path.read_text() for path in recorded)
    return whole or any(_record(path, "incomplete").exists() for path in outputs)


def disown(outputs: Sequence[Path], reason: str) -> None:
    """Have Snakemake run a job again: it has other parameters now than its record says.

    Raises:
        UserError: a record cannot be written.
    """
    for path in outputs:
        params = [DISOWNED + reason]
        write_json(_record(path), {"params": params, "record_format_version": 99, "incomplete": False})


def forget(outputs: Sequence[Path]) -> None:
    """Remove what `disown` wrote."""
    for path in outputs:
        _record(path).unlink(missing_ok=True)


def _record(path: Path, kind: str = "metadata") -> Path:
    name, size = urlsafe_b64encode(str(path).encode()).decode(), os.pathconf(".", "PC_NAME_MAX") - 1
    parts = [name[first : first + size] for first in range(0, len(name), size)]
    return Path(".snakemake", kind).joinpath(*(f"@{part}" for part in parts[:-1]), parts[-1])
