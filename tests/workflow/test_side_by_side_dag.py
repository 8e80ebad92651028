"""Two models side by side: the same numbers as one after the other, and nothing is lost when both are killed."""

import contextlib
import subprocess
import time
from itertools import combinations
from pathlib import Path
from typing import Any

import psutil
import pytest
import yaml
from commands import ON_THE_DEVICE, command_of, running
from dag_runner import MINI, Workflow, copy_workflow
from test_dag import without_times

from made_once import made_once
from reinforce_lite.budget import costs
from reinforce_lite.budget.books import Attempt
from reinforce_lite.budget.ledger import attempts
from reinforce_lite.budget.reader import check
from reinforce_lite.io.files import read_json, read_jsonl
from reinforce_lite.report.verify import verify

TWO: dict[str, Any] = {
    "models": ["tiny-llama", "tiny-phi"],
    "hardware": {"name": "core of a 2 vCPU virtual machine", "count": 2, "side_by_side": True, "usd_per_hour": 0.0408,
                 "price_source": "Amazon EC2 m7g.large (2 vCPU), us-east-1, on demand", "price_date": "2026-06-17"},
    "policies": {"tiny-phi": {"from_scratch": {"hidden_size": 64, "layers": 2}, "start": {"steps": 20}}},
}  # fmt: skip
CONFIG = (*MINI, "config/two.yaml")
STAGES = ("fetch_policy", "evaluate_baseline", "train", "evaluate_trained")


def two_models(folder: Path) -> Workflow:
    workflow = copy_workflow(folder)
    (folder / "config/two.yaml").write_text(yaml.safe_dump(TWO))
    return workflow


@pytest.fixture(scope="session")
def side_by_side(shared: Path) -> Workflow:
    """The mini DAG of two models, two jobs at once; nobody may change it."""
    make = lambda folder: two_models(folder).must_run("--cores", "2", config=CONFIG)  # noqa: E731
    return Workflow(made_once(shared, "side_by_side", make))


def ledger(workflow: Workflow) -> list[Attempt]:
    return attempts(workflow.results() / "ledger.jsonl")


def at_once(one: Attempt, other: Attempt) -> float:
    """Seconds in which both ran."""
    ends = (row.clock + row.seconds for row in (one, other))
    return max(0.0, min(ends) - max(one.clock, other.clock))


def numbers(workflow: Workflow) -> dict[str, Any]:
    """All that the policies did: figures, curves and every answer."""
    folder, found = workflow.results(), {"models": read_json(workflow.results() / "summary.json")["models"]}
    for name in ("items", "samples", "completions", "metrics", "start"):
        for path in sorted(folder.glob(f"[!c]*/**/{name}.jsonl")):
            found[str(path.relative_to(folder))] = [without_times(row) for row in read_jsonl(path)]
    return found


def assert_sound(workflow: Workflow) -> None:
    folder = workflow.results()
    assert check(folder / "ledger.jsonl") == []
    assert [str(one) for found in verify(folder) for one in found.differences] == []
    cost, rows = read_json(folder / "summary.json")["cost"], ledger(workflow)
    assert cost["usd"] == pytest.approx(sum(row.seconds * row.count * 0.0408 / 3600 for row in rows))
    assert cost["idle_hours"] == pytest.approx(costs.idle_seconds(rows, 2) / 3600) and cost["idle_hours"] > 0


@pytest.mark.slow
@pytest.mark.timeout(1200)
def test_two_jobs_run_at_once_each_on_one_device(side_by_side: Workflow) -> None:
    preflight, *rows = ledger(side_by_side)
    assert (preflight.stage, preflight.count) == ("preflight", 2)
    assert [row.count for row in rows] == [1] * 8 and all(row.outcome == "finished" for row in rows)
    assert not any(at_once(preflight, row) for row in rows), "it measures speeds"
    assert sum(at_once(*pair) for pair in combinations(rows, 2)) > 0.3 * sum(row.seconds for row in rows) / 2
    ends = sorted([(row.clock, 1) for row in rows] + [(row.clock + row.seconds, -1) for row in rows])
    level = 0
    for _, change in ends:
        level += change
        assert level <= 2
    assert_sound(side_by_side)
    page = (side_by_side.results() / "report.html").read_text()
    assert "and of a device beside one" in page
    train = (side_by_side.folder / "logs/mini/train/tiny-phi/leave_one_out/seed0.log").read_text()
    assert "train tiny-phi leave_one_out seed0: " in train and "\r" not in train


@pytest.mark.slow
@pytest.mark.timeout(1200)
def test_one_after_the_other_gives_the_same_bits(side_by_side: Workflow, tmp_path: Path) -> None:
    alone = two_models(tmp_path)
    alone.must_run(config=CONFIG)
    rows = ledger(alone)
    assert not any(at_once(*pair) for pair in combinations(rows, 2)), "--cores 1"
    assert numbers(alone) == numbers(side_by_side)
    keys = [
        [
            read_json(workflow.results() / f"train/{model}/leave_one_out/seed0/policy.json")["key"]
            for model in TWO["models"]
        ]
        for workflow in (alone, side_by_side)
    ]
    assert keys[0] == keys[1]
    again = alone.run("-n", "--cores", "2", config=CONFIG)
    assert "Nothing to be done" in again.stdout, again.stdout[-2000:]


@pytest.mark.slow
@pytest.mark.faults
@pytest.mark.timeout(1200)
@pytest.mark.survives("SIGKILL of Snakemake, alone or with its jobs, while two jobs run side by side")
@pytest.mark.parametrize("victims", ["Snakemake", "all"])
def test_killed_while_both_run(side_by_side: Workflow, tmp_path: Path, victims: str) -> None:
    workflow = two_models(tmp_path)
    started = subprocess.Popen(
        workflow.command("--cores", "2", config=CONFIG), cwd=workflow.folder, env=workflow.environment(),
        stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, text=True,
    )  # fmt: skip
    while started.poll() is None:
        both = [job for job in running(started) if command_of(job) in ON_THE_DEVICE]
        rows = ledger(workflow) if len(both) == 2 else []
        if len([row for row in rows if row.outcome == "running"]) == 2:
            break
        time.sleep(0.05)
    assert started.poll() is None, "two were never seen at once"
    below = psutil.Process(started.pid).children(recursive=True) if victims == "all" else []
    started.kill()
    for process in below:
        with contextlib.suppress(psutil.NoSuchProcess):
            process.kill()
    started.wait()
    workflow.must_run("--cores", "2", config=CONFIG)
    assert numbers(workflow) == numbers(side_by_side)
    assert_sound(workflow)
    rows = ledger(workflow)
    assert {row.stage for row in rows} == {"preflight", *STAGES}
    assert [row.outcome for row in rows].count("killed") == (2 if victims == "all" else 0)
    assert not any(row.outcome in ("running", "failed") for row in rows)
    for one, other in combinations(rows, 2):
        assert one.job != other.job or not at_once(one, other), "never beside itself"
