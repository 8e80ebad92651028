"""The README's table: from the files, and from nothing else."""

import json
import subprocess
import sys
from pathlib import Path

import pytest
from record import ROOT
from table import BEGIN, END, MACHINERY, METHODS, ROWS, by_engine, machinery, placed, table, trained

RATIO = {"median": 2.5, "min": 2.0, "max": 3.0}
MADE = {"date": "2026-11-24T10:00:00+00:00", "machine": "a machine", "command": "python measured.py"}
AGAINST = {"completions_ratio": RATIO, "gradient_ratio": RATIO, "peak_memory_ratio": None}
PEERS = {
    **AGAINST,
    "phases": {"generation": RATIO, "reward": None},
    "fastest_peer": "grpo",
    "against": {"grpo": AGAINST},
}
ASKED = {"lengths": [{"length": 1024}, {"length": 4096}]}
UPDATES = [
    {"model": "m", "weights": "8bit", "longest": {"24": None, "48": 2048, "80": 4096}, **ASKED},
    {"model": "m", "weights": "kahan", "longest": {"24": None, "48": 1024, "80": 4096}, **ASKED},
    {"model": "large", "weights": "master", "longest": {"24": None}, "lengths": []},  # no memory for its weights
]
ENGINES = [
    {"engine": engine, "group": group, "length": 32, "tokens_per_second": {**RATIO, "median": rate},
     "share_of_bound": 0.119}
    for engine, group, rate in (("generate", 10, 692.0), ("generate", 80, 2896.4), ("continuous", 80, 9.0))
]  # fmt: skip
GROWTH = {"length": {"seconds": 1.25, "peak_bytes": 0.5}}
STEPS = [
    {"model": "m", "weights": "stochastic", "seconds": {"median": 0.151}, "over_stochastic": 1.0},
    {"model": "m", "weights": "8bit", "seconds": {"median": 0.303}, "over_stochastic": 2.01},
    {"model": "n", "weights": "master", "seconds": None, "over_stochastic": None},
]
CASES = {"gate": {"growth_seconds": 0.987, "sizes": [{"seconds": 12.345, "peak_gib": 0.4, "share": 1.0}]}}
PROBED = [
    {"what": "generate", "rows": 80, "length": 256, "tok_s": 100.0, "bound": 1000.0},
    {"what": "generate_fill", "deterministic": True, "fill": False, "tok_s": 150.0},
    {"what": "generate_fill", "deterministic": False, "fill": False, "tok_s": 200.0},
    {"what": "vllm", "tok_s": 250.0, "bound": 1000.0},
    {"what": "vllm", "tok_s": 500.0, "bound": 1000.0},
    {"what": "vllm", "error": "a second one"},
    {"what": "published_loop", "completions_s": 0.25, "length": 128},
    {"what": "update", "checkpointing": True, "scheme": "8bit", "tokens": 30720, "gradient_s": 1.75, "descend_s": 0.5},
]


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
        measured = {**MADE, **PEERS, "updates": UPDATES, "exponents": GROWTH, "engines": ENGINES,
                    "prompt_tokens": 256, "rows": PROBED, "steps": STEPS, "batch": 64, "dtype": "bfloat16",
                    "seconds_per_step": RATIO, "tokens_per_second": 16000.0, "cases": CASES}  # fmt: skip
        (tmp_path / row.file).write_text(json.dumps(measured))
    for row, line in zip(ROWS, lines(tmp_path).values(), strict=True):
        assert row.what in line and line.endswith("a machine, 2026-11-24 | `python measured.py` |")
    text = table(tmp_path)
    assert "completions/s x 2.5 (2.0 to 3.0); with a gradient x 2" in text
    assert "grpo x 2.5 (2.0 to 3.0); of grpo by phase: generation x 2.5" in text
    assert "m: 24 GB none, 48 GB 2,048 by 8bit, 80 GB 4,096 or more by kahan; large: 24 GB none (tokens" in text
    assert "80 rows of 32 tokens: generate 2,896 (12%) |" in text
    assert "generate in deterministic mode 100 (10%), without it 200" in text and "without it 500 (50%)" in text
    assert "published loop 0.25 completions/s of 128 tokens; update of 30,720 tokens: 8bit 1.75 s + step 0.50 s" in text
    assert "gate 12.3 s, 0.40 GiB, ^0.99 |" in text
    assert "length: seconds^1.25, memory^0.50" in text
    assert "m: stochastic 0.15 s (x 1.0), 8bit 0.30 s (x 2.0); n: master no memory |" in text
    assert "64 rows in bfloat16: 2.50 s a step (2.00 to 3.00), 16,000 tokens/s |" in text


