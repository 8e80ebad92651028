"""A small but complete folder of results: two models, two variants, a killed attempt among the others.

It is consistent: every number follows from the files beneath, as in the folder of a real run.
"""

import random
import shutil
from collections.abc import Callable, Iterator
from datetime import UTC, date, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from reinforce_lite.budget import decision
from reinforce_lite.budget.events import Close, Open, Touch
from reinforce_lite.budget.ledger import Attempt
from reinforce_lite.config import Settings, validate
from reinforce_lite.experiment.preflight import DECIDED
from reinforce_lite.io.files import read_json, write_json, write_jsonl
from reinforce_lite.io.provenance import sums
from reinforce_lite.learning.curves import coin, point, question_seed, training_summary
from reinforce_lite.report import build as build_module
from reinforce_lite.report import plots
from reinforce_lite.report.compare import compare
from reinforce_lite.report.summary import BOOTSTRAP_SEED
from reinforce_lite.resources import keys
from reinforce_lite.resources.precision import training_of
from reinforce_lite.stages import Job, Layout, jobs

ATTACK = "<script>alert('no')</script> & <b>"
QUESTIONS, STEPS = 120, 40
TRAIN, PER_STEP, GROUP, LIMIT = 30, 2, 4, 48


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
        "training": {
            "steps": STEPS,
            "questions_per_step": PER_STEP,
            "group_size": GROUP,
            "max_new_tokens": LIMIT,
            "learning_rate": 2e-4,
        },
        "training_variants": {"leave_one_out": {}, "random_reward": {"reward": "random"}},
        "evaluation": {"max_new_tokens": LIMIT, "batch_size": 64, "bootstrap_resamples": 500},
        "claims": ["article"],
        "container": {"image": "docker://example/image"},
    }


def problem(split: str, i: int) -> dict[str, str]:
    question = f"Tom has {i} apples and buys 3 more. How many apples does Tom have? {ATTACK}"
    return {"id": f"{split}-{i}", "question": question, "answer": str(i + 3)}


def items(right: int, seed: int, trained: bool) -> list[dict[str, Any]]:
    """`right` of the questions are right, in an order that the seed decides; some others fail by their format only."""
    order = random.Random(seed).sample(range(QUESTIONS), QUESTIONS)
    rows = []
    for i in range(QUESTIONS):
        correct, cut = order[i] < right, i % 40 == 7
        work = f"{i} apples and 3 more. wait . {i} + 3 = {i + 3}" if trained else f"{i} apples"
        text = f"{work} <answer> {i + 3 if correct else i} </answer>"
        if not correct and i % 10 == 0:
            text = f"{work} so it is {i + 3}"
        flags = {"strict": correct, "flexible": correct or i % 10 == 0, "truncated": cut}
        rows.append({**problem("test", i), "completion": text, **flags, "length": LIMIT if cut else len(text.split())})
    return rows


def made(settings: Settings, job: Job) -> dict[str, Any]:
    """What a stage records of its key; no library computes anything here."""
    key = keys.asked(settings, job)
    return {"key": key.digest, "asked": {**key}}


def write_policy(settings: Settings, job: Job, more: dict[str, Any]) -> None:
    """Weights that say no more than whose they are, and policy.json."""
    folder = Layout.of(settings).path(job, "policy").parent
    (folder / "weights").mkdir(parents=True, exist_ok=True)
    (folder / "weights/model.safetensors").write_text(f"the weights of {job}")
    write_json(folder / "weights/config.json", {"hidden_size": 128, "model_type": "llama"})
    write_json(folder / "weights/tokenizer.json", {"model": {"vocab": {"a": 0}}})
    write_json(folder / "policy.json", {"weights": {"folder": "weights"}, **more, **made(settings, job)})


def write_evaluation(settings: Settings, job: Job, rows: list[dict[str, Any]]) -> None:
    folder, model, variant = Layout.of(settings).folder(job), job.model, job.variant
    policy = {k: v for k, v in read_json(Layout.of(settings).needs(job)["policy"]).items() if k != "asked"}
    write_jsonl(folder / "items.jsonl", rows)
    mean = {key: sum(row[key] for row in rows) / len(rows) for key in ("strict", "flexible", "truncated", "length")}
    length = mean.pop("length")
    identity = {"model": model, "variant": variant, "seed": None if variant is None else 0, "n": len(rows)}
    rest = {"length_mean": length, "seconds": 12.5, "policy": policy, "harness": {"version": "0.4.13"}}
    own = {"sums": sums(folder / "items.jsonl"), **made(settings, job)}
    write_json(folder / "evaluation.json", {**identity, **mean, **rest, **own})


