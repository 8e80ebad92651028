"""The SHA-256 of files, each taken once; and the root of a Merkle tree over many of them."""

import hashlib
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any

from reinforce_lite.errors import UserError
from reinforce_lite.io.files import read_json, write_json
from reinforce_lite.io.provenance import sha256_file

LARGE = 2**20
"""Bytes; the sums of larger files are kept, by size and time, beside the results."""
KEPT = ".sums.json"


class Sums:
    """Sums of the files of a folder, remembered for as long as size and time stay.

    Args:
        folder: of the experiment; what is remembered of large files lies there.
        trusting: believe what was remembered; else every file is read, once, and none outside of the folder.
    """

    def __init__(self, folder: Path, trusting: bool = True) -> None:
        self._folder, self._trusting = folder, trusting
        self._read = folder / KEPT
        self._sums: dict[str, list[Any]] = {}
        if trusting and self._read.exists():
            with suppress(UserError):  # then they are taken again
                self._sums = dict(read_json(self._read))

    def __call__(self, path: Path) -> str:
        """The SHA-256 of a file.

        Raises:
            UserError: it lies outside of the folder, though none may.
            OSError: it cannot be read.
        """
        status, name = path.stat(), str(path)
        if self._trusting and status.st_size < LARGE:
            return sha256_file(path)
        if not self._trusting and not path.resolve().is_relative_to(self._folder.resolve()):
            raise UserError(f"{path} lies outside of {self._folder}", "restore the folder from a copy")
        known = [status.st_size, status.st_mtime_ns]
        if self._sums.get(name, [])[:2] != known:
            self._sums[name] = [*known, sha256_file(path)]
        return str(self._sums[name][2])

    def keep(self) -> None:
        """Remember those of large files for the next time."""
        if self._sums:
            with suppress(UserError):  # then they are taken again
                write_json(self._read, self._sums)


def merkle_root(leaves: Sequence[bytes]) -> str:
    """The root of the Merkle tree over some leaves, in their order: RFC 6962, section 2.1.

    A leaf is hashed behind a byte 0 and a node behind a byte 1, so that neither can pass for the other; a tree of n
    leaves is cut at the largest power of two below n.

    Returns:
        64 hexadecimal digits.

    >>> merkle_root([])[:16], merkle_root([b""])[:16]
    ('e3b0c44298fc1c14', '6e340b9cffb37a98')
    """
    return _tree([hashlib.sha256(b"\0" + leaf).digest() for leaf in leaves]).hex()


def _tree(hashes: Sequence[bytes]) -> bytes:
    if len(hashes) < 2:
        return hashes[0] if hashes else hashlib.sha256().digest()
    cut = 1 << (len(hashes) - 1).bit_length() - 1
    return hashlib.sha256(b"\1" + _tree(hashes[:cut]) + _tree(hashes[cut:])).digest()
