"""Controls that are no training with a reward, and two training seeds, through the whole DAG."""

import json

import pytest
from dag_runner import Workflow
from test_dag import jobs

from reinforce_lite.budget.costs import spent_usd
from reinforce_lite.budget.ledger import attempts
from reinforce_lite.io.files import read_json, read_jsonl
from reinforce_lite.report.verify import verify
from reinforce_lite.stages import Job

CONTROLS = ["--config", f"variants={json.dumps(['leave_one_out', 'supervised', 'prompt_only'])}", "seeds=[0, 1]"]


@pytest.mark.slow
def test_the_prompt_alone_the_same_money_and_two_seeds(before_training: Workflow) -> None:
    workflow = before_training
    done = workflow.run(*CONTROLS)
    assert done.returncode == 0, done.stdout[-3000:]
    folder = workflow.results()
    trained = {name: folder / f"train/tiny-llama/{name}/seed0" for name in ("supervised", "prompt_only")}

    untrained = read_json(trained["prompt_only"] / "policy.json")["weights"]["folder"]
    assert (trained["prompt_only"] / untrained).resolve() == (folder / "policies/tiny-llama/weights").resolve()
    assert read_json(trained["prompt_only"] / "training.json")["steps"] == 0
    asked = [
        [row["completion"] for row in read_jsonl(folder / part / "tiny-llama" / rest / "items.jsonl")]
        for part, rest in (("baseline", ""), ("trained", "prompt_only/seed0"))
    ]
    assert asked[0] != asked[1], "the same weights, asked by another prompt"

    told, ledger = read_json(trained["supervised"] / "training.json"), attempts(folder / "ledger.jsonl")
    mine, other = (
        spent_usd(attempt for attempt in ledger if attempt.job == Job("train", "tiny-llama", name, 0))
        for name in ("supervised", "leave_one_out")
    )
    assert told["stopped"] is None and told["steps"] < told["steps_planned"] and "leave_one_out" in told["same_cost"]
    assert mine >= other, "it ends with the step that reaches it"
    order = [(row.seed, row.variant) for row in ledger if row.stage == "train"]
    variants = ("leave_one_out", "supervised", "prompt_only")
    assert order == [(seed, name) for seed in (0, 1) for name in variants], "whole seeds, the result first"

    rows = {row["variant"]: row for row in read_json(folder / "summary.json")["models"]["tiny-llama"]["over_seeds"]}
    assert list(rows) == ["leave_one_out", "supervised", "prompt_only"]
    assert all(row["seeds"] == [0, 1] for row in rows.values())
    assert rows["prompt_only"]["sd"] == 0, "there is nothing that a seed could change"

    page = (folder / "report.html").read_text()
    assert told["same_cost"] in page and "prompt_only (prompt one_shot_bare, steps 0)" in page
    assert all(not check.differences for check in verify(folder))
    again = workflow.run("-n", *CONTROLS, "--config", *CONTROLS[1:], 'budget={"limit_usd": 3}')
    assert not {"train", "evaluate_trained"} & jobs(again.stdout).keys(), "an end by cost is an end"
