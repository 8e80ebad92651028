"""What a stage works on: whose job it is, its settings with every `auto` decided, its files, its key."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

from reinforce_lite.budget.chain import head
from reinforce_lite.config import Evaluation, PolicySettings, Settings, Training
from reinforce_lite.io.keyed import ASKED, COMPUTED_WITH, Key
from reinforce_lite.io.provenance import origin
from reinforce_lite.resources import keys
from reinforce_lite.resources.precision import evaluation_of_job, training_of
from reinforce_lite.stages import Job, Layout
from reinforce_lite.tasks import Task, task_of


@dataclass(frozen=True)
class Run:
    """One job of an experiment; made once and handed on."""

    settings: Settings
    job: Job

    @cached_property
    def layout(self) -> Layout:
        """Where the files lie."""
        return Layout.of(self.settings)

    @property
    def policy(self) -> PolicySettings:
        """The settings of its policy."""
        return self.settings.policies[self.job.model]

    @cached_property
    def training(self) -> Training:
        """How its policy is trained."""
        return training_of(self.settings, self.job.model, str(self.job.variant))

    @cached_property
    def evaluation(self) -> Evaluation:
        """How its policy is evaluated."""
        return evaluation_of_job(self.settings, self.job)

    @property
    def task(self) -> Task[Any]:
        """What its policy learns or answers."""
        return task_of(self.settings.task)

    @property
    def prompt(self) -> str:
        """Name of the prompt, in training and evaluation."""
        return self.settings.prompt(self.job.variant)

    def path(self, name: str | None = None) -> Path:
        """A file that this job writes, by its name in the table; by default the one that says how it ended."""
        return self.layout.path(self.job, name)

    def need(self, name: str) -> Path:
        """A file that this job reads, by its name in the table of stages."""
        return self.layout.needs(self.job)[name]

    @cached_property
    def key(self) -> Key:
        """Everything that its result depends on, by name."""
        return keys.key(self.settings, self.job)

    def provenance(self, accepted: Sequence[Mapping[str, Any]] = ()) -> dict[str, Any]:
        """What made a result, to stand in it: commit, image, the key and its digest, libraries and device, and the head
        of the ledger, so that no earlier row can change any more.

        `accepted` says where it went on with other ones, if the user wanted that.
        """
        asked = {name: part for name, part in self.key.items() if name != COMPUTED_WITH}
        computed = {COMPUTED_WITH: self.key[COMPUTED_WITH]} if COMPUTED_WITH in self.key else {}
        others = {"other_numbers": list(accepted)} if accepted else {}
        spent = head(self.layout.ledger)
        return {
            "made_with": origin(),
            "key": self.key.digest,
            ASKED: asked,
            **({"ledger": spent._asdict()} if spent else {}),
            **computed,
            **others,
        }
