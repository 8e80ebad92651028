import json
from pathlib import Path

import pytest

from ledger_lines import close, opened, touch, write
from reinforce_lite.budget.ledger import ledger_path
from reinforce_lite.cli import main
from reinforce_lite.config import load, located


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


@pytest.fixture
def written(settings, tmp_path, monkeypatch):
    """A written configuration whose paths are relative, seen from another folder; one stage has been paid."""
    home, elsewhere = tmp_path / "home", tmp_path / "elsewhere"
    folder = home / "results/small"
    folder.mkdir(parents=True)
    elsewhere.mkdir()
    monkeypatch.chdir(elsewhere)
    tracking = {"uri": "sqlite:///results/mlflow.db", "artifacts": "results/mlartifacts"}
    told = json.loads(settings.model_dump_json()) | {"results": "results", "tracking": tracking}
    (folder / "config.json").write_text(json.dumps(told))
    write(folder / "ledger.jsonl", opened(), close(3595))
    return folder / "config.json"


def test_a_written_configuration_leads_to_its_own_ledger_from_any_folder(written, capsys):
    for options in ([], ["--check"], ["--rebuild-mlflow"]):
        assert main(["ledger", "--config", str(written), *options]) == 0
        told = capsys.readouterr().out
        assert str(written.parent) in told or ("$0.7900" in told and "nothing was spent" not in told)
    assert (written.parents[1] / "mlflow.db").exists() and not list(Path.cwd().iterdir())
    assert f"sqlite:///{written.parents[1]}/mlflow.db: 1 runs" in told


def test_from_where_it_was_written_its_paths_stay_as_they_are(written, monkeypatch):
    monkeypatch.chdir(written.parents[2])
    for path in (written, written.relative_to(Path.cwd())):
        settings = load([path])
        assert settings.results == Path("results") and settings.tracking.uri == "sqlite:///results/mlflow.db"


def test_results_that_were_moved_are_read_where_they_are(written):
    moved = written.parents[2] / "kept" / "earlier"
    moved.parent.mkdir()
    written.parents[1].rename(moved)
    settings = load([moved / "small/config.json"])
    assert settings.results == moved and settings.tracking.uri == f"sqlite:///{moved}/mlflow.db"
    told = json.loads((moved / "small/config.json").read_text()) | {"results": "/nowhere"}
    (moved / "small/config.json").write_text(json.dumps(told))
    assert load([moved / "small/config.json"]).results == moved


def test_every_path_of_a_written_configuration_starts_where_it_lies(written):
    layer = json.loads(written.read_text())
    layer["task"] |= {"name": "tasks/mine.py", "path": "data/gsm8k"}
    layer["policies"]["m"] |= {"path": "weights/m"}
    layer["policies"]["n"] = {"path": "/weights/n"}
    layer["tracking"] = {"uri": "http://127.0.0.1:5000", "artifacts": "s3://bucket/x"}
    home, found = written.parents[2], located(layer, written)
    assert found["task"]["name"] == f"{home}/tasks/mine.py" and found["task"]["path"] == f"{home}/data/gsm8k"
    assert [found["policies"][name]["path"] for name in "mn"] == [f"{home}/weights/m", "/weights/n"]
    assert found["tracking"] == layer["tracking"] and found["hardware"]["name"] == "laptop"
    assert located(layer, written.with_name("other.json")) == layer


def test_of_an_absent_ledger_the_results_say_that_money_was_spent(written, capsys):
    (written.parent / "ledger.jsonl").unlink()
    for options in ([], ["--check"], ["--rebuild-mlflow"]):
        assert main(["ledger", "--config", str(written), *options]) == 0  # nothing was begun yet
    assert not list(written.parents[1].glob("mlflow.db")), "no database for nothing"
    (written.parent / "preflight.json").write_text("{}")
    for options in ([], ["--rebuild-mlflow"]):
        assert main(["ledger", "--config", str(written), *options]) == 2
        assert "preflight.json was paid for" in capsys.readouterr().err
    with pytest.raises(SystemExit, match="1"):
        main(["ledger", "--config", str(written), "--check"])
