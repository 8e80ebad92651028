"""Two devices: the training is taken by two processes, and all the rest is as with one."""

import json

import pytest
from dag_runner import Workflow
from test_dag import without_times

from reinforce_lite.budget.ledger import attempts
from reinforce_lite.io.files import read_json, read_jsonl

TRAINING = "train/tiny-llama/leave_one_out/seed0"


@pytest.mark.slow
@pytest.mark.timeout(1200)
def test_two_processes_train_together(finished: Workflow, before_training: Workflow) -> None:
    workflow = before_training
    done = workflow.run("--config", f"hardware={json.dumps({'count': 2})}")
    assert done.returncode == 0, done.stdout[-3000:]
    alone, together = finished.results() / TRAINING, workflow.results() / TRAINING
    expected, found = (
        [without_times(row) for row in read_jsonl(folder / "metrics.jsonl")] for folder in (alone, together)
    )
    for mine, theirs in zip(expected, found, strict=True):
        assert mine == pytest.approx(theirs, abs=1e-3)
    assert read_jsonl(alone / "completions.jsonl") == read_jsonl(together / "completions.jsonl")
    (training,) = [a for a in attempts(workflow.results() / "ledger.jsonl") if a.stage == "train"]
    assert training.outcome == "finished" and training.count == 2
    told = read_json(together / "training.json")
    assert told["steps"] == 4 and told["stopped"] is None and told["processes"] == 2
    assert not list(workflow.folder.rglob("*.tmp"))
