"""How well the detectors of `traces` do on `labelled_traces.jsonl`, 96 completions labelled by hand.

One person wrote the completions and labelled them, by what they mean, before the detectors were written; the same
person wrote the detectors. So the figures say what kinds of text the detectors get wrong, many of which are in the set
on purpose (`note` says which), and nothing of how often a policy writes them. The detectors were tuned on the `dev`
half and on false alarms in the solutions of GSM8K's train split; nothing was changed because of a text of `held_out`.
Both halves hold the same kinds of text, in turn.
"""

import json
from collections.abc import Callable, Sequence
from importlib import resources
from typing import Any, NamedTuple

from reinforce_lite.evaluation.traces import BEHAVIOURS, behaviours

SPLITS = ("dev", "held_out")
"""Tuned on, and not."""


class LabelledTrace(NamedTuple):
    """A completion and the behaviours that it truly shows.

    Attributes:
        id: its number in the file.
        split: one of `SPLITS`.
        task: whose kind of text it is, `gsm8k` or `word_world`.
        text: the completion.
        labels: names of behaviours.
        note: what is hard about it; mostly empty.
    """

    id: str
    split: str
    task: str
    text: str
    labels: frozenset[str]
    note: str


def labelled_traces() -> list[LabelledTrace]:
    """The labelled completions, in the order of the file."""
    lines = resources.files(__package__).joinpath("labelled_traces.jsonl").read_text(encoding="utf-8").splitlines()
    rows = [json.loads(line) for line in lines]
    return [LabelledTrace(**{**row, "labels": frozenset(row["labels"])}) for row in rows]


def agreement(
    traces: Sequence[LabelledTrace], detect: Callable[[str], frozenset[str]] = behaviours
) -> dict[str, dict[str, Any]]:
    """Compare detectors with the labels.

    Args:
        traces: labelled completions.
        detect: names the behaviours that a text shows.

    Returns:
        For each behaviour: `labelled` (how many texts show it), `found` (how many the detector names), `right` (how
        many of these show it); `precision` (right / found) and `recall` (right / labelled), fractions, None for 0 / 0.
    """
    found = [detect(trace.text) for trace in traces]
    return {
        name: _figures([name in trace.labels for trace in traces], [name in names for names in found])
        for name in BEHAVIOURS
    }


def _figures(labelled: list[bool], found: list[bool]) -> dict[str, Any]:
    right = sum(label and hit for label, hit in zip(labelled, found, strict=True))
    counts = {"labelled": sum(labelled), "found": sum(found), "right": right}
    return {
        **counts,
        "precision": right / counts["found"] if counts["found"] else None,
        "recall": right / counts["labelled"] if counts["labelled"] else None,
    }
