"""One fraud at a time is planted in a finished folder, and has to be named: file, place, key."""

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from planted import COMPARE, TRAIN, TRAINED, change_row, found, named
from reinforce_lite.cli import main
from reinforce_lite.config import Settings
from reinforce_lite.errors import UserError
from reinforce_lite.io.files import read_json, read_jsonl, write_json, write_jsonl
from reinforce_lite.io.provenance import sums
from reinforce_lite.learning.curves import training_summary
from reinforce_lite.report.build import build
from reinforce_lite.report.compare import compare_evaluations
from reinforce_lite.report.verification.derive import judge
from reinforce_lite.report.verification.difference import Check, Difference
from reinforce_lite.report.verify import as_json, as_text, verify
from reinforce_lite.stages import Job, Layout
from reinforce_lite.tasks import Problem
from toys import WORLD


def test_an_untouched_folder_agrees_and_says_what_was_looked_at(folder: Path) -> None:
    checks = {check.name: check for check in verify(folder)}
    assert [str(one) for check in checks.values() for one in check.differences] == []
    assert checks["data"].looked_at == "2 files, 150 rows"
    assert checks["items"].looked_at.startswith("720 answers in 6 files")  # 120 questions x (2 baselines + 4 trained)
    assert checks["trainings"].looked_at.startswith("1,280 completions, judged again, and 160 steps of 4 runs")
    assert checks["ledger"].looked_at == "6 attempts, $0.0062"  # 448 s at $0.05 an hour
    assert checks["clocks"].looked_at.startswith("1 jobs")
    assert checks["files"].looked_at.startswith("16 records")  # 2 policies, 6 evaluations, 4 trainings, 4 comparisons
    notes = [note for check in checks.values() for note in check.notes]
    assert notes == [
        "MLflow's seconds could not be derived: they are what MLflow said when the report was made",
        "there is none: the rule crate makes it",
    ]


def test_advantages_that_do_not_follow_from_the_rewards_of_a_group_are_named(folder: Path) -> None:
    path = folder / "config.json"
    written = read_json(path)
    written["training_variants"]["leave_one_out"] = {"estimator": "critic"}
    write_json(path, written)
    (trainings,) = (check for check in verify(folder) if check.name == "trainings")
    assert trainings.notes == [
        f"train/{model}/leave_one_out/seed0: advantages by critic could not be derived, and are as stated"
        for model in ("tiny-llama", "tiny-phi")
    ]


@pytest.mark.parametrize("key", ["strict", "flexible"])
def test_an_outcome(folder: Path, key: str) -> None:
    path = folder / TRAINED / "items.jsonl"
    change_row(path, 17, lambda row: {key: not row[key]})
    file = f"{TRAINED}/items.jsonl"
    page = {one for one in named(folder) if one[0] == "report.html"}
    assert named(folder) - page == {(file, "", "SHA-256"), (file, "line 18 (test-17)", key)}
    (one,) = (one for one in found(folder) if one.key == key)
    assert one.stated is (not one.derived) is read_jsonl(path)[17][key]


def test_an_outcome_with_the_sum_made_anew(folder: Path) -> None:
    path = folder / TRAINED / "items.jsonl"
    change_row(path, 100, lambda row: {"strict": not row["strict"]})
    record = folder / TRAINED / "evaluation.json"
    write_json(record, {**read_json(record), "sums": sums(path)})
    files = {(f"{TRAINED}/items.jsonl", "line 101 (test-100)", "strict"), (f"{TRAINED}/evaluation.json", "", "SHA-256")}
    assert files <= named(folder)
    assert {one[0] for one in named(folder)} <= {f"{TRAINED}/items.jsonl", f"{TRAINED}/evaluation.json", "report.html"}


def test_a_completion_of_the_evaluation(folder: Path) -> None:
    path = folder / TRAINED / "items.jsonl"
    wrong = next(i for i, row in enumerate(read_jsonl(path)) if not row["strict"] and not row["flexible"])
    change_row(path, wrong, lambda row: {"completion": f"<answer> {row['answer']} </answer>"})
    first, second, *others = found(folder)
    place = f"line {wrong + 1} (test-{wrong})"
    assert [(one.place, one.key, one.stated, one.derived) for one in (first, second)] == [
        (place, "strict", False, True), (place, "flexible", False, True),
    ]  # fmt: skip
    told = {(one.file, one.key) for one in others}
    assert (f"{TRAINED}/items.jsonl", "SHA-256") in told
    assert (f"{TRAINED}/evaluation.json", "strict") in told, "what follows from it differs too"
    assert {(COMPARE, "trained.strict"), ("summary.json", "models.tiny-llama.delta")} <= told
    assert not any("tiny-phi" in one.file or "random_reward" in one.file for one in others)


