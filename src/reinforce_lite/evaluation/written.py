"""What an evaluation has written so far, batch by batch, so that the same command resumes it after a kill."""

import hashlib
import json
import sys
import time
from collections.abc import Callable, Mapping
from dataclasses import asdict
from pathlib import Path
from typing import Any

from reinforce_lite.io import bars
from reinforce_lite.io.journal import Journal
from reinforce_lite.io.keyed import Key
from reinforce_lite.rollout import Completion

Prompts = dict[str, list[int]]
"""Token ids of each prompt, by the id of its problem."""
AfterBatch = Callable[[int], Mapping[str, str] | None]
"""Called after each batch with the number of those that are done; the progress bar shows what it returns."""


def fixed_batches(prompts: Prompts, size: int) -> list[list[str]]:
    """The ids, by length of their prompts and `size` at a time: neighbours in length waste no padding.

    A resumed evaluation must decode these very batches: which rows stand beside a row can change its last bit.

    >>> fixed_batches({"a": [1, 2], "b": [1], "c": [1, 2, 3]}, 2)
    [['b', 'a'], ['c']]
    """
    order = sorted(prompts, key=lambda i: len(prompts[i]))
    return [order[begin : begin + size] for begin in range(0, len(order), size)]


class Written:
    """A journal with one row for each batch, after a first one with the key, and where that changed another.

    Args:
        path: the journal.
        key: all that the completions depend on, but the prompts.

    Attributes:
        accepted: where it went on with other libraries, on another device or from other files: `after` so many
            batches, and what changed, by name, with the values before and after.
    """

    def __init__(self, path: Path, key: Mapping[str, Any]) -> None:
        self._journal, self._key = Journal(path), Key.of(key)
        self.accepted: list[dict[str, Any]] = []

    def resume(self, prompts: Prompts, size: int) -> tuple[dict[str, Completion], float]:
        """Read what was written for these prompts; what was written under other settings is discarded, with a note.

        Returns:
            (completions by id, seconds that their batches took).

        Raises:
            UserError: other libraries or another device would go on with it, and the user has not accepted that.
        """
        digest = hashlib.sha256(json.dumps(prompts).encode()).hexdigest()
        key = self._key.joined({"prompts, sha256": digest})
        rows = self._journal.rows()
        saved = next((row["key"] for row in reversed(rows) if "accepted" in row), rows[0] if rows else key)
        changes = key.changes(saved)
        if any(change.setting for change in changes):
            names = ", ".join(change.name for change in changes)
            print(f"note: {self._journal.path} is of another evaluation ({names}); discarded", file=sys.stderr)
            rows = []
        done = [row for row in rows if "completions" in row]
        self.accepted = [row["accepted"] for row in rows if "accepted" in row]
        if done and changes:
            finished = len(done) == len(fixed_batches(prompts, size))
            changed = key.resumable(saved, self._journal.path.parent, "an evaluation", finished)
            self.accepted.append({"after": len(done), "changed": changed})
        self._journal.cut(len(rows) if done else 0)
        if not done:
            self._journal.append(key)
        elif changes:
            self._journal.append({"accepted": self.accepted[-1], "key": key})
        if done:
            batches = len(fixed_batches(prompts, size))
            print(f"continuing after {len(done)} of {batches} batches, from {self._journal.path}", file=sys.stderr)
        read = {i: Completion(prompts[i], **row) for each in done for i, row in each["completions"].items()}
        if list(read) != [i for batch in fixed_batches(prompts, size)[: len(done)] for i in batch]:
            raise RuntimeError(f"{self._journal.path} does not hold the first batches of this evaluation")
        return read, sum(each["seconds"] for each in done)

    def append(self, completions: Mapping[str, Completion], seconds: float) -> None:
        """Keep a batch."""
        rows = {i: {k: v for k, v in asdict(c).items() if k != "prompt_ids"} for i, c in completions.items()}
        self._journal.append({"completions": rows, "seconds": seconds})


def write_batches(
    prompts: Prompts,
    size: int,
    complete: Callable[[list[str]], dict[str, Completion]],
    written: Written | None,
    after_batch: AfterBatch,
    what: str,
) -> tuple[dict[str, Completion], float]:
    """Complete the prompts batch by batch; each batch is kept as soon as it is written.

    Args:
        prompts: by id.
        size: prompts of a batch.
        complete: writes the completions of the ids of a batch.
        written: keeps finished batches; None keeps them in this process only.
        after_batch: what it raises ends it all.
        what: name of the progress bar.

    Returns:
        (completions by id, seconds of the batches that an earlier process has written).
    """
    completions, seconds = ({}, 0.0) if written is None else written.resume(prompts, size)
    bar = bars.bar(fixed_batches(prompts, size), what, "batch")
    for number, batch in enumerate(bar, 1):
        if batch[0] in completions:
            continue
        began = time.perf_counter()
        fresh = complete(batch)
        if written is not None:
            written.append(fresh, time.perf_counter() - began)
        completions.update(fresh)
        bar.set_postfix(after_batch(number) or {}, refresh=False)
    return completions, seconds
