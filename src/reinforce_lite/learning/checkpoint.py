"""Checkpoints: folders that are whole or do not count.

    step-00000042/    weights.pt  optimizer.pt  random.pt  facts.json  manifest.json

The manifest holds size and SHA-256 of the other files. All are written under another name, flushed to the disk, and
renamed at last.
"""

import hashlib
import json
import os
import random
import shutil
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Any, cast

import numpy as np
import torch

from reinforce_lite.optim.adamw import AdamW

PARTS = ("weights", "optimizer", "random")
MANIFEST = "manifest.json"


class DamagedError(Exception):
    """A checkpoint that cannot be used; the message says why."""


@dataclass(frozen=True)
class Checkpoint:
    """A checkpoint whose files are as its manifest says.

    Attributes:
        path: its folder.
        facts: `step` (how many are completed) and what else was given to `write`.
    """

    path: Path
    facts: dict[str, Any]

    @property
    def step(self) -> int:
        """Completed steps."""
        return int(self.facts["step"])

    def restore(self, model: Any, optimizer: torch.optim.Optimizer) -> None:
        """Put everything back in place, bit for bit."""
        model.load_state_dict({**_weights(model, trained=False), **self._part("weights")})
        restore_optimizer(optimizer, self._part("optimizer"))
        restore_random(self._part("random"))

    def _part(self, name: str) -> Any:
        # Mapped: an optimiser's state on the CPU may have room there only once; whoever takes it makes a copy.
        return torch.load(self.path / f"{name}.pt", map_location="cpu", weights_only=True, mmap=True)


def found(folder: Path) -> list[Path]:
    """The checkpoints of a folder, newest first, unread."""
    return sorted(folder.glob("step-*"), reverse=True)


def path_of(folder: Path, step: int) -> Path:
    """The place of the checkpoint of so many completed steps."""
    return folder / f"step-{step:08d}"


def read(path: Path) -> Checkpoint:
    """Check every file of a checkpoint.

    Raises:
        DamagedError: a file is missing, short or changed, or the manifest cannot be read.
    """
    try:
        manifest = json.loads((path / MANIFEST).read_bytes())
        if manifest.keys() != {*(f"{name}.pt" for name in PARTS), "facts.json"}:
            raise DamagedError(f"{MANIFEST} does not name the files of a checkpoint")
        for name, expected in manifest.items():
            _check(path / name, expected["bytes"], expected["sha256"])
        return Checkpoint(path, json.loads((path / "facts.json").read_bytes()))
    except OSError as error:
        raise DamagedError(f"{Path(error.filename or path).name}: {error.strerror}") from error
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        raise DamagedError(f"{MANIFEST} is unreadable") from error


def _check(path: Path, size: int, sha256: str) -> None:
    if path.stat().st_size != size:
        raise DamagedError(f"{path.name} has {path.stat().st_size} bytes, not {size}")
    with path.open("rb") as handle:
        if hashlib.file_digest(handle, "sha256").hexdigest() != sha256:
            raise DamagedError(f"{path.name} is not what was written")


def write(
    folder: Path, model: Any, optimizer: torch.optim.Optimizer, randomness: dict[str, Any], facts: Mapping[str, Any]
) -> tuple[Path, int]:
    """Write a checkpoint of `facts["step"]` completed steps.

    Returns:
        (its path, its bytes).

    Raises:
        OSError: the disk is full or the folder cannot be written; earlier checkpoints are untouched.
    """
    path = path_of(folder, facts["step"])
    temporary = folder / f".{path.name}.tmp"
    shutil.rmtree(temporary, ignore_errors=True)
    try:
        temporary.mkdir(parents=True)
        manifest = {}
        for name, value in zip(PARTS, (_weights(model), optimizer.state_dict(), randomness), strict=True):
            with _written(temporary / f"{name}.pt") as handle:
                torch.save(value, cast("IO[bytes]", handle))  # write and flush are all it uses
            manifest[f"{name}.pt"] = handle.described()
        for name, content in (("facts.json", facts), (MANIFEST, manifest)):
            with _written(temporary / name) as handle:
                handle.write(json.dumps(content, indent=2).encode())
            manifest[name] = handle.described()
        _flush_folder(temporary)
        shutil.rmtree(path, ignore_errors=True)  # only a damaged one can stand here
        temporary.rename(path)
        _flush_folder(folder)
    finally:
        shutil.rmtree(temporary, ignore_errors=True)
    return path, sum(each["bytes"] for each in manifest.values())


def _weights(model: Any, trained: bool = True) -> dict[str, torch.Tensor]:
    """What training changes of a model, or the rest: the weights that are frozen beside adapters."""
    every = model.named_parameters(remove_duplicate=False)
    frozen = {name for name, weight in every if not weight.requires_grad}
    return {name: value for name, value in model.state_dict().items() if (name in frozen) != trained}


class _Hashed:
    """A file that is hashed while it is written."""

    def __init__(self, descriptor: int) -> None:
        self._descriptor = descriptor
        self._sha256, self._bytes = hashlib.sha256(), 0
        self.error: OSError | None = None

    def write(self, data: Any) -> int:
        view = memoryview(data).cast("B")
        try:
            done = 0
            while done < len(view):
                done += os.write(self._descriptor, view[done:])
        except OSError as error:
            self.error = error
            raise
        self._sha256.update(view)
        self._bytes += len(view)
        return len(view)

    def flush(self) -> None:
        """Nothing is held back."""

    def described(self) -> dict[str, Any]:
        """Size and sum, for the manifest."""
        return {"bytes": self._bytes, "sha256": self._sha256.hexdigest()}


@contextmanager
def _written(path: Path) -> Iterator[_Hashed]:
    """A new file that is on the disk when the block ends."""
    descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o666)
    handle = _Hashed(descriptor)
    try:
        yield handle
        os.fsync(descriptor)
    except RuntimeError as error:  # torch.save turns an error of the file into one
        if handle.error is None:
            raise
        raise handle.error from error
    finally:
        os.close(descriptor)


def _flush_folder(path: Path) -> None:
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def restore_optimizer(optimizer: torch.optim.Optimizer, saved: Mapping[str, Any]) -> None:
    """Load the state of an optimiser without rounding it.

    torch's own load_state_dict casts states to the precision of the weights, so they are put in place once more as they
    were saved.
    """
    optimizer.load_state_dict(dict(saved))
    if isinstance(optimizer, AdamW):  # takes them as they are
        return
    weights = [weight for group in optimizer.param_groups for weight in group["params"]]
    for index, states in saved["state"].items():
        here = optimizer.state[weights[index]]
        for name, value in states.items():
            if isinstance(value, torch.Tensor):
                here[name] = value.to(here[name].device, copy=True)


def random_state() -> dict[str, Any]:
    """The state of every global generator: Python's, NumPy's, torch's on the CPU and on each GPU."""
    name, keys, *rest = np.random.get_state()
    return {
        "python": random.getstate(),
        "numpy": (name, np.asarray(keys).tolist(), *rest),
        "torch": torch.get_rng_state(),
        "cuda": torch.cuda.get_rng_state_all() if torch.cuda.is_available() else [],
    }


def restore_random(state: Mapping[str, Any]) -> None:
    """Put the generators back."""
    random.setstate(state["python"])
    np.random.set_state(state["numpy"])
    torch.set_rng_state(state["torch"])
    if state["cuda"]:
        torch.cuda.set_rng_state_all(state["cuda"])
