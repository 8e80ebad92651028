"""Knights and knaves go through the whole DAG in their tiny form."""

from pathlib import Path
from typing import Any

import pytest
import yaml
from dag_runner import ROOT, Workflow, in_small

from reinforce_lite.config import load
from reinforce_lite.io.files import read_json, read_jsonl
from reinforce_lite.report.verify import verify
from reinforce_lite.tasks import Grade, Problem, named

SMALL = {
    "experiment": "small",
    "seeds": [0],
    "task": {"test_people": [3, 4], "order": "curriculum", "people": [2, 3], "train_size": 20},
    "policies": {"tiny-llama": {"start": {"steps": 60}}},
    "training": {"reward": {"correct": 2.0, "format": 0.5, "rejected_attempts": 0.1}, "steps": 2, "shuffle": False},
    "evaluation": {"memorisation": 8},
}


@pytest.fixture(scope="module")
def islanders(shared: Path) -> Workflow:
    return in_small(shared, "tiny_knights", SMALL)


@pytest.mark.slow
def test_the_chosen_scores_are_paid_in_the_order_of_the_curriculum_and_the_result_verifies(islanders: Workflow) -> None:
    folder = islanders.results("small")

    def graded(row: dict[str, Any]) -> Grade:
        return named("knights_knaves").grade(row["completion"], Problem("", row["question"], row["answer"]))

    completions = read_jsonl(folder / "train/tiny-llama/leave_one_out/seed0/completions.jsonl")
    for row in completions:
        grade = graded(row)
        paid = 2.0 * grade["correct"] + 0.5 * grade["format"] + 0.1 * grade["rejected_attempts"]
        assert row["reward"] == pytest.approx(paid)
    assert {row["answer"].count("\n") for row in completions} == {1}, "two people come first"
    items = read_jsonl(folder / "baseline/tiny-llama/items.jsonl")
    assert all(item["strict"] == graded(item)["correct"] for item in items)
    assert {item["id"].rpartition("-")[2] for item in items} == {"3people", "4people"}
    learnt = read_json(folder / "summary.json")["models"]["tiny-llama"]["memorisation"]
    assert [row["n"] for row in (learnt["baseline"], *learnt["runs"])] == [8, 8]
    base, trained = (
        [row["question"] for row in read_jsonl(path)] for path in sorted(folder.rglob("memorisation.jsonl"))
    )
    assert base == trained and len(base) == 16, "and nothing is left of what was kept of unfinished ones"
    assert [str(one) for check in verify(folder) for one in check.differences] == []


def test_the_tiny_configuration_is_valid_and_has_words_for_all_it_asks() -> None:
    tiny = load([ROOT / "config/config.yaml", ROOT / "config/tiny_knights.yaml"])
    task = named(tiny.task.name)
    assert task.preflight(tiny.task) and task.test_problems(tiny.task) == 700
    data = task.build(tiny.task.model_copy(update={"demonstrations": 200}))
    texts = [*(str(problem.solution) for problem in data.train), *(one.completion for one in data.demonstrations)]
    assert max(len(text.split()) for text in texts) < tiny.training.max_new_tokens < tiny.evaluation.max_new_tokens
    assert {word for text in texts for word in text.split()} <= set(task.vocabulary)


@pytest.mark.parametrize("reward", ["logic_rl", "logic_rl_format", {"correct": 2.0, "hedged": -1.0, "language": 0.5}])
def test_rewards_are_selected_by_configuration(reward: Any, tmp_path: Path) -> None:
    (tmp_path / "mine.yaml").write_text(yaml.safe_dump({"training": {"reward": reward}}))
    settings = load([ROOT / "config/config.yaml", ROOT / "config/tiny_knights.yaml", tmp_path / "mine.yaml"])
    assert settings.variant("leave_one_out").reward == reward
