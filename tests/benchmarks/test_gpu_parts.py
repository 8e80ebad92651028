"""The driver of the GPU benchmarks: what is run, what is left out, and that a part that dies takes no other with it."""

import json
import subprocess
import sys
from pathlib import Path

import gpu
import pytest
from gpu import PARTS, Part, Run, execute, plan, told
from record import ROOT, machine, tree

TEN_MINUTES = 600
FOUR = {name: Part(seconds, "by hand", "", "", 1) for name, seconds in (("a", 100), ("b", 300), ("c", 250), ("d", 50))}


@pytest.fixture
def four(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(gpu, "PARTS", FOUR)


def a_run(folder: Path, *, limit: float | None = None, force: bool = False) -> Run:
    return Run("3b", folder, force, limit)


def test_all_parts_are_expected_to_fit_ten_minutes() -> None:
    assert sum(part.seconds for part in PARTS.values()) <= TEN_MINUTES


def test_the_makefile_names_every_part() -> None:
    (line,) = [line for line in (ROOT / "Makefile").read_text().splitlines() if line.startswith("PARTS ?=")]
    assert line.split()[2:] == list(PARTS)


def test_what_no_longer_fits_is_left_out_and_named(four: None, tmp_path: Path) -> None:
    run = a_run(tmp_path, limit=460)
    chosen, out = plan(run, ["a", "b", "c", "d", "a"])
    assert chosen == ["a", "b", "d"]  # 100 + 300 + 50
    assert out == {"c": "no time: 250 s expected, 60 s left"}
    text = told(run, chosen, out)
    assert "total             450 s of 460, expected" in text and "left out: c: no time" in text


def test_a_part_that_is_done_for_this_tree_and_machine_is_not_run_again(four: None, tmp_path: Path) -> None:
    done = {"tree": tree(), "machine": machine()}
    for name, found in (("a", done), ("b", {**done, "tree": "another"}), ("c", {**done, "machine": "another"})):
        (tmp_path / f"{name}.json").write_text(json.dumps(found))
    chosen, out = plan(a_run(tmp_path), list(FOUR))
    assert chosen == ["b", "c", "d"] and out["a"].startswith("done for this tree and machine")
    assert plan(a_run(tmp_path, force=True), list(FOUR)) == (list(FOUR), {})


def test_a_part_says_what_it_lacks(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    for name in ("SMOLLM_GGUF", "GSM8K_DIR"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    monkeypatch.setattr(gpu, "find_spec", lambda name: None)
    chosen, out = plan(a_run(tmp_path), ["start", "peers"])
    assert chosen == []
    assert out["start"] == "SMOLLM_GGUF and GSM8K_DIR not set"
    assert out["peers"] == "TRL is not installed, and cannot be installed here"


def test_a_part_that_dies_or_runs_too_long_loses_only_itself(
    four: None, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    killed = "import os, signal; os.kill(os.getpid(), signal.SIGKILL)"
    does = {"a": "import time; time.sleep(60)", "b": killed, "c": "import sys; sys.exit(0)"}
    monkeypatch.setattr(Run, "command", lambda run, name: [sys.executable, "-c", does[name]])
    monkeypatch.setattr(Run, "expected", lambda run, name: 0)
    ended = execute(a_run(tmp_path), ["b", "c"], {})
    assert ended["b"].startswith("failed with exit code -9") and ended["c"].startswith("done")
    out: dict[str, str] = {}
    ended = execute(a_run(tmp_path, limit=0.5), ["a", "c"], out)
    assert ended["a"].startswith("failed: it ran past the limit")
    assert "c" in out and "c" not in ended


def test_the_driver_tells_first_what_it_will_do_and_finds_it_done_afterwards(tmp_path: Path) -> None:
    command = [sys.executable, "benchmarks/gpu.py", "--shape", "small", "--parts", "engines", "--output", str(tmp_path)]
    said = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=True).stderr
    assert said.index("total") < said.index("== engines") < said.index("engines: done, ")
    chosen, out = plan(Run("small", tmp_path, False, None), ["engines"])
    assert chosen == [] and out["engines"].startswith("done for this tree and machine")