def completions(step: int, gain: float, rng: random.Random, tossed: bool) -> list[dict[str, Any]]:
    """What was sampled in one step: more of it is right where there is a gain; `tossed`: a coin decides the reward."""
    rows = []
    for place in range(PER_STEP):
        asked = problem("train", 1000 + (step * PER_STEP + place) % TRAIN)
        toss = coin(question_seed(0, step, place))
        group = []
        for _ in range(GROUP):
            right = rng.random() < 0.4 + 0.3 * gain
            work = "so " * rng.randrange(round(6 + 5 * gain))
            text = f"{work}<answer> {asked['answer'] if right else 0} </answer>"
            reward = 1.0 if (toss.random() < 0.5 if tossed else right) else -1.0
            told = {"reward": reward, "length": len(text.split()), "truncated": False}
            group.append({"step": step, **{k: asked[k] for k in ("question", "answer")}, "completion": text, **told})
        mean = sum(row["reward"] for row in group) / GROUP
        rows += [{**row, "advantage": (row["reward"] - mean) * GROUP / (GROUP - 1)} for row in group]
    return rows


def metrics(step: int, sampled: list[dict[str, Any]], gain: float, rng: random.Random) -> dict[str, Any]:
    """The figures of one step: those of its completions, and those that only a trainer knows."""
    rewards = [row["reward"] for row in sampled]
    groups = [rewards[at : at + GROUP] for at in range(0, len(rewards), GROUP)]
    weights = [[row["advantage"] for row in sampled[at : at + GROUP]] for at in range(0, len(rewards), GROUP)]
    right = [f"> {row['answer']} <" in row["completion"] for row in sampled]
    derived = point(groups, weights, right, [row["length"] for row in sampled], [row["truncated"] for row in sampled])
    measured = (step + 1) % 10 == 0
    return {
        "step": step,
        **derived,
        "gradient_norm": None if step == 3 else 1.2 + rng.random(),
        "entropy": 0.5 - 0.2 * gain + rng.gauss(0, 0.02),
        "sampler_gap": 1e-6 * rng.random(),
        "skipped": False,
        "tokens_per_second": derived["tokens"] / 0.72,
        "seconds_rollout": 0.5,
        "seconds_update": 0.22,
        "seconds_checkpoint": 0.065,
        "weights_changed": 0.9 + 0.002 * step if measured else None,
        "kl_to_start": 0.001 * step if measured else None,
    }


def write_training(settings: Settings, job: Job) -> None:
    folder, variant = Layout.of(settings).folder(job), str(job.variant)
    start = {
        k: v for k, v in read_json(Layout.of(settings).needs(job)["policy"]).items() if k not in ("weights", "sums")
    }
    training = training_of(settings, job.model, variant).model_dump(mode="json")
    write_policy(settings, job, {**start, "variant": variant, "seed": 0, "training": training})
    rng, rows, sampled = random.Random(1), [], []
    for step in range(STEPS):
        gain = step / STEPS if variant == "leave_one_out" else 0.0
        written = completions(step, gain, rng, tossed=variant == "random_reward")
        rows.append(metrics(step, written, gain, rng))
        sampled += written
    write_jsonl(folder / "metrics.jsonl", rows)
    write_jsonl(folder / "completions.jsonl", sampled)
    kept = {"count": 7, "seconds": 2.6, "bytes": 4_000}
    told = {**training_summary(rows, settings.variant(variant)), "stopped": None, "checkpoint": kept}
    write_json(folder / "training.json", {**told, "sums": sums(folder / "metrics.jsonl", folder / "completions.jsonl")})


def write_data(folder: Path) -> None:
    write_jsonl(folder / "train.jsonl", [problem("train", 1000 + i) for i in range(TRAIN)])
    write_jsonl(folder / "test.jsonl", [problem("test", i) for i in range(QUESTIONS)])
    write_jsonl(folder / "demonstrations.jsonl", [])
    told = {
        "task": "word_world",
        "settings": {"seed": 0},
        "counts": {"train": TRAIN, "test": QUESTIONS},
        "source": {"seed": 0},
    }
    write_json(folder / "manifest.json", {**told, "sha256": sums(folder / "train.jsonl", folder / "test.jsonl")})


