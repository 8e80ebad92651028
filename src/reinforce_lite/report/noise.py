"""What differs between two evaluations of one policy, neither of them trained: noise, in which a change stands."""

from pathlib import Path
from typing import Any

from reinforce_lite.config import Settings
from reinforce_lite.io.files import read_json
from reinforce_lite.report.compare import compare, counted, paired
from reinforce_lite.stages import EVALUATE_AGAIN, EVALUATED, Job, Layout


def noise_floor(settings: Settings, folder: Path, model: str, *, seed: int) -> dict[str, Any] | None:
    """Compare the policy before training with itself, answered again in other batches.

    Args:
        settings: the experiment.
        folder: results/<experiment>.
        model: name of the policy.
        seed: of the bootstrap.

    Returns:
        n (questions); texts (count, share and exact ci95 of the completions that differ); for strict and flexible the
        same of the verdicts that differ, under `changed`, with delta, ci95, discordant (gained, lost) and mcnemar_p of
        the second evaluation against the first one. None if it was not asked for, or the budget left one of them out.

    Raises:
        UserError: an evaluation is absent or damaged, or the two are not of the same questions.
    """
    if not settings.evaluation.noise_floor:
        return None
    layout = Layout(folder)
    first, second = (layout.folder(Job(stage, model)) for stage in ("evaluate_baseline", EVALUATE_AGAIN))
    if any(read_json(place / EVALUATED["summary"]).get("not_run") for place in (first, second)):
        return None
    sides = first / EVALUATED["outcomes"], second / EVALUATED["outcomes"]
    figures, pairs = compare(*sides, resamples=settings.evaluation.bootstrap_resamples, seed=seed), paired(*sides)

    def differing(key: str) -> dict[str, Any]:
        return counted([before[key] != after[key] for before, after in pairs])

    strict = {key: figures[key] for key in figures["flexible"]}
    return {
        "n": figures["n"],
        "texts": differing("completion"),
        "strict": {**strict, "changed": differing("strict")},
        "flexible": {**figures["flexible"], "changed": differing("flexible")},
    }
