import json
from pathlib import Path

import pytest

from ledger_lines import close, opened, touch, write
from reinforce_lite.budget.ledger import ledger_path
from reinforce_lite.cli import main


@pytest.fixture
def command(settings, tmp_path):
    """`reinforce-lite ledger` of an experiment whose folder is there."""
    config = tmp_path / "config.json"
    config.write_text(settings.model_dump_json())
    ledger_path(settings).parent.mkdir()
    return lambda *options: main(["ledger", "--config", str(config), *options])


def test_the_ledger_is_shown_on_stdout(command, settings, capsys):
    write(ledger_path(settings), opened(), close(3595))
    assert command() == 0
    shown = capsys.readouterr().out.splitlines()
    assert shown[1].split() == [
        "train",
        "llama",
        "seed0",
        "2026-05-01",
        "11:59:55",
        "3,600.0",
        "finished",
        "$0.7900",
        "$0.7900",
    ]
    assert "remains" in shown[-2] and shown[-2].endswith("$9.2100")


def test_without_a_ledger_nothing_was_spent(command, capsys):
    assert command() == 0 and command("--check") == 0
    assert capsys.readouterr().out.count("nothing was spent") == 2


def test_check_of_a_sound_ledger(command, settings, capsys):
    path = write(ledger_path(settings), opened(), touch(15), close(20))
    assert command("--check") == 0
    assert capsys.readouterr().out == f"{path}: sound\n"


def test_check_names_each_problem(command, settings, capsys):
    lines = "hello", '{"event":"tou', opened(), opened(), touch(15), touch(14), close(20), touch(21), touch(1, id="z")
    path = write(ledger_path(settings), *lines)
    with pytest.raises(SystemExit) as caught:
        command("--check")
    told = capsys.readouterr().out.splitlines()
    assert caught.value.code == 1 and all(line.startswith(f"{path}, line ") for line in told)
    assert [int(line.split("line ")[1].split(":")[0]) for line in told] == [1, 2, 4, 6, 8, 9]


def test_a_corrupt_ledger_is_not_shown_as_if_it_were_whole(command, settings, capsys):
    write(ledger_path(settings), opened(), "hello")
    assert command() == 2
    shown = capsys.readouterr()
    assert shown.out == "" and "line 2" in shown.err


def test_the_options_exclude_each_other(command):
    with pytest.raises(SystemExit, match="2"):
        command("--check", "--rebuild-mlflow")


def test_help_teaches(capsys):
    with pytest.raises(SystemExit, match="0"):
        main(["ledger", "--help"])
    shown = capsys.readouterr().out
    for word in ("--check", "--rebuild-mlflow", "interrupted", "killed", "Idle time", "exit code 1"):
        assert word in " ".join(shown.split())


def test_mlflow_is_rebuilt_by_the_command(command, settings, tmp_path, capsys):
    uri = f"sqlite:///{tmp_path}/mlflow.db"
    config = json.loads(settings.model_dump_json())
    config["tracking"]["uri"] = uri
    Path(tmp_path / "config.json").write_text(json.dumps(config))
    path = write(ledger_path(settings), opened(), close(10))
    assert command("--rebuild-mlflow") == 0
    assert capsys.readouterr().out == f"{uri}: 1 runs made or completed from {path}\n"
