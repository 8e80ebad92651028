"""A folder of results that is verified: what says which files there are, read with care."""

from dataclasses import dataclass
from pathlib import Path
from typing import Any

from pydantic import ValidationError

from reinforce_lite import __version__
from reinforce_lite.config import Settings, load, validate
from reinforce_lite.errors import UserError
from reinforce_lite.io.provenance import sha256_file
from reinforce_lite.report.summary_model import Summary
from reinforce_lite.report.verification.difference import ABSENT, Check, Difference, Row, record_of
from reinforce_lite.stages import Job, Layout
from reinforce_lite.tasks import Task, own, task_of
from reinforce_lite.tasks.prepare import load_manifest

OF_NO_RESULT = ("container", "checkpoint")
"""Sections of the configuration that may change without any stage being run again."""


@dataclass(frozen=True)
class Experiment:
    """A folder of results, wherever it lies: no path in its configuration is read.

    Attributes:
        folder: of the experiment.
        settings: its config.json.
        summary: its summary.json.
        manifest: of its data.
    """

    folder: Path
    settings: Settings
    summary: dict[str, Any]
    manifest: dict[str, Any]

    @classmethod
    def read(cls, folder: Path) -> "Experiment":
        """Read what says which files there are.

        Raises:
            UserError: config.json, summary.json or the manifest is absent or damaged.
        """
        if not (folder / "config.json").exists():
            raise UserError(f"{folder / 'config.json'} does not exist", "name a folder results/<experiment>")
        settings = _written(folder / "config.json")
        summary = record_of(Layout(folder).path(Job("report")))
        if not all(isinstance(summary.get(key), dict) for key in ("models", "cost", "provenance")):
            raise UserError(f"{folder / 'summary.json'} is no summary of an experiment", "run the rule report again")
        _check_kinds(folder / "summary.json", summary)
        return cls(folder, settings, summary, load_manifest(folder / "data"))

    @property
    def task(self) -> Task[Any]:
        """Its kind of problem; a grade of the user's own is the copy that lies here."""
        return task_of(own.kept(self.settings.task, Layout(self.folder).data))

    @property
    def runs(self) -> list[tuple[str, str, int]]:
        """Every trained policy."""
        return [(model, *run) for model in self.settings.models for run in self.settings.runs]

    def recorded(self, name: str) -> Any:
        """What the report recorded of itself under this key of `provenance`; None if it was made before that was."""
        return self.summary["provenance"].get(name)

    @property
    def version(self) -> str | None:
        """The version of this package that made the report; None if that is not known."""
        version = self.summary["provenance"].get("versions", {}).get("reinforce-lite")
        return None if version is None else str(version)

    def is_sound(self, split: str) -> bool:
        """Whether the file of a split is the one of the manifest."""
        name = f"{split}.jsonl"
        return bool(sha256_file(self.folder / "data" / name) == self.manifest["sha256"].get(name))


def without_sums(experiment: "Experiment", check: Check, file: str, what: str) -> None:
    """Record that sums are absent: every result of this version has them, those of an earlier one may not."""
    if experiment.version == __version__:
        check.differences.append(Difference(file, "", "sums", ABSENT, f"recorded by {__version__} with every result"))
    else:
        check.unverified.append(f"{file}: no sums recorded by {experiment.version or 'its version'}, so {what}")


def _written(path: Path) -> Settings:
    """The configuration with its paths as they are written, which the page shows; only a task's own file is looked for.

    Raises:
        UserError: the file is absent or damaged, or the configuration is not valid.
    """
    content = record_of(path, task=dict)
    name = str(content.get("task", {}).get("name"))
    return load([path]) if name.endswith(".py") and not Path(name).exists() else validate(content, source=str(path))


def _check_kinds(path: Path, summary: Row) -> None:
    """Refuse a summary with a value of another kind; one that lacks a key, or has one more, is another version's."""
    try:
        Summary.model_validate(summary)
    except ValidationError as error:
        for one in error.errors(include_url=False):
            if one["type"] not in ("missing", "extra_forbidden"):
                key = ".".join(map(str, one["loc"]))
                raise UserError(f"{path}: {key}: {one['msg']}", "restore the file from a copy") from error
