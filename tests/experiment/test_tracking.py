import base64
import itertools
import json
import os
import signal
import sqlite3
import subprocess
import sys
import threading
import time
import zlib
from dataclasses import replace
from datetime import date, timedelta
from pathlib import Path

import numpy as np
import pytest
from sqlalchemy import event
from sqlalchemy.engine import Engine

from reinforce_lite.budget.ledger import Ledger, attempts, ledger_path
from reinforce_lite.config import Settings, validate
from reinforce_lite.errors import UserError
from reinforce_lite.experiment import tracking
from reinforce_lite.experiment.mlflow_runs import VIEW_TAG, flatten, milliseconds
from reinforce_lite.experiment.tracking import LiveRun, open_experiment, publish
from reinforce_lite.io import interrupt
from reinforce_lite.io.files import write_json, write_jsonl
from reinforce_lite.io.interrupt import Interrupted
from reinforce_lite.io.provenance import sha256_file
from reinforce_lite.stages import Layout


def make_settings(folder: Path, experiment: str = "small", **overlay) -> Settings:
    tiny = {"architecture": "llama"}
    config = {
        "experiment": experiment,
        "results": str(folder / "results"),
        "description": "A test.",
        "models": ["m"],
        "variants": ["v"],
        "seeds": [0],
        "hardware": {
            "device": "cpu", "name": "laptop", "memory_gib": 8, "usd_per_hour": 0.79, "price_source": "a shop",
            "price_date": date(2026, 5, 1),
        },
        "budget": {"limit_usd": 10.0},
        "task": {"name": "word_world", "dev_size": 1},
        "policies": {"m": {"from_scratch": tiny, "start": {"steps": 1, "learning_rate": 1e-3}}},
        "training": {"steps": 1, "questions_per_step": 1, "max_new_tokens": 8, "learning_rate": 1e-4},
        "training_variants": {"v": {}},
        "evaluation": {"max_new_tokens": 8, "batch_size": 1},
        "tracking": {"uri": f"sqlite:///{folder}/db/mlflow.db", "artifacts": str(folder / "art ifacts")},
        "container": {"image": "docker://example.org/none"},
        **overlay,
    }  # fmt: skip
    return validate(config)


@pytest.fixture(scope="module")
def home(tmp_path_factory):
    """One folder, and so one tracking database, for the whole module: making one takes seconds."""
    return tmp_path_factory.mktemp("tracking")


@pytest.fixture(scope="module")
def client(home):
    open_experiment(make_settings(home))
    from mlflow import MlflowClient

    return MlflowClient(make_settings(home).tracking.uri)


_names = itertools.count()


@pytest.fixture
def settings(home, client):
    """An experiment nobody else uses."""
    return make_settings(home, f"small{next(_names)}")


def start(settings, seed=0):
    ledger = Ledger(ledger_path(settings))
    attempt_id = ledger.open("train", settings.hardware, model="m", variant="v", seed=seed)
    return ledger, ledger.attempt(attempt_id), LiveRun(settings, ledger.attempt(attempt_id))


def trained(settings, rows, training):
    """Write the result files of a training; returns the rows it was trained on."""
    layout = Layout.of(settings)
    folder, data = layout.train("m", "v", 0), layout.data / "train.jsonl"
    write_jsonl(data, [{}])
    write_jsonl(folder / "metrics.jsonl", rows)
    write_jsonl(folder / "completions.jsonl", [{"text": "2"}])
    write_json(folder / "policy.json", {"training": training})
    return data


def parent_id(settings):
    return open_experiment(settings)[1].info.run_id


def run_of(client, settings, attempt):
    experiment = client.get_experiment_by_name(settings.experiment)
    (run,) = client.search_runs([experiment.experiment_id], f"tags.attempt = '{attempt.id}'")
    return run


def test_a_second_process_finds_the_same_parent(settings):
    first = parent_id(settings)
    assert parent_id(settings) == first
    code = (
        "import sys; from pathlib import Path; from reinforce_lite.config import Settings\n"
        "from reinforce_lite.experiment.tracking import open_experiment\n"
        "print(open_experiment(Settings.model_validate_json(sys.argv[1]))[1].info.run_id)"
    )
    command = [sys.executable, "-c", code, settings.model_dump_json()]
    assert subprocess.run(command, capture_output=True, text=True, check=True).stdout.strip() == first


