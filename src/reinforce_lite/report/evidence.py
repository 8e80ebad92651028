"""What an experiment measured, as the article's claims are judged by it."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

from reinforce_lite.accounting.ledger import Attempt
from reinforce_lite.evaluation.power import questions_needed
from reinforce_lite.evaluation.statistics import holm
from reinforce_lite.files import read_jsonl
from reinforce_lite.layout import Layout
from reinforce_lite.report.compare import compare
from reinforce_lite.report.summary import BOOTSTRAP_SEED
from reinforce_lite.settings import Settings, Training

ROLES: dict[str, Callable[[Training], bool]] = {
    "random reward": lambda training: rewarded(training) and training.reward == "random",
    "format-only reward": lambda training: rewarded(training) and training.reward == "format",
    "a worked example in the prompt": lambda training: training.steps == 0,
    "supervised training at the same cost": lambda training: (
        training.estimator == "supervised" and training.same_cost_as is not None
    ),
    "PPO": lambda training: training.ratio_clip is not None,
    "KL to the start": lambda training: training.kl_coefficient > 0,
}
"""What makes a variant a control, told from its settings."""


def rewarded(training: Training) -> bool:
    """Whether a reward has a part in it at all."""
    return training.steps > 0 and training.estimator != "supervised"


Run = tuple[str, str, int]
"""Model, variant, seed."""


@dataclass(frozen=True)
class Evidence:
    """What an experiment measured; `traces` are rows of `traces.of_run` for the result of each model."""

    settings: Settings
    folder: Path
    summary: Mapping[str, Any]
    ledger: Sequence[Attempt]
    traces: Sequence[Mapping[str, Any]]

    @property
    def models(self) -> list[str]:
        """The models whose policies were evaluated before and after training."""
        return [name for name in self.settings.models if not self.figures(name)["not_run"]]

    def figures(self, model: str) -> Mapping[str, Any]:
        """The comparison of the first variant and seed with the base."""
        found: Mapping[str, Any] = self.summary["models"][model]
        return found

    def main(self, model: str) -> Run:
        """The run that is the result."""
        return model, self.settings.variants[0], self.settings.seeds[0]

    def change(self, model: str, parser: str) -> Mapping[str, Any]:
        """The change by one parser, `strict` or `flexible`: delta, ci95, discordant, mcnemar_p."""
        figures = self.figures(model)
        found: Mapping[str, Any] = figures if parser == "strict" else figures[parser]
        return found

    def adjusted(self, model: str, parser: str = "strict") -> float:
        """McNemar p-value of a model by Holm over the models."""
        values = [self.change(name, parser)["mcnemar_p"] for name in self.models]
        return holm(values)[self.models.index(model)]

    def controls(self, role: str) -> list[str]:
        """The variants of a role that were run beside the result, for at least one model."""
        return [name for name in self.settings.variants[1:] if ROLES[role](self.settings.variant(name))]

    def against(self, model: str, variant: str) -> dict[str, Any] | None:
        """The result compared with a control of the same seed, on the same questions; None if either is absent."""
        layout, seed = Layout(self.folder), self.settings.seeds[0]
        told = next(run for run in self.figures(model)["runs"] if (run["variant"], run["seed"]) == (variant, seed))
        if told["not_run"] or self.figures(model)["not_run"]:
            return None
        sides = (layout.evaluation(model, variant, seed), layout.evaluation(*self.main(model)))
        resamples = self.settings.evaluation.bootstrap_resamples
        return compare(*(side / "items.jsonl" for side in sides), resamples=resamples, seed=BOOTSTRAP_SEED)

    def contests(self, role: str) -> dict[tuple[str, str], dict[str, Any]]:
        """The result against every control of a role, by model and control, with p-values by Holm over all of them."""
        pairs = [(model, variant) for model in self.settings.models for variant in self.controls(role)]
        found = {pair: row for pair in pairs if (row := self.against(*pair)) is not None}
        adjusted = holm([row["mcnemar_p"] for row in found.values()])
        return {pair: {**found[pair], "adjusted_p": p} for pair, p in zip(found, adjusted, strict=True)}

    def over_seeds(self, model: str, variant: str | None = None) -> Mapping[str, Any] | None:
        """A variant of a model (the result by default) over its training seeds; None with fewer than two."""
        wanted = variant or self.settings.variants[0]
        rows: Sequence[Mapping[str, Any]] = self.figures(model)["over_seeds"]
        return next((row for row in rows if row["variant"] == wanted), None)

    def every_seed(self, model: str, variant: str) -> list[Run]:
        """The runs of a variant that a verdict rests on: all evaluated seeds, else the first."""
        row = self.over_seeds(model, variant)
        return [(model, variant, seed) for seed in (row["seeds"] if row else self.settings.seeds[:1])]

    def beside(self, model: str, control: str) -> list[Run]:
        """The runs that a comparison of the result with a control rests on: their common seeds, else the first."""
        behind = (self.over_seeds(model, control) or {}).get("behind")
        seeds = behind["seeds"] if behind else self.settings.seeds[:1]
        return [(model, variant, seed) for variant in (self.settings.variants[0], control) for seed in seeds]

    def needed(self, model: str, parser: str, gain: float) -> int | None:
        """Questions that show a gain with the planned power, at the discordance that was seen; None if none do."""
        change, protocol = self.change(model, parser), self.settings.protocol
        discordance = sum(change["discordant"].values()) / self.figures(model)["n"]
        if not 0 < gain <= discordance:
            return None
        return questions_needed(gain, discordance, protocol.power, protocol.alpha / len(self.models))

    def usd(self, runs: Sequence[Run]) -> float:
        """What the runs cost, the making and evaluation of their base included, every attempt."""
        mine = {(model, None, None) for model, _, _ in runs} | set(runs)
        return sum(row.usd for row in self.ledger if (row.model, row.variant, row.seed) in mine)

    @cached_property
    def curves(self) -> dict[Run, list[dict[str, Any]]]:
        """The metrics of every training of the first variant."""
        layout, variant = Layout(self.folder), self.settings.variants[0]
        runs = [(model, variant, seed) for model in self.settings.models for seed in self.settings.seeds]
        rows = {run: read_jsonl(layout.train(*run) / "metrics.jsonl") for run in runs}
        return {run: steps for run, steps in rows.items() if steps}
