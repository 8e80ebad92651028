import pytest

from reinforce_lite.config import Settings
from reinforce_lite.io.files import read_json, read_jsonl, write_json, write_jsonl
from reinforce_lite.report.build import build
from reinforce_lite.report.page import SECTIONS
from reinforce_lite.report.questions import answers

pytestmark = pytest.mark.usefixtures("spent", "drawn_once")


def told(settings: Settings) -> dict[str, str]:
    build(settings, settings.folder)
    found = answers(settings, settings.folder, read_json(settings.folder / "summary.json"))
    assert {answer.section for answer in found} <= set(SECTIONS)
    return {answer.question: answer.answer for answer in found}


def test_every_question_has_its_answer(ready: Settings) -> None:
    found = told(ready)
    assert found["How many seeds?"] == "1 training seed (0), so nothing is known about others"
    assert found["Which price?"].startswith(
        "$0.05 an hour for 2 shared CPU cores, by a cloud's price list, read on 2026-11-01"
    )
    assert found["Which price?"].endswith("it holds for failed attempts too")
    assert found["What was decided beforehand?"].startswith("level 0.05, two-sided, Holm over the models")


def test_tokens_are_those_of_the_records(ready: Settings) -> None:
    layout = ready.folder
    trainings = [read_json(path) for path in layout.glob("train/*/*/seed0/training.json")]
    evaluations = [read_json(path) for path in layout.glob("**/evaluation.json")]
    written = round(sum(found["n"] * found["length_mean"] for found in evaluations))
    assert len(trainings) == 4
    assert told(ready)["How many questions and tokens?"] == (
        f"120 test questions, answered by 6 policies in {written:,} tokens; "
        f"{sum(found['completions'] for found in trainings):,} completions of "
        f"{sum(found['tokens'] for found in trainings):,} tokens in training (prompts not counted)"
    )


def test_what_the_budget_left_out_is_excluded(fresh: Settings) -> None:
    path = fresh.folder / "train/tiny-phi/random_reward/seed0/training.json"
    write_json(path, read_json(path) | {"stopped": "stopped by budget at step 3 of 40", "steps_skipped": 2})
    found = told(fresh)["What was excluded?"]
    assert "2 steps that were not finite" in found
    assert "by the budget: 1 jobs, named there" in found


def test_a_second_commit_is_named(fresh: Settings) -> None:
    path = fresh.folder / "trained/tiny-phi/random_reward/seed0/evaluation.json"
    write_json(path, read_json(path) | {"made_with": {"git_commit": "abc", "image": "sha256:1"}})
    assert "abc in the container image sha256:1" in told(fresh)["Which commit?"]


def test_what_the_flexible_parser_misses_is_said_of_base_and_trained_alike(fresh: Settings) -> None:
    for place, missed in (("baseline/tiny-llama", 12), ("trained/tiny-llama/leave_one_out/seed0", 3)):
        path = fresh.folder / place / "items.jsonl"
        rows = read_jsonl(path)
        wrong = [row for row in rows if not row["flexible"]][:missed]
        for row in wrong:
            row["completion"] = f"He has {row['answer']} in 0 weeks."
        write_jsonl(path, rows)
    found = told(fresh)["How many right answers does the flexible parser miss?"]
    assert "tiny-llama: before training 10.0% of the answers (12; 95% interval [5.3, 16.8])" in found
    assert "after it 2.5% of the answers (3; 95% interval [0.5, 7.1])" in found
    assert "tiny-phi: before training 0.0% of the answers (0; 95% interval [0.0, 3.0])" in found


def test_nothing_is_said_of_what_is_nowhere_missed(ready: Settings) -> None:
    assert "How many right answers does the flexible parser miss?" not in told(ready)