def test_the_parent_run_holds_the_settings(client, settings):
    run = client.get_run(parent_id(settings))
    assert run.data.tags["reinforce_lite.experiment"] == settings.experiment
    assert run.data.params["hardware.usd_per_hour"] == "0.79"
    assert run.data.params["policies.m.from_scratch.architecture"] == "llama"
    assert run.data.params.keys() == flatten(settings.model_dump(mode="json")).keys()
    experiment = client.get_experiment(run.info.experiment_id)
    assert experiment.artifact_location == f"mlflow-artifacts:/{settings.experiment}"


def test_a_changed_setting_is_told_beside_the_old_one(client, settings):
    parent = parent_id(settings)
    changed = settings.model_copy(update={"budget": settings.budget.model_copy(update={"limit_usd": 12.0})})
    assert parent_id(changed) == parent
    run = client.get_run(parent)
    assert run.data.params["budget.limit_usd"] == "10.0"
    assert json.loads(run.data.tags["changed_settings"]) == {"budget.limit_usd": "12.0"}


def test_a_deleted_experiment_comes_back(client, settings):
    open_experiment(settings)
    client.delete_experiment(client.get_experiment_by_name(settings.experiment).experiment_id)
    assert client.get_run(parent_id(settings)).info.lifecycle_stage == "active"


def test_a_child_from_start_to_end(client, settings):
    ledger, attempt, child = start(settings)
    rows = [{"step": step, "reward": step / 2, "kl": 0.5, "note": "text"} for step in range(600)]
    data = trained(settings, rows, {"lr": 1e-4, "nested": {"a": [1, 2]}, **{f"many{i}": i for i in range(150)}})
    child.log_metrics([{**row, "kl": np.float32(row["kl"])} for row in rows[:400]])
    closed = ledger.close(attempt.id, "finished")
    child.end(closed)

    run = run_of(client, settings, attempt)
    parent = client.get_run(parent_id(settings))
    assert run.info.run_name == "train m v seed0" and run.info.status == "FINISHED"
    assert run.data.tags["mlflow.parentRunId"] == parent.info.run_id
    assert {key: run.data.tags[key] for key in ("stage", "model", "variant", "seed")} == {
        "stage": "train", "model": "m", "variant": "v", "seed": "0",
    }  # fmt: skip
    assert len(run.data.params) == 155 and run.data.params["lr"] == "0.0001" and run.data.params["nested.a"] == "[1, 2]"
    rewards = client.get_metric_history(run.info.run_id, "reward")
    assert sorted((point.step, point.value) for point in rewards) == [(step, step / 2) for step in range(600)]
    assert run.data.metrics["kl"] == 0.5 and "note" not in run.data.metrics
    dataset = run.inputs.dataset_inputs[0].dataset
    assert dataset.name == "train" and sha256_file(data).startswith(dataset.digest)
    folder = Path(settings.tracking.artifacts, settings.experiment, run.info.run_id, "artifacts")
    assert sorted(path.name for path in folder.iterdir()) == ["completions.jsonl", "metrics.jsonl"]

    assert run.data.metrics["device_hours"] == closed.device_hours == parent.data.metrics["device_hours"]
    assert run.data.metrics["cost_usd"] == closed.usd == parent.data.metrics["cost_usd"]
    assert run.data.metrics["budget_remaining_usd"] == 10 - closed.usd == parent.data.metrics["budget_remaining_usd"]
    assert abs(run.info.end_time - run.info.start_time - closed.seconds * 1000) <= 1
    assert parent.info.status == "FINISHED"


def test_the_parent_adds_up_and_runs_until_the_last_child_ends(client, settings):
    first_ledger, first, first_child = start(settings, seed=0)
    second_ledger, second, second_child = start(settings, seed=1)
    first_child.end(first_ledger.close(first.id, "failed", "ValueError: x"))
    assert run_of(client, settings, first).info.status == "FAILED"
    assert client.get_run(parent_id(settings)).info.status == "RUNNING"
    second_child.end(second_ledger.close(second.id, "finished"))
    parent = client.get_run(parent_id(settings))
    everything = attempts(ledger_path(settings))
    assert parent.info.status == "FINISHED" and len(everything) == 2
    assert parent.data.metrics["device_hours"] == sum(attempt.device_hours for attempt in everything)
    assert parent.data.metrics["cost_usd"] == sum(attempt.usd for attempt in everything)


