"""How often each detector of `behaviours` is right: on real texts that were labelled before it was run on them.

The figures stand in `behaviours_measured.json`, written by `python benchmarks/behaviours.py`. A behaviour decides a
claim only where it was measured on enough texts and was right often enough on the sealed half, whose texts nobody
looked at while the detectors were written.
"""

import json
from dataclasses import dataclass
from functools import cache
from importlib.resources import files
from typing import Any

ENOUGH = 30
"""Labelled texts that show a behaviour, in each half; with fewer it counts as not measured."""

PRECISION, RECALL = 0.9, 0.7
"""The shares that a detector must reach on the sealed half to decide a claim."""


@dataclass(frozen=True)
class Accuracy:
    """How well one detector does on the sealed half of the labelled texts.

    Attributes:
        positives: texts that show the behaviour by their label.
        precision: share of the texts that the detector names and that show the behaviour; None if it names none.
        precision_interval: 95% interval of the precision, as fractions; None with it.
        recall: share of the texts with the behaviour that the detector names; None if there are none.
        recall_interval: 95% interval of the recall, as fractions; None with it.
        decides: whether the behaviour may decide a claim: `ENOUGH` positives in each half, and `PRECISION` and `RECALL`
            reached. If not, the verdict is "not measured well enough".
    """

    positives: int
    precision: float | None
    precision_interval: tuple[float, float] | None
    recall: float | None
    recall_interval: tuple[float, float] | None
    decides: bool


def measured(behaviour: str) -> Accuracy:
    """The accuracy of one detector on the sealed half.

    Args:
        behaviour: a name of `behaviours.BEHAVIOURS`.

    Raises:
        KeyError: there is no such behaviour.
    """
    developed, sealed = (_figures()[half][behaviour] for half in ("develop", "sealed"))
    precision, recall = sealed["precision"], sealed["recall"]
    enough = min(developed["positives"], sealed["positives"]) >= ENOUGH
    right = precision is not None and precision >= PRECISION and recall is not None and recall >= RECALL
    return Accuracy(
        sealed["positives"],
        precision,
        _interval(sealed["precision_interval"]),
        recall,
        _interval(sealed["recall_interval"]),
        decides=enough and right,
    )


def _interval(pair: list[float] | None) -> tuple[float, float] | None:
    return None if pair is None else (pair[0], pair[1])


@cache
def _figures() -> dict[str, Any]:
    text = files("reinforce_lite.evaluation").joinpath("behaviours_measured.json").read_text(encoding="utf-8")
    figures: dict[str, Any] = json.loads(text)
    return figures
