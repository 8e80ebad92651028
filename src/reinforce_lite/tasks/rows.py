"""The user's own questions as they are read from JSON lines or from a dataset on the hub: each row with its place."""

import hashlib
import json
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any, Literal, NamedTuple

from reinforce_lite.errors import UserError

Column = Literal["question", "answer", "solution", "id"]
COLUMNS: tuple[Column, ...] = ("question", "answer", "solution", "id")
LINE = 'write a line for each question: {"question": "2 + 3?", "answer": "5"}'


class Row(NamedTuple):
    """A question, and where it stands: file and line, or row of a split."""

    where: str
    id: str
    question: str
    answer: str
    solution: str | None


def content(path: Path, key: str) -> bytes:
    """A file that a key of the configuration names.

    Raises:
        UserError: it is absent, a folder, or not to be read.
    """
    try:
        return path.expanduser().read_bytes()
    except OSError as error:
        problem = f"{key}: cannot read {path}: {error.strerror}"
        raise UserError(
            problem, "name a file of JSON lines; a relative path starts at the working directory"
        ) from error


def sha256(path: Path, key: str) -> str:
    """The SHA-256 of such a file.

    Raises:
        UserError: as `content`.
    """
    return hashlib.sha256(content(path, key)).hexdigest()


def read(path: Path, key: str, split: str, columns: Mapping[Column, str]) -> list[Row]:
    """The rows of a file of JSON lines; a byte order mark, CRLF and empty lines are accepted.

    Args:
        path: of the file.
        key: of the configuration, for messages.
        split: begins the ids of rows that have none of their own.
        columns: names of the columns in the file, where they are others than COLUMNS.

    Raises:
        UserError: the file cannot be read, has no rows, or has one that is no question; the line is named.
    """
    lines = content(path, key).removeprefix(b"\xef\xbb\xbf").split(b"\n")
    rows = [
        row_of(_object(line, f"{path}:{number}"), f"{path}:{number}", f"{split}-{number}", columns)
        for number, line in enumerate(lines, 1)
        if line.strip()
    ]
    if not rows:
        raise UserError(f"{key}: {path} is empty", LINE)
    return rows


def _object(line: bytes, where: str) -> Any:
    try:
        text = line.decode()
    except UnicodeDecodeError as error:
        raise UserError(
            f"{where}: byte {error.start + 1} ({line[error.start]:#04x}) is not UTF-8",
            "save the file as UTF-8, such as by: iconv -f latin1 -t utf-8 OLD > NEW",
        ) from error
    try:
        return json.loads(text, parse_constant=_refuse, object_pairs_hook=_once)
    except (ValueError, RecursionError) as error:
        said = getattr(error, "msg", None) or str(error)
        fix = f"{LINE}. A JSON list becomes such lines by: jq -c '.[]' OLD > NEW"
        raise UserError(f"{where}: not valid JSON: {said}", fix) from error


def _refuse(constant: str) -> None:
    raise ValueError(f"{constant} is no number of JSON")


def _once(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    found = dict(pairs)
    if len(found) < len(pairs):
        raise ValueError("a key stands twice in an object")
    return found


def row_of(value: Any, where: str, id: str, columns: Mapping[Column, str]) -> Row:
    """Check one row.

    Args:
        value: an object with question and answer, which may be a number, and perhaps solution and id.
        where: its place, for the message.
        id: what it is called if it has no id.
        columns: as for `read`.

    Raises:
        UserError: it is anything else.
    """
    if not isinstance(value, dict):
        raise UserError(f"{where}: this is no JSON object", LINE)
    found = {name: _text(value.get(columns.get(name, name)), name) for name in COLUMNS}
    for name, needed in zip(COLUMNS, (True, True, False, False), strict=True):
        column, text = columns.get(name, name), found[name]
        if column in value and text is None and (needed or value[column] is not None):
            kinds = "a text" if name in ("question", "solution") else "a text or a number"
            raise UserError(f"{where}: `{column}` is {str(value[column])[:40]!r}, not {kinds}", LINE)
        if needed and text is None:
            known = ", ".join(map(str, value)) or "none"
            raise UserError(
                f"{where}: `{column}` is absent; the row has: {known}",
                f"add it, or name the column of your file: task.columns: {{{name}: ...}}",
            )
        if needed and text is not None and not text.strip():
            raise UserError(f"{where}: `{column}` is empty", "fill it in, or take the line out")
        if text is not None and any("\ud800" <= sign <= "\udfff" for sign in text):
            raise UserError(f"{where}: `{column}` holds half of a character (\\ud800 to \\udfff)", "mend the text")
    solution = found["solution"] if (found["solution"] or "").strip() else None
    return Row(where, (found["id"] or "").strip() or id, str(found["question"]), str(found["answer"]).strip(), solution)


def _text(value: Any, name: str) -> str | None:
    """A text, or the text of a number where one may stand; None for anything else."""
    if isinstance(value, str):
        return value
    is_number = isinstance(value, int | float) and not isinstance(value, bool)
    return str(value) if is_number and name in ("answer", "id") else None


def check_distinct(rows: Iterable[Row]) -> None:
    """See that no id and no question stands twice, in one file or in two; white space makes no other question.

    Raises:
        UserError: naming both places.
    """
    ids: dict[str, str] = {}
    asked: dict[str, str] = {}
    for row in rows:
        if row.id in ids:
            raise UserError(
                f"{row.where}: the id {row.id} stands at {ids[row.id]} too", "give each row an id of its own"
            )
        same = " ".join(row.question.split())
        if same in asked:
            raise UserError(
                f"{row.where}: the question {same[:60]!r} stands at {asked[same]} too",
                "take one of the two out: no question may be learnt from and be tested, or count twice",
            )
        ids[row.id], asked[same] = row.where, row.where
