"""What a check found: differences, what it looked at, and what it could not look at."""

import math
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from reinforce_lite.accounting.provenance import sha256_file
from reinforce_lite.errors import UserError
from reinforce_lite.files import read_jsonl

TOLERANCE = 1e-9
"""Two floats that differ by less, absolutely or relatively, are the same number."""

ABSENT = "(absent)"
"""Stands for a key or a row that one side does not have."""

SHOWN = 100
"""Most characters of a value that are shown to people."""


@dataclass(frozen=True)
class Difference:
    """One number, or text, that a file states and that comes out otherwise.

    Attributes:
        file: path under the experiment's folder.
        place: line and id of the row; empty if the file is one record.
        key: dotted path of the value in the row or record.
        stated: the value in the file.
        derived: the value that follows from the files beneath.
    """

    file: str
    place: str
    key: str
    stated: Any
    derived: Any

    def __str__(self) -> str:
        """One line for people."""
        place = f", {self.place}" if self.place else ""
        return f"{self.file}{place}: {self.key} is {_shown(self.stated)}, derived {_shown(self.derived)}"


@dataclass
class Check:
    """One layer of files, and how it agrees with the layer beneath.

    Attributes:
        name: the layer.
        looked_at: what was derived, with counts.
        differences: what differs; none if all agrees.
        notes: what could not be derived, and why.
    """

    name: str
    looked_at: str = ""
    differences: list[Difference] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)


def differing(file: str, place: str, stated: Any, derived: Any, key: str = "") -> Iterator[Difference]:
    """Compare two JSON values, key by key.

    >>> [found.key for found in differing("f", "", {"a": [1, 2.0], "b": 3}, {"a": [1, 2.1], "c": 3})]
    ['a[1]', 'b', 'c']
    """
    if isinstance(stated, dict) and isinstance(derived, dict):
        for name in {**stated, **derived}:
            inner = f"{key}.{name}" if key else str(name)
            yield from differing(file, place, stated.get(name, ABSENT), derived.get(name, ABSENT), inner)
    elif isinstance(stated, list) and isinstance(derived, list):
        for index in range(max(len(stated), len(derived))):
            left, right = (side[index] if index < len(side) else ABSENT for side in (stated, derived))
            yield from differing(file, place, left, right, f"{key}[{index}]")
    elif not _same(stated, derived):
        yield Difference(file, place, key, stated, derived)


def differing_sums(folder: Path, root: Path, stated: dict[str, str]) -> Iterator[Difference]:
    """Compare files with the SHA-256 sums that were recorded of them.

    Args:
        folder: the names of the sums start here.
        root: the experiment's folder.
        stated: SHA-256 by name.

    Raises:
        UserError: a file does not exist.
    """
    for name, recorded in stated.items():
        path = folder / name
        if not path.exists():
            raise UserError(f"{path} does not exist, though its SHA-256 is recorded", "restore it from a copy")
        found = sha256_file(path)
        if found != recorded:
            yield Difference(str(path.relative_to(root)), "", "SHA-256", recorded, found)


def rows_of(path: Path, *keys: str) -> list[dict[str, Any]]:
    """The rows of a file of JSON lines, each of which has these keys.

    Raises:
        UserError: the file is absent, a line is no JSON object, or lacks a key (the message names it).
    """
    rows = read_jsonl(path)
    for number, row in enumerate(rows, 1):
        lacking = [key for key in keys if not isinstance(row, dict) or key not in row]
        if lacking:
            raise UserError(f"{path}, line {number}: no key {lacking[0]!r}", "restore the file from a copy")
    return rows


def _same(stated: Any, derived: Any) -> bool:
    if isinstance(stated, bool) or isinstance(derived, bool):
        return stated is derived
    if isinstance(stated, int | float) and isinstance(derived, int | float):
        return math.isclose(stated, derived, rel_tol=TOLERANCE, abs_tol=TOLERANCE)
    return bool(stated == derived)


def _shown(value: Any) -> str:
    text = value if isinstance(value, str) else repr(value)
    return text if len(text) <= SHOWN else f"{text[:SHOWN]}..."
