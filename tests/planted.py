"""Plant a change in a finished folder of results, and see what `verify` names."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

from reinforce_lite.io.files import read_jsonl, write_jsonl
from reinforce_lite.report.verification.difference import Difference
from reinforce_lite.report.verify import verify

TRAINED = "trained/tiny-llama/leave_one_out/seed0"
TRAIN = "train/tiny-llama/leave_one_out/seed0"
COMPARE = "compare/tiny-llama/leave_one_out/seed0.json"


EVERY_FILE = ("manifest", "crate")
"""Checks that name any changed file, whatever it holds."""


def found(folder: Path) -> list[Difference]:
    """What the other checks name."""
    return [one for check in verify(folder) if check.name not in EVERY_FILE for one in check.differences]


def named(folder: Path) -> set[tuple[str, str, str]]:
    return {(one.file, one.place, one.key) for one in found(folder)}


def change_row(path: Path, number: int, change: Callable[[dict[str, Any]], Any]) -> None:
    rows = read_jsonl(path)
    rows[number] = rows[number] | change(rows[number])
    write_jsonl(path, rows)


def change_line(path: Path, number: int, old: str, new: str) -> None:
    lines = path.read_text(encoding="utf-8").split("\n")
    assert old in lines[number]
    lines[number] = lines[number].replace(old, new, 1)
    path.write_text("\n".join(lines), encoding="utf-8")