def test_an_answer_that_was_not_cut(folder: Path) -> None:
    path = folder / "baseline/tiny-phi/items.jsonl"
    change_row(path, 3, lambda row: {"truncated": True})
    assert ("baseline/tiny-phi/items.jsonl", "line 4 (test-3)", "truncated") in named(folder)
    change_row(path, 3, lambda row: {"truncated": False, "length": 49})
    one = next(one for one in found(folder) if one.key == "length")
    assert (one.file, one.place, one.derived) == ("baseline/tiny-phi/items.jsonl", "line 4 (test-3)", 48), (
        "no answer is longer than the limit"
    )


def test_an_item_that_was_dropped(folder: Path) -> None:
    path = folder / TRAINED / "items.jsonl"
    write_jsonl(path, read_jsonl(path)[:-1])
    assert (f"{TRAINED}/items.jsonl", "test-119", "id") in named(folder)
    assert (f"{TRAINED}/evaluation.json", "", "n") in named(folder)


def test_a_data_row(folder: Path) -> None:
    change_row(folder / "data/test.jsonl", 5, lambda row: {"answer": "77"})
    assert named(folder) == {("data/test.jsonl", "", "SHA-256"), ("data/test.jsonl", "line 6 (test-5)", "answer")}
    change_row(folder / "data/train.jsonl", 5, lambda row: {"answer": "77"})
    assert ("data/train.jsonl", "", "SHA-256") in named(folder)


def test_a_gold_answer_in_the_items(folder: Path) -> None:
    change_row(folder / TRAINED / "items.jsonl", 5, lambda row: {"answer": "77"})
    file = f"{TRAINED}/items.jsonl"
    assert {one for one in named(folder) if one[0] != "report.html"} == {
        (file, "", "SHA-256"), (file, "line 6 (test-5)", "answer"),
    }  # fmt: skip


@pytest.mark.parametrize(("key", "value"), [("strict", 0.99), ("n", 119), ("length_mean", 3.0)])
def test_a_figure_of_an_evaluation(folder: Path, key: str, value: float) -> None:
    path = folder / "baseline/tiny-llama/evaluation.json"
    write_json(path, {**read_json(path), key: value})
    file = "baseline/tiny-llama/evaluation.json"
    told = named(folder)
    assert {(file, "", key), (file, "", "SHA-256")} <= told
    assert {one[0] for one in told} == {file}, "the page does not show it: it is as it was written"


def test_seconds_that_cannot_be_derived(folder: Path) -> None:
    path = folder / f"{TRAIN}/training.json"
    told = read_json(path)
    write_json(path, {**told, "checkpoint": {**told["checkpoint"], "seconds": 0.1}})
    assert (f"{TRAIN}/training.json", "", "SHA-256") in named(folder)


@pytest.mark.parametrize(
    ("key", "value"), [("delta", 0.5), ("mcnemar_p", 0.01), ("ci95", [0.2, 0.4]), ("n", 121), ("variant", "other")]
)
def test_a_comparison(folder: Path, key: str, value: Any) -> None:
    write_json(folder / COMPARE, {**read_json(folder / COMPARE), key: value})
    told = named(folder)
    assert {one[0] for one in told} == {COMPARE}
    assert {one[2].partition("[")[0] for one in told} == {key, "SHA-256"}


@pytest.mark.parametrize("key", ["reward_mean", "reward_std", "accuracy", "length_mean", "truncated", "groups_dropped",
                                 "tokens", "tokens_per_second"])  # fmt: skip
def test_a_curve_point(folder: Path, key: str) -> None:
    change_row(folder / TRAIN / "metrics.jsonl", 12, lambda row: {key: row[key] + 1})
    file = f"{TRAIN}/metrics.jsonl"
    told = {one for one in named(folder) if one[0] != "report.html"}
    assert told == {(file, "", "SHA-256"), (file, "line 13 (step 12)", key)}


