"""The behaviours of the policies of an experiment, before and after training."""

from collections.abc import Iterable, Sequence
from pathlib import Path
from statistics import fmean
from typing import Any

from reinforce_lite.evaluation.behaviours import BEHAVIOURS, behaviours
from reinforce_lite.evaluation.statistics import discordance, mcnemar_exact
from reinforce_lite.io.files import read_json
from reinforce_lite.report.compare import Item, paired
from reinforce_lite.stages import EVALUATED, Layout


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
    shown_before, shown_after = ([behaviours(item["completion"]) for item in side] for side in (before, after))
    return {
        "n": len(before),
        "behaviours": {
            name: _change([name in names for names in shown_before], [name in names for names in shown_after])
            for name in BEHAVIOURS
        },
        "length": {"before": _lengths(before), "after": _lengths(after)},
    }


def of_run(folder: Path, model: str, variant: str, seed: int) -> dict[str, Any]:
    """What the answers of one trained policy show beside those of its base.

    Args:
        folder: results/<experiment>.
        model: name of the policy.
        variant: of its training.
        seed: of its training.

    Returns:
        model, variant, seed; not_run, why one of the two was not evaluated, else None; contrast as that function
        returns it, or None.

    Raises:
        UserError: an evaluation is absent or damaged.
    """
    layout = Layout(folder)
    sides = layout.evaluation(model), layout.evaluation(model, variant, seed)
    reasons = (read_json(side / EVALUATED["summary"]).get("not_run") for side in sides)
    reason = next(filter(None, reasons), None)
    contrasted = None if reason else contrast(*(side / EVALUATED["outcomes"] for side in sides))
    return {"model": model, "variant": variant, "seed": seed, "not_run": reason, "contrast": contrasted}


def _change(before: Sequence[bool], after: Sequence[bool]) -> dict[str, Any]:
    gained, lost = discordance(before, after)
    shares = {"before": fmean(before), "after": fmean(after)}
    return {**shares, "gained": gained, "lost": lost, "mcnemar_p": mcnemar_exact(gained, lost)}


def _lengths(items: Iterable[Item]) -> dict[str, float | None]:
    lengths: dict[bool, list[float]] = {True: [], False: []}
    for item in items:
        lengths[bool(item["strict"])].append(item["length"])
    return {
        name: fmean(own) if (own := lengths[right]) else None for name, right in (("right", True), ("wrong", False))
    }