def test_the_next_stage_ends_the_run_of_a_killed_process(client, settings):
    code = (
        "import os, signal, sys; from reinforce_lite.config import Settings\n"
        f"sys.path.append({str(Path(__file__).parents[1])!r}); from in_process import stage\n"
        "with stage(Settings.model_validate_json(sys.argv[1]), 'train', model='m'):\n"
        "    os.kill(os.getpid(), signal.SIGKILL)"
    )
    assert subprocess.run([sys.executable, "-c", code, settings.model_dump_json()], check=False).returncode == -9
    (killed,) = attempts(ledger_path(settings))
    assert killed.outcome == "killed" and run_of(client, settings, killed).info.status == "RUNNING"
    ledger, attempt, child = start(settings)
    run = run_of(client, settings, killed)
    assert run.info.status == "KILLED" and run.data.metrics["device_hours"] == killed.device_hours
    child.end(ledger.close(attempt.id, "finished"))


def test_a_relative_database_starts_at_the_working_directory(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    relative = {"uri": "sqlite:///some/where/mlflow.db", "artifacts": "files"}
    settings = make_settings(tmp_path, tracking=relative)
    ledger, attempt, child = start(settings)
    trained(settings, [], {})
    monkeypatch.chdir("/")
    child.end(ledger.close(attempt.id, "finished"))
    with sqlite3.connect(tmp_path / "some/where/mlflow.db") as database:
        (location,) = database.execute("SELECT artifact_location FROM experiments WHERE name = 'small'").fetchone()
    assert location == "mlflow-artifacts:/small", "no path: the folder may be mounted elsewhere"
    assert len(list((tmp_path / "files").rglob("completions.jsonl"))) == 1


@pytest.mark.survives("killed while MLflow's database is made")
def test_a_database_that_was_never_finished_is_made_anew(tmp_path):
    settings = make_settings(tmp_path)
    path = Path(settings.tracking.uri.removeprefix("sqlite:///"))
    code = (
        "import os, sys\n"
        "from alembic.operations import Operations\n"
        "Operations.batch_alter_table = lambda *a, **k: os.kill(os.getpid(), 9)  # in the midst of the migrations\n"
        "from test_tracking import make_settings, open_experiment\n"
        "from pathlib import Path\n"
        f"open_experiment(make_settings(Path({str(tmp_path)!r})))\n"
    )
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join([str(Path(__file__).parent), *sys.path])}
    killed = subprocess.run([sys.executable, "-c", code], env=environment, capture_output=True, check=False)
    assert killed.returncode == -9, killed.stderr[-500:]
    assert not path.exists() and list(path.parent.glob(".mlflow.db.new")), "it was begun, and is not there"
    assert open_experiment(settings)


def test_an_address_for_the_artifacts_is_left_to_mlflow(tmp_path):
    settings = make_settings(
        tmp_path, tracking={"uri": f"sqlite:///{tmp_path}/mlflow.db", "artifacts": f"file://{tmp_path}/elsewhere"}
    )
    ledger, attempt, child = start(settings)
    trained(settings, [], {})
    child.end(ledger.close(attempt.id, "finished"))
    assert len(list((tmp_path / "elsewhere").rglob("completions.jsonl"))) == 1


def test_a_bad_address_is_the_users_to_mend(tmp_path):
    settings = make_settings(tmp_path, tracking={"uri": "gopher://nowhere"})
    with pytest.raises(UserError, match="gopher://nowhere"):
        open_experiment(settings)


@pytest.mark.survives("MLflow's database gone")
def test_without_mlflow_a_stage_goes_on_and_warns_once(tmp_path, capsys):
    settings = make_settings(tmp_path, tracking={"uri": "gopher://nowhere"})
    ledger, attempt, child = start(settings)
    child.log_metrics([{"step": 0, "x": 1.0}])
    child.end(ledger.close(attempt.id, "finished"))
    warnings = [line for line in capsys.readouterr().err.splitlines() if line.startswith("warning:")]
    assert len(warnings) == 1 and "train m v seed0" in warnings[0] and "gopher://nowhere" in warnings[0]


