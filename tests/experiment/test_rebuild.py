"""MLflow's view is lost in every way, and made anew."""

import json
import shutil
import sqlite3
import subprocess
import sys
from datetime import UTC, date, datetime, timedelta
from pathlib import Path

import pytest

from full_disk import full_disk
from in_process import stage
from ledger_lines import close, opened, touch, write
from reinforce_lite.budget.chain import head_path
from reinforce_lite.budget.device_lock import hold, lock_path
from reinforce_lite.budget.ledger import Attempt, accept_loss, attempts, ledger_path
from reinforce_lite.experiment.tracking import ROOT_TAG, open_experiment, rebuild, results_of, stage_seconds
from reinforce_lite.io.files import write_json, write_jsonl
from reinforce_lite.stages import Layout

STEPS = [{"step": step, "reward": step / 4, "kl": None if step else 0.5, "note": "text"} for step in range(5)]
FIGURES = {"n": 4, "strict": 0.5, "flexible": 0.75, "truncated": 0.0, "length_mean": 11.5}


@pytest.fixture
def database(tmp_path):
    return tmp_path / "db" / "mlflow.db"


@pytest.fixture
def settings(settings, database):
    return settings.model_copy(
        update={"tracking": settings.tracking.model_copy(update={"uri": f"sqlite:///{database}"})}
    )


def train(settings, rows=STEPS, seed=0):
    """What the subcommand records and writes."""
    layout, training = Layout.of(settings), {"steps": 5, "learning_rate": 1e-4}
    folder, data = layout.train("m", "v", seed), layout.data / "train.jsonl"
    write_jsonl(data, [{"question": "1 + 1"}])
    with stage(settings, "train", model="m", variant="v", seed=seed) as account:
        account.log_metrics(rows)
        write_jsonl(folder / "metrics.jsonl", STEPS)
        write_jsonl(folder / "completions.jsonl", [{"text": "2"}])
        write_json(folder / "training.json", {"made_with": {"git_commit": "c1", "image": None}})
        write_json(folder / "policy.json", {"training": training})


def evaluate(settings):
    layout = Layout.of(settings)
    folder, data = layout.evaluation("m"), layout.data / "test.jsonl"
    write_jsonl(data, [{"question": "2 + 2"}])
    with stage(settings, "evaluate_baseline", model="m"):
        write_jsonl(folder / "items.jsonl", [{"strict": True}])
        write_json(folder / "evaluation.json", {"model": "m", "variant": None, "seed": None, **FIGURES, "policy": {}})


def view(settings):
    """All that MLflow shows of an experiment, without ids and without the times at which points were logged."""
    from mlflow import MlflowClient

    client = MlflowClient(settings.tracking.uri)
    experiment = client.get_experiment_by_name(settings.experiment)
    shown = {}
    for run in client.search_runs([experiment.experiment_id]):
        points = {
            key: sorted((p.step, p.value) for p in client.get_metric_history(run.info.run_id, key))
            for key in run.data.metrics
        }
        # A root is of the moment at which it was published: nobody can say it again.
        passing = ("mlflow.parentRunId", "git_commit", *(key for key in run.data.tags if key.startswith(ROOT_TAG)))
        tags = {key: value for key, value in run.data.tags.items() if key not in passing}
        where = Path(settings.tracking.artifacts, settings.experiment, run.info.run_id, "artifacts")
        shown.setdefault(run.data.tags.get("attempt", "parent"), []).append(
            {
                "name": run.info.run_name,
                "status": run.info.status,
                "times": (run.info.start_time, run.info.end_time) if "attempt" in run.data.tags else run.info.end_time,
                "tags": tags,
                "params": run.data.params,
                "points": points,
                "inputs": [(i.dataset.name, i.dataset.digest, i.tags[0].value) for i in run.inputs.dataset_inputs],
                "artifacts": sorted(path.name for path in where.glob("*")),
            }
        )
    return shown


