"""What an experiment measured, as the article's claims are judged by it."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from statistics import fmean
from typing import Any

from reinforce_lite.budget.ledger import Attempt
from reinforce_lite.config import Settings, Training
from reinforce_lite.evaluation.behaviours import behaviours
from reinforce_lite.evaluation.power import questions_needed
from reinforce_lite.evaluation.statistics import holm
from reinforce_lite.io.files import read_jsonl
from reinforce_lite.learning.curves import step_seconds
from reinforce_lite.report.compare import compare, paired
from reinforce_lite.report.seeds import Verdicts
from reinforce_lite.report.summary import BOOTSTRAP_SEED
from reinforce_lite.report.summary_model import Counted, OverSeeds, SeedContrast, Summary
from reinforce_lite.report.thinking import Group, drawn
from reinforce_lite.stages import EVALUATED, TRAINED, Layout
from reinforce_lite.tasks import named

ROLES: dict[str, Callable[[Training], bool]] = {
    "random reward": lambda training: _rewarded(training) and training.reward == "random",
    "format-only reward": lambda training: _rewarded(training) and training.reward == "format",
    "a worked example in the prompt": lambda training: training.steps == 0,
    "supervised training at the same cost": lambda training: (
        training.estimator == "supervised" and training.same_cost_as is not None
    ),
    "PPO": lambda training: training.ratio_clip is not None,
    "KL to the start": lambda training: training.kl_coefficient > 0,
    "a critic": lambda training: training.networks > 1,
}
"""What makes a variant a control, by its settings."""

Run = tuple[str, str, int]
"""Model, variant, seed."""


def _rewarded(training: Training) -> bool:
    return training.steps > 0 and training.estimator != "supervised"


@dataclass(frozen=True)
class Evidence:
    """What an experiment measured."""

    settings: Settings
    folder: Path
    summary: Summary
    ledger: Sequence[Attempt]

    @property
    def models(self) -> list[str]:
        """The models whose policies were evaluated before and after training."""
        return [name for name in self.settings.models if not self.summary.models[name].not_run]

    @property
    def results(self) -> list[Run]:
        """The runs that are the result, every evaluated seed, of the models that were evaluated."""
        return [run for name in self.models for run in self.every_seed(name)]

    def main(self, model: str) -> Run:
        """The run of the result with the first seed."""
        return model, self.settings.variants[0], self.settings.seeds[0]

    def adjusted(self, model: str, parser: str = "strict") -> float:
        """McNemar p-value of a model by Holm over the models."""
        values = [self.summary.models[name].change(parser).mcnemar_p for name in self.models]
        return holm(values)[self.models.index(model)]

    def noise(self, model: str, parser: str = "strict") -> Counted | None:
        """The verdicts by a parser that differ between two evaluations of the base; None if there is one alone."""
        floor = self.summary.models[model].noise_floor
        return (floor.strict if parser == "strict" else floor.flexible).changed if floor else None

    def words(self, model: str) -> str | None:
        """Of what the model's answers are made, if it knows only the task's words; None if it may write anything."""
        name, scratch = self.settings.task.name, self.settings.policies[model].from_scratch
        vocabulary = named(name).vocabulary
        return f"its answers are made of the {len(vocabulary)} words of {name}" if scratch and vocabulary else None

    @property
    def fell(self) -> list[str]:
        """The trained policies of the result, of any seed, that became worse; p-values by Holm over all of them."""
        variant = self.settings.variants[0]
        every = [
            (f"{model}, seed {run.seed}", change.delta, change.mcnemar_p, noise.ci95[1] if noise else 0)
            for model in self.models
            for noise in [self.noise(model)]
            for run in self.summary.models[model].runs
            if run.variant == variant and not run.not_run
            for change in [run.change("strict")]
        ]
        adjusted = holm([p for _, _, p, _ in every])
        alpha, fell = self.settings.protocol.alpha, zip(every, adjusted, strict=True)
        return [name for (name, delta, _, floor), p in fell if delta < -floor and p < alpha]

    def shown(self, model: str, behaviour: str) -> tuple[Verdicts, Verdicts]:
        """By training seed, which answers of base and result show a behaviour."""
        before, after = {}, {}
        for run in self.every_seed(model):
            shows = [[behaviour in one for one in pair] for pair in self._behaviours[run]]
            before[run[2]], after[run[2]] = (list(side) for side in zip(*shows, strict=True))
        return before, after

    @cached_property
    def _behaviours(self) -> dict[Run, list[tuple[frozenset[str], frozenset[str]]]]:
        """By run of the result, what each answer of base and result shows: many claims ask."""
        layout, found = Layout(self.folder), {}
        for run in self.results:
            sides = layout.evaluation(run[0]), layout.evaluation(*run)
            pairs = paired(*(side / EVALUATED["outcomes"] for side in sides))
            found[run] = [(behaviours(b["completion"]), behaviours(a["completion"])) for b, a in pairs]
        return found

    def contests(self, role: str) -> dict[tuple[str, str], dict[str, Any]]:
        """The result against every control of a role, by model and control, with p-values by Holm over all of them.

        Both are of the first seed and answered the same questions; a pair is left out if one of the two is absent.
        """
        settings, layout = self.settings, Layout(self.folder)
        resamples, rows = settings.evaluation.bootstrap_resamples, {}
        for model in self.models:
            run = {(run.variant, run.seed): run for run in self.summary.models[model].runs}
            for variant in self.controls(role):
                if not run[variant, settings.seeds[0]].not_run:
                    sides = layout.evaluation(model, variant, settings.seeds[0]), layout.evaluation(*self.main(model))
                    items = (side / EVALUATED["outcomes"] for side in sides)
                    rows[model, variant] = compare(*items, resamples=resamples, seed=BOOTSTRAP_SEED)
        adjusted = holm([row["mcnemar_p"] for row in rows.values()])
        return {pair: {**rows[pair], "adjusted_p": p} for pair, p in zip(rows, adjusted, strict=True)}

    def controls(self, role: str) -> list[str]:
        """The variants of a role that were run beside the result, for at least one model."""
        return [name for name in self.settings.variants[1:] if ROLES[role](self.settings.variant(name))]

    def over_seeds(self, model: str, variant: str | None = None) -> OverSeeds | None:
        """A variant of a model (the result by default) over its training seeds; None with fewer than two."""
        wanted = variant or self.settings.variants[0]
        return next((row for row in self.summary.models[model].over_seeds if row.variant == wanted), None)

    def over_seeds_by(self, parser: str, model: str) -> SeedContrast | None:
        """The result of a model over its training seeds by one parser; None with fewer than two."""
        row = self.over_seeds(model)
        by: SeedContrast | None = row if row is None or parser == "strict" else getattr(row, parser)
        return by

    def behind(self, model: str, control: str) -> SeedContrast | None:
        """The result less a control over their common seeds; None with fewer than two."""
        row = self.over_seeds(model, control)
        return row and row.behind

    def every_seed(self, model: str) -> list[Run]:
        """The runs of the result that a verdict rests on: all evaluated seeds, else the first."""
        row = self.over_seeds(model)
        return [(model, self.settings.variants[0], seed) for seed in (row.seeds if row else self.settings.seeds[:1])]

    def beside(self, model: str, control: str) -> list[Run]:
        """The runs that a comparison of the result with a control rests on: their common seeds, else the first.

        A control of a single seed is compared with every seed of the result.
        """
        row, first = self.over_seeds(model, control), self.settings.seeds[:1]
        seeds = row.behind.seeds if row and row.behind else first
        of_control = [seed for seed in seeds if seed in row.seeds] if row and row.behind else first
        runs = ((self.settings.variants[0], seeds), (control, of_control))
        return [(model, variant, seed) for variant, own in runs for seed in own]

    def needed(self, model: str, parser: str, gain: float) -> int | None:
        """Questions that show a gain with the planned power, at the discordance that was seen; None if none do."""
        result, protocol = self.summary.models[model], self.settings.protocol
        own = [run for run in result.runs if (model, run.variant, run.seed) in self.every_seed(model)]
        changed = [run.change(parser).discordant for run in own]
        discordance = fmean((one.gained + one.lost) / result.n for one in changed)
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
        rows = {run: read_jsonl(layout.train(*run) / TRAINED["metrics"]) for run in runs}
        return {run: steps for run, steps in rows.items() if steps}

    def step_seconds(self, model: str, variant: str) -> list[float]:
        """Seconds of every step of a variant's trainings of a model, without those of checkpoints."""
        layout = Layout(self.folder)
        places = [layout.train(model, variant, seed) for seed in self.settings.seeds_of(variant)]
        return [step_seconds(row) for place in places for row in read_jsonl(place / TRAINED["metrics"])]

    @cached_property
    def drawn(self) -> dict[Run, list[Group]]:
        """What each training of the first variant sampled: many claims ask."""
        layout, size = Layout(self.folder), self.settings.variant(self.settings.variants[0]).completions_per_question
        return {run: drawn(layout.train(*run) / TRAINED["completions"], size) for run in self.curves}
