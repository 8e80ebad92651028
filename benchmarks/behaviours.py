"""How often the detectors of `evaluation/behaviours.py` are right, on the real texts of `tests/evaluation`.

    python benchmarks/behaviours.py                 # both halves, and the data file that the report reads
    python benchmarks/behaviours.py --half develop  # what a detector may be changed by; nothing is written

Precision is the share of the texts a detector names that show the behaviour by their label, recall the share of those
that it names; the intervals are Wilson's, 95% (Wilson 1927). The rules, the sources and how the texts were labelled:
`tests/evaluation/labelled_traces.md`.
"""

import argparse
import hashlib
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

from scipy.stats import binomtest

from reinforce_lite.budget.table import aligned
from reinforce_lite.evaluation.behaviours import BEHAVIOURS
from reinforce_lite.evaluation.detector_accuracy import measured
from reinforce_lite.io.files import read_jsonl, write_json

ROOT = Path(__file__).parents[1]
LABELLED = ROOT / "tests/evaluation/labelled_traces.jsonl"
FIGURES = ROOT / "src/reinforce_lite/evaluation/behaviours_measured.json"
HALVES = ("develop", "sealed")


def half(identifier: str) -> str:
    """The half of a text: sealed if the SHA-256 of its id is odd."""
    return HALVES[int(hashlib.sha256(identifier.encode()).hexdigest(), 16) % 2]


def figures(
    rows: Sequence[Mapping[str, Any]], detectors: Mapping[str, Callable[[str], bool]] = BEHAVIOURS
) -> dict[str, dict[str, Any]]:
    """For each behaviour how many texts show it, are named, and are named rightly; the two shares and intervals."""
    return {name: _accuracy(name, detect, rows) for name, detect in detectors.items()}


def _accuracy(name: str, detect: Callable[[str], bool], rows: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
    pairs = [(name in row["labels"], detect(row["text"])) for row in rows]
    positives, named = (sum(pair[side] for pair in pairs) for side in (0, 1))
    right = sum(shows and found for shows, found in pairs)
    precision, recall = _share(right, named), _share(right, positives)
    return {
        **{"positives": positives, "named": named, "right": right},
        **{"precision": precision[0], "precision_interval": precision[1]},
        **{"recall": recall[0], "recall_interval": recall[1]},
    }


def _share(part: int, whole: int) -> tuple[float | None, list[float] | None]:
    if not whole:
        return None, None
    interval = binomtest(part, whole).proportion_ci(method="wilson")
    return part / whole, [interval.low, interval.high]


def _text(share: float | None, interval: Sequence[float] | None) -> str:
    return "-" if share is None or interval is None else f"{share:.0%} [{interval[0]:.0%}, {interval[1]:.0%}]"


def main() -> None:
    """Print the figures; with both halves, write them where the report reads them."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--half", choices=HALVES)
    chosen = parser.parse_args().half
    rows = read_jsonl(LABELLED)
    out = {name: figures([r for r in rows if half(r["id"]) == name]) for name in HALVES if chosen in (None, name)}
    if chosen is None:
        write_json(FIGURES, out)
    for name, by_behaviour in out.items():
        table = [
            (
                behaviour,
                *(str(row[key]) for key in ("positives", "named", "right")),
                _text(row["precision"], row["precision_interval"]),
                _text(row["recall"], row["recall_interval"]),
                *(["yes" if measured(behaviour).decides else "no"] if chosen is None else []),
            )
            for behaviour, row in by_behaviour.items()
        ]
        heads = ("behaviour", "positives", "named", "right", "precision", "recall", *(["decides"] * (chosen is None)))
        print("\n".join([f"{name}: {sum(half(r['id']) == name for r in rows)} texts", *aligned(heads, table), ""]))


if __name__ == "__main__":
    main()