def test_after_trouble_the_child_pauses_and_then_still_ends(client, settings, monkeypatch, capsys):
    ledger, attempt, child = start(settings)
    child.log_metrics([{"no_step": 0}])
    child.log_metrics([{"step": 0, "while_paused": 1.0}])
    monkeypatch.setattr(tracking, "PAUSE_SECONDS", 0.0)
    child._paused_until = 0.0
    child.log_metrics([{"no_step": 0}])
    child.log_metrics([{"step": 0, "after_pause": 1.0}])
    child.end(ledger.close(attempt.id, "finished"))
    run = run_of(client, settings, attempt)
    assert run.info.status == "FINISHED"
    assert "while_paused" not in run.data.metrics and run.data.metrics["after_pause"] == 1.0
    assert capsys.readouterr().err.count("warning:") == 1


def test_results_that_cannot_be_read_cost_mlflow_and_not_the_stage(client, settings, capsys):
    ledger, attempt, child = start(settings)
    folder = Layout.of(settings).train("m", "v", 0)
    folder.mkdir(parents=True)
    (folder / "policy.json").write_text("no JSON")
    child.end(ledger.close(attempt.id, "finished"))
    assert "MLflow will lack part of this stage" in capsys.readouterr().err


def test_run_names_leave_out_what_is_not_said(settings):
    ledger = Ledger(ledger_path(settings))
    attempt = ledger.attempt(ledger.open("evaluate", settings.hardware))
    assert str(attempt.job) == "evaluate"
    assert str(replace(attempt, model="phi", seed=2).job) == "evaluate phi seed2"


def test_times_are_rounded_to_milliseconds():
    from datetime import UTC, datetime

    epoch = datetime(1970, 1, 1, tzinfo=UTC)
    assert milliseconds(epoch + timedelta(seconds=1.2346)) == 1235


def test_what_the_machine_does_is_logged(client, settings, monkeypatch):
    monkeypatch.setenv("MLFLOW_SYSTEM_METRICS_SAMPLING_INTERVAL", "0.05")
    others = set(threading.enumerate())
    ledger, attempt, child = start(settings)
    for _ in range(100):
        if "system/cpu_utilization_percentage" in run_of(client, settings, attempt).data.metrics:
            break
        time.sleep(0.1)
    child.end(ledger.close(attempt.id, "finished"))
    logged = run_of(client, settings, attempt).data.metrics
    assert 0 <= logged["system/cpu_utilization_percentage"] <= 100
    assert logged["system/system_memory_usage_megabytes"] > 0
    assert not [t for t in threading.enumerate() if t.name == "SystemMetricsMonitor" and t not in others]


def test_runs_of_one_configuration_have_one_tag(client, settings):
    _, attempt, _ = start(settings)
    run, parent = run_of(client, settings, attempt), client.get_run(parent_id(settings))
    assert run.data.tags["config_sha256"] == parent.data.tags["config_sha256"]
    dearer = settings.model_copy(update={"budget": settings.budget.model_copy(update={"limit_usd": 11.0})})
    assert client.get_run(parent_id(dearer)).data.tags["config_sha256"] != run.data.tags["config_sha256"]


def test_the_result_stands_on_the_parent(client, settings, tmp_path):
    (tmp_path / "report.html").write_text("first")
    publish(settings, "**It holds.**", {"strict_trained/m": 0.5}, [tmp_path / "report.html"])
    (tmp_path / "report.html").write_text("second")
    publish(settings, "**It fell.**", {"strict_trained/m": 0.25}, [tmp_path / "report.html"])
    parent = client.get_run(parent_id(settings))
    assert parent.data.tags["mlflow.note.content"] == "**It fell.**"
    assert parent.data.metrics["strict_trained/m"] == 0.25
    (page,) = Path(settings.tracking.artifacts).glob(f"**/{parent.info.run_id}/artifacts/report.html")
    assert page.read_text() == "second"


def test_a_report_is_made_without_mlflow(settings, tmp_path, capsys):
    broken = settings.model_copy(update={"tracking": settings.tracking.model_copy(update={"uri": "nowhere://"})})
    publish(broken, "", {}, [])
    assert "warning: MLflow's parent run lacks the result" in capsys.readouterr().err


