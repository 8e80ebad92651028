"""`snakemake -n` says what the experiment will cost, as far as it is known."""

import json
import os
from pathlib import Path
from typing import Any
from unittest.mock import MagicMock

import pytest
from dag_runner import Workflow, rules_file

from ledger_lines import HARDWARE
from reinforce_lite.budget import status
from reinforce_lite.budget.forecast import Duration, Interval
from reinforce_lite.budget.outlook import in_all
from reinforce_lite.budget.plan import Entry, make
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
    (tmp_path / "plan.json").write_text(json.dumps({"rehearsal": None}))
    assert "not known yet" in expected_cost()
    (tmp_path / "plan.json").write_text(json.dumps({"plans": [planned(99.0), planned(limit)]}))
    assert expected_cost() == in_all(planned(limit), HARDWARE)


def test_a_dry_run_ends_with_the_cost(workflow: Workflow) -> None:
    done = workflow.run("-n")
    assert done.returncode == 0 and done.stdout.rstrip().endswith("`reinforce-lite estimate` prices it"), done.stdout
    workflow.results().mkdir(parents=True)
    (workflow.results() / "plan.json").write_text(json.dumps({"plans": [planned(10.0)]}))
    last = workflow.run("-n").stdout.rstrip().splitlines()[-1]
    assert last.startswith("cost: the plan expects $0.") and last.endswith(" hours for the rest")
