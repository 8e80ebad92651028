"""The README's table: from the files, and from nothing else."""

import json
import subprocess
import sys
from pathlib import Path

import pytest
from record import ROOT
from table import BEGIN, END, ROWS, placed, table

RATIO = {"median": 2.5, "min": 2.0, "max": 3.0}
MADE = {"date": "2026-11-24T10:00:00+00:00", "machine": "a machine", "command": "python measured.py"}
AGAINST = {"completions_ratio": RATIO, "gradient_ratio": RATIO, "peak_memory_ratio": None}
PEERS = {
    **AGAINST,
    "phases": {"generation": RATIO, "reward": None},
    "fastest_peer": "grpo",
    "against": {"grpo": AGAINST},
}
UPDATES = [
    {"model": "m", "weights": "kahan", "longest": {"24": None, "48": 1024}},
    {"model": "m", "weights": "stochastic", "longest": {"24": None, "48": 2048}},
]
ENGINES = [
    {"engine": "generate", "group": group, "length": 32, "tokens_per_second": {**RATIO, "median": rate},
     "share_of_bound": 0.119} for group, rate in ((10, 692.0), (80, 2896.4))
]  # fmt: skip
GROWTH = {"length": {"seconds": 1.25, "peak_bytes": 0.5}}


def lines(results: Path) -> dict[str, str]:
    """The rows by what they tell."""
    return {line.split("|")[1].strip(): line for line in table(results).splitlines()[2:]}


def test_what_was_not_measured_says_so_with_its_command(tmp_path: Path) -> None:
    found = lines(tmp_path)
    assert len(found) == len(ROWS)
    for row in ROWS:
        assert "not yet measured" in found[row.what] and row.command in found[row.what]


def test_a_row_has_figure_machine_date_and_command(tmp_path: Path) -> None:
    (tmp_path / "gpu").mkdir()
    for row in ROWS:
        measured = {**MADE, **PEERS, "updates": UPDATES, "exponents": GROWTH, "engines": ENGINES}
        (tmp_path / row.file).write_text(json.dumps(measured))
    for row, line in zip(ROWS, lines(tmp_path).values(), strict=True):
        assert row.what in line and line.endswith("a machine, 2026-11-24 | `python measured.py` |")
    text = table(tmp_path)
    assert "completions/s x 2.5 (2.0 to 3.0); with a gradient x 2" in text
    assert "grpo x 2.5 (2.0 to 3.0); of grpo by phase: generation x 2.5" in text
    assert "m: 24 GB: none, 48 GB: 2048 (stochastic)" in text
    assert "80 rows of 32 tokens: generate 2,896 (12%)" in text
    assert "length: seconds^1.25, memory^0.50" in text


def test_only_what_stands_between_the_marks_is_replaced() -> None:
    assert placed(f"a\n{BEGIN}\nold\n{END}\nb\n", "new") == f"a\n{BEGIN}\nnew\n{END}\nb\n"
    with pytest.raises(ValueError, match=r"README\.md has no lines"):
        placed("a\nb\n", "new")


def test_the_readme_is_up_to_date() -> None:
    command = [sys.executable, str(ROOT / "benchmarks/table.py"), "--check"]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
