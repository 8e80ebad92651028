import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from reinforce_lite.cli import main
from reinforce_lite.config import Settings
from reinforce_lite.errors import UserError
from reinforce_lite.io.files import write_json, write_jsonl
from reinforce_lite.report.traces import contrast

WAITS, CAREFUL, LOOPS = "3 + 1 = 5 wait 3 + 1 = 4 .", "3 + 1 = 4 .", "It is 4 . It is 4 . It is 4 ."


def item(number: int, completion: str, strict: bool, length: int) -> dict[str, Any]:
    fixed = {"question": f"q{number}", "answer": "4", "flexible": strict, "truncated": False}
    return {"id": f"test-{number}", "completion": completion, "strict": strict, "length": length, **fixed}


@pytest.fixture
def sides(tmp_path: Path) -> Callable[..., dict[str, Any]]:
    def contrasted(before: list[dict[str, Any]], after: list[dict[str, Any]]) -> dict[str, Any]:
        write_jsonl(tmp_path / "before.jsonl", before)
        write_jsonl(tmp_path / "after.jsonl", after)
        return contrast(tmp_path / "before.jsonl", tmp_path / "after.jsonl")

    return contrasted


@pytest.fixture
def command(fresh: Settings) -> Callable[..., int]:
    return lambda *options: main(["traces", "--config", str(fresh.folder / "config.json"), *options])


def test_contrast_worked(sides: Callable[..., dict[str, Any]]) -> None:
    before = [item(i, WAITS if i == 0 else CAREFUL, strict=i < 2, length=10 + i) for i in range(8)]
    after = [item(i, WAITS if i >= 2 else CAREFUL, strict=True, length=20 + i) for i in range(8)]
    after[1]["completion"] = LOOPS
    found = sides(before, after[::-1])
    assert found["n"] == 8 and len(found["behaviours"]) == 8
    assert found["behaviours"]["backtracking"] == {
        "before": 1 / 8,
        "after": 6 / 8,
        "gained": 6,
        "lost": 1,
        "mcnemar_p": pytest.approx(0.125),  # 2 x (1 + 7) / 2**7
    }
    assert found["behaviours"]["repetition"]["after"] == 1 / 8
    assert found["behaviours"]["tables"] == {"before": 0, "after": 0, "gained": 0, "lost": 0, "mcnemar_p": 1}
    assert found["length"] == {"before": {"right": 10.5, "wrong": 14.5}, "after": {"right": 23.5, "wrong": None}}
    json.dumps(found, allow_nan=False)


def test_contrast_needs_the_same_questions(sides: Callable[..., dict[str, Any]]) -> None:
    with pytest.raises(UserError, match=r"after.jsonl lacks 1 question"):
        sides([item(1, WAITS, True, 5), item(2, WAITS, True, 5)], [item(1, WAITS, True, 5)])


def test_the_table_of_an_experiment(fresh: Settings, command: Callable[..., int], capsys: Any) -> None:
    assert command() == 0
    shown = capsys.readouterr().out.splitlines()
    assert shown[0] == "tiny-llama leave_one_out seed0, 120 questions"
    rows = {line.split()[0]: line.split()[1:] for line in shown[2:10]}
    # Every trained text of the fixture waits, no text of the base policy does: 2 / 2**120.
    assert rows["backtracking"] == ["0.0%", "100.0%", "120", "0", "<", "0.0001"]
    assert rows["tables"] == ["0.0%", "0.0%", "0", "0", "1.000"]
    assert shown[11].split() == ["tokens", "of", "answers", "that", "are", "right", "wrong"]
    assert sum(line.endswith(", 120 questions") for line in shown) == 4  # two models, two variants


def test_as_json(fresh: Settings, command: Callable[..., int], capsys: Any) -> None:
    assert command("--json") == 0
    found = json.loads(capsys.readouterr().out)["runs"]
    assert [(run["model"], run["variant"]) for run in found] == [
        (model, variant) for model in fresh.models for variant in fresh.variants
    ]
    assert found[0]["contrast"]["behaviours"]["backtracking"]["gained"] == 120


def test_a_policy_that_was_not_evaluated_says_why(fresh: Settings, command: Callable[..., int], capsys: Any) -> None:
    folder = fresh.folder / "trained/tiny-phi/random_reward/seed0"
    write_json(folder / "evaluation.json", {"not_run": "the money was spent"})
    (folder / "items.jsonl").unlink()
    assert command() == 0
    assert capsys.readouterr().out.endswith("tiny-phi random_reward seed0: the money was spent\n")


def test_an_experiment_that_is_not_finished(fresh: Settings, command: Callable[..., int], capsys: Any) -> None:
    (fresh.folder / "trained/tiny-phi/random_reward/seed0/evaluation.json").unlink()
    assert command() == 2
    shown = capsys.readouterr()
    assert shown.out == "" and "evaluation.json does not exist" in shown.err
