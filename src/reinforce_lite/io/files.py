"""Atomic writes: a reader sees the old file or the new one, never half of one."""

import json
import os
import shutil
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, TextIO

from reinforce_lite.errors import UserError

AGAIN = "delete the file and run its rule again"
NO_FOLDER = "move it away, or make the folder that it leads to"


@contextmanager
def _writing(path: Path) -> Iterator[None]:
    try:
        yield
    except OSError as error:
        raise UserError(
            f"cannot write {path}: {error.strerror}", "free some disk space or make the folder writable"
        ) from error


@contextmanager
def atomic_text(path: Path) -> Iterator[TextIO]:
    """Open a text file that appears at `path` only when the block ends without an error.

    The content is written beside `path`, flushed to the disk, then renamed over it.

    Raises:
        UserError: the disk is full or the folder cannot be written.
    """
    temporary = path.with_name(f".{path.name}.{os.getpid()}.tmp")
    try:
        with _writing(path):
            path.parent.mkdir(parents=True, exist_ok=True)
            with temporary.open("w", encoding="utf-8") as handle:
                yield handle
                handle.flush()
                os.fsync(handle.fileno())
            temporary.replace(path)
    finally:
        temporary.unlink(missing_ok=True)


@contextmanager
def atomic_folder(path: Path) -> Iterator[Path]:
    """Yield a new folder beside `path` that takes its place when the block ends without an error.

    Raises:
        UserError: the disk is full or the folder cannot be written.
    """
    temporary = path.with_name(f".{path.name}.tmp")
    try:
        with _writing(path):
            shutil.rmtree(temporary, ignore_errors=True)  # left by a killed process; rules never share a folder
            temporary.mkdir(parents=True)
            yield temporary
            if path.exists():
                shutil.rmtree(path)
            temporary.rename(path)
    finally:
        shutil.rmtree(temporary, ignore_errors=True)


def check_folder(path: Path) -> None:
    """See that a path is a folder, or can become one.

    Raises:
        UserError: it, or something above it, is a file or a link that leads nowhere.
    """
    for place in reversed([path, *path.parents]):
        if place.is_dir():
            continue
        if place.is_symlink():
            raise UserError(f"{place} is a link to {place.readlink()}, which is no folder", NO_FOLDER)
        if place.exists():
            raise UserError(f"{place} is a file, and should be a folder", NO_FOLDER)


def write_json(path: Path, value: Any) -> None:
    """Write `value` as indented JSON, atomically; NaN and infinity are refused because JSON has no such numbers."""
    with atomic_text(path) as handle:
        json.dump(value, handle, indent=2, ensure_ascii=False, allow_nan=False)
        handle.write("\n")


def read_json(path: Path) -> Any:
    """Read a JSON file.

    Raises:
        UserError: the file is absent, cannot be read, or is not JSON.
    """
    return _parsed(path, "", _read(path))


def _parsed(path: Path, place: str, text: str) -> Any:
    try:
        return json.loads(text)
    except (ValueError, RecursionError) as error:  # also a number of too many digits, and brackets that are too deep
        reason = "it is nested too deeply" if isinstance(error, RecursionError) else str(error)
        raise UserError(f"{path}{place}: not valid JSON ({reason})", AGAIN) from error


def _read(path: Path) -> str:
    try:
        return path.read_text(encoding="utf-8")
    except FileNotFoundError as error:
        raise UserError(f"{path} does not exist", "run the rule that makes it first") from error
    except UnicodeDecodeError as error:
        line = error.object[: error.start].count(b"\n") + 1
        raise UserError(f"{path}, line {line}: not UTF-8 (byte 0x{error.object[error.start]:02x})", AGAIN) from error
    except OSError as error:
        raise UserError(f"cannot read {path}: {error.strerror}", "make it a file that this user may read") from error


def write_jsonl(path: Path, rows: Iterable[dict[str, Any]]) -> None:
    """Write one JSON object a line, atomically."""
    encode = json.JSONEncoder(ensure_ascii=False).encode  # json.dumps would make an encoder for every row
    with atomic_text(path) as handle:
        handle.writelines(encode(row) + "\n" for row in rows)


def read_jsonl(path: Path) -> list[dict[str, Any]]:
    """Read one JSON object a line.

    Raises:
        UserError: the file is absent or cannot be read, or a line is not JSON (the message names the line).
    """
    rows = []
    lines = _read(path).split("\n")  # splitlines() would also cut at a U+2028 in a text
    for number, line in enumerate(lines, 1):
        if not line and number == len(lines):
            break
        rows.append(_parsed(path, f", line {number}", line))
    return rows
