"""The behaviours of the policies of an experiment: base against trained, and within the questions of the training."""

from collections.abc import Iterable, Sequence
from pathlib import Path
from statistics import fmean
from typing import Any

from reinforce_lite.errors import UserError
from reinforce_lite.evaluation.statistics import discordance, mcnemar_exact
from reinforce_lite.evaluation.traces import BEHAVIOURS, behaviours
from reinforce_lite.evaluation.within_question import within_question
from reinforce_lite.files import read_json, read_jsonl
from reinforce_lite.layout import Layout
from reinforce_lite.report.compare import Item, paired
from reinforce_lite.settings import Settings

_COMPLETION_KEYS = ("step", "question", "answer", "completion", "reward", "length")


def contrast(baseline_items: Path, trained_items: Path) -> dict[str, Any]:
    """Count the behaviours of two evaluations of the same questions.

    Args:
        baseline_items: items.jsonl of the policy before training.
        trained_items: items.jsonl of the policy after training.

    Returns:
        `n`; under `behaviours` for each the share of completions that show it `before` and `after` training, how many
        questions `gained` and `lost` it, and the p-value of McNemar's exact test, `mcnemar_p`, not corrected for the
        number of behaviours; under `length` for `before` and `after` the mean tokens of answers that are `right` and
        `wrong` (strict parser), None if there are none.

    Raises:
        UserError: as `compare.paired`.
    """
    before, after = zip(*paired(baseline_items, trained_items), strict=True)
    shown_before, shown_after = _shown(before), _shown(after)
    return {
        "n": len(before),
        "behaviours": {
            name: _change([name in names for names in shown_before], [name in names for names in shown_after])
            for name in BEHAVIOURS
        },
        "length": {"before": _lengths(before), "after": _lengths(after)},
    }


def of_runs(settings: Settings, *, seed: int) -> list[dict[str, Any]]:
    """What the completions of every trained policy of a finished experiment show.

    Args:
        settings: the configuration of the experiment.
        seed: seed of the bootstrap over groups.

    Returns:
        For each run its `model`, `variant` and `seed`; `not_run`, the reason why one of the two policies was not
        evaluated, else None; `contrast` as that function returns it, or None; `within_question` of the completions of
        the training as that function returns it, or None if the training has left none.

    Raises:
        UserError: an evaluation is absent or damaged, or a row of completions.jsonl lacks a key.
    """
    return [of_run(settings, model, *run, seed=seed) for model in settings.models for run in settings.runs]


def of_run(
    settings: Settings, model: str, variant: str, training_seed: int, *, seed: int, folder: Path | None = None
) -> dict[str, Any]:
    """One row of `of_runs`; `folder` is that of the experiment if it has been moved.

    Raises:
        UserError: as `of_runs`.
    """
    layout, run = Layout(folder or settings.folder), (model, variant, training_seed)
    sides = (layout.evaluation(model), layout.evaluation(*run))
    reasons = [read_json(folder / "evaluation.json").get("not_run") for folder in sides]
    reason = next(filter(None, reasons), None)
    return {
        **dict(zip(("model", "variant", "seed"), run, strict=True)),
        "not_run": reason,
        "contrast": None if reason else contrast(*(folder / "items.jsonl" for folder in sides)),
        "within_question": _within(
            layout.train(*run) / "completions.jsonl", settings.evaluation.bootstrap_resamples, seed
        ),
    }


def _within(path: Path, resamples: int, seed: int) -> dict[str, Any] | None:
    rows = read_jsonl(path) if path.exists() else []
    for number, row in enumerate(rows, 1):
        lacking = [key for key in _COMPLETION_KEYS if key not in row]
        if lacking:
            raise UserError(f"{path}, line {number}: no key {lacking[0]!r}", "delete the file and train again")
    return within_question(rows, resamples=resamples, seed=seed) if rows else None


def _shown(items: Iterable[Item]) -> list[frozenset[str]]:
    return [behaviours(item["completion"]) for item in items]


def _change(before: Sequence[bool], after: Sequence[bool]) -> dict[str, Any]:
    gained, lost = discordance(before, after)
    return {
        "before": fmean(before),
        "after": fmean(after),
        "gained": gained,
        "lost": lost,
        "mcnemar_p": mcnemar_exact(gained, lost),
    }


def _lengths(items: Sequence[Item]) -> dict[str, float | None]:
    lengths: dict[bool, list[float]] = {True: [], False: []}
    for item in items:
        lengths[bool(item["strict"])].append(item["length"])
    return {
        name: fmean(lengths[right]) if lengths[right] else None for name, right in (("right", True), ("wrong", False))
    }
