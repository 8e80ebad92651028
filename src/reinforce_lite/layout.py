"""Where the files of an experiment lie: results/<experiment>/<step>/<model>[/<variant>/seed<k>]."""

from dataclasses import dataclass
from pathlib import Path

from reinforce_lite.settings import Settings

FINISHED = "finished.json"
"""Beside the checkpoints of a stage whose results were written: its key."""


@dataclass(frozen=True)
class Layout:
    """Paths of one experiment; workflow/rules names the same ones."""

    root: Path

    @classmethod
    def of(cls, settings: Settings) -> "Layout":
        """The layout under the experiment's own folder."""
        return cls(settings.folder)

    @property
    def config(self) -> Path:
        """The resolved configuration."""
        return self.root / "config.json"

    @property
    def preflight(self) -> Path:
        """What preflight found."""
        return self.root / "preflight.json"

    @property
    def plan(self) -> Path:
        """What the experiment is forecast to cost; no rule's output, for the first plan outlives a new preflight."""
        return self.root / "plan.json"

    def verdict(self, stage: str, model: str = "", variant: str | None = None, seed: int | None = None) -> Path:
        """What the budget let a stage do; no rule's output, for the workflow looks there for what to run again."""
        parts = ["budget", stage, *filter(None, (model, variant)), *([] if seed is None else [f"seed{seed}"])]
        return self.root / ("/".join(parts) + ".json")

    @property
    def data(self) -> Path:
        """Splits, demonstrations and manifest."""
        return self.root / "data"

    def policy(self, model: str) -> Path:
        """The policy before training."""
        return self.root / "policies" / model

    def train(self, model: str, variant: str, seed: int) -> Path:
        """A training run: its policy, metrics and completions."""
        return self.root / "train" / model / variant / f"seed{seed}"

    def evaluation(self, model: str, variant: str | None = None, seed: int | None = None) -> Path:
        """Per-item outcomes of the baseline, or of a trained policy."""
        if variant is None:
            return self.root / "baseline" / model
        return self.root / "trained" / model / variant / f"seed{seed}"

    def training_progress(self, model: str, variant: str, seed: int) -> Path:
        """Checkpoints of a training that is not finished; no rule's output, for those of a failed job are deleted."""
        return self.root / "checkpoints/train" / model / variant / f"seed{seed}"

    def start_progress(self, model: str) -> Path:
        """Checkpoints of a supervised start that is not finished."""
        return self.root / "checkpoints/fetch_policy" / model

    def evaluation_progress(self, model: str, variant: str | None = None, seed: int | None = None) -> Path:
        """What an evaluation that is not finished has written so far."""
        folder = self.root / "checkpoints/evaluate" / model
        return folder if variant is None else folder / variant / f"seed{seed}"

    def comparison(self, model: str, variant: str, seed: int) -> Path:
        """The paired comparison of one training run with its baseline."""
        return self.root / "compare" / model / variant / f"seed{seed}.json"

    @property
    def verdicts(self) -> Path:
        """The article's claims, judged."""
        return self.root / "verdicts.json"
