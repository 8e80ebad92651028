"""`snakemake -n` and every step of a run say what the experiment will cost, as far as it is known."""

import fcntl
import json
import os
import re
from pathlib import Path
from typing import Any
from unittest.mock import MagicMock

import pytest
from dag_runner import Workflow, rules_file
from mlflow import MlflowClient

from ledger_lines import HARDWARE
from reinforce_lite.budget import status
from reinforce_lite.budget.device_lock import held
from reinforce_lite.budget.forecast import Duration, Interval
from reinforce_lite.budget.outlook import in_all
from reinforce_lite.budget.plan import Entry, make
from reinforce_lite.budget.standing import WORKFLOW_LOCK
from reinforce_lite.cli import main
from reinforce_lite.stages import Job


def planned(limit: float) -> dict[str, Any]:
    entries = [
        Entry(Job("train", "m", "v", 0), "pending", Duration(Interval.exactly(60), Interval(5, 10, 20), 100)),
        Entry(Job("evaluate_baseline", "m"), "done", Duration(Interval.exactly(0))),
        Entry(Job("evaluate_trained", "m", "v", 0), "pending", Duration(Interval(100, 200, 300))),
    ]
    return status.described(make(limit, 0.25, HARDWARE.usd_per_hour / 3600, entries, 1))


@pytest.mark.parametrize("limit", [10.0, 0.4, 0.3])
def test_the_workflow_says_what_the_package_does(limit: float, tmp_path: Path) -> None:
    config = {"hardware": {"count": HARDWARE.count}}
    names = {"RESULTS": str(tmp_path), "config": config, "shell": MagicMock(), "os": os, "json": json}
    expected_cost = rules_file("processes", **names)["expected_cost"]
    assert expected_cost() == "cost: not known yet: `reinforce-lite estimate` prices it"
    (tmp_path / "plan.json").write_text('{"plans": [')
    assert "plan.json is not valid JSON" in expected_cost()
    (tmp_path / "plan.json").write_text(json.dumps({"rehearsal": None}))
    assert "not known yet" in expected_cost()
    (tmp_path / "plan.json").write_text(json.dumps({"plans": [planned(99.0), planned(limit)]}))
    assert expected_cost() == in_all(planned(limit), HARDWARE)


@pytest.mark.slow
def test_a_dry_run_ends_with_the_cost(workflow: Workflow) -> None:
    done = workflow.run("-n")
    assert done.returncode == 0 and done.stdout.rstrip().endswith("`reinforce-lite estimate` prices it"), done.stdout
    workflow.results().mkdir(parents=True)
    (workflow.results() / "plan.json").write_text(json.dumps({"plans": [planned(10.0)]}))
    last = workflow.run("-n").stdout.rstrip().splitlines()[-1]
    assert last.startswith("cost: the plan expects $0.") and last.endswith(" hours for the rest")


def test_who_looks_whether_snakemake_runs_is_not_in_its_way(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    names = {"RESULTS": str(tmp_path), "shell": MagicMock(), "os": os, "json": json, "config": {}}
    rules = rules_file("processes", **names)
    with (tmp_path / WORKFLOW_LOCK).open("a") as looking:
        fcntl.flock(looking, fcntl.LOCK_SH)
        monkeypatch.setattr(rules["time"], "sleep", lambda seconds: fcntl.flock(looking, fcntl.LOCK_UN))
        rules["lock_results"]()
    monkeypatch.undo()
    assert held(tmp_path / WORKFLOW_LOCK)
    with pytest.raises(rules["WorkflowError"], match=r"another Snakemake works on .* on "):
        rules_file("processes", **names)["lock_results"]()
    rules["RESULTS_LOCK"].close()
    assert not held(tmp_path / WORKFLOW_LOCK) and not held(tmp_path / "no such file")


@pytest.mark.slow
def test_a_run_says_at_each_step_what_it_costs_and_when_it_ends(
    finished: Workflow, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(finished.folder)
    logs = finished.folder / "logs/mini"
    assert "cost: the plan expects $0." in (logs / "preflight.log").read_text()
    for log in ("train/tiny-llama/leave_one_out/seed0", "evaluate_baseline/tiny-llama", "fetch_policy/tiny-llama"):
        assert re.search(r"usd=\$0\.\d+ of \$0\.\d+, all_ends=\w{3} \d\d:\d\d", (logs / f"{log}.log").read_text()), log
    client = MlflowClient(f"sqlite:///{finished.folder}/results/mlflow.db")
    experiment = client.get_experiment_by_name("mini")
    (parent,) = client.search_runs([experiment.experiment_id], "tags.`reinforce_lite.experiment` = 'mini'")
    assert parent.data.metrics.keys() >= {"cost_usd", "expected_usd", "hours_left", "stage_step", "reward_mean"}
    assert re.fullmatch(r"tiny-llama [-+]\d+\.\d \[.*\]", parent.data.tags["gain"])
    assert (finished.results() / WORKFLOW_LOCK).read_text().splitlines()[1].startswith("snakemake --cores 1 --config")
    assert main(["status", "results/mini"]) == 0
    shown = capsys.readouterr().out
    assert "mini: finished" in shown and "read results/mini/report.html" in shown
