"""What the README shows of the library: the examples, and the order in which to read."""

import re
import subprocess
import sys
from pathlib import Path

import pytest

import reinforce_lite
from reinforce_lite import learning

ROOT = Path(__file__).parents[1]


def run(name: str, *arguments: str) -> str:
    """What an example prints, called as its first line says."""
    command = [sys.executable, f"examples/{name}.py", *arguments]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr[-3000:]
    return done.stdout


@pytest.mark.parametrize("name", ["train", "learn"])
def test_the_examples_of_training_learn(name: str) -> None:
    printed = run(name)
    first, last = map(float, re.findall(r"[+-]\d\.\d\d", printed))
    assert -1 <= first < -0.7 and last > 0, printed


def test_a_policy_is_loaded_and_looked_at() -> None:
    printed = run("load")
    assert re.search(r"LlamaForCausalLM, [\d,]+ weights on cpu\n", printed), printed
    assert "tom has 3 apples" in printed


def test_answers_are_sampled_and_graded() -> None:
    lines = run("sample").splitlines()
    assert len(lines) == 4 and any("'correct': True" in line for line in lines), lines


def test_evaluations_are_written_and_compared(tmp_path: Path) -> None:
    printed = run("evaluate", str(tmp_path))
    before, after = (int(share) for share in re.findall(r"(\d+)% of 20 right", printed))
    assert before == 0 and after >= 50, printed
    printed = run("compare", *(str(tmp_path / f"{name}.jsonl") for name in ("before", "after")))
    assert f"20 questions: 0.0%, then {after}.0%" in printed
    assert f"{after * 20 // 100} gained, 0 lost: p = " in printed


def test_a_file_that_is_absent_is_named(tmp_path: Path) -> None:
    command = [sys.executable, "examples/compare.py", str(tmp_path / "no.jsonl"), str(tmp_path / "no.jsonl")]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
    assert done.returncode == 1 and "no.jsonl" in done.stderr and "Traceback" not in done.stderr


def test_each_part_of_the_library_is_shown_in_less_than_forty_lines() -> None:
    shown = {path.stem: path.read_text() for path in (ROOT / "examples").glob("*.py")}
    assert shown.keys() == {"load", "sample", "learn", "train", "evaluate", "compare"}
    assert all(len(text.splitlines()) < 40 for name, text in shown.items() if name != "train")
    used = {name for name in reinforce_lite.__all__ if any(re.search(rf"\b{name}\b", text) for text in shown.values())}
    assert {"load_policy", "open_engine", "train", "evaluate", "compare"} <= used


def test_readme_and_package_name_the_same_files_in_the_same_order() -> None:
    numbered = re.findall(r"^\d\. `(\w+)`", str(learning.__doc__), re.MULTILINE)
    sentence = re.search(r"read in this order: ([^.]*?\.py`(?:,\s+`\w+\.py`)*)", (ROOT / "README.md").read_text())
    assert sentence is not None and re.findall(r"`(\w+)\.py`", sentence[1]) == numbered != []
    folder = Path(learning.__file__).parent
    assert {path.stem for path in folder.glob("*.py")} == {"__init__", *re.findall(r"`(\w+)`", str(learning.__doc__))}
