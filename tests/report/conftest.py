"""A small but complete folder of results: two models, two variants, a killed attempt among the others."""

import random
from datetime import UTC, date, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from reinforce_lite.accounting.ledger import Attempt
from reinforce_lite.files import write_json, write_jsonl
from reinforce_lite.report import build as build_module
from reinforce_lite.report.compare import compare
from reinforce_lite.report.summary import BOOTSTRAP_SEED
from reinforce_lite.settings import Settings, validate

ATTACK = "<script>alert('no')</script> & <b>"
QUESTIONS, STEPS = 120, 40


def config(folder: Path) -> dict[str, Any]:
    scratch = {"from_scratch": {"architecture": "llama"}, "start": {"steps": 800, "learning_rate": 1e-3}}
    return {
        "experiment": "small",
        "results": str(folder),
        "description": "Two small models on generated word problems: it shows the machinery, not the article's models.",
        "models": ["tiny-llama", "tiny-phi"],
        "variants": ["leave_one_out", "random_reward"],
        "seeds": [0],
        "hardware": {
            "device": "cpu",
            "name": "2 shared CPU cores",
            "memory_gib": 8,
            "usd_per_hour": 0.05,
            "price_source": "a cloud's price list",
            "price_date": "2026-11-01",
        },
        "budget": {"limit_usd": 0.01},
        "task": {"name": "word_world", "dev_size": 0},
        "policies": {
            "tiny-llama": {**scratch, "published": {"baseline": 0.705, "trained": 0.725}},
            "tiny-phi": {**scratch, "from_scratch": {"architecture": "phi3"}},
        },
        "training": {"steps": STEPS, "questions_per_step": 16, "max_new_tokens": 48, "learning_rate": 2e-4},
        "training_variants": {"leave_one_out": {}, "random_reward": {"reward": "random"}},
        "evaluation": {"max_new_tokens": 48, "batch_size": 64, "bootstrap_resamples": 500},
        "container": {"image": "docker://example/image"},
    }


def items(right: int, seed: int, trained: bool) -> list[dict[str, Any]]:
    """`right` of the questions are right, in an order that the seed decides."""
    order = random.Random(seed).sample(range(QUESTIONS), QUESTIONS)
    rows = []
    for i in range(QUESTIONS):
        correct = order[i] < right
        work = f"{i} apples and 3 more. wait . {i} + 3 = {i + 3}" if trained else f"{i} apples"
        text = f"{work} <answer> {i + 3 if correct else i} </answer>"
        flags = {"strict": correct, "flexible": correct or i % 10 == 0, "truncated": i % 40 == 7}
        question = f"Tom has {i} apples and buys 3 more. How many apples does Tom have? {ATTACK}"
        length = len(text.split())
        rows.append(
            {
                "id": f"test-{i}",
                "question": question,
                "answer": str(i + 3),
                "completion": text,
                **flags,
                "length": length,
            }
        )
    return rows


def write_evaluation(folder: Path, rows: list[dict[str, Any]], model: str, variant: str | None) -> None:
    write_jsonl(folder / "items.jsonl", rows)
    mean = {key: sum(row[key] for row in rows) / len(rows) for key in ("strict", "flexible", "truncated", "length")}
    length = mean.pop("length")
    identity = {"model": model, "variant": variant, "seed": None if variant is None else 0, "n": len(rows)}
    rest = {"length_mean": length, "seconds": 12.5, "policy": {"model": model}, "harness": {"version": "0.4.13"}}
    write_json(folder / "evaluation.json", {**identity, **mean, **rest})


def write_training(folder: Path, climbs: bool) -> None:
    rng = random.Random(1)
    rows = []
    for step in range(STEPS):
        gain = step / STEPS if climbs else 0.0
        measured = (step + 1) % 10 == 0
        rows.append(
            {
                "step": step,
                "reward_mean": -0.2 + 0.6 * gain + rng.gauss(0, 0.08),
                "accuracy": 0.4 + 0.3 * gain + rng.gauss(0, 0.04),
                "length_mean": 14 + 5 * gain + rng.gauss(0, 0.6),
                "groups_dropped": 0.2 + 0.2 * gain,
                "gradient_norm": None if step == 3 else 1.2 + rng.random(),
                "entropy": 0.5 - 0.2 * gain + rng.gauss(0, 0.02),
                "sampler_gap": 1e-6 * rng.random(),
                "skipped": False,
                "weights_changed": 0.9 + 0.002 * step if measured else None,
                "kl_to_start": 0.001 * step if measured else None,
            }
        )
    write_jsonl(folder / "metrics.jsonl", rows)
    kept = {"count": 7, "seconds": 2.6, "bytes": 4_000}
    write_json(folder / "training.json", {"steps": STEPS, "steps_skipped": 0, "seconds": 31.4, "checkpoint": kept})


