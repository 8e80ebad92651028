import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from reinforce_lite.cli import main
from reinforce_lite.errors import UserError
from reinforce_lite.files import write_json, write_jsonl
from reinforce_lite.report.traces import contrast, of_runs
from reinforce_lite.settings import Settings

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


def completions() -> list[dict[str, Any]]:
    """Two groups; those that wait earn 2 more in one, as much in the other. Right answers are 3 tokens longer."""
    rows = [("a", True, 1), ("a", False, -1), ("b", True, 1), ("b", False, 1)]
    return [
        {
            "step": 0,
            "question": question,
            "answer": "4",
            "completion": f"{WAITS if waits else CAREFUL} <answer> {4 if reward > 0 else 5} </answer>",
            "reward": reward,
            "length": 8 if reward > 0 else 5,
        }
        for question, waits, reward in rows
    ]


def test_the_table_of_an_experiment(fresh: Settings, command: Callable[..., int], capsys: Any) -> None:
    write_jsonl(fresh.folder / "train/tiny-llama/leave_one_out/seed0/completions.jsonl", completions())
    assert command() == 0
    shown = capsys.readouterr().out.splitlines()
    assert shown[0] == "tiny-llama leave_one_out seed0, 120 questions"
    rows = {line.split()[0]: line.split()[1:] for line in shown[2:10]}
    # Every trained text of the fixture waits, no text of the base policy does: 2 / 2**120.
    waits = ["0.0%", "100.0%", "120", "0", "<", "0.0001", "+1.00", "[+0.00,", "+2.00]", "2"]
    assert rows["backtracking"] == waits
    assert rows["tables"] == ["0.0%", "0.0%", "0", "0", "1.000", "-", "-", "0"]
    lengths = [line for line in shown if line.startswith("right less wrong")]
    assert lengths[0] == "right less wrong, same question in training: +3.0, 95% interval -, groups 1"
    assert sum(line.endswith(", 120 questions") for line in shown) == 4  # two models, two variants


def test_as_json(fresh: Settings, command: Callable[..., int], capsys: Any) -> None:
    assert command("--json") == 0
    found = json.loads(capsys.readouterr().out)["runs"]
    assert [(run["model"], run["variant"]) for run in found] == [
        (model, variant) for model in fresh.models for variant in fresh.variants
    ]
    assert found[0]["contrast"]["behaviours"]["backtracking"]["gained"] == 120
    within = found[0]["within_question"]
    assert (within["completions"], within["groups"]) == (320, 80)  # 40 steps of 2 questions and 4 completions


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


def test_a_completion_without_a_reward(fresh: Settings) -> None:
    rows = completions()
    del rows[2]["reward"]
    write_jsonl(fresh.folder / "train/tiny-llama/leave_one_out/seed0/completions.jsonl", rows)
    with pytest.raises(UserError, match=r"completions.jsonl, line 3: no key 'reward'"):
        of_runs(fresh, seed=0)


def test_labelled_says_what_a_hand_counts(capsys: Any) -> None:
    assert main(["traces", "--labelled"]) == 0
    dev, held_out = capsys.readouterr().out.split("\n\n")
    # Tables of the dev half: 035 (markdown) and 037 (columns of blanks) are found, 039 (columns of commas) is not.
    assert ["tables", "3", "2", "2", "100.0%", "66.7%"] in [line.split() for line in dev.splitlines()]
    # Of the other half: 036 (ASCII), 038 (columns of blanks) and 084 (markdown); 040 (one bar a line) is not.
    assert ["tables", "4", "3", "3", "100.0%", "75.0%"] in [line.split() for line in held_out.splitlines()]
    assert main(["traces", "--labelled", "--json"]) == 0
    splits = json.loads(capsys.readouterr().out)["splits"]
    assert splits["dev"]["tables"]["recall"] == pytest.approx(2 / 3)


@pytest.mark.parametrize("options", [[], ["--labelled", "--config", "config.json"]])
def test_one_of_two_things_is_asked_for(options: list[str], capsys: Any) -> None:
    assert main(["traces", *options]) == 2
    assert "--labelled or --config, and not both" in capsys.readouterr().err