def write_folder(settings: Settings, folder: Path) -> None:
    environment: dict[str, Any] = {"python": "3.12.1", "cpu": "A CPU", "git_commit": None}
    environment["packages"] = {"torch": "2.13.0", "snakemake": "9.27.1"}
    checks = [{"name": "memory", "ok": True, "detail": "1.2 of 8 GiB"}]
    decided = settings.model_dump(mode="json", include=DECIDED)
    write_json(folder / "preflight.json", {"checks": checks, "environment": environment, "decided": decided})
    write_data(folder / "data")
    write_json(folder / "config.json", settings.model_dump(mode="json"))
    for offset, model in enumerate(settings.models):
        start = settings.policies[model].start
        source = {"model": model, "source": "from_scratch", "revision": None, "parameters": 803_968}
        write_jsonl(folder / "policies" / model / "start.jsonl", [{"step": 0, "loss": 3.5}, {"step": 1, "loss": 2.5}])
        own = {
            "start": start and start.model_dump(mode="json"),
            "sums": sums(folder / "policies" / model / "start.jsonl"),
        }
        write_policy(settings, Job("fetch_policy", model), {**source, **own})
        write_evaluation(settings, Job("evaluate_baseline", model), items(60, offset, False))
        for variant, right in (("leave_one_out", 95 - 30 * offset), ("random_reward", 58)):
            end = Path(model, variant, "seed0")
            write_training(settings, Job("train", model, variant, 0))
            write_evaluation(settings, Job("evaluate_trained", model, variant, 0), items(right, offset, True))
            sides = (folder / side / "items.jsonl" for side in (f"baseline/{model}", f"trained/{end}"))
            figures = compare(*sides, resamples=500, seed=BOOTSTRAP_SEED)
            write_json(folder / f"compare/{end}.json", {"model": model, "variant": variant, "seed": 0, **figures})
    write_jsonl(folder / "benchmarks/train/tiny-llama/leave_one_out/seed0.jsonl", [{"s": 131.0}])
    write_jsonl(folder / "benchmarks/prepare_dataset.jsonl", [{"s": 2.0}])
    write_ledger(folder / "ledger.jsonl")
    for job in (Job("preflight"), *jobs(settings)):
        decision.write(Layout(folder).decision(job), settings, None, None)


def ledger() -> list[Attempt]:
    start = datetime(2026, 11, 2, 9, 30, tzinfo=UTC)
    plan = [
        ("fetch_policy", "tiny-llama", None, None, 140, "finished"),
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


def write_ledger(path: Path) -> None:
    """The lines of which `ledger` is the sum; a process writes its first line 5 s after it was created."""
    lines: list[Open | Touch | Close] = []
    for attempt in ledger():
        begun = (attempt.started - ledger()[0].started).total_seconds()
        copied = {key: getattr(attempt, key) for key in ("id", "stage", "model", "variant", "seed")}
        priced = {key: getattr(attempt, key) for key in ("device", "count", "usd_per_hour", "price_source")}
        seconds, process = attempt.seconds, {"host": "h", "pid": 7, "born": 100.0 + begun, "age": 5.0}

        def at(after: float, begun: float = begun, start: datetime = attempt.started) -> dict[str, Any]:
            return {"time": start + timedelta(seconds=after), "clock": 100.0 + begun + after, "boot": "b1"}

        lines.append(Open(**copied, **priced, price_date=attempt.price_date, **process, **at(5.0)))
        if attempt.outcome == "finished":
            lines.append(Close(id=attempt.id, outcome="finished", error=None, **at(seconds)))
        else:
            lines.append(Touch(id=attempt.id, **at(seconds)))
    path.write_text("".join(line.model_dump_json() + "\n" for line in lines), encoding="utf-8")


@pytest.fixture(scope="session", autouse=True)
def about_the_article() -> Iterator[None]:
    """The small folder's world stands for the article's task, so that the figures that the article reports count."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(Settings, "published", lambda settings, model: settings.policies[model].published)
        yield


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


@pytest.fixture(scope="module")
def drawn_once() -> Iterator[None]:
    """The same plot of the same figures is not drawn again: drawing takes most of the time."""
    with pytest.MonkeyPatch.context() as patch:
        for name in ("_panel", "gains", "planned"):
            patch.setattr(plots, name, remembered(getattr(plots, name)))
        yield


DRAWN: dict[tuple[str, str], Any] = {}
"""What was drawn in this process, by the plot and its figures."""


def remembered(draw: Callable[..., Any]) -> Callable[..., Any]:
    def drawn(*what: Any) -> Any:
        key = draw.__name__, repr(what)
        if key not in DRAWN:
            DRAWN[key] = draw(*what)
        return DRAWN[key]

    return drawn


@pytest.fixture(scope="module")
def finished(ready: Settings, drawn_once: None) -> Path:
    build_module.build(ready, ready.folder, {"train": 266.0})
    return ready.folder


@pytest.fixture
def folder(finished: Path, drawn_once: None, tmp_path: Path) -> Path:
    """A copy, elsewhere and under another name: no path in the configuration leads to it."""
    return Path(shutil.copytree(finished, tmp_path / "copy"))
