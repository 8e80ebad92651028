"""A stage that is added to the table is a stage everywhere: in DAG, forecast, ledger, crate and verification."""

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
from dag_runner import ROOT, Workflow
from test_dag import jobs

from reinforce_lite.budget.ledger import attempts
from reinforce_lite.io.files import read_json

ROW = """
    Stage(
        "look", "run", "look/{model}/{variant}", {"seen": "seed{seed}.json"},
        "Looking at {wildcards.model} ({wildcards.variant}, seed {wildcards.seed})",
        needs={"policy": "train.policy"}, key=("prompt",), device=True,
    ),
"""
"""All that is added to the table."""

BODY = '''
"""A stage that only looks."""

from reinforce_lite.experiment.frame import Paid
from reinforce_lite.experiment.run import Run
from reinforce_lite.io.files import write_json


def run(run: Run, paid: Paid) -> None:
    """Write down whose policy it was."""
    write_json(run.path(), {**run.job.run, **run.provenance()})
'''
"""All that the stage does."""


@pytest.fixture
def package(tmp_path: Path) -> dict[str, str]:
    """A copy of the package with one row and one file more; the environment in which its command is found."""
    source = Path(shutil.copytree(ROOT / "src", tmp_path / "src"))
    table = source / "reinforce_lite/stages.py"
    beginning = "STAGES: Mapping[str, Stage] = _table(\n"
    assert beginning in table.read_text()
    table.write_text(table.read_text().replace(beginning, f"{beginning}{ROW.strip(chr(10))}\n", 1))
    (source / "reinforce_lite/experiment/look.py").write_text(BODY)
    command = tmp_path / "bin/reinforce-lite"
    command.parent.mkdir()
    command.write_text(f"#!{sys.executable}\nfrom reinforce_lite.cli import entry\nentry()\n")
    command.chmod(0o755)
    path = os.pathsep.join([str(command.parent), str(Path(sys.executable).parent), os.environ["PATH"]])
    return {**os.environ, "PATH": path, "PYTHONPATH": str(source), "MLFLOW_DISABLE_TELEMETRY": "true"}


def must(command: list[str], environment: dict[str, str], folder: Path) -> str:
    done = subprocess.run(
        command, cwd=folder, env=environment, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, check=False
    )
    assert done.returncode == 0, done.stdout[-3000:]
    return done.stdout


@pytest.mark.slow
def test_one_row_and_one_file_are_a_stage(finished: Workflow, tmp_path: Path, package: dict[str, str]) -> None:
    workflow = finished.copied(tmp_path / "copy")
    described = must([sys.executable, "-m", "reinforce_lite.stages"], package, workflow.folder)
    (workflow.folder / "workflow/stages.json").write_text(described)

    listed = jobs(must(workflow.command("-n"), package, workflow.folder))
    assert listed["look"] == 1 and "train" not in listed, "no training is run again for it"
    must(workflow.command(), package, workflow.folder)

    folder, run = workflow.results(), "tiny-llama/leave_one_out/seed0"
    assert read_json(folder / f"look/{run}.json")["variant"] == "leave_one_out"
    assert [row.stage for row in attempts(folder / "ledger.jsonl")].count("look") == 1
    planned = {row["stage"] for row in read_json(folder / "plan.json")["plans"][-1]["jobs"]}
    assert "look" in planned, "it is forecast"

    crate = {entity["@id"]: entity for entity in read_json(folder / "ro-crate-metadata.json")["@graph"]}
    assert "#step/look" in crate
    (execution,) = (e for e in crate.values() if e.get("instrument") == {"@id": "#tool/look"})
    assert execution["result"] == {"@id": f"look/{run}.json"}

    verify = [sys.executable, "-m", "reinforce_lite.cli", "verify", str(folder)]
    must(verify, package, workflow.folder)
    changed = json.loads((folder / f"look/{run}.json").read_text()) | {"variant": "other"}
    (folder / f"look/{run}.json").write_text(json.dumps(changed))
    done = subprocess.run(verify, env=package, capture_output=True, text=True, check=False)
    assert done.returncode == 1 and f"look/{run}.json" in done.stdout, done.stdout