def test_a_point_that_cannot_be_derived(folder: Path) -> None:
    change_row(folder / TRAIN / "metrics.jsonl", 12, lambda row: {"entropy": 0.1})
    assert (f"{TRAIN}/metrics.jsonl", "", "SHA-256") in named(folder)


@pytest.mark.parametrize("variant", ["leave_one_out", "random_reward"])
def test_a_reward_follows_from_the_text_or_the_coin(folder: Path, variant: str) -> None:
    place = f"train/tiny-phi/{variant}/seed0"
    change_row(folder / place / "completions.jsonl", 20, lambda row: {"reward": -row["reward"]})
    told = {one for one in named(folder) if one[0] != "report.html"}
    file = f"{place}/completions.jsonl"
    assert {(file, "", "SHA-256"), (file, "line 21 (step 2)", "reward")} <= told
    follow = {"advantage", "groups_dropped"}  # the weights of its group do not follow from it either
    assert {key for _, _, key in told} == {"SHA-256", "reward", *({key for _, _, key in told} & follow)}


def test_a_sampled_completion(folder: Path) -> None:
    path = folder / TRAIN / "completions.jsonl"
    wrong = next(i for i, row in enumerate(read_jsonl(path)) if row["reward"] < 0)
    change_row(path, wrong, lambda row: {"completion": f"<answer> {row['answer']} </answer>"})
    step = read_jsonl(path)[wrong]["step"]
    told = named(folder)
    assert (f"{TRAIN}/completions.jsonl", f"line {wrong + 1} (step {step})", "reward") in told
    assert (f"{TRAIN}/metrics.jsonl", f"line {step + 1} (step {step})", "accuracy") in told


@pytest.mark.parametrize(
    ("change", "key"),
    [
        ({"answer": "5"}, "answer"),
        ({"question": "What is 1 + 1?", "answer": "2"}, "question"),
        ({"truncated": True}, "truncated"),
        ({"length": 49}, "length"),
    ],
)
def test_what_was_sampled(folder: Path, change: dict[str, Any], key: str) -> None:
    change_row(folder / TRAIN / "completions.jsonl", 9, lambda row: change)
    assert (f"{TRAIN}/completions.jsonl", "line 10 (step 1)", key) in named(folder)


def test_completions_that_were_dropped(folder: Path) -> None:
    path = folder / TRAIN / "completions.jsonl"
    write_jsonl(path, read_jsonl(path)[:-1])
    one = next(one for one in found(folder) if one.key == "rows")
    assert (one.file, one.place, one.stated, one.derived) == (f"{TRAIN}/completions.jsonl", "step 39", 7, 8)


@pytest.mark.parametrize(("key", "value"), [("steps", 41), ("tokens", 1), ("kl_to_start", 0.5), ("seconds", 1.0)])
def test_a_sum_of_a_training(folder: Path, key: str, value: float) -> None:
    path = folder / TRAIN / "training.json"
    write_json(path, {**read_json(path), key: value})
    assert {(f"{TRAIN}/training.json", "", key), (f"{TRAIN}/training.json", "", "SHA-256")} <= named(folder)


def test_a_training_that_was_not_run_and_one_that_was_stopped(folder: Path, ready: Settings) -> None:
    told = {"model": "tiny-llama", "variant": "leave_one_out", "seed": 0, "not_run": "not run: no money"}
    write_json(folder / TRAIN / "training.json", {**told, "steps": 0, "steps_planned": 40, "stopped": None})
    write_json(folder / TRAINED / "evaluation.json", told)
    for path in (TRAIN + "/metrics.jsonl", TRAIN + "/completions.jsonl", TRAINED + "/items.jsonl"):
        write_jsonl(folder / path, [])
    run = {key: told[key] for key in ("model", "variant", "seed")}
    sides = folder / "baseline/tiny-llama", folder / TRAINED
    write_json(folder / COMPARE, {**run, **compare_evaluations(*sides, resamples=500, seed=0)})
    stopped = folder / "train/tiny-phi/leave_one_out/seed0"
    metrics, sampled = (read_jsonl(stopped / name) for name in ("metrics.jsonl", "completions.jsonl"))
    write_jsonl(stopped / "metrics.jsonl", metrics[:12])
    write_jsonl(stopped / "completions.jsonl", [row for row in sampled if row["step"] < 12])
    kept = read_json(stopped / "training.json")
    summed = {**kept, **training_summary(metrics[:12], ready.variant("leave_one_out")), "stopped": "stopped by budget"}
    summed["sums"] = sums(stopped / "metrics.jsonl", stopped / "completions.jsonl")
    write_json(stopped / "training.json", summed)
    decided = {
        ("tiny-llama", "train"): "not run",
        ("tiny-llama", "evaluate_trained"): "not run",
        ("tiny-phi", "train"): "stopped",
    }
    for (model, stage), kind in decided.items():
        path = Layout(folder).decision(Job(stage, model, "leave_one_out", 0))
        reason = told["not_run"] if kind == "not run" else "stopped by budget"
        write_json(path, {**read_json(path), "unfinished": reason, "kind": kind})
    build(ready, folder)
    assert [str(one) for one in found(folder)] == []
    write_jsonl(folder / TRAINED / "items.jsonl", read_jsonl(folder / "baseline/tiny-llama/items.jsonl"))
    assert (f"{TRAINED}/items.jsonl", "", "rows") in named(folder), "what was not run has no items"