def elsewhere(function, settings, *arguments):
    """Call `rebuild` or `view` in a new process: this one's MLflow still has the file that is gone open."""
    code = (
        f"import json, sys; sys.path[:0] = {[str(Path(__file__).parent), str(Path(__file__).parents[1])]}\n"
        "from reinforce_lite.config import Settings; from test_rebuild import rebuild, view\n"
        f"done = {function.__name__}(Settings.model_validate_json(sys.argv[1]), *json.loads(sys.argv[2]))\n"
        "print(json.dumps(done))"
    )
    command = [sys.executable, "-c", code, settings.model_dump_json(), json.dumps(arguments)]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout), done.stderr


@pytest.mark.survives("MLflow's database gone")
def test_a_database_that_is_gone_comes_back_as_it_was(settings, database):
    train(settings)
    evaluate(settings)
    before = view(settings)
    assert len(before) == 3 and len(before[attempts(ledger_path(settings))[0].id][0]["points"]["reward"]) == 5
    database.unlink()
    assert elsewhere(rebuild, settings)[0] == 2
    assert elsewhere(view, settings)[0] == json.loads(json.dumps(before))


def test_what_mlflow_has_is_completed_and_not_doubled(settings):
    from mlflow import MlflowClient

    train(settings, rows=STEPS[:2])
    (attempt,) = attempts(ledger_path(settings))
    client = MlflowClient(settings.tracking.uri)
    (run,) = client.search_runs(["1"], f"tags.attempt = '{attempt.id}'")
    client.delete_tag(run.info.run_id, "stage")
    shutil.rmtree(Path(settings.tracking.artifacts))
    for _ in range(2):
        rebuild(settings)
        (run,) = view(settings)[attempt.id]
        assert run["points"]["reward"] == [(step, step / 4) for step in range(5)]
        assert run["points"]["kl"] == [(0, 0.5)] and run["points"]["cost_usd"] == [(1, attempt.usd)]
        assert (
            run["tags"]["stage"] == "train"
            and run["artifacts"] == ["completions.jsonl", "metrics.jsonl"]
            and len(run["inputs"]) == 1
        )


def test_every_attempt_has_one_run_and_the_last_finished_one_the_curves(settings):
    lines = []
    for second, outcome in enumerate(["failed", "interrupted", "finished", "finished", "killed"]):
        of = {"id": str(second), "model": "m", "variant": "v", "seed": 0}
        end = close(50, id=str(second), outcome=outcome) if outcome != "killed" else touch(50, id=str(second))
        lines += [opened(**of), end]
    ledger_path(settings).parent.mkdir()
    write(ledger_path(settings), *lines)
    write_jsonl(Layout.of(settings).train("m", "v", 0) / "metrics.jsonl", STEPS)
    assert rebuild(settings) == 5
    shown = view(settings)
    runs = [run for number in range(5) for run in shown[str(number)]]
    assert [run["status"] for run in runs] == ["FAILED", "KILLED", "FINISHED", "FINISHED", "KILLED"]
    assert [len(run["points"].get("reward", [])) for run in runs] == [0, 0, 0, 5, 0]
    assert all(run["times"][1] - run["times"][0] == 55000 for run in runs)
    assert [run["points"]["cost_usd"] for run in runs] == [[(1, pytest.approx(55 / 3600 * 0.79))]] * 5
    spent = [(number, pytest.approx(number * 55 / 3600 * 0.79)) for number in range(1, 6)]
    assert shown["parent"][0]["points"]["cost_usd"] == spent


def test_of_two_runs_of_an_attempt_one_stays(settings):
    from mlflow import MlflowClient

    train(settings)
    (attempt,) = attempts(ledger_path(settings))
    client = MlflowClient(settings.tracking.uri)
    experiment = client.get_experiment_by_name(settings.experiment)
    later = round((attempt.started.timestamp() + 60) * 1000)
    client.create_run(experiment.experiment_id, start_time=later, tags={"attempt": attempt.id, "stage": "train"})
    assert len(view(settings)[attempt.id]) == 2
    rebuild(settings)
    (run,) = view(settings)[attempt.id]
    assert run["name"] == "train m v seed0"


def test_an_attempt_that_runs_is_left_to_its_process(settings):
    ledger_path(settings).parent.mkdir()
    write(ledger_path(settings), opened(), close(5), opened(id="z"))
    with hold(lock_path(ledger_path(settings)), "z", "train"):
        assert rebuild(settings) == 1
        assert set(view(settings)) == {"parent", "a"}
    assert rebuild(settings) == 2 and view(settings)["z"][0]["status"] == "KILLED"