def test_a_batch_is_its_questions_times_its_group() -> None:
    rows = [{**ENGINES[0], "questions": 8, "length": 256}]
    assert by_engine({"engines": rows}) == "80 rows of 256 tokens: generate 692 (12%)"


def test_the_place_of_a_file_is_not_told_and_a_measurement_by_hand_names_its_tree(tmp_path: Path) -> None:
    (tmp_path / "gpu").mkdir()
    command = "python measured.py --output /elsewhere/memory.json --cards 24"
    memory = {**MADE, "command": command, "updates": UPDATES, "prompt_tokens": 256}
    probe = {"date": MADE["date"], "machine": "a machine", "tree": "86ae0d2", "rows": PROBED}
    (tmp_path / "gpu/memory.json").write_text(json.dumps(memory))
    (tmp_path / "gpu/probe.json").write_text(json.dumps(probe))
    text = table(tmp_path)
    assert "`python measured.py --cards 24`" in text and "/elsewhere" not in text
    assert text.count("by hand, on tree 86ae0d2") == 2


def test_the_methods_stand_side_by_side_or_are_not_yet_measured(tmp_path: Path) -> None:
    assert machinery(tmp_path).count("not yet measured") == len(METHODS)
    networks = {"policy": 1, "old policy": 0, "reference": 1, "critic": 1, "reward": 0}
    row = {"networks": networks, "seconds": RATIO, "seconds_ratio": RATIO, "peak_bytes": 123_000_000, "lines": 321}
    (tmp_path / "machinery.json").write_text(json.dumps({**MADE, "completions": 160, "methods": {"PPO": row}}))
    told = machinery(tmp_path).splitlines()
    assert told[2] == "| PPO, tiny-llama | 3: policy, reference, critic | 2.5 (x 2.5 (2.0 to 3.0)) | 123 MB | 321 |"
    assert told[3] == "| a machine, 2026-11-24, 160 completions: `python measured.py` | | | | |"
    assert "not yet measured" in told[4]


def test_what_the_methods_make_of_the_worlds_stands_side_by_side(tmp_path: Path) -> None:
    assert trained(tmp_path) == "Not yet measured: `python benchmarks/methods.py`"
    run = {"trained": 0.893, "ci95": [0.541, 0.603], "usd": 0.00123, "swings": 0.0421}
    world = {"n": 1000, "baseline": 0.321, "runs": {"ppo": run}}
    (tmp_path / "methods.json").write_text(json.dumps({**MADE, "worlds": {"tiny": world}}))
    told = trained(tmp_path).splitlines()
    assert told[0] == "| right answers, strict; cost of the training; swings of its reward | word world |"
    assert told[1:3] == ["|---|---|", "| before training | 32.1% of 1,000 |"]
    assert told[3] == "| Reinforce-Lite | not run |"
    assert "| PPO | 89.3% (+54.1 to +60.3 points); $0.0012; 0.042 |" in told
    assert told[-1] == "| a machine, 2026-11-24, one training seed: `python benchmarks/methods.py` | |"


def test_only_what_stands_between_the_marks_is_replaced() -> None:
    two = f"{MACHINERY}\nold\n{END}\n{BEGIN}\nold\n{END}\n"
    assert placed(two, "new", MACHINERY) == f"{MACHINERY}\nnew\n{END}\n{BEGIN}\nold\n{END}\n"
    assert placed(f"a\n{BEGIN}\nold\n{END}\nb\n", "new") == f"a\n{BEGIN}\nnew\n{END}\nb\n"
    with pytest.raises(ValueError, match=r"README\.md has no lines"):
        placed("a\nb\n", "new")


def test_the_readme_is_up_to_date() -> None:
    command = [sys.executable, str(ROOT / "benchmarks/table.py"), "--check"]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