def test_a_database_that_does_not_know_the_experiment_is_said_so(settings, capsys):
    assert tracking.stage_seconds(settings) is None
    told = capsys.readouterr().err
    assert "it knows no such experiment; `ledger --rebuild-mlflow` adds it" in told and "NoneType" not in told


def test_the_parent_shows_a_stage_while_it_runs(client, settings):
    ledger, attempt, child = start(settings)
    child.show({"cost_usd": 0.5, "expected_usd": 2.0, "stage_step": 1, "reward_mean": None})
    child._parent_until = 0.0  # as if that had taken no time
    child.show({"cost_usd": 0.75, "expected_usd": 2.5, "stage_step": 2})
    parent = client.get_run(parent_id(settings))
    assert parent.info.status == "RUNNING"
    assert {key: parent.data.metrics[key] for key in ("cost_usd", "expected_usd", "stage_step")} == {
        "cost_usd": 0.75, "expected_usd": 2.5, "stage_step": 2,
    }  # fmt: skip
    child.show({"cost_usd": 9.0})  # at once: the step does not wait for it
    assert client.get_run(parent.info.run_id).data.metrics["cost_usd"] == 0.75
    closed = ledger.close(attempt.id, "finished")
    child.end(closed)
    parent = client.get_run(parent.info.run_id)
    assert parent.data.metrics["cost_usd"] == closed.usd
    assert (
        parent.data.tags["dollars"].endswith(" of $10.00") and parent.data.tags["hours"] == f"{closed.device_hours:.2f}"
    )
    assert "budget_limit_usd" not in parent.data.metrics and parent.data.params["budget.limit_usd"] == "10.0"


@pytest.mark.parametrize("of", ["run", "parent"])
def test_a_signal_waits_until_mlflow_has_written(client, settings, capsys, of):
    """It met a transaction, the database stayed locked, and at the end the monitor's thread was waited for in vain."""
    ledger, attempt, live = start(settings)
    before = signal.getsignal(signal.SIGTERM)
    interrupt.install()

    def tell(connection, cursor, statement, *others):
        if statement.startswith("INSERT INTO metrics"):
            os.kill(os.getpid(), signal.SIGTERM)

    event.listen(Engine, "after_cursor_execute", tell)
    try:
        with pytest.raises(Interrupted):
            live.log_metrics([{"step": 3, "reward_mean": 0.5}]) if of == "run" else live.show({"reward_mean": 0.5})
    finally:
        event.remove(Engine, "after_cursor_execute", tell)
        interrupt.install()  # forgets that it was asked
        signal.signal(signal.SIGTERM, before)
    live.end(ledger.close(attempt.id, "interrupted", "told"))
    run = run_of(client, settings, attempt)
    parent = client.get_run(run.data.tags["mlflow.parentRunId"])
    assert run.info.status == "KILLED" and 0.5 in (one.data.metrics.get("reward_mean") for one in (run, parent))
    assert not capsys.readouterr().err


def test_a_rebuild_corrects_what_a_killed_stage_has_shown(client, settings):
    ledger, attempt, child = start(settings)
    child.show({"cost_usd": 0.5})
    closed = ledger.close(attempt.id, "failed")
    tracking.rebuild(settings)
    tracking.rebuild(settings)
    points = client.get_metric_history(parent_id(settings), "cost_usd")
    assert sorted(point.value for point in points) == sorted([0.5, closed.usd])


def test_the_experiment_has_a_description_and_a_view_of_its_figures(client, settings):
    experiment_id = open_experiment(settings)[0].id
    tags = client.get_experiment(experiment_id).tags
    assert tags["mlflow.note.content"] == "A test."
    kind, _, packed = tags[VIEW_TAG].partition(";")
    state = json.loads(zlib.decompress(base64.b64decode(packed)))
    assert kind == "deflate" and {"tags.`gain`", "tags.`dollars`", "tags.`hours`"} <= set(state["selectedColumns"])
    client.set_experiment_tag(experiment_id, VIEW_TAG, "of an older version")
    open_experiment(settings)
    assert client.get_experiment(experiment_id).tags == tags
