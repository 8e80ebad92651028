from dataclasses import replace
from datetime import UTC, date, datetime, timedelta
from pathlib import Path
from typing import Any

import jsonschema
import pytest
from pydantic import ValidationError

from reinforce_lite.budget.ledger import Attempt
from reinforce_lite.config import Settings
from reinforce_lite.config import validate as validate_settings
from reinforce_lite.errors import UserError
from reinforce_lite.io.files import write_json, write_jsonl
from reinforce_lite.report.summary import cost, provenance, reconcile, summarise
from reinforce_lite.report.summary_model import Published, Summary

START = datetime(2026, 11, 1, 12, tzinfo=UTC)


@pytest.fixture
def settings() -> Settings:
    scratch = {"from_scratch": {"architecture": "llama"}, "start": {"steps": 1, "learning_rate": 1e-3, "seed": 3}}
    return validate_settings(
        {
            "experiment": "small",
            "description": "A test.",
            "models": ["a", "b"],
            "variants": ["default", "random"],
            "seeds": [4, 5],
            "hardware": {
                "device": "cpu",
                "name": "a laptop",
                "memory_gib": 8,
                "usd_per_hour": 2.0,
                "price_source": "a guess",
                "price_date": "2026-11-01",
            },
            "budget": {"limit_usd": 1.0},
            "task": {"name": "word_world", "dev_size": 0, "seed": 9},
            "policies": {"a": scratch, "b": {**scratch, "published": {"baseline": 0.7, "trained": 0.8}}},
            "training": {"steps": 1, "questions_per_step": 1, "max_new_tokens": 8, "learning_rate": 1e-4},
            "training_variants": {"default": {}, "random": {"reward": "random"}},
            "evaluation": {"max_new_tokens": 8, "batch_size": 1},
            "container": {"image": "docker://example/image"},
        }
    )


def comparison(model: str, variant: str, seed: int, delta: float = 0.25) -> dict[str, Any]:
    side = {"strict": 0.5, "flexible": 0.5, "truncated": 0.0, "length": 11.5}
    change = {"delta": delta, "ci95": [0.0, 0.5], "discordant": {"gained": 1, "lost": 0}, "mcnemar_p": 1.0}
    figures = {"n": 4, "baseline": side, "trained": side, **change, "flexible": change}
    return {"model": model, "variant": variant, "seed": seed, **figures}


def attempt(stage: str, seconds: float, outcome: Any = "finished") -> Attempt:
    return Attempt(
        id="0",
        stage=stage,
        model="a",
        variant=None,
        seed=None,
        started=START,
        ended=START + timedelta(seconds=seconds),
        outcome=outcome,
        device="a laptop",
        count=1,
        usd_per_hour=2.0,
        price_source="a guess",
        price_date=date(2026, 11, 1),
    )


MADE_WITH: dict[str, Any] = {
    "versions": {"python": "3.12.1"},
    "machine": {},
    "origins": [{"git_commit": None, "image": None, "results": ["policies/a"]}],
    "revisions": {"data": {}, "models": {}},
    "sums": {},
    "seeds": {"training": [4, 5], "task": 9, "bootstrap": 0, "start": {}},
}
ALL = [comparison(m, v, s, delta=0.1 * s) for m in "ab" for v in ("random", "default") for s in (5, 4)]


def test_top_level_figures_are_those_of_the_first_variant_and_seed(settings: Settings) -> None:
    model = summarise(settings, ALL, [], MADE_WITH).models["b"]
    assert (model.variant, model.seed, model.delta) == ("default", 4, 0.4)
    assert [(run.variant, run.seed) for run in model.runs] == [
        ("random", 5),
        ("random", 4),
        ("default", 5),
        ("default", 4),
    ]
    assert model.published == Published(baseline=0.7, trained=0.8)


def test_models_do_not_depend_on_time(settings: Settings) -> None:
    short = summarise(settings, ALL, [attempt("train", 1)], MADE_WITH)
    long = summarise(settings, ALL, [attempt("train", 999)], {**MADE_WITH, "machine": {"cpus": 2}})
    assert short.models == long.models
    assert short.cost != long.cost


def test_the_main_run_is_needed(settings: Settings) -> None:
    with pytest.raises(UserError, match="b has no evaluation of default, seed 4"):
        summarise(settings, [row for row in ALL if row["model"] == "a" or row["seed"] == 5], [], MADE_WITH)


def test_cost_counts_every_attempt(settings: Settings) -> None:
    total = cost(settings, [attempt("train", 900, "killed"), attempt("train", 900), attempt("evaluate", 360)])
    assert total["device_hours"] == pytest.approx(0.6)
    assert total["usd"] == pytest.approx(1.2)  # 0.6 h x $2
    assert total["remaining_usd"] == pytest.approx(-0.2)
    assert total["by_stage"]["train"] == pytest.approx({"usd": 1.0, "device_hours": 0.5, "attempts": 2})
    assert total["price"] == {"usd_per_hour": 2.0, "source": "a guess", "date": "2026-11-01", "device": "a laptop"}


