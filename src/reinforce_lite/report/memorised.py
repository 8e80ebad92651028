"""What each policy has learnt by heart: LiMem, from the problems of train that it was asked and their perturbations."""

from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

from reinforce_lite.config import Settings
from reinforce_lite.errors import UserError
from reinforce_lite.evaluation import memorisation
from reinforce_lite.io.files import read_json, read_jsonl
from reinforce_lite.report import numbers
from reinforce_lite.report.compare import Pair, paired
from reinforce_lite.report.runs import runs
from reinforce_lite.report.summary_model import Memorised
from reinforce_lite.stages import EVALUATED, Layout


def memorised(settings: Settings, folder: Path, model: str, *, seed: int) -> dict[str, Any] | None:
    """LiMem of a model before and after each of its trainings.

    Args:
        settings: the experiment.
        folder: results/<experiment>.
        model: name of the policy.
        seed: of the bootstrap.

    Returns:
        baseline (n, accuracy, consistency, limem and its ci95, see `memorisation.limem`) and runs: variant, seed and
        the same five. None if nothing was asked, or the model was not evaluated.

    Raises:
        UserError: a file is absent or damaged.
    """
    before = _figures(settings, Layout(folder).evaluation(model), seed)
    found = [(run, _figures(settings, run.evaluated, seed)) for run in runs(settings, folder) if run.model == model]
    rows = [{"variant": run.variant, "seed": run.seed, **after} for run, after in found if after]
    return before and {"baseline": before, "runs": rows}


def _figures(settings: Settings, place: Path, seed: int) -> dict[str, Any] | None:
    if not settings.evaluation.memorisation or read_json(place / EVALUATED["summary"]).get("not_run"):
        return None
    pairs = _by_problem(read_jsonl(place / EVALUATED["memorisation"]), place)
    ends = memorisation.interval(pairs, resamples=settings.evaluation.bootstrap_resamples, seed=seed)
    return {**memorisation.limem(pairs), "ci95": list(ends)}


def _by_problem(rows: Iterable[Mapping[str, Any]], place: Path) -> list[memorisation.Verdicts]:
    try:
        return memorisation.by_problem(rows)
    except ValueError as error:
        wrong = f"{place / EVALUATED['memorisation']}: {error}"
        raise UserError(wrong, "restore the file from a copy, or evaluate this policy again") from error


def in_words(summary: Memorised | None, variant: str) -> str:
    """LiMem after each training of a variant, with its interval."""
    rows = [row for row in summary.runs if row.variant == variant] if summary else []
    return ", ".join(f"{numbers.percent(row.limem)} {numbers.shares(row.ci95)}" for row in rows)


def learnt(first: Path, second: Path) -> list[Pair]:
    """Of two evaluations, problem by problem, whether each policy has learnt it by heart (`by_heart`).

    Raises:
        UserError: a file is absent or damaged, or the two are not of the same problems.
    """
    files = [place / EVALUATED["memorisation"] for place in (first, second)]
    ours, theirs = (_by_problem(rows, first) for rows in zip(*paired(*files), strict=True))
    shown = [[{"by_heart": memorisation.by_heart(one)} for one in side] for side in (ours, theirs)]
    return list(zip(*shown, strict=True))
