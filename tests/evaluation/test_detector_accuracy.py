"""When the accuracy of a detector lets its behaviour decide a claim."""

import pytest

from reinforce_lite.evaluation import detector_accuracy
from reinforce_lite.evaluation.detector_accuracy import measured

HALVES = ("develop", "sealed")


@pytest.mark.parametrize(
    ("positives", "precision", "recall", "decides"),
    [
        ((30, 30), 0.9, 0.7, True),
        ((29, 30), 0.9, 0.7, False),
        ((30, 29), 0.9, 0.7, False),
        ((30, 30), 0.89, 1.0, False),
        ((30, 30), 1.0, 0.69, False),
        ((30, 30), None, 0.0, False),
    ],
)
def test_what_decides_a_claim(
    monkeypatch: pytest.MonkeyPatch,
    positives: tuple[int, int],
    precision: float | None,
    recall: float,
    decides: bool,
) -> None:
    row = {
        "precision": precision,
        "precision_interval": None if precision is None else [0.8, 1.0],
        "recall": recall,
        "recall_interval": [0.5, 0.9],
    }
    halves = zip(HALVES, positives, strict=True)
    figures = {half: {"tables": {**row, "positives": count}} for half, count in halves}
    monkeypatch.setattr(detector_accuracy, "_figures", lambda: figures)
    assert measured("tables").decides == decides
    assert measured("tables").recall_interval == (0.5, 0.9)
