import json
import os
import signal
import subprocess
import sys
import time

import pytest

from reinforce_lite.budget.ledger import Ledger, attempts, ledger_path
from reinforce_lite.errors import UserError
from reinforce_lite.experiment import attempt as stage_module
from reinforce_lite.experiment.attempt import stage


def events(settings):
    return [json.loads(line) for line in ledger_path(settings).read_text().splitlines()]


def wait_until(condition):
    for _ in range(2000):
        if condition():
            return
        time.sleep(0.01)
    pytest.fail("it never happened")


def test_ledger_and_mlflow_agree_to_the_last_digit(settings, tmp_path):
    uri = f"sqlite:///{tmp_path}/mlflow.db"
    settings = settings.model_copy(update={"tracking": settings.tracking.model_copy(update={"uri": uri})})
    with stage(settings, "train", model="m", variant="v", seed=0) as running:
        running.log_metrics([{"step": 1, "reward": 0.25}, {"step": 2, "reward": 0.5}])
    (attempt,) = attempts(ledger_path(settings))
    from mlflow import MlflowClient

    client = MlflowClient(uri)
    experiment = client.get_experiment_by_name("small")
    (run,) = client.search_runs([experiment.experiment_id], f"tags.attempt = '{running.attempt.id}'")
    assert (attempt.outcome, attempt.id) == ("finished", running.attempt.id)
    assert run.data.metrics["gpu_hours"] == attempt.device_hours and run.data.metrics["cost_usd"] == attempt.usd
    assert run.data.metrics["reward"] == 0.5
    assert abs(run.info.end_time - attempt.ended.timestamp() * 1000) <= 1
    assert abs(run.info.start_time - attempt.started.timestamp() * 1000) <= 1


@pytest.mark.parametrize("problem", [ValueError("no"), KeyboardInterrupt(), SystemExit(3)])
def test_any_exception_ends_the_attempt_as_failed(settings, problem):
    with pytest.raises(type(problem)), stage(settings, "train"):
        raise problem
    (attempt,) = attempts(ledger_path(settings))
    assert attempt.outcome == "failed"
    assert attempt.error == f"{type(problem).__name__}: {problem}"


class Interrupted(BaseException):
    """As the stages raise it when they are asked to stop."""


def test_a_stage_that_was_asked_to_stop_is_interrupted_not_failed(settings):
    with pytest.raises(Interrupted), stage(settings, "train"):
        raise Interrupted("SIGTERM")
    (attempt,) = attempts(ledger_path(settings))
    assert (attempt.outcome, attempt.error) == ("interrupted", "Interrupted: SIGTERM")


def test_a_long_error_is_cut(settings):
    with pytest.raises(ValueError), stage(settings, "train"):
        raise ValueError("x" * 10_000)
    assert len(attempts(ledger_path(settings))[0].error) == 2000


def test_it_gives_signs_of_life_and_stops_at_the_end(settings):
    with stage(settings, "train", touch_seconds=0.01):
        wait_until(lambda: len(events(settings)) >= 4)
    names = [event["event"] for event in events(settings)]
    assert names[0] == "open" and names[-1] == "close" and set(names[1:-1]) == {"touch"}
    (attempt,) = attempts(ledger_path(settings))
    assert attempt.outcome == "finished"


def test_a_touch_that_fails_stops_nothing(settings, monkeypatch, capsys):
    tried = []

    def touch(self, attempt_id):
        tried.append(attempt_id)
        if len(tried) < 3:
            raise UserError("the disk is full")

    monkeypatch.setattr(Ledger, "touch", touch)
    with stage(settings, "train", touch_seconds=0.01):
        wait_until(lambda: len(tried) >= 4)
    assert capsys.readouterr().err.count("the disk is full") == 1
    assert attempts(ledger_path(settings))[0].outcome == "finished"


def test_a_corrupt_ledger_stops_the_stage_before_it_spends(settings):
    path = ledger_path(settings)
    path.parent.mkdir()
    path.write_text("hello\n")
    with pytest.raises(UserError, match="line 1"), stage(settings, "train"):
        pytest.fail("the block ran")
    assert path.read_text() == "hello\n"


def test_an_interrupt_while_mlflow_starts_ends_the_attempt_too(settings, monkeypatch):
    def interrupted(*arguments):
        raise KeyboardInterrupt

    monkeypatch.setattr(stage_module, "LiveRun", interrupted)
    with pytest.raises(KeyboardInterrupt), stage(settings, "train"):
        pytest.fail("the block ran")
    assert attempts(ledger_path(settings))[0].outcome == "failed"


def test_a_killed_stage_is_paid_for_until_its_last_touch(settings):
    code = (
        "import sys, time; from reinforce_lite.config import Settings\n"
        "from reinforce_lite.experiment.attempt import stage\n"
        "with stage(Settings.model_validate_json(sys.argv[1]), 'train', touch_seconds=0.05):\n"
        "    print(flush=True); time.sleep(600)"
    )
    path = ledger_path(settings)
    with subprocess.Popen([sys.executable, "-c", code, settings.model_dump_json()], stdout=subprocess.PIPE) as process:
        process.stdout.readline()
        wait_until(lambda: len(events(settings)) >= 4)
        assert [attempt.outcome for attempt in attempts(path)] == ["running"]
        os.kill(process.pid, signal.SIGKILL)
        process.wait()
    first, *_, last = events(settings)
    (attempt,) = attempts(path)
    assert attempt.outcome == "killed" and last["event"] == "touch"
    assert attempt.seconds == pytest.approx(first["age"] + last["clock"] - first["clock"], abs=1e-5)


def test_it_imports_no_heavy_library():
    code = (
        "import sys, reinforce_lite.experiment.attempt, reinforce_lite.io.provenance\n"
        "print([name for name in ('torch', 'mlflow', 'transformers', 'scipy') if name in sys.modules])"
    )
    result = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert result.stdout.strip() == "[]"
