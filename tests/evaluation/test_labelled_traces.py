"""The labelled texts, and that the figures the report reads are what the detectors do on them.

The rules, the sources and how the texts were labelled: labelled_traces.md. No detector may be changed by the half
`sealed`: `python benchmarks/behaviours.py --half develop` is what they are written with.
"""

import hashlib
import importlib.util
import json
from pathlib import Path
from types import ModuleType

import pytest

from reinforce_lite.evaluation.behaviours import BEHAVIOURS
from reinforce_lite.evaluation.detector_accuracy import ENOUGH, PRECISION, RECALL, measured

HERE = Path(__file__).parent
RULES = (HERE / "labelled_traces.md").read_text(encoding="utf-8")


def benchmark() -> ModuleType:
    spec = importlib.util.spec_from_file_location("measure_behaviours", HERE.parents[1] / "benchmarks/behaviours.py")
    assert spec is not None and spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


MEASURE = benchmark()
ROWS = [json.loads(line) for line in MEASURE.LABELLED.read_text(encoding="utf-8").splitlines()]
HALVES = {name: [row for row in ROWS if MEASURE.half(row["id"]) == name] for name in MEASURE.HALVES}


def test_the_set_is_sound() -> None:
    assert len({row["id"] for row in ROWS}) == len({row["text"] for row in ROWS}) == len(ROWS) >= 300
    assert all(set(row["labels"]) <= set(BEHAVIOURS) for row in ROWS)
    assert all(hashlib.sha256(row["text"].encode()).hexdigest() == row["sha256"] for row in ROWS)


def test_every_text_has_a_source_with_a_licence() -> None:
    table = [[cell.strip() for cell in line.split("|")[1:-1]] for line in RULES.splitlines() if line.startswith("|")]
    sources = {cells[0]: cells for cells in table if len(cells) == 4 and cells[3].isdigit()}
    counts = {name: sum(row["id"].split(":")[0] == name for row in ROWS) for name in sources}
    assert counts == {name: int(cells[3]) for name, cells in sources.items()} and sum(counts.values()) == len(ROWS)
    assert {cells[2] for cells in sources.values()} <= {"Apache-2.0", "MIT"}


@pytest.mark.parametrize("name", BEHAVIOURS)
def test_a_detector_opens_with_the_rule_that_the_texts_were_labelled_by(name: str) -> None:
    rule = next(line.split(": ", 1)[1] for line in RULES.splitlines() if line.startswith(f"- **{name}**: "))
    assert " ".join((BEHAVIOURS[name].__doc__ or "").split()).startswith(rule)


def test_the_figures_are_what_the_detectors_do() -> None:
    assert json.loads(MEASURE.FIGURES.read_text(encoding="utf-8")) == {
        name: MEASURE.figures(rows) for name, rows in HALVES.items()
    }


@pytest.mark.parametrize("name", BEHAVIOURS)
def test_a_behaviour_decides_where_the_sealed_half_says_so(name: str) -> None:
    figures = json.loads(MEASURE.FIGURES.read_text(encoding="utf-8"))
    row, accuracy = figures["sealed"][name], measured(name)
    assert (accuracy.positives, accuracy.precision, accuracy.recall) == tuple(
        row[key] for key in ("positives", "precision", "recall")
    )
    enough = min(figures[half][name]["positives"] for half in MEASURE.HALVES) >= ENOUGH
    reached = enough and row["precision"] >= PRECISION and row["recall"] >= RECALL
    assert accuracy.decides == reached


def test_figures_worked() -> None:
    texts = [("a", ["tables"]), ("table", ["tables"]), ("table here", []), ("none", [])]
    rows = [{"text": text, "labels": labels} for text, labels in texts]
    row = MEASURE.figures(rows, {"tables": lambda text: "table" in text})["tables"]
    assert (row["positives"], row["named"], row["right"], row["precision"], row["recall"]) == (2, 2, 1, 0.5, 0.5)
    assert row["precision_interval"] == pytest.approx([0.0945, 0.9055], abs=1e-4)  # Wilson's, for 1 of 2
    nothing = MEASURE.figures(rows, {"tables": lambda text: False})["tables"]
    assert nothing["precision"] is nothing["precision_interval"] is None and nothing["recall"] == 0
