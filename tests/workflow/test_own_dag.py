"""Questions and a reward of the user's own go through the whole DAG: README's files, as a new user writes them."""

import json
import random
import re
import shutil
from pathlib import Path

import pytest
import yaml
from dag_runner import ROOT, Workflow, copy_workflow
from test_dag import jobs

from made_once import made_once
from reinforce_lite.io.files import read_json, read_jsonl, write_jsonl
from reinforce_lite.io.provenance import sha256_file
from reinforce_lite.report.verify import verified, verify
from reinforce_lite.tasks.word_world import demonstrate, make_problem

CONFIG = ("config/tiny.yaml", "config/mini.yaml", "my.yaml")
SMALLER = {"training": {"steps": 2}, "task": {"grade": "my_grade.py:judge"}}
GRADE = """
def judge(completion, problem):
    return completion.rpartition("<answer>")[2].partition("</answer>")[0].split() == [problem.answer]
"""


def written(language: str) -> str:
    """The block of this language in README's section."""
    section = (ROOT / "README.md").read_text().partition("### Your own data and reward")[2].partition("### Models")[0]
    (block,) = re.findall(rf"```{language}\n(.*?)```", section, re.DOTALL)
    return block


def questions(count: int) -> list[dict[str, object]]:
    """README's, and more of the kind."""
    rows, rng = [json.loads(line) for line in written("json").splitlines()], random.Random(5)
    asked = {row["question"] for row in rows}
    while len(rows) < count:
        drawn = make_problem(rng, rng.choice((1, 2)))
        if drawn.text not in asked:
            asked.add(drawn.text)
            rows.append(
                {"question": drawn.text, "answer": drawn.answer, "solution": demonstrate(drawn, "careful", rng)}
            )
    return rows


def make(folder: Path) -> None:
    workflow = copy_workflow(folder)
    write_jsonl(folder / "my.jsonl", questions(200))
    (folder / "my_reward.py").write_text(written("python"))
    (folder / "my_grade.py").write_text(GRADE)
    mine = yaml.safe_load(written("yaml"))
    for section, values in SMALLER.items():
        mine[section] |= values
    (folder / "my.yaml").write_text(yaml.safe_dump(mine))
    workflow.must_run(config=CONFIG)


@pytest.fixture(scope="module")
def mine(shared: Path) -> Workflow:
    """Nobody may change it."""
    return Workflow(made_once(shared, "mine", make))


@pytest.mark.slow
def test_the_results_verify_from_their_folder_alone(mine: Workflow, tmp_path: Path) -> None:
    folder = mine.results("mine")
    assert read_json(folder / "data/manifest.json")["counts"] == {
        "train": 150, "dev": 10, "test": 40, "demonstrations": 100,
    }  # fmt: skip
    source = read_json(folder / "data/manifest.json")["source"]
    assert source["train, sha256"] == sha256_file(mine.folder / "my.jsonl")
    completions = read_jsonl(folder / "train/tiny-llama/leave_one_out/seed0/completions.jsonl")
    assert all(row["reward"] == sum(row["reward_parts"].values()) for row in completions)
    assert {row["reward"] for row in completions} - {0.0, 1.0}, "partial credit is paid"
    copied = Path(shutil.copytree(folder, tmp_path / "mine"))
    checks = verify(copied)
    assert [str(one) for check in checks for one in check.differences] == [] and verified(checks)
    for name in ("data/my_grade.py", "train/tiny-llama/leave_one_out/seed0/my_reward.py"):
        assert sha256_file(copied / name) == sha256_file(mine.folder / Path(name).name)


@pytest.mark.slow
def test_its_report_is_about_itself(mine: Workflow) -> None:
    page = (mine.results("mine") / "report.html").read_text()
    said = (
        "tiny-llama before and after reinforcement learning (leave_one_out) on jsonl (my.jsonl): greedy answers to 40"
    )
    assert said in page and read_json(mine.results("mine") / "summary.json")["description"] == ""
    shown = re.sub(r"<details>.*?</details>|<(script|style)>.*?</\1>|<[^>]*>", " ", page, flags=re.DOTALL)
    assert re.findall(r"Llama(?!ForCausalLM)|Phi-|[Aa]rticle", shown) == []


@pytest.mark.slow
@pytest.mark.parametrize("name", ["train/tiny-llama/leave_one_out/seed0/my_reward.py", "data/my_grade.py"])
def test_another_file_in_the_results_is_seen(mine: Workflow, tmp_path: Path, name: str) -> None:
    copied = Path(shutil.copytree(mine.results("mine"), tmp_path / "mine"))
    with (copied / name).open("a") as file:
        file.write("# it gives the same\n")
    found = {check.name: [str(one) for one in check.differences] for check in verify(copied)}
    assert any(Path(name).name in one for one in found["keys"]) and found["manifest"]


@pytest.mark.slow
def test_a_part_of_a_reward_that_was_changed_is_seen(mine: Workflow, tmp_path: Path) -> None:
    copied = Path(shutil.copytree(mine.results("mine"), tmp_path / "mine"))
    path = copied / "train/tiny-llama/leave_one_out/seed0/completions.jsonl"
    rows = read_jsonl(path)
    rows[3]["reward_parts"]["sums"] += 0.05
    write_jsonl(path, rows)
    found = {check.name: [str(one) for one in check.differences] for check in verify(copied)}
    assert any("reward_parts" in one for one in found["trainings"])


@pytest.mark.slow
def test_changed_files_run_again_what_was_made_of_them(mine: Workflow, tmp_path: Path) -> None:
    assert "Nothing to be done" in mine.run("-n", config=CONFIG).stdout
    changed = mine.copied(tmp_path)
    reward, data = tmp_path / "my_reward.py", tmp_path / "my.jsonl"
    with reward.open("a") as file:
        file.write("# another reward\n")
    again = jobs(changed.run("-n", config=CONFIG).stdout).keys()
    assert {"preflight", "train", "evaluate_trained", "report"} <= again
    assert not {"prepare_dataset", "fetch_policy", "evaluate_baseline"} & again
    shutil.copy(mine.folder / "my_reward.py", reward)
    with data.open("a") as file:
        file.write("\n")
    assert "prepare_dataset" in jobs(changed.run("-n", config=CONFIG).stdout)
