"""Rows of finished work, written at once, that a kill at any moment leaves readable."""

import json
import os
import zlib
from pathlib import Path
from typing import Any


class Journal:
    """Rows that are never changed once written, one a line: the CRC-32 of the row's JSON, then the JSON.

    Rows after half a line, or after one with a flipped bit, do not count.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        self._unwritten = b""

    def rows(self) -> list[Any]:
        """All rows before the first that is not whole."""
        return self._read()[0]

    def cut(self, count: int) -> None:
        """Keep the first `count` rows and nothing after them."""
        self._unwritten = b""
        if self.path.exists():
            os.truncate(self.path, sum(self._read()[1][:count]))

    def remove(self) -> None:
        """Forget everything."""
        self._unwritten = b""
        self.path.unlink(missing_ok=True)

    def append(self, row: Any) -> None:
        """Write a row; if the disk is full, the rest of it is written before the next one.

        Raises:
            ValueError: the row is not JSON.
        """
        text = json.dumps(row, ensure_ascii=False).encode()
        self._unwritten += b"%08x %s\n" % (zlib.crc32(text), text)
        try:
            self._write()
        except OSError:
            return  # it is still in memory, and `sync` raises

    def sync(self) -> None:
        """Have every row on the disk, or an error.

        Raises:
            OSError: the disk is full or the folder cannot be written.
        """
        self._write()
        if self.path.exists():
            with self.path.open("rb") as handle:
                os.fsync(handle.fileno())

    def _write(self) -> None:
        if not self._unwritten:
            return
        self.path.parent.mkdir(parents=True, exist_ok=True)
        handle = os.open(self.path, os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o666)
        try:
            while self._unwritten:
                self._unwritten = self._unwritten[os.write(handle, self._unwritten) :]
        finally:
            os.close(handle)

    def _read(self) -> tuple[list[Any], list[int]]:
        """The whole rows, and the bytes of each line."""
        rows, sizes = [], []
        for line in self.path.read_bytes().splitlines(keepends=True) if self.path.exists() else []:
            crc, _, text = line.rstrip(b"\n").partition(b" ")
            if not line.endswith(b"\n") or crc != b"%08x" % zlib.crc32(text):
                break
            rows.append(json.loads(text))
            sizes.append(len(line))
        return rows, sizes
