"""Countdown goes through the whole DAG, with TinyZero's reward."""

from pathlib import Path
from typing import Any

import pytest
from dag_runner import ROOT, Workflow, in_small

from reinforce_lite.config import load
from reinforce_lite.io.files import read_jsonl
from reinforce_lite.report.verify import verify
from reinforce_lite.tasks import Grade, Problem, named

SMALL = {
    "experiment": "small",
    "seeds": [0],
    "policies": {"tiny-llama": {"start": {"steps": 60}}},
    "training": {"reward": "tinyzero", "steps": 2},
}


@pytest.fixture(scope="module")
def searched(shared: Path) -> Workflow:
    return in_small(shared, "tiny_countdown", SMALL)


@pytest.mark.slow
def test_the_original_reward_is_paid_and_the_result_verifies(searched: Workflow) -> None:
    folder = searched.results("small")

    def graded(row: dict[str, Any]) -> Grade:
        return named("countdown").grade(row["completion"], Problem("", row["question"], row["answer"]))

    completions = read_jsonl(folder / "train/tiny-llama/leave_one_out/seed0/completions.jsonl")
    assert completions and all(row["reward"] == graded(row)["tinyzero"] for row in completions)
    assert {row["reward"] for row in completions} & {0.1, 1.0}, "some of them are answers"
    items = read_jsonl(folder / "baseline/tiny-llama/items.jsonl")
    assert all(item["strict"] == graded(item)["correct"] for item in items)
    assert all((item["unread"] is None) == graded(item)["format"] for item in items)
    assert [str(one) for check in verify(folder) for one in check.differences] == []


def test_the_tiny_configuration_is_valid_and_has_words_for_all_it_asks() -> None:
    tiny = load([ROOT / "config/config.yaml", ROOT / "config/tiny_countdown.yaml"])
    task = named(tiny.task.name)
    assert task.preflight(tiny.task) and task.test_problems(tiny.task) == 700
    data = task.build(tiny.task.model_copy(update={"demonstrations": 200}))
    longest = max(len(str(problem.solution).split()) for problem in data.train)
    assert longest < tiny.training.max_new_tokens == tiny.evaluation.max_new_tokens
    assert len(data.train) == tiny.training.steps * tiny.training.questions_per_step, "each is learnt from once"


@pytest.mark.parametrize(
    ("text", "value"),
    [("*", "*"), ("[", "["), ("%", "%"), ("1e-4", "1e-4"), ("0.5", 0.5), ("7", 7), ("a" * 40, "a" * 40)],
)
def test_the_workflow_reads_what_the_command_line_gives_and_keeps_other_text(text: str, value: object) -> None:
    lines = (ROOT / "workflow/rules/common.smk").read_text().partition("def has_package")[0]
    names: dict[str, Any] = {}
    exec(lines, names)
    assert names["plain"]({"operators": [text]}, {"operators": [text]}) == {"operators": [value]}
    assert names["plain"]({"operators": [text]}) == {"operators": [text]}, "what a file has as text is text"
