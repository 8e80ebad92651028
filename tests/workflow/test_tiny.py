"""The tiny configuration as users run it: the effect is there, the control shows none, the clocks agree."""

import os
from pathlib import Path

import pytest
from dag_runner import Workflow, copy_workflow
from test_dag import assert_clocks_agree

from reinforce_lite.budget.ledger import attempts
from reinforce_lite.io.files import read_json
from reinforce_lite.report.summary_model import Summary


@pytest.mark.slow
@pytest.mark.timeout(1500)
def test_tiny_shows_the_effect_and_its_control_does_not(tmp_path_factory: pytest.TempPathFactory) -> None:
    if finished := os.environ.get("TINY_RESULTS"):  # of `make tiny`: <folder>/results/tiny
        workflow = Workflow(Path(finished).parents[1])
    else:
        workflow = copy_workflow(tmp_path_factory.mktemp("tiny"))
        done = workflow.run(config=("config/tiny.yaml",))
        assert done.returncode == 0, done.stdout[-3000:]
    summary = read_json(workflow.results("tiny") / "summary.json")
    Summary.model_validate(summary)
    assert summary["models"].keys() == {"tiny-llama", "tiny-phi"}
    for name, figures in summary["models"].items():
        assert figures["n"] >= 500, name
        assert figures["delta"] >= 0.20, name
        assert figures["mcnemar_p"] < 0.001, name
        (control,) = (run for run in figures["runs"] if run["variant"] == "random_reward")
        assert not (control["delta"] > 0 and control["mcnemar_p"] < 0.05), name
    assert_clocks_agree(workflow, "tiny")
    rows = attempts(workflow.results("tiny") / "ledger.jsonl")
    for name in summary["models"]:
        order = [attempt.stage for attempt in rows if attempt.model == name]
        later = set(order[order.index("train") :])
        assert not later & {"fetch_policy", "evaluate_baseline"}, "a model is measured before it is trained"
    report = (workflow.results("tiny") / "report.html").read_text()
    assert "no evidence about 3B models" in " ".join(report.split())
    assert "No Llama-3.2-3B or Phi-3.5-mini weights were run" in report