def write_folder(settings: Settings, folder: Path) -> None:
    environment: dict[str, Any] = {"python": "3.12.1", "cpu": "A CPU", "git_commit": None}
    environment["packages"] = {"torch": "2.13.0", "snakemake": "9.27.1"}
    checks = [{"name": "memory", "ok": True, "detail": "1.2 of 8 GiB"}]
    write_json(folder / "preflight.json", {"checks": checks, "environment": environment})
    sums = {"train.jsonl": "a" * 64, "test.jsonl": "b" * 64}
    write_json(
        folder / "data/manifest.json", {"task": "word_world", "counts": {}, "sha256": sums, "source": {"seed": 0}}
    )
    write_json(folder / "config.json", settings.model_dump(mode="json"))
    for offset, model in enumerate(settings.models):
        source = {
            "model": model,
            "source": "from_scratch",
            "revision": None,
            "parameters": 803_968,
            "start": {"steps": 800},
        }
        write_json(folder / "policies" / model / "policy.json", source)
        write_evaluation(folder / "baseline" / model, items(60, offset, False), model, None)
        for variant, right in (("leave_one_out", 95 - 30 * offset), ("random_reward", 58)):
            end = Path(model, variant, "seed0")
            write_evaluation(folder / "trained" / end, items(right, offset, True), model, variant)
            write_training(folder / "train" / end, climbs=variant == "leave_one_out")
            sides = (folder / side / "items.jsonl" for side in (f"baseline/{model}", f"trained/{end}"))
            figures = compare(*sides, resamples=500, seed=BOOTSTRAP_SEED)
            write_json(folder / f"compare/{end}.json", {"model": model, "variant": variant, "seed": 0, **figures})
    write_jsonl(folder / "benchmarks/train/tiny-llama.jsonl", [{"s": 131.0}])
    write_jsonl(folder / "benchmarks/prepare/data.jsonl", [{"s": 2.0}])


def ledger() -> list[Attempt]:
    start = datetime(2026, 11, 2, 9, 30, tzinfo=UTC)
    plan = [
        ("start_policy", "tiny-llama", None, None, 140, "finished"),
        ("evaluate_baseline", "tiny-llama", None, None, 20, "finished"),
        ("train", "tiny-llama", "leave_one_out", 0, 17, "killed"),
        ("train", "tiny-llama", "leave_one_out", 0, 130, "finished"),
        ("train", "tiny-phi", "leave_one_out", 0, 120, "finished"),
        ("evaluate_trained", "tiny-llama", "leave_one_out", 0, 21, "finished"),
    ]
    made = []
    for number, (stage, model, variant, seed, seconds, outcome) in enumerate(plan):
        end = start + timedelta(seconds=seconds)
        price = ("2 shared CPU cores", 1, 0.05, "a cloud's price list", date(2026, 11, 1))
        made.append(Attempt(str(number), stage, model, variant, seed, start, end, outcome, *price))  # type: ignore[arg-type]
        start = end + timedelta(seconds=3)
    return made


@pytest.fixture(scope="module")
def ready(tmp_path_factory: pytest.TempPathFactory) -> Settings:
    """A folder that a test leaves as it is, but for what `build` writes."""
    settings = validate(config(tmp_path_factory.mktemp("results")))
    write_folder(settings, settings.folder)
    return settings


@pytest.fixture
def fresh(tmp_path: Path) -> Settings:
    """A folder of its own, for a test that changes it."""
    settings = validate(config(tmp_path))
    write_folder(settings, settings.folder)
    return settings


@pytest.fixture
def raw_config(tmp_path: Path) -> dict[str, Any]:
    return config(tmp_path)


@pytest.fixture(scope="module")
def tried() -> list[Attempt]:
    return ledger()


@pytest.fixture
def spent(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(build_module, "attempts", lambda path: ledger())


@pytest.fixture(scope="module")
def page(ready: Settings) -> str:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(build_module, "attempts", lambda path: ledger())
        build_module.build(ready, ready.folder, {"train": 266.0})
    return (ready.folder / "report.html").read_text(encoding="utf-8")
