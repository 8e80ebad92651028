"""The second evaluation before training, switched on where everything else is finished."""

from pathlib import Path

import pytest
from dag_runner import Workflow
from test_dag import jobs

from reinforce_lite.budget.ledger import attempts
from reinforce_lite.io.files import read_json


@pytest.mark.slow
def test_a_noise_floor_is_measured_beside_finished_results(finished: Workflow, tmp_path: Path) -> None:
    assert "evaluate_again" not in {attempt.stage for attempt in attempts(finished.results() / "ledger.jsonl")}
    workflow = finished.copied(tmp_path / "copy")
    path = workflow.folder / "config/mini.yaml"
    path.write_text(path.read_text().replace("evaluation: {", "evaluation: {noise_floor: true, "))

    listed = jobs(workflow.run("-n").stdout)
    assert set(listed) - {"all", "total"} == {"evaluate_again", "report", "crate"}, "nothing else is done again"
    workflow.must_run()

    folder = workflow.results()
    assert [attempt.stage for attempt in attempts(folder / "ledger.jsonl")].count("evaluate_again") == 1
    planned = [row for row in read_json(folder / "plan.json")["plans"][-1]["jobs"] if row["stage"] == "evaluate_again"]
    assert planned and planned[0]["device_seconds"]["expected"] > 0, "the plan counts it"
    floor = read_json(folder / "summary.json")["models"]["tiny-llama"]["noise_floor"]
    assert floor["n"] == 40 and floor["texts"]["count"] >= floor["strict"]["changed"]["count"]
    crate = {entity["@id"] for entity in read_json(folder / "ro-crate-metadata.json")["@graph"]}
    assert {"#step/evaluate_again", "again/tiny-llama/items.jsonl"} <= crate
    assert "othing to be done" in workflow.run("-n").stdout