@pytest.mark.parametrize(
    "name", ["config.json", "summary.json", "report.html", f"{TRAINED}/items.jsonl", COMPARE, "data/test.jsonl",
             f"{TRAIN}/completions.jsonl", "ledger.jsonl", "policies/tiny-phi/policy.json"],
)  # fmt: skip
def test_an_absent_file_is_named(folder: Path, name: str) -> None:
    (folder / name).unlink()
    with pytest.raises(UserError, match=f"{Path(name).name} does not exist"):
        verify(folder)


def test_the_command(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["verify", str(folder)]) == 0
    shown = capsys.readouterr().out.splitlines()
    assert len([line for line in shown if line.endswith(": agree")]) == 16
    write_json(folder / COMPARE, {**read_json(folder / COMPARE), "delta": 0.5})
    with pytest.raises(SystemExit, match="1"):
        main(["verify", str(folder)])
    assert f"{COMPARE}: delta is 0.5, derived 0.29166666666666669"[:60] in capsys.readouterr().out
    with pytest.raises(SystemExit, match="1"):
        main(["verify", str(folder), "--json"])
    told = json.loads(capsys.readouterr().out)
    assert told["agree"] is False
    (check,) = (check for check in told["checks"] if check["name"] == "comparisons")
    assert check["differences"] == [
        {"file": COMPARE, "place": "", "key": "delta", "stated": 0.5, "derived": pytest.approx(35 / 120)}
    ]
    (folder / "report.html").unlink()
    assert main(["verify", str(folder)]) == 2
    assert "report.html does not exist" in capsys.readouterr().err


def test_it_writes_nothing(folder: Path) -> None:
    before = {path: path.stat().st_mtime_ns for path in folder.rglob("*")}
    verify(folder)
    assert {path: path.stat().st_mtime_ns for path in folder.rglob("*")} == before


def test_a_verdict_by_hand() -> None:
    seven = Problem("test-1", "how many ?", "7")
    item = {
        "completion": "so <answer> 8 </answer>, or 7",
        "strict": True,
        "flexible": True,
        "truncated": True,
        "length": 5,
    }
    assert judge(WORLD, item, seven, 6) == {**item, "strict": False, "flexible": False, "truncated": False}
    assert judge(WORLD, item, replace(seven, answer="8"), 5) == item, (
        "as long as the limit: cut or just ended, the text does not say"
    )
    assert judge(WORLD, {**item, "completion": "it is 7"}, seven, 5) == {
        **item, "completion": "it is 7", "strict": False, "flexible": True,
    }  # fmt: skip
    assert judge(WORLD, item, replace(seven, answer="seven"), 5) == item


def test_lines_for_people() -> None:
    check = Check("items", "2 answers", [Difference("a.jsonl", "line 2 (q-1)", "strict", True, False)], ["one file"])
    assert as_text([check, Check("data", "1 file")]).splitlines() == [
        "      items: 2 answers: 1 difference",
        "             a.jsonl, line 2 (q-1): strict is True, derived False",
        "             note: one file",
        "       data: 1 file: agree",
    ]
    assert as_json([Check("data", "1 file")]) == {
        "agree": True, "verified": True,
        "checks": [{"name": "data", "looked_at": "1 file", "differences": [], "notes": [], "unverified": []}],
    }  # fmt: skip
