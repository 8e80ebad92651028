import re
from datetime import UTC, date, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from reinforce_lite.budget.ledger import Attempt
from reinforce_lite.config import Settings, validate
from reinforce_lite.io.files import read_json, write_json, write_jsonl
from reinforce_lite.report import money
from reinforce_lite.report.build import build
from reinforce_lite.report.compare import compare_evaluations
from reinforce_lite.report.summary_model import Summary

REASON = "not run: $9.00 of $10.00 are spent; budget.limit_usd: 12 would be enough"
NOON = datetime(2026, 11, 2, 12, tzinfo=UTC)


def attempt(seconds: float, outcome: Any = "finished", model: str = "tiny-llama") -> Attempt:
    price = ("a card", 1, 3.6, "a shop", date(2026, 11, 1))
    return Attempt("0", "train", model, "leave_one_out", 0, NOON, NOON + timedelta(seconds=seconds), outcome, *price)


def plan(refused: str | None, usd: float) -> dict[str, Any]:
    row = {"stage": "train", "usd": {"low": usd / 2, "expected": usd, "high": 2 * usd}}
    return {
        "time": "2026-11-02T12:00:00+00:00", "by": "preflight", "limit_usd": 10.0, "spent_usd": 0.5, "enough_usd": 8.0,
        "refused": refused, "jobs": [row, row],
    }  # fmt: skip


def test_a_gained_point_by_hand(fresh: Settings) -> None:
    run = {"model": "tiny-llama", "variant": "leave_one_out", "seed": 0}
    # 3,000 + 1,000 s at $3.60 an hour are $4, the killed attempt included; 8 points cost $0.50 each, 2 points $2.
    spent = [attempt(3000), attempt(1000, "killed"), attempt(500, model="tiny-phi")]
    (row,) = money.per_point(fresh, [{**run, "delta": 0.08, "ci95": [0.02, 0.16]}], spent)
    assert row == {**run, "training_usd": pytest.approx(4), "usd_per_point": pytest.approx(0.5),
                   "ends": [pytest.approx(0.25), pytest.approx(2)]}  # fmt: skip
    (worse,) = money.per_point(fresh, [{**run, "delta": -0.01, "ci95": [-0.05, 0.04]}], spent)
    assert worse["usd_per_point"] is None and worse["ends"] == [pytest.approx(1), None]
    assert money.per_point(fresh, [{**run, "delta": None, "ci95": None}], spent) == []


def test_the_published_run_at_this_price(fresh: Settings) -> None:
    dear = fresh.model_copy(update={"hardware": fresh.hardware.model_copy(update={"usd_per_hour": 0.5})})
    found = money.published(dear)
    assert found == {"usd_by_hours": 6, "usd_by_steps": pytest.approx(558 * 77 / 3600 * 0.5)}


def test_the_plan_is_the_first_that_was_not_refused(tmp_path: Path) -> None:
    assert money.first_plan(tmp_path) is None
    write_json(tmp_path / "plan.json", {"plans": [plan("no", 1), plan(None, 2), plan(None, 3)]})
    found = money.first_plan(tmp_path)
    assert found is not None and found["by_stage"] == {"train": {"low": 2, "expected": 4, "high": 8}}
    write_json(tmp_path / "plan.json", {"plans": [plan("no", 1)]})
    found = money.first_plan(tmp_path)
    assert found is not None and found["refused"] == "no"


def not_run(settings: Settings, model: str) -> None:
    """As if the budget had had no room for the first training of a model."""
    run = Path(model, "leave_one_out", "seed0")
    told = {"model": model, "variant": "leave_one_out", "seed": 0, "not_run": REASON}
    folder = settings.folder
    write_json(folder / "train" / run / "training.json", {**told, "steps": 0, "steps_planned": 40, "stopped": None})
    for name in ("metrics.jsonl", "completions.jsonl"):
        write_jsonl(folder / "train" / run / name, [])
    write_json(folder / "trained" / run / "evaluation.json", told)
    write_jsonl(folder / "trained" / run / "items.jsonl", [])
    sides = folder / "baseline" / model, folder / "trained" / run
    result = compare_evaluations(*sides, resamples=100, seed=0)
    write_json(folder / f"compare/{run}.json", {**{key: told[key] for key in ("model", "variant", "seed")}, **result})


def test_what_was_not_run_is_said_and_the_rest_is_shown(fresh: Settings) -> None:
    not_run(fresh, "tiny-llama")
    write_json(fresh.folder / "plan.json", {"plans": [plan(None, 0.002)]})
    path = fresh.folder / "train/tiny-phi/leave_one_out/seed0/training.json"
    stop = "stopped by budget at step 12 of 40"
    write_json(path, {**read_json(path), "steps": 12, "steps_planned": 40, "stopped": stop})
    build(fresh, fresh.folder)
    summary = read_json(fresh.folder / "summary.json")
    Summary.model_validate(summary)
    llama, phi = (summary["models"][name] for name in ("tiny-llama", "tiny-phi"))
    assert llama["not_run"] == REASON and llama["trained"] is None is llama["mcnemar_p"]
    assert llama["baseline"]["strict"] == 0.5 and llama["n"] == 120
    assert [run["not_run"] for run in llama["runs"]] == [REASON, None], "its control was run"
    assert (phi["not_run"], phi["stopped"]) == (None, stop)
    page = (fresh.folder / "report.html").read_text(encoding="utf-8")
    assert page.count(REASON) >= 2 and "50.0% → not run" in page
    assert f"Its training was {stop}." in page and "12 of 40, stopped by budget" in page
    assert re.search(
        r"train tiny-llama leave_one_out seed0, evaluate_trained tiny-llama leave_one_out seed0: not", page
    )
    assert "US dollars by stage, planned and spent: train $0.0040 [$0.0020, $0.0080], spent" in page
    assert "12 hours on one card" not in page, "a CPU is no card"
    config = fresh.model_dump(mode="json")
    build(validate({**config, "hardware": {**config["hardware"], "device": "cuda"}}), fresh.folder)
    page = (fresh.folder / "report.html").read_text(encoding="utf-8")
    assert "12 hours on one card, would cost $0.60 at this price" in page  # $0.05 an hour


def test_nothing_but_a_refused_plan(fresh: Settings) -> None:
    for model in fresh.models:
        not_run(fresh, model)
        write_json(fresh.folder / "baseline" / model / "evaluation.json", {"not_run": REASON})
        write_jsonl(fresh.folder / "baseline" / model / "items.jsonl", [])
        write_json(fresh.folder / "policies" / model / "policy.json", {"model": model, "not_run": REASON})
        for variant in fresh.variants:
            run = Path(model, variant, "seed0")
            sides = fresh.folder / "baseline" / model, fresh.folder / "trained" / run
            named = {"model": model, "variant": variant, "seed": 0}
            found = compare_evaluations(*sides, resamples=100, seed=0)
            write_json(fresh.folder / f"compare/{run}.json", {**named, **found})
    build(fresh, fresh.folder)
    summary = read_json(fresh.folder / "summary.json")
    Summary.model_validate(summary)
    assert all(model["baseline"] is None and model["not_run"] == REASON for model in summary["models"].values())
    assert "No trained policy was evaluated." in (fresh.folder / "report.html").read_text(encoding="utf-8")