@pytest.mark.parametrize("damage", ["text", "hole"])
@pytest.mark.survives("MLflow's database damaged")
def test_a_damaged_database_is_moved_aside(settings, database, damage):
    train(settings)
    before = view(settings)
    content = bytearray(database.read_bytes())
    content = bytearray(b"no database\n" * 100) if damage == "text" else content
    content[4096 * 2 : 4096 * 40] = b"\xff" * min(4096 * 38, max(0, len(content) - 4096 * 2))
    database.write_bytes(content)
    done, told = elsewhere(rebuild, settings)
    assert done == 1
    (aside,) = database.parent.glob("*.aside")
    assert aside.read_bytes() == content
    assert "is damaged" in told and aside.name in told
    assert elsewhere(view, settings)[0].keys() == before.keys()


LOCK = (
    "import sqlite3, sys; c = sqlite3.connect(sys.argv[1]); c.execute('BEGIN EXCLUSIVE')\n"
    "print(1, flush=True); sys.stdin.readline()"
)


def lock(database):
    command = [sys.executable, "-c", LOCK, str(database)]
    process = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE)
    process.stdout.readline()
    return process


@pytest.mark.survives("MLflow's database locked")
def test_a_stage_goes_on_while_mlflow_is_locked_and_its_run_is_made_later(settings, database, capsys):
    evaluate(settings)
    with lock(database) as locked:
        train(settings)
        locked.communicate()
    assert capsys.readouterr().err.count("MLflow will lack part of this stage") == 1
    first, second = attempts(ledger_path(settings))
    assert second.outcome == "finished" and second.id not in view(settings)
    kept = view(settings)[first.id]
    assert rebuild(settings) == 2
    assert view(settings)[first.id] == kept, "the database was not made anew"
    assert len(view(settings)[second.id][0]["points"]["reward"]) == 5
    assert not list(database.parent.glob("*.aside"))


@pytest.mark.survives("MLflow's database locked")
def test_a_database_locked_for_ever_is_moved_aside(settings, database):
    train(settings)
    with lock(database) as locked:
        done, told = elsewhere(rebuild, settings, 0.2)
        locked.communicate()
    assert done == 1 and "database is locked" in told and len(list(database.parent.glob("*.aside"))) == 1
    assert len(elsewhere(view, settings)[0]) == 2


@pytest.mark.survives("disk full while writing MLflow's database")
def test_a_stage_goes_on_while_mlflow_has_no_room_and_its_run_is_completed_later(settings, database, capsys):
    evaluate(settings)
    many = [{"step": step, "reward": step / 4} for step in range(20_000)]
    with stage(settings, "train", model="m", variant="v", seed=0) as account:
        with full_disk(database, 0):
            account.log_metrics(many)
        write_jsonl(Layout.of(settings).train("m", "v", 0) / "metrics.jsonl", STEPS)
    assert "MLflow will lack part of this stage" in capsys.readouterr().err
    attempt = attempts(ledger_path(settings))[-1]
    assert attempt.outcome == "finished"
    rebuild(settings)
    (run,) = view(settings)[attempt.id]
    assert run["status"] == "FINISHED"
    assert {(row["step"], row["reward"]) for row in STEPS} <= set(run["points"]["reward"])


@pytest.mark.survives("MLflow's database gone")
def test_a_database_deleted_in_the_middle_of_a_stage(settings, database):
    with stage(settings, "train", model="m", variant="v", seed=0) as account:
        account.log_metrics(STEPS[:2])
        database.unlink()
        account.log_metrics(STEPS[2:])
        write_jsonl(Layout.of(settings).train("m", "v", 0) / "metrics.jsonl", STEPS)
    (attempt,) = attempts(ledger_path(settings))
    assert attempt.outcome == "finished"
    assert elsewhere(rebuild, settings)[0] == 1
    (run,) = elsewhere(view, settings)[0][attempt.id]
    assert len(run["points"]["reward"]) == 5 and run["status"] == "FINISHED"


