import io
import json
import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

from reinforce_lite.cli import main, parser
from reinforce_lite.config import load

ROOT = Path(__file__).parents[1]
TINY = [str(ROOT / "config/config.yaml"), str(ROOT / "config/tiny.yaml")]

LOOKING = {"estimate", "ledger", "power", "status", "traces", "ui", "claims", "verify", "export-eee", "init"}
"""Subcommands that no rule calls: they only look."""


def test_help_names_every_rule(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit, match="0"):
        main(["--help"])
    shown = capsys.readouterr().out
    rules = "preflight", "prepare-dataset", "fetch-policy", "evaluate", "train", "compare", "report", "crate"
    for command in (*rules, *LOOKING):
        assert command in shown
        with pytest.raises(SystemExit, match="0"):
            main([command, "--help"])
        reads = "--model" if command == "init" else "--config"
        assert reads in capsys.readouterr().out


def test_every_rule_calls_a_subcommand_that_exists() -> None:
    called = {stage["command"] for stage in json.loads((ROOT / "workflow/stages.json").read_text())}
    known = set(parser()._subparsers._group_actions[0].choices)  # type: ignore[union-attr, arg-type]
    assert called == known - LOOKING


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["train", "--model", "gpt", "--variant", "leave_one_out", "--seed", "0"], "--model gpt is unknown"),
        (["train", "--model", "tiny-phi", "--variant", "x", "--seed", "0"], "--variant x is unknown"),
        (["evaluate", "--model", "tiny-phi", "--variant", "leave_one_out"], "--variant comes with --seed"),
    ],
)
def test_unknown_names_are_refused(
    arguments: list[str], said: str, capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    config = load(map(Path, TINY)).model_dump(mode="json")
    path = tmp_path / "config.json"
    path.write_text(json.dumps({**config, "results": str(tmp_path)}))
    assert main([*arguments, "--config", str(path)]) == 2
    assert said in capsys.readouterr().err


def test_an_absent_config_is_one_line(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["report", "--config", "nowhere.yaml"]) == 2
    assert capsys.readouterr().err == (
        "reinforce-lite report: nowhere.yaml does not exist\n  fix: name a file of config/\n"
    )


def test_the_dataset_can_be_prepared_by_hand(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    overlay = tmp_path / "small.yaml"
    overlay.write_text(f"results: {tmp_path}\ntask: {{train_size: 5, dev_size: 2, test_size: 3, demonstrations: 4}}\n")
    assert main(["prepare-dataset", "--config", *TINY, str(overlay)]) == 0
    manifest = json.loads((tmp_path / "tiny/data/manifest.json").read_text())
    assert manifest["counts"] == {"train": 5, "dev": 2, "test": 3, "demonstrations": 4}
    assert len((tmp_path / "tiny/data/test.jsonl").read_text().splitlines()) == 3


def test_what_the_machine_refuses_is_no_traceback(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "config.json").write_text(
        load(map(Path, TINY)).model_copy(update={"results": tmp_path / "r"}).model_dump_json()
    )
    (tmp_path / "r").write_text("a file")
    for command in ("ledger", "prepare-dataset", "preflight"):
        assert main([command, "--config", str(tmp_path / "config.json")]) == 2
        assert re.search(rf"{command}: {tmp_path}/r.*\n  fix: ", capsys.readouterr().err)


def test_what_the_terminal_cannot_write_is_spelled(monkeypatch: pytest.MonkeyPatch) -> None:
    terminal = io.TextIOWrapper(io.BytesIO(), encoding="ascii", write_through=True)
    monkeypatch.setattr(sys, "stdout", terminal)
    main(["ledger", "--config", "nowhere.json"])
    print("3 \u00b1 1")
    assert terminal.buffer.getvalue() == b"3 \\xb1 1\n"  # type: ignore[attr-defined]


@pytest.mark.skipif(sys.platform != "linux", reason="another OpenMP than GNU's")
@pytest.mark.parametrize(
    ("user", "count"), [({}, "1000"), ({"GOMP_SPINCOUNT": "7"}, "7"), ({"OMP_WAIT_POLICY": "PASSIVE"}, "0")]
)
def test_threads_do_not_spin_while_they_wait(user: dict[str, str], count: str) -> None:
    """Beside a busy core a step took three times as long; what the user sets stays."""
    unset = {key: value for key, value in os.environ.items() if key not in ("OMP_WAIT_POLICY", "GOMP_SPINCOUNT")}
    code = "from reinforce_lite.cli import wait_briefly; wait_briefly(); import torch"
    environment = {**unset, **user, "OMP_DISPLAY_ENV": "verbose"}
    done = subprocess.run([sys.executable, "-c", code], env=environment, capture_output=True, text=True, check=True)
    assert f"GOMP_SPINCOUNT = '{count}'" in done.stderr
