"""Every trained policy of an experiment, and where its files lie."""

from dataclasses import dataclass
from pathlib import Path

from reinforce_lite.config import Settings
from reinforce_lite.stages import Layout


@dataclass(frozen=True)
class Run:
    """One trained policy: which, the folders of its evaluations and its training, and the file of its comparison."""

    model: str
    variant: str
    seed: int
    baseline: Path
    evaluated: Path
    trained: Path
    comparison: Path


def runs(settings: Settings, folder: Path) -> list[Run]:
    """Every trained policy of the experiment, the result before its controls."""
    layout = Layout(folder)
    return [
        Run(
            model,
            variant,
            seed,
            baseline=layout.evaluation(model),
            evaluated=layout.evaluation(model, variant, seed),
            trained=layout.train(model, variant, seed),
            comparison=layout.comparison(model, variant, seed),
        )
        for model in settings.models
        for variant, seed in settings.runs
    ]