def test_idle_time_is_told_and_not_counted(settings: Settings) -> None:
    first = replace(attempt("train", 1800), boot="b", clock=100.0)
    later = replace(attempt("train", 1800), boot="b", clock=100.0 + 1800 + 900)
    total = cost(settings, [first, later])
    assert (total["idle_hours"], total["idle_usd"]) == (0.25, 0.5)  # 0.25 h x $2
    assert (total["usd"], total["remaining_usd"], total["device_hours"]) == (2.0, -1.0, 1.0)


def test_provenance_reads_what_lies_beside_the_results(settings: Settings, tmp_path: Path) -> None:
    environment = {"python": "3.12.1", "cpus": 2, "packages": {"torch": "2.13.0", "mlflow": None}}
    write_json(tmp_path / "preflight.json", {"checks": [], "environment": environment})
    write_json(tmp_path / "data/manifest.json", {"source": {"seed": 9}, "sha256": {"test.jsonl": "0" * 64}})
    for name in settings.models:
        made_with = {"git_commit": "c1", "image": None}
        policy = {"model": name, "revision": "abc", "made_with": made_with}
        write_json(tmp_path / "policies" / name / "policy.json", policy)
    write_json(tmp_path / "baseline/b/evaluation.json", {"made_with": {"git_commit": "c2", "image": "x:1"}})
    found = provenance(settings, tmp_path)
    assert found["versions"] | {"reinforce-lite": "x"} == {
        "reinforce-lite": "x",
        "python": "3.12.1",
        "torch": "2.13.0",
        "mlflow": None,
    }
    assert found["machine"] == {"cpus": 2}
    assert found["revisions"]["models"]["b"] == {"model": "b", "revision": "abc"}
    assert found["origins"] == [
        {"git_commit": "c1", "image": None, "results": ["policies/a", "policies/b"]},
        {"git_commit": "c2", "image": "x:1", "results": ["baseline/b"]},
    ]
    assert found["sums"] == {"test.jsonl": "0" * 64}
    assert found["seeds"] == {"training": [4, 5], "task": 9, "bootstrap": 0, "start": {"a": 3, "b": 3}}
    assert summarise(settings, ALL, [], found).as_json()["provenance"] == found


def test_provenance_names_what_is_absent(settings: Settings, tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"preflight.json does not exist"):
        provenance(settings, tmp_path)


def test_reconciliation(tmp_path: Path) -> None:
    write_jsonl(tmp_path / "train/a.jsonl", [{"s": 61.5, "h:m:s": "0:01:01"}])
    write_jsonl(tmp_path / "train/default/seed0.jsonl", [{"s": "8.5"}])
    write_jsonl(tmp_path / "prepare.jsonl", [{"s": 3.0}])
    rows = reconcile([attempt("train", 60), attempt("train", 5, "failed")], tmp_path, {"train": 64.0})
    assert sorted(rows, key=lambda row: row["stage"], reverse=True) == [
        {"stage": "train", "ledger": 65.0, "finished": 60.0, "snakemake": 70.0, "mlflow": 64.0},
        {"stage": "prepare", "ledger": None, "finished": None, "snakemake": 3.0, "mlflow": None},
    ]


def test_reconciliation_without_benchmarks(tmp_path: Path) -> None:
    assert reconcile([], tmp_path / "absent") == []


@pytest.mark.parametrize("row", [{}, {"s": "NA"}, {"s": None}])
def test_a_benchmark_without_seconds(tmp_path: Path, row: dict[str, Any]) -> None:
    write_jsonl(tmp_path / "train/a.jsonl", [row])
    with pytest.raises(UserError, match=r"a\.jsonl: a row has no seconds"):
        reconcile([], tmp_path)


def test_the_schema_is_one() -> None:
    jsonschema.Draft202012Validator.check_schema(Summary.model_json_schema())


@pytest.mark.parametrize(
    ("path", "value"),
    [
        (["schema_version"], 2),
        (["models", "a", "delta"], 1.5),
        (["models", "a", "baseline", "strict"], None),
        (["models", "a", "extra"], 1),
        (["models", "a", "runs"], []),
        (["models", "a", "mcnemar_p"], 0),
        (["cost", "limit_usd"], 0),
        (["provenance", "sums"], {"test.jsonl": "short"}),
        (["seconds"], 3),
    ],
)
def test_the_schema_refuses(settings: Settings, path: list[str], value: Any) -> None:
    summary = summarise(settings, ALL, [attempt("train", 1)], MADE_WITH).as_json()
    Summary.model_validate(summary)
    place = summary
    for key in path[:-1]:
        place = place[key]
    place[path[-1]] = value
    with pytest.raises(ValidationError):
        Summary.model_validate(summary)
