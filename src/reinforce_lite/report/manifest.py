"""One list of every file of an experiment with its SHA-256, and the roots of the Merkle trees over it.

    0d5f...e1  baseline/tiny-llama/evaluation.json

`manifest.sha256` has a line a file, as `sha256sum` writes and checks them, sorted by path: weights and configuration
are among them. Two roots are taken over the lines (`io.sums.merkle_root`). That of the `results` covers what lies
beneath the report, which prints it, as summary.json and the crate do. The root of the `whole` covers the report and the
crate too; it is what one publishes and signs. Neither covers the list itself, which holds them.
"""

import os
from collections.abc import Callable, Mapping
from contextlib import suppress
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

from reinforce_lite.errors import UserError
from reinforce_lite.io.files import atomic_text
from reinforce_lite.io.sums import Sums, merkle_root
from reinforce_lite.stages import STAGES

NAME, SIGNED = "manifest.sha256", "manifest.root"
"""The list; and the root of the whole as it was signed, with the signature in a file `.sig` beside it."""
ABOVE = (*STAGES["report"].files.values(), STAGES["crate"].files["metadata"], "workflow")
"""What holds the root of the results, and so cannot be covered by it."""
_OUTSIDE = (
    "checkpoints", NAME, SIGNED, f"{SIGNED}.sig",
    "benchmarks/report.jsonl", "benchmarks/crate.jsonl",
)  # fmt: skip
"""Is no result, holds the roots, or is written when the last root has been taken."""


@dataclass(frozen=True)
class Manifest:
    """The SHA-256 of every file by its path under the folder, sorted."""

    files: Mapping[str, str]

    @classmethod
    def of(cls, folder: Path, sum_of: Callable[[Path], str]) -> "Manifest":
        """What is there now; a file that another job removes meanwhile is not."""
        sums = {}
        for name in names(folder):
            with suppress(FileNotFoundError):
                sums[name] = sum_of(folder / name)
        return cls(sums)

    @classmethod
    def read(cls, folder: Path) -> "Manifest | None":
        """What is written; None if nothing is.

        Raises:
            UserError: a line is none of a list of sums.
        """
        if not (path := folder / NAME).exists():
            return None
        files: dict[str, str] = {}
        for number, line in enumerate(path.read_text(encoding="utf-8", errors="replace").splitlines(), 1):
            recorded, gap, name = line[:64], line[64:66], line[66:]
            if gap != "  " or not name or set(recorded) - set("0123456789abcdef"):
                raise UserError(f"{path}, line {number}: not a sum and a path", "restore the file from a copy")
            files[name] = recorded
        return cls(files)

    @property
    def lines(self) -> list[str]:
        """As they are written."""
        return [f"{recorded}  {name}" for name, recorded in sorted(self.files.items())]

    @cached_property
    def root(self) -> str:
        """Over all files."""
        return merkle_root([line.encode(errors="surrogateescape") for line in self.lines])

    @cached_property
    def results(self) -> "Manifest":
        """The part that lies beneath the report."""
        return Manifest({name: one for name, one in self.files.items() if not _among(name, ABOVE)})

    def write(self, folder: Path) -> None:
        """Write the list.

        Raises:
            UserError: it cannot be written.
        """
        with atomic_text(folder / NAME) as handle:
            handle.writelines(f"{line}\n" for line in self.lines)


def names(folder: Path) -> list[str]:
    """Paths of the files of a folder that belong to the results, sorted; nothing hidden or half written."""
    # By os.walk: another job may remove a folder meanwhile.
    found = (Path(place, name) for place, _, files in os.walk(folder) for name in files)
    paths = (path.relative_to(folder) for path in found if path.is_file())
    return sorted(path.as_posix() for path in paths if not _is_passing(path) and not _among(path.as_posix(), _OUTSIDE))


def seal(folder: Path) -> Manifest:
    """Take the sums of what is there, and write the list; large files that have not changed are not read again.

    Raises:
        UserError: the list cannot be written.
    """
    sums = Sums(folder)
    manifest = Manifest.of(folder, sums)
    sums.keep()
    manifest.write(folder)
    return manifest


def _is_passing(path: Path) -> bool:
    return path.suffix == ".tmp" or any(part.startswith(".") for part in path.parts)


def _among(name: str, others: tuple[str, ...]) -> bool:
    return any(name == other or name.startswith(f"{other}/") for other in others)
