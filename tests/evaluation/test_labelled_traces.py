from collections import Counter

import pytest

from reinforce_lite.evaluation.labelled_traces import SPLITS, LabelledTrace, agreement, labelled_traces
from reinforce_lite.evaluation.traces import BEHAVIOURS


def trace(text: str, *labels: str) -> LabelledTrace:
    return LabelledTrace("1", "dev", "gsm8k", text, frozenset(labels), "")


def test_the_set_is_sound() -> None:
    traces = labelled_traces()
    assert len({t.id for t in traces}) == len({t.text for t in traces}) == len(traces) == 96
    assert {t.split for t in traces} == set(SPLITS)
    assert all(t.labels <= set(BEHAVIOURS) for t in traces)


@pytest.mark.parametrize("split", SPLITS)
def test_each_half_has_every_behaviour_and_texts_without_any(split: str) -> None:
    half = [t for t in labelled_traces() if t.split == split]
    counts = Counter(label for t in half for label in t.labels)
    assert len(half) == 48 and min(counts[name] for name in BEHAVIOURS) >= 3
    assert sum(not t.labels for t in half) >= 10


def test_the_labels_are_not_what_the_detectors_say() -> None:
    missed = {t.id for t in labelled_traces() for name in t.labels if not BEHAVIOURS[name](t.text)}
    assert {"005", "019", "039"} <= missed  # a test without a keyword, a silent correction, columns of commas


def test_agreement_worked() -> None:
    traces = [
        trace("a b", "tables"),  # missed
        trace("tables", "tables", "equations"),  # found, and one missed
        trace("tables here"),  # found wrongly
        trace("none"),
    ]
    figures = agreement(traces, lambda text: frozenset({"tables"} if "tables" in text else ()))
    assert figures["tables"] == {"labelled": 2, "found": 2, "right": 1, "precision": 0.5, "recall": 0.5}
    assert figures["equations"] == {"labelled": 1, "found": 0, "right": 0, "precision": None, "recall": 0.0}
    assert figures["subgoals"] == {"labelled": 0, "found": 0, "right": 0, "precision": None, "recall": None}
    assert list(figures) == list(BEHAVIOURS)
