"""How much of a gain is the prompt's, how much the format's, and what is left to training on right answers."""

from dataclasses import asdict, dataclass
from typing import Any

from reinforce_lite.report.evidence import Evidence
from reinforce_lite.report.numbers import interval, points

CONTROLS = {"prompt": "a worked example in the prompt", "format": "format-only reward"}
"""The control that shows each part, by its role."""


@dataclass(frozen=True)
class Part:
    """A change of strict accuracy, as a fraction, with its 95% interval, and the control that it is of."""

    control: str
    delta: float
    ci95: list[float]

    @property
    def words(self) -> str:
        """The numbers."""
        return f"{points(self.delta)} {interval(self.ci95)}"


@dataclass(frozen=True)
class Shares:
    """The parts of one model's gain. They need not add up: training may teach what the prompt shows.

    Attributes:
        model: its name.
        gain: of the result against the base; None if it was not evaluated.
        prompt: what another prompt gives the untrained policy; None without such a control.
        format: what training for the format alone gives; None without such a control.
        training: what the result has over the better of the two; None without either.
    """

    model: str
    gain: Part | None
    prompt: Part | None
    format: Part | None
    training: Part | None

    def as_json(self) -> dict[str, Any]:
        """As verdicts.json holds it, with the sentence of the page."""
        return {**asdict(self), "sentence": self.sentence}

    @property
    def sentence(self) -> str:
        """The first sentence of the report about this model."""
        if self.gain is None:
            return f"{self.model} has no result: it was not evaluated before and after training."
        verb = "gained" if self.gain.ci95[0] > 0 else "lost" if self.gain.ci95[1] < 0 else "changed by"
        unknown = "is not known, because no control of it was run"
        parts = [
            f"a worked example in the prompt, without training, gives {self.prompt.words}"
            if self.prompt
            else f"the share of the prompt {unknown}",
            f"a reward for the format alone gives {self.format.words}"
            if self.format
            else f"the share of the format {unknown}",
            f"training gives {self.training.words} more than {self.training.control} does"
            if self.training
            else "so the share that is left to training is not known either",
        ]
        return f"{self.model} {verb} {self.gain.words}: {'; '.join(parts)}."


def of_every_model(evidence: Evidence) -> list[Shares]:
    """The parts of each model's gain, in the order of the models."""
    return [_shares(evidence, model) for model in evidence.settings.models]


def _shares(evidence: Evidence, model: str) -> Shares:
    if model not in evidence.models:
        return Shares(model, None, None, None, None)
    parts = {name: _best(evidence, model, role) for name, role in CONTROLS.items()}
    known = [part for part in parts.values() if part]
    best = max(known, key=lambda part: part.delta, default=None)
    left = best and _left(evidence, model, best.control)
    return Shares(model, _against_base(evidence, model, evidence.settings.variants[0]), **parts, training=left)


def _best(evidence: Evidence, model: str, role: str) -> Part | None:
    """The control of a role that gains most; None if none was evaluated."""
    known = (_against_base(evidence, model, variant) for variant in evidence.controls(role))
    return max((part for part in known if part), key=lambda part: part.delta, default=None)


def _against_base(evidence: Evidence, model: str, variant: str) -> Part | None:
    """What a variant gained, over its seeds if there are several; None if it was not evaluated."""
    if row := evidence.over_seeds(model, variant):
        return Part(variant, row.mean, list(row.ci95))
    for run in evidence.summary.models[model].runs:
        if run.variant == variant and not run.not_run:
            change = run.change("strict")
            return Part(variant, change.delta, list(change.ci95))
    return None


def _left(evidence: Evidence, model: str, control: str) -> Part | None:
    """What the result has over a control, on the same questions."""
    if behind := evidence.behind(model, control):
        return Part(control, behind.mean, list(behind.ci95))
    role = next(role for role in CONTROLS.values() if control in evidence.controls(role))
    row = evidence.contests(role).get((model, control))
    return None if row is None else Part(control, row["delta"], list(row["ci95"]))
