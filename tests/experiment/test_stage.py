import subprocess
import sys

import pytest

from in_process import stage
from reinforce_lite.budget.ledger import attempts, ledger_path
from reinforce_lite.errors import UserError


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
    assert run.data.metrics["device_hours"] == attempt.device_hours and run.data.metrics["cost_usd"] == attempt.usd
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


def test_a_corrupt_ledger_stops_the_stage_before_it_spends(settings):
    path = ledger_path(settings)
    path.parent.mkdir()
    path.write_text("hello\n")
    with pytest.raises(UserError, match="line 1"), stage(settings, "train"):
        pytest.fail("the block ran")
    assert path.read_text() == "hello\n"


def test_it_imports_no_heavy_library():
    code = (
        "import sys, reinforce_lite.experiment.frame, reinforce_lite.io.provenance\n"
        "print([name for name in ('torch', 'mlflow', 'transformers', 'scipy') if name in sys.modules])"
    )
    result = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert result.stdout.strip() == "[]"
