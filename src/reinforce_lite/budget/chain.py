"""What makes a lost or changed line of the ledger show: a chain through its rows, and the head beside it.

A row ends with `"chain"`: a sum over the chain of the row before it, the bytes since, and its own content. Rows of an
earlier version have none. They stand before the first chained row, which covers all of them. A row that covers all
bytes before it although chained rows are among them begins a new chain: somebody accepts what the ledger lacks.

The head, `.ledger.head`, holds the length of the ledger after its last row, and that row's chain. It is written after
the row. So after a crash it may know one row less than the ledger, never one more.
"""

import hashlib
import os
import re
from pathlib import Path
from typing import Literal, NamedTuple

from reinforce_lite.errors import UserError

DIGITS = 32
_KEY, _END = b',"chain":"', b'"}'
_FIELD = len(_KEY) + DIGITS + len(_END)
_CHAINED = re.compile(rb',"chain":"([0-9a-f]{32})"\}(?=\n|\Z)')
_HEAD = re.compile(rb"([0-9]{20}) ([0-9a-f]{32}|-{32})\n")
NONE = "-" * DIGITS
"""Stands for the chain of a ledger in which no row has one."""
_BLOCK = 8192

FIX = (
    "restore the ledger and .ledger.head from a copy; if there is none, say what the lost rows have cost: "
    "reinforce-lite ledger --config <config.json> --accept-loss <US dollars>"
)

Link = Literal["none", "sound", "anew", "broken"]
"""How a line hangs on what is before it; `none` has no chain, `anew` begins a new one."""


class Head(NamedTuple):
    """What is known of the ledger outside of it."""

    bytes: int
    """Its length after its last row."""
    chain: str
    """Of that row; dashes if no row has one."""


class Chain:
    """Follows the lines of a ledger in their order."""

    def __init__(self) -> None:
        self._all, self._before = hashlib.sha256(), b""
        self.last = NONE

    def add(self, line: bytes) -> tuple[bytes, Link]:
        """Take one more line, without its newline; returns its content and how it hangs on the others."""
        content = line
        link: Link = "none"
        if line[-_FIELD : -DIGITS - len(_END)] == _KEY and line.endswith(_END):
            content, chain = line[:-_FIELD] + b"}", line[-DIGITS - len(_END) : -len(_END)]
            link = self._link(content, chain.decode(errors="replace"))
            self._before, self.last = chain, chain.decode(errors="replace")
        elif self.last != NONE:
            self._before += line + b"\n"
        self._all.update(line + b"\n")
        return content, link

    def _link(self, content: bytes, chain: str) -> Link:
        if self.last != NONE and hashlib.sha256(self._before + content).hexdigest()[:DIGITS] == chain:
            return "sound"
        everything = self._all.copy()
        everything.update(content)
        if everything.hexdigest()[:DIGITS] != chain:
            return "broken"
        return "sound" if self.last == NONE else "anew"


def head_path(ledger: Path) -> Path:
    """Where the head of a ledger is."""
    return ledger.with_name(".ledger.head")


def head(ledger: Path) -> Head | None:
    """The head of a ledger; None if it is absent or damaged."""
    try:
        found = _HEAD.fullmatch(head_path(ledger).read_bytes())
    except FileNotFoundError:
        return None
    return Head(int(found[1]), found[2].decode()) if found else None


def seal(ledger: Path, descriptor: int, content: bytes, anew: bool = False) -> tuple[bytes, Head]:
    """What has to be appended to an open, locked ledger for one event, and the head that follows.

    It reads the end of the file only: back to the last chained row, or all of it in a ledger that has none.

    Args:
        ledger: its path.
        descriptor: of the file.
        content: the event as a JSON object.
        anew: accept whatever is there, and begin a new chain.

    Raises:
        UserError: the ledger is not what its head says.
        OSError: the head cannot be written.
    """
    size = os.fstat(descriptor).st_size
    before, last = _tail(descriptor, size, whole=anew)
    if not anew:
        _require_head(ledger, descriptor, size, last)
    line, chain = chained(before, content)
    if size and os.pread(descriptor, 1, size - 1) != b"\n":
        line = b"\n" + line  # a torn line stays a line of its own
    return line, Head(size + len(line), chain)


def chained(before: bytes, content: bytes) -> tuple[bytes, str]:
    """An event as a line, and its chain.

    Args:
        before: the chain of the row before it, and the bytes since; nothing for the first row.
        content: the event as a JSON object.
    """
    chain = hashlib.sha256(before + content).hexdigest()[:DIGITS]
    return content[: -len(b"}")] + _KEY + chain.encode() + _END + b"\n", chain


def write_head(ledger: Path, known: Head) -> None:
    """Overwrite the head in place: it never grows, so a full disk has room for it.

    Raises:
        OSError: it cannot be written.
    """
    descriptor = os.open(head_path(ledger), os.O_WRONLY | os.O_CREAT | os.O_CLOEXEC, 0o644)
    try:
        record = f"{known.bytes:020d} {known.chain}\n".encode()
        new = os.fstat(descriptor).st_size != len(record)
        os.pwrite(descriptor, record, 0)
        if new:  # later ones may reach the disk late: the head may know less, and the row is there
            os.ftruncate(descriptor, len(record))
            os.fsync(descriptor)
    finally:
        os.close(descriptor)


def holds(ledger: Path, known: Head) -> bool:
    """Whether a ledger has the row that was its last one when it had so many bytes.

    Raises:
        OSError: it cannot be read.
    """
    row = known.chain.encode() + _END + b"\n"
    with ledger.open("rb") as handle:
        handle.seek(max(0, known.bytes - len(row)))
        return known.chain == NONE or handle.read(len(row)) == row


def _tail(descriptor: int, size: int, whole: bool) -> tuple[bytes, str]:
    """What the next row's chain covers, and the chain of the last row that has one (dashes if none has)."""
    block = size if whole else _BLOCK
    while True:
        start = max(0, size - block)
        data = os.pread(descriptor, size - start, start)
        data += b"\n" if data and not data.endswith(b"\n") else b""  # as the next row will end it
        found = None if whole else next(reversed(list(_CHAINED.finditer(data))), None)
        if found is not None:
            return found[1] + data[found.end() + 1 :], found[1].decode()
        if not start:
            return data, NONE
        block *= 4


def _require_head(ledger: Path, descriptor: int, size: int, last: str) -> None:
    known = head(ledger)
    if known is None:
        if last != NONE:
            raise headless(ledger)
        write_head(ledger, Head(0, NONE))  # before the first chained row, so that no crash leaves one alone
        return
    row = known.chain.encode() + _END + b"\n"
    if known.bytes > size or (known.chain != NONE and os.pread(descriptor, len(row), known.bytes - len(row)) != row):
        raise cut(ledger, known, size)


def replaced(ledger: Path) -> UserError:
    """The ledger is not the one that a process has written to."""
    return UserError(
        f"the ledger {ledger} was deleted or replaced: it lacks a row that this process has written to it", FIX
    )


def headless(ledger: Path) -> UserError:
    """Nothing outside the ledger says how far it goes."""
    return UserError(f"{head_path(ledger)} is absent or damaged: rows may be missing at the end of {ledger.name}", FIX)


def cut(ledger: Path, known: Head, size: int) -> UserError:
    """The row that was written last is not there."""
    return UserError(
        f"{ledger} has lost rows at its end, or is an older copy: it had {known.bytes:,} bytes, and its last row had "
        f"the chain {known.chain}; now it has {size:,} bytes",
        FIX,
    )
