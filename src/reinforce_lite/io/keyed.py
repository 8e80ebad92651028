"""Keys: all that a result depends on, by name; and whether work that was begun under one goes on under another."""

import hashlib
import json
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from reinforce_lite.errors import UserError

COMPUTED_WITH = "computed_with"
"""The part of a key that says which libraries and which device compute. A finished result may have another one."""
FILES = " files"
"""How the name of a part ends that has the SHA-256 of files by their names; another name of a file changes nothing."""
CONFIG = " config"
"""How the name of a part ends that has what is read of a policy's configuration."""
START = "start policy"
"""How the names of a training's parts begin that are of the policy before it: the weights that it has by now do not
depend on them any more."""
OF_A_MACHINE = (COMPUTED_WITH, "torch", "vllm")
"""What computes; the last two are entries of keys that older versions wrote."""
ASKED = "asked"
"""Under this name a result holds the entries of its key, but for what computed it."""
OF_THE_JOB = ("made_with", "key", ASKED, COMPUTED_WITH, "other_numbers", "ledger", "sums")
"""What a record says of the job that wrote it, and not of the policy."""
ACCEPT = "REINFORCE_LITE_ACCEPT_OTHER_NUMBERS"
"""The environment variable that stands for `--accept-other-numbers`."""

Entries = Mapping[str, Any]


@dataclass(frozen=True)
class Change:
    """An entry of a key that is another one now; a `setting` is one of the configuration or the data."""

    name: str
    there: Any
    now: Any
    setting: bool

    def __str__(self) -> str:
        return f"{self.name}: {self.there!r} there, {self.now!r} now"


class Key(dict[str, Any]):
    """What a result depends on, by name.

    Attributes:
        older: the same as a version before `computed_with` wrote it, for what such a one has saved; it names no file.
        accept: whether work goes on with other libraries, on another device, or from other files of a policy.
    """

    def __init__(
        self, entries: Mapping[str, Any], older: Callable[[Entries], Entries] | None = None, accept: bool = False
    ) -> None:
        super().__init__(entries)
        self.older, self.accept = older, accept

    @classmethod
    def of(cls, entries: Mapping[str, Any]) -> "Key":
        """The entries as a key, unless they are one."""
        return entries if isinstance(entries, cls) else cls(entries)

    def joined(self, more: Mapping[str, Any]) -> "Key":
        """The key with further entries."""
        older = self.older
        return Key({**self, **more}, older and (lambda saved: {**older(saved), **more}), self.accept)

    @property
    def digest(self) -> str:
        """A short name, to stand in a result; what computed it stands beside it, by name."""
        named = {name: part for name, part in self.items() if name != COMPUTED_WITH}
        named |= {name: sorted(part.values()) for name, part in named.items() if name.endswith(FILES)}
        return hashlib.sha256(json.dumps(named, sort_keys=True).encode()).hexdigest()

    def changes(self, saved: Mapping[str, Any]) -> list[Change]:
        """What is another now than in a key that was saved as JSON."""
        now = self.older(saved) if self.older is not None and COMPUTED_WITH not in saved else self
        return list(_changes(saved, json.loads(json.dumps(now))))

    def resumable(
        self, saved: Mapping[str, Any], folder: Path, what: str, finished: bool = False
    ) -> dict[str, list[Any]]:
        """What work that was begun under a saved key goes on in spite of: names, with the values there and now.

        Of what is `finished` and only to be written again, nothing is computed any more.

        Raises:
            UserError: something changed that the user has not accepted, or cannot; the message names all of it.
        """
        changes = self.changes(saved)
        if any(change.setting for change in changes):
            why, way = "of other settings", "restore the old values to resume it"
        elif changes and not self.accept and not finished:
            why = "that would go on with other numbers"
            way = (
                "restore the old values; or go on all the same, which the report will tell: give the command "
                f"--accept-other-numbers, or set {ACCEPT}=1 for Snakemake"
            )
        else:
            return {change.name: [change.there, change.now] for change in changes}
        lines = "".join(f"\n  - {change}" for change in changes)
        raise UserError(
            f"{folder} holds {what} {why}:{lines}",
            f"{way}. To start anew, move it away (mv {folder} {folder}.aside), or delete the folder {folder}",
        )


def _changes(saved: Mapping[str, Any], now: Mapping[str, Any]) -> Iterator[Change]:
    """Entry by entry; of the parts that have names of their own, name by name."""
    for name in {**saved, **now}:
        there, here = saved.get(name), now.get(name)
        part = name == COMPUTED_WITH or name.endswith((FILES, CONFIG))
        if not part or not isinstance(there, dict) or not isinstance(here, dict):
            if there != here:
                yield Change(name, there, here, setting=not (name in OF_A_MACHINE or name.startswith(START)))
        elif not name.endswith(FILES) or sorted(there.values()) != sorted(here.values()):
            prefix = "" if name == COMPUTED_WITH else name.removesuffix(FILES).removesuffix(CONFIG) + " "
            for one in {**there, **here}:
                if there.get(one) != here.get(one):
                    setting = not (name == COMPUTED_WITH or name.startswith(START))
                    yield Change(f"{prefix}{one}", there.get(one), here.get(one), setting)
