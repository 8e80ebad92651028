"""A training's progress on the disk: what a kill at any moment leaves behind, and how the same command resumes.

Checkpoints hold the state after a completed step, a journal the record of each completed step. Weights, journal and
checkpoints change at step boundaries only, so a step that is not completed leaves no trace.
"""

import shutil
import sys
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

import torch

from reinforce_lite.config import CheckpointSettings
from reinforce_lite.errors import UserError
from reinforce_lite.io import bars
from reinforce_lite.io.files import write_json
from reinforce_lite.io.interrupt import Interrupted, quiet, uninterrupted
from reinforce_lite.io.journal import Journal
from reinforce_lite.io.keyed import Key
from reinforce_lite.learning import checkpoint
from reinforce_lite.policy import Policy
from reinforce_lite.stages import FINISHED

KEPT = 2
"""Checkpoints: if the newest is damaged, the one before it is used."""


def steps_bar(completed: int, steps: int, name: str = "train") -> Any:
    """The steps that are left, with a progress bar over all of them."""
    return bars.bar(range(completed, steps), name, "step", initial=completed, total=steps)


class Keeper:
    """Keeps what a training has completed, in memory: for one that is too short to be resumed.

    Attributes:
        seconds: what checkpoints have cost since the last row was recorded.
    """

    def __init__(self) -> None:
        self.seconds = 0.0
        self._rows: list[Any] = []

    @contextmanager
    def resumed(self, policy: Policy, optimizer: torch.optim.Optimizer) -> Iterator[int]:
        """Around all steps. Yields how many are completed, with policy and optimiser in the state after them."""
        yield 0

    @contextmanager
    def step(self) -> Iterator[None]:
        """Around everything that a step changes: after a kill it has happened completely or not at all."""
        yield

    def record(self, row: Any) -> None:
        """Keep the record of a step; once a step, inside `step`."""
        self._rows.append(row)

    def rows(self) -> list[Any]:
        """One row for each completed step."""
        return self._rows


class Progress(Keeper):
    """Keeps it in a folder.

    Args:
        folder: holds checkpoints and journals; belongs to one training, and to no rule's outputs.
        key: all that determines the training; a folder with another key is refused.
        settings: how often a checkpoint is written.

    Attributes:
        accepted: where it went on with other libraries, on another device or from other files: `after` so many steps,
            and what changed, by name, with the values before and after.
    """

    def __init__(self, folder: Path, key: Mapping[str, Any], settings: CheckpointSettings) -> None:
        self.folder = folder
        self.seconds = 0.0
        self.accepted: list[dict[str, Any]] = []
        self._key = Key.of(key)
        self._settings = settings
        self._journal = Journal(folder / "steps.jsonl")
        self._costs = Journal(folder / "checkpoints.jsonl")
        self._completed = self._saved = 0
        self._saved_at = time.monotonic()
        self._good: list[Path] = []
        self._at_boundary = False

    @contextmanager
    def resumed(self, policy: Policy, optimizer: torch.optim.Optimizer) -> Iterator[int]:
        """See `Keeper.resumed`.

        The state of the last completed step is written when the block ends or is interrupted, or when our output has
        lost its reader or its terminal and we notice that first (OSError).

        Raises:
            UserError: the folder holds another training, by its key.
        """
        self._policy, self._optimizer = policy, optimizer
        self._resume()
        self._reach_boundary()
        try:
            yield self._completed
            self._save()
        except (Interrupted, OSError):
            quiet()
            if self._at_boundary:
                self._save()
            raise

    @contextmanager
    def step(self) -> Iterator[None]:
        """See `Keeper.step`; a signal waits until the step has ended."""
        with uninterrupted():
            self._at_boundary = False
            yield
            self._completed += 1
            self._reach_boundary()
            if self._due():
                self._save()

    def record(self, row: Any) -> None:
        """Write the record of a step."""
        self._journal.append(row)
        self.seconds = 0.0

    def rows(self) -> list[Any]:
        """One row for each completed step.

        Raises:
            UserError: the disk is full, so that some are not written.
        """
        try:
            self._journal.sync()
        except OSError as error:
            raise UserError(f"cannot write {self._journal.path}: {error.strerror}", "free some disk space") from error
        return self._journal.rows()

    def cost(self) -> dict[str, Any]:
        """What checkpoints have cost since the training began, killed attempts included: count, seconds, bytes."""
        rows = self._costs.rows()
        return {"count": len(rows), **{name: sum(row[name] for row in rows) for name in ("seconds", "bytes")}}

    def finish(self) -> None:
        """The results are written; the last state is kept until a later stage has read them."""
        with suppress(UserError):  # on a full disk the state is kept all the same
            write_json(self.folder / FINISHED, self._key)
        for path in checkpoint.found(self.folder):
            if path not in self._good[-1:]:
                shutil.rmtree(path, ignore_errors=True)

    def _resume(self) -> None:
        """Bring policy and optimiser to the newest state that is whole, and the journal with them."""
        for half in self.folder.glob(".step-*.tmp"):
            shutil.rmtree(half, ignore_errors=True)
        there = checkpoint.found(self.folder)
        rows = len(self._journal.rows())
        for path in there:
            try:
                candidate = checkpoint.read(path)
                if rows < candidate.step:
                    raise checkpoint.DamagedError(f"{self._journal.path.name} holds {rows} of its steps")
            except checkpoint.DamagedError as problem:
                _warn(f"the checkpoint {path} is damaged ({problem}); it is not used")
                continue
            self._check_key(candidate)
            candidate.restore(self._policy.model, self._optimizer)
            self._completed = self._saved = candidate.step
            self._good = [path]
            print(f"continuing after {candidate.step} steps, from {path}", file=sys.stderr)
            break
        else:
            if there:
                _warn("no checkpoint is whole: the training starts anew")
        self._journal.cut(self._completed)

    def _check_key(self, saved: checkpoint.Checkpoint) -> None:
        finished = (self.folder / FINISHED).exists()
        changed = self._key.resumable(saved.facts["key"], self.folder, "a training", finished)
        before = saved.facts.get("accepted", [])
        self.accepted = [*before, {"after": saved.step, "changed": changed}] if changed else before

    def _reach_boundary(self) -> None:
        self._random = checkpoint.random_state()
        self._at_boundary = True

    def _due(self) -> bool:
        steps, seconds = self._settings.every_steps, self._settings.every_seconds
        by_steps = steps is not None and self._completed - self._saved >= steps
        return by_steps or time.monotonic() - self._saved_at >= seconds

    def _save(self) -> None:
        """Write a checkpoint unless there is one of this step; trouble with the disk is a warning."""
        if self._completed == self._saved:
            return
        started = time.monotonic()
        with uninterrupted():
            try:
                self._journal.sync()  # a checkpoint without the rows before it would be worth nothing
                facts = {"step": self._completed, "key": self._key, "accepted": self.accepted}
                path, size = checkpoint.write(self.folder, self._policy.model, self._optimizer, self._random, facts)
            except OSError as error:
                _warn(f"no checkpoint after {self._completed} steps: {error.strerror}; the one before it is kept")
            else:
                self._saved = self._completed
                self._good = [*self._good, path][-KEPT:]
                for other in set(checkpoint.found(self.folder)) - set(self._good):
                    shutil.rmtree(other, ignore_errors=True)
                seconds = time.monotonic() - started
                self._costs.append({"step": self._completed, "seconds": seconds, "bytes": size})
            self._saved_at = time.monotonic()
            self.seconds += self._saved_at - started


def _warn(text: str) -> None:
    print(f"warning: {text}", file=sys.stderr, flush=True)
