"""A task that is one file outside of the package goes through the whole DAG."""

import shutil
from pathlib import Path
from typing import Any

import pytest
import yaml
from dag_runner import MINI, ROOT, Workflow, copy_workflow
from test_dag import jobs

from made_once import made_once
from reinforce_lite.io.files import read_json, read_jsonl
from reinforce_lite.io.provenance import sha256_file
from reinforce_lite.report.verify import verify
from reinforce_lite.tasks import Grade, Problem, named

CONFIG = (*MINI, "config/third.yaml")
OVERLAY = {
    "experiment": "third",
    "task": {"name": "third_task.py", "prompt": "plain", "letters": 4},
    "training": {"steps": 2, "reward": {"correct": 1.0, "placed": 0.5}},
}
"""All that the task needs beside its file."""


def make(folder: Path) -> None:
    workflow = copy_workflow(folder)
    shutil.copy(ROOT / "tests/tasks/third_task.py", folder)
    (folder / "config/third.yaml").write_text(yaml.safe_dump(OVERLAY))
    workflow.must_run(config=CONFIG)


@pytest.fixture(scope="module")
def sorted_letters(shared: Path) -> Workflow:
    """Nobody may change it."""
    return Workflow(made_once(shared, "third", make))


@pytest.mark.slow
def test_its_grade_pays_judges_and_verifies(sorted_letters: Workflow, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(sorted_letters.folder)
    folder = sorted_letters.results("third")

    def graded(row: dict[str, Any]) -> Grade:
        return named("third_task.py").grade(row["completion"], Problem("", row["question"], row["answer"]))

    completions = read_jsonl(folder / "train/tiny-llama/leave_one_out/seed0/completions.jsonl")
    assert all(row["reward"] == graded(row)["correct"] + 0.5 * graded(row)["placed"] for row in completions)
    assert len({row["reward"] for row in completions}) > 2, "partial credit is paid"
    items = read_jsonl(folder / "baseline/tiny-llama/items.jsonl")
    assert all(item["strict"] == item["flexible"] == graded(item)["correct"] for item in items)
    assert [str(one) for check in verify(folder) for one in check.differences] == []
    source = read_json(folder / "data/manifest.json")["source"]
    assert source == {"letters": 4, "task file, sha256": sha256_file(sorted_letters.folder / "third_task.py")}


@pytest.mark.slow
def test_another_grade_runs_again_what_it_judged(sorted_letters: Workflow, tmp_path: Path) -> None:
    assert "Nothing to be done" in sorted_letters.run("-n", config=CONFIG).stdout
    changed = sorted_letters.copied(tmp_path)
    with (tmp_path / "third_task.py").open("a") as file:
        file.write("# another grade\n")
    assert {"prepare_dataset", "train", "evaluate_baseline"} <= jobs(changed.run("-n", config=CONFIG).stdout).keys()
