"""The experiment that is looked at: where its files lie, and its data."""

from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

from reinforce_lite import settings as configuration
from reinforce_lite.accounting.provenance import sha256_file
from reinforce_lite.errors import UserError
from reinforce_lite.files import read_json
from reinforce_lite.layout import Layout
from reinforce_lite.report.runs import Run, runs
from reinforce_lite.report.verification.difference import Check, differing, differing_sums, rows_of
from reinforce_lite.settings import Settings
from reinforce_lite.tasks.prepare import load_manifest

PROBLEM = ("id", "question", "answer")


@dataclass(frozen=True)
class Experiment:
    """A folder of results, wherever it lies: no path in its configuration is read.

    Attributes:
        folder: of the experiment.
        settings: its config.json.
        summary: its summary.json.
    """

    folder: Path
    settings: Settings
    summary: dict[str, Any]

    @classmethod
    def read(cls, folder: Path) -> "Experiment":
        """Read what says which files there are to look at.

        Raises:
            UserError: config.json or summary.json is absent or damaged.
        """
        if not (folder / "config.json").exists():
            raise UserError(f"{folder / 'config.json'} does not exist", "name a folder results/<experiment>")
        settings = configuration.load([folder / "config.json"])
        summary = read_json(folder / "summary.json")
        if not all(isinstance(summary.get(key), dict) for key in ("models", "cost", "provenance")):
            raise UserError(f"{folder / 'summary.json'} is no summary of an experiment", "run the rule report again")
        return cls(folder, settings, summary)

    @property
    def layout(self) -> Layout:
        """Paths of the files."""
        return Layout(self.folder)

    @cached_property
    def runs(self) -> list[Run]:
        """Every trained policy."""
        return runs(self.settings, self.folder)

    def name(self, path: Path) -> str:
        """A path as it is told to people and machines: under the folder."""
        return str(path.relative_to(self.folder))

    def recorded(self, name: str) -> Any:
        """What the report recorded of itself under this key of `provenance`; None if it was made before that was."""
        return self.summary.get("provenance", {}).get(name)

    @cached_property
    def manifest(self) -> dict[str, Any]:
        """The manifest of the data."""
        return load_manifest(self.layout.data)

    def problems(self, split: str) -> list[dict[str, Any]]:
        """The problems of a split, as they are now.

        Raises:
            UserError: the file is absent or damaged.
        """
        return rows_of(self.layout.data / f"{split}.jsonl", *PROBLEM)

    def is_sound(self, split: str) -> bool:
        """Whether the file of a split is the one of the manifest."""
        path = self.layout.data / f"{split}.jsonl"
        return bool(sha256_file(path) == self.manifest["sha256"].get(path.name))


def data(experiment: Experiment) -> Check:
    """The files of the data against the manifest's sums and counts.

    Raises:
        UserError: a file is absent or damaged.
    """
    folder, stated = experiment.layout.data, experiment.manifest["sha256"]
    found = list(differing_sums(folder, experiment.folder, stated))
    counts = {Path(name).stem: len(rows_of(folder / name)) for name in stated}
    told = {name: experiment.manifest.get("counts", {}).get(name) for name in counts}
    manifest = experiment.name(folder / "manifest.json")
    found += [one for one in differing(manifest, "", {"counts": told}, {"counts": counts}) if one.stated is not None]
    return Check("data", f"{len(stated)} files, {sum(counts.values()):,} rows", found)