def test_sqlite_says_nothing_is_wrong_with_a_sound_database(settings, database):
    train(settings)
    inode = database.stat().st_ino
    rebuild(settings)
    assert database.stat().st_ino == inode
    with sqlite3.connect(database) as connection:
        assert connection.execute("SELECT count(*) FROM runs").fetchone() == (2,)


def attempt_of(stage_name, model="m", variant=None, seed=None):
    noon = datetime(2026, 5, 1, 12, tzinfo=UTC)
    return Attempt(
        "x", stage_name, model, variant, seed, noon, noon + timedelta(hours=1), "finished", "laptop", 1, 0.79, "a shop",
        date(2026, 5, 1),
    )  # fmt: skip


def test_a_fetched_policy_brings_its_start(settings):
    layout = Layout.of(settings)
    write_json(layout.policy("m") / "policy.json", {"weights": "m.bin", "model": "m", "made_with": {"image": "i"}})
    assert results_of(settings, attempt_of("fetch_policy")).dataset is None
    write_jsonl(layout.policy("m") / "start.jsonl", [{"step": 0, "loss": 2.0}])
    results = results_of(settings, attempt_of("fetch_policy"))
    assert results.rows == [{"step": 0, "loss": 2.0}] and results.origin == {"image": "i"}
    assert "weights" not in results.params and results.dataset == layout.data / "demonstrations.jsonl"


@pytest.mark.parametrize(
    "attempt",
    [
        attempt_of("preflight", None),
        attempt_of("train", "m", "v", 0),
        attempt_of("evaluate_trained", "m", "v", 0),
        attempt_of("fetch_policy"),
    ],
)
def test_results_that_are_gone_are_left_out(settings, attempt):
    results = results_of(settings, attempt)
    assert not [key for row in results.rows for key in row if key != "step"]
    assert not [path for path in results.artifacts if path.exists()] and not results.origin


def test_after_its_results_were_deleted_an_experiment_costs_only_what_its_ledger_says(settings, database):
    train(settings, seed=0)
    evaluate(settings)
    shutil.rmtree(settings.folder)
    train(settings, seed=1)
    (attempt,) = attempts(ledger_path(settings))
    for _ in range(2):
        seconds = stage_seconds(settings)
        assert seconds == {"train": pytest.approx(attempt.seconds, abs=0.002)}
        experiment, parent = open_experiment(settings)
        run = experiment.client.get_run(parent.info.run_id)
        assert run.data.metrics["cost_usd"] == attempt.usd and run.data.metrics["device_hours"] == attempt.device_hours
        assert [child.data.tags["attempt"] for child in experiment.children(parent)] == [attempt.id]
        assert rebuild(settings) == 1
    assert len(view(settings)["parent"]) == 2, "what was deleted stays under a parent of its own"


def test_runs_of_lost_rows_do_not_double_what_was_accepted_for_them(settings):
    train(settings)
    path = ledger_path(settings)
    kept = path.read_bytes(), head_path(path).read_bytes()
    evaluate(settings)
    path.write_bytes(kept[0])
    accept_loss(path, settings.hardware, 0.5)
    rebuild(settings)
    experiment, parent = open_experiment(settings)
    known = {attempt.id for attempt in attempts(path)}
    assert {child.data.tags["attempt"] for child in experiment.children(parent)} == known and len(known) == 2


def test_a_rebuild_of_many_asks_mlflow_for_the_same_few_things_for_each(settings, monkeypatch):
    def calls(many):
        lines = [line for n in range(many) for line in (opened(id=str(n)), close(50, id=str(n)))]
        ledger_path(settings).parent.mkdir(exist_ok=True)
        write(ledger_path(settings), *lines)
        counted.clear()
        rebuild(settings)
        return len(counted)

    from mlflow import MlflowClient

    open_experiment(settings)
    counted, names = [], ("create_run", "log_batch", "set_terminated", "get_metric_history", "get_run", "set_tag")
    for name in names:
        real = getattr(MlflowClient, name)
        monkeypatch.setattr(MlflowClient, name, lambda *a, real=real, **k: counted.append(1) or real(*a, **k))
    calls(3)
    six, twelve = calls(6), calls(12)
    assert twelve - six == 3 * 3, "three calls for each of 3 and then 6 new ones, none for one that is there"
