"""What a check reports: the differences between stated and derived values, what it looked at, and what it could not."""

import math
from collections import defaultdict
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from itertools import zip_longest
from pathlib import Path
from typing import Any

from reinforce_lite.errors import UserError
from reinforce_lite.io.files import read_json, read_jsonl
from reinforce_lite.io.provenance import sha256_file

Row = dict[str, Any]

TOLERANCE = 1e-9
"""Two floats that differ by less, absolutely or relatively, are the same number."""

ABSENT = "(absent)"
"""Stands for a key or a row that one side does not have."""

SHOWN = 100
"""Most characters of a value that are shown to people."""

RESTORE = "restore the file from a copy"

NUMBER = (int, float)
KINDS: dict[str, type | tuple[type, ...]] = {
    **dict.fromkeys(("id", "question", "answer", "completion"), str),
    **dict.fromkeys(("strict", "flexible", "skipped"), bool),
    **dict.fromkeys(("length", "step", "draw", "tokens"), int),
    **dict.fromkeys(("reward", "advantage"), NUMBER),
}
"""Of the values in rows, by key."""

LINES = 3
"""Of a text, the first lines that differ are reported, at most this many."""

AROUND = 40
"""Characters shown before and after the first difference in a line."""


@dataclass(frozen=True)
class Difference:
    """One value that a file states and that comes out otherwise.

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
        unverified: what was not compared with anything, so that a change of it would not show, and why.
    """

    name: str
    looked_at: str = ""
    differences: list[Difference] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)
    unverified: list[str] = field(default_factory=list)

    @property
    def result(self) -> str:
        """In a few words."""
        if count := len(self.differences):
            return f"{count} difference{'s' if count > 1 else ''}"
        return "not verified" if self.unverified else "agree"


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
        for index, (left, right) in enumerate(zip_longest(stated, derived, fillvalue=ABSENT)):
            yield from differing(file, place, left, right, f"{key}[{index}]")
    elif not _same(stated, derived):
        yield Difference(file, place, key, stated, derived)


def differing_rows(file: str, stated: Sequence[Row], derived: Sequence[Row]) -> Iterator[Difference]:
    """Compare rows that have the same id, the same id and draw, or the same step, key by key; rows of a step in order.

    >>> [str(found) for found in differing_rows("f", [{"id": "a"}, {"id": "b", "n": 1}], [{"id": "b", "n": 2}])]
    ['f, line 1 (a): id is a, derived (absent)', 'f, line 2 (b): n is 1, derived 2']
    """
    if not stated or not derived:  # all of them, or none, instead of each by its id
        yield from differing(file, "", len(stated), len(derived), "rows")
        return
    sides = defaultdict[str, tuple[list[tuple[int, Row]], list[Row]]](lambda: ([], []))
    for number, row in enumerate(stated, 1):
        sides[_label(row)][0].append((number, row))
    for row in derived:
        sides[_label(row)][1].append(row)
    for label, (own, theirs) in sides.items():
        if len(own) != len(theirs) and label.startswith("step "):
            yield Difference(file, label, "rows", len(own), len(theirs))
        elif len(own) != len(theirs):
            place, name = (f"line {own[-1][0]} ({label})" if own else label), label.partition(",")[0]
            yield Difference(file, place, "id", *((name, ABSENT) if len(own) > len(theirs) else (ABSENT, name)))
        for (number, row), other in zip(own, theirs, strict=False):
            yield from differing(file, f"line {number} ({label})", row, other)


def _label(row: Row) -> str:
    if "step" in row:
        return f"step {row['step']}"
    return f"{row['id']}, draw {row['draw']}" if "draw" in row else str(row["id"])


def differing_lines(file: str, stated: str, derived: str) -> Iterator[Difference]:
    """The first lines of a text that differ, each around the first character that does."""
    pairs = enumerate(zip_longest(stated.split("\n"), derived.split("\n")), 1)
    for number, (left, right) in [(n, pair) for n, pair in pairs if pair[0] != pair[1]][:LINES]:
        at = next((i for i, (a, b) in enumerate(zip(left or "", right or "", strict=False)) if a != b), 0)
        sides = (ABSENT if side is None else side[max(0, at - AROUND) : at + AROUND] for side in (left, right))
        yield Difference(file, f"line {number}", f"text at character {at + 1}", *sides)


def differing_sums(folder: Path, root: Path, stated: dict[str, str]) -> Iterator[Difference]:
    """Compare files with the SHA-256 sums that were recorded of them.

    Args:
        folder: the names of the sums start here.
        root: the experiment's folder.
        stated: SHA-256 by name.

    Raises:
        UserError: a file does not exist, or lies outside of the experiment's folder.
    """
    for name, recorded in stated.items():
        path = folder / name
        if not path.resolve().is_relative_to(root.resolve()):
            raise UserError(f"a sum is recorded of {name!r}, which lies outside of {root}", RESTORE)
        if not path.is_file():
            raise UserError(f"{path} does not exist, though its SHA-256 is recorded", RESTORE)
        if (present := sha256_file(path)) != recorded:
            yield Difference(str(path.relative_to(root)), "", "SHA-256", recorded, present)


def rows_of(path: Path, *keys: str) -> list[Row]:
    """The rows of a file of JSON lines, each of which has these keys, with values of their kind.

    Raises:
        UserError: the file is absent, a line is no JSON object, lacks a key, or has a value of another kind.
    """
    rows = read_jsonl(path)
    for number, row in enumerate(rows, 1):
        if not isinstance(row, dict):
            raise UserError(f"{path}, line {number}: not a JSON object", RESTORE)
        if lacking := [key for key in keys if key not in row]:
            raise UserError(f"{path}, line {number}: no key {lacking[0]!r}", RESTORE)
        for key, value in row.items():
            kind = NUMBER if key.startswith("seconds_") else KINDS.get(key, object)
            if not isinstance(value, kind) or (kind in (int, NUMBER) and isinstance(value, bool)):
                raise UserError(f"{path}, line {number}: {key} is {_shown(value)}, which is of another kind", RESTORE)
    return rows


def record_of(path: Path, **kinds: type) -> Row:
    """The one JSON object of a file, in which these keys, where they are there, have values of these kinds.

    Raises:
        UserError: the file is absent, holds no JSON object, or has a value of another kind.
    """
    record = read_json(path)
    if not isinstance(record, dict):
        raise UserError(f"{path}: not a JSON object", RESTORE)
    for key, kind in kinds.items():
        if not isinstance(record.get(key, kind()), kind):
            raise UserError(f"{path}: {key} is {_shown(record[key])}, which is of another kind", RESTORE)
    return record


def _same(stated: Any, derived: Any) -> bool:
    if isinstance(stated, bool) or isinstance(derived, bool):
        return stated is derived
    if isinstance(stated, int | float) and isinstance(derived, int | float):
        return math.isclose(stated, derived, rel_tol=TOLERANCE, abs_tol=TOLERANCE)
    return bool(stated == derived)


def _shown(value: Any) -> str:
    text = value if isinstance(value, str) else repr(value)
    return text if len(text) <= SHOWN else f"{text[:SHOWN]}..."
