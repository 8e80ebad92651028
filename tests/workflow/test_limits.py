"""The promise, kept by the DAG itself: limits that are too small, trainings that are stopped, and more money later."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from dag_runner import Workflow, copy_workflow
from test_dag import jobs, without_times

from reinforce_lite.budget.costs import spent_usd
from reinforce_lite.budget.ledger import attempts
from reinforce_lite.io.files import read_json, read_jsonl
from reinforce_lite.report.summary_model import Summary

ENOUGH = 0.05
TRAINING = "train/tiny-llama/leave_one_out/seed0"


def budget(limit: float, **more: Any) -> list[str]:
    changes = {"budget": {"limit_usd": limit, "min_steps": 1}, **more}
    return ["--config", *(f"{key}={json.dumps(value)}" for key, value in changes.items())]


def summary_of(workflow: Workflow) -> dict[str, Any]:
    folder = workflow.results()
    summary: dict[str, Any] = read_json(folder / "summary.json")
    Summary.model_validate(summary)
    assert (folder / "report.html").exists()
    return summary


def assert_kept(workflow: Workflow, limit: float, tell: Callable[[str, object], None]) -> None:
    """Nothing was started once the limit was reached: whatever lies over it is the last step of the last stage."""
    ledger = attempts(workflow.results() / "ledger.jsonl")
    tell("overspend_usd", max(0.0, spent_usd(ledger) - limit))
    assert spent_usd(ledger[:-1]) <= limit
    assert all(attempt.outcome in ("finished", "interrupted") for attempt in ledger)


PARTS = (0.05, 0.2, 0.5, 0.9)


@pytest.mark.slow
@pytest.mark.parametrize(
    "part", [pytest.param(part, marks=() if part == 0.2 else pytest.mark.faults) for part in PARTS]
)
@pytest.mark.survives("a budget too small for the experiment")
def test_a_limit_that_is_too_small(
    finished: Workflow, tmp_path: Path, part: float, record_property: Callable[[str, object], None]
) -> None:
    limit = part * summary_of(finished)["cost"]["usd"]
    workflow = copy_workflow(tmp_path)
    done = workflow.run(*budget(limit))
    assert done.returncode == 0, done.stdout[-3000:]
    assert done.stdout.rstrip().splitlines()[-1].endswith("an hour until you give it back")
    assert_kept(workflow, limit, record_property)
    summary = summary_of(workflow)
    figures, page = summary["models"]["tiny-llama"], (workflow.results() / "report.html").read_text()
    assert (figures["trained"] is None) == (figures["not_run"] is not None)
    if figures["not_run"]:
        assert "budget.limit_usd" in figures["not_run"] and "What was not run" in page
    if part <= 0.05:  # importing torch alone costs more than that
        assert figures["not_run"] and summary["cost"]["by_stage"].keys() == {"preflight"}
    assert "Nothing to be done" in workflow.run("-n", *budget(limit)).stdout, "what was not run is settled"


@pytest.mark.slow
@pytest.mark.faults
def test_more_money_runs_what_was_not_run_and_nothing_twice(finished: Workflow, tmp_path: Path) -> None:
    limit = 0.5 * summary_of(finished)["cost"]["usd"]
    workflow = copy_workflow(tmp_path)
    assert workflow.run(*budget(limit)).returncode == 0
    done = workflow.run(*budget(ENOUGH))
    assert done.returncode == 0, done.stdout[-3000:]
    summary = summary_of(workflow)
    assert summary["models"]["tiny-llama"]["not_run"] is None
    assert summary["models"] == summary_of(finished)["models"], "the numbers are those of an undisturbed run"
    stages = [attempt.stage for attempt in attempts(workflow.results() / "ledger.jsonl")]
    assert all(stages.count(stage) == 1 for stage in set(stages) - {"preflight"})
    plans = read_json(workflow.results() / "plan.json")["plans"]
    assert [plan["by"] for plan in plans[:1]] == ["preflight"] and len(plans) >= 5
    assert "Nothing to be done" in workflow.run("-n", *budget(ENOUGH)).stdout
    assert jobs(workflow.run("-n", *budget(2 * ENOUGH)).stdout).keys() - {"all", "total"} == {"report", "crate"}
    assert jobs(workflow.run("-n", *budget(limit)).stdout).keys() - {"all", "total"} == {"report", "crate"}


@pytest.mark.slow
@pytest.mark.faults
@pytest.mark.survives("a budget that suffices for some of the training seeds")
def test_a_seed_is_given_up_whole_and_run_with_more_money(
    tmp_path: Path, record_property: Callable[[str, object], None]
) -> None:
    workflow, more = copy_workflow(tmp_path), {"training": {"steps": 300}, "seeds": [0, 1]}
    folder = workflow.results()
    planned = workflow.run("results/mini/preflight.json", *budget(ENOUGH, **more))
    assert planned.returncode == 0, planned.stdout[-3000:]
    (plan,) = read_json(folder / "plan.json")["plans"]
    assert plan["seeds"] == [0, 1] and plan["given_up"] == []
    second = next(job for job in plan["jobs"] if job["stage"] == "train" and job["seed"] == 1)
    limit = plan["enough_usd"] - 0.8 * second["usd"]["expected"]
    done = workflow.run(*budget(limit, **more))
    assert done.returncode == 0, done.stdout[-3000:]
    assert_kept(workflow, limit, record_property)
    told = [read_json(folder / f"train/tiny-llama/leave_one_out/seed{seed}/training.json") for seed in (0, 1)]
    assert "seed 1 is given up: the money is expected to suffice for 1 of 2 seeds" in told[1]["not_run"]
    if told[0]["stopped"] is not None:
        pytest.skip("this machine became slower than its forecast")
    assert told[0]["steps"] == 300, "the first seed is not cut for the second"
    assert "1 training seed (0) of 2 planned" in (folder / "report.html").read_text()
    assert "Nothing to be done" in workflow.run("-n", *budget(limit, **more)).stdout

    done = workflow.run(*budget(ENOUGH, **more))
    assert done.returncode == 0, done.stdout[-3000:]
    assert summary_of(workflow)["models"]["tiny-llama"]["over_seeds"][0]["seeds"] == [0, 1]
    stages = [(a.stage, a.seed) for a in attempts(folder / "ledger.jsonl")]
    assert stages.count(("train", 0)) == stages.count(("train", 1)) == 1


@pytest.mark.slow
@pytest.mark.faults
@pytest.mark.survives("a budget that ends in the middle of a training")
def test_a_training_is_stopped_and_goes_on_with_more_money(
    tmp_path: Path, record_property: Callable[[str, object], None]
) -> None:
    workflow, training = copy_workflow(tmp_path), {"training": {"steps": 300}}
    folder = workflow.results()
    planned = workflow.run("results/mini/preflight.json", *budget(ENOUGH, **training))
    assert planned.returncode == 0, planned.stdout[-3000:]
    (plan,) = read_json(folder / "plan.json")["plans"]
    (row,) = (job for job in plan["jobs"] if job["stage"] == "train")
    # So tight that the training can't take all its steps, and yet that the low ends of the forecast fit.
    limit = plan["enough_usd"] - 0.6 * (row["usd"]["expected"] - row["usd"]["low"])
    done = workflow.run(*budget(limit, **training))
    assert done.returncode == 0, done.stdout[-3000:]
    assert_kept(workflow, limit, record_property)
    told = read_json(folder / TRAINING / "training.json")
    metrics = [without_times(row) for row in read_jsonl(folder / TRAINING / "metrics.jsonl")]
    if told["stopped"] is None:
        pytest.skip("this machine was faster than its forecast")
    assert told["stopped"] == f"stopped by budget at step {len(metrics)} of 300"
    figures = summary_of(workflow)["models"]["tiny-llama"]
    assert figures["stopped"] == told["stopped"] and figures["n"] == 40, "the reserve paid for the evaluation"
    assert "of 300, stopped by budget" in (folder / "report.html").read_text()
    assert "Nothing to be done" in workflow.run("-n", *budget(limit, **training)).stdout

    assert "train" in jobs(workflow.run("-n", *budget(ENOUGH, **training)).stdout)
    done = workflow.run(*budget(ENOUGH, **training))
    assert done.returncode == 0, done.stdout[-3000:]
    assert "continuing after" in done.stdout
    assert summary_of(workflow)["models"]["tiny-llama"]["stopped"] is None
    whole = [without_times(row) for row in read_jsonl(folder / TRAINING / "metrics.jsonl")]
    assert [row["step"] for row in whole] == list(range(300))
    assert whole[: len(metrics)] == metrics, "the steps before the stop are not taken again"
    assert "Nothing to be done" in workflow.run("-n", *budget(ENOUGH, **training)).stdout
