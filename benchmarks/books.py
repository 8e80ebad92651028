"""Time and memory of whatever reads a whole experiment, each in a process of its own, at three sizes.

    python benchmarks/books.py

The largest size is a ledger of 10^6 rows in 2,000 attempts, a training of 10^5 steps, and two evaluations of 13,000
questions with four sampled answers each; the others are a tenth and a hundredth of it. `step` is what the gate asks
after every step of a training. Growth is the slope of log seconds over log size: 1 is linear. The time to import is
not in it. The table goes to stderr; the last line of stdout is one JSON object, also written to benchmarks/results.

`load_before` and `load_after` say how busy the machine was: `seconds` pass while others run too, `cpu_seconds` are of
the process alone.
"""

import argparse
import contextlib
import io
import json
import math
import os
import resource
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

from record import ROOT, finish, made_with, output_arguments

from reinforce_lite import cli
from reinforce_lite.budget import chain, events, status
from reinforce_lite.budget.forecast import Rates
from reinforce_lite.budget.gate import LedgerMeter
from reinforce_lite.budget.ledger import Ledger, ledger_path
from reinforce_lite.config import Settings, load, merge, validate
from reinforce_lite.evaluation import avg_at_k
from reinforce_lite.evaluation.statistics import outcome_means
from reinforce_lite.experiment.tracking import rebuild
from reinforce_lite.io.files import read_json, write_json, write_jsonl
from reinforce_lite.io.keyed import ASKED
from reinforce_lite.io.provenance import sums
from reinforce_lite.learning.curves import point, training_summary
from reinforce_lite.report.build import build
from reinforce_lite.report.compare import compare_evaluations
from reinforce_lite.report.summary import BOOTSTRAP_SEED
from reinforce_lite.report.verify import as_text, verify
from reinforce_lite.resources import keys
from reinforce_lite.resources.precision import training_of
from reinforce_lite.stages import Job, Layout

ROWS, RUNS, STEPS, QUESTIONS, DRAWS = 1_000_000, 2_000, 100_000, 13_000, 4
SHARES = (0.01, 0.1, 1.0)
TIMES = 200
"""How often the gate is asked."""
MODEL, VARIANT = "tiny-llama", "leave_one_out"
JOBS = (("fetch_policy", None, None), ("evaluate_baseline", None, None), ("train", VARIANT, 0),
        ("evaluate_trained", VARIANT, 0))  # fmt: skip
RATES = Rates(
    process=1, harness=1, load=1, warm_up=0, start_step=0, rollout_position=0.05, update_token=0, drift_token=0,
    evaluation_position=0.02, prompt_tokens=10,
)  # fmt: skip


def settings_of(folder: Path, share: float) -> Settings:
    """An experiment of one model and one training, of a share of the largest size."""
    base = load([ROOT / "config/config.yaml", ROOT / "config/tiny.yaml"]).model_dump(mode="json")
    changes = {
        "experiment": "books", "results": str(folder), "models": [MODEL], "variants": [VARIANT], "seeds": [0],
        "training": {"steps": round(STEPS * share), "questions_per_step": 1, "group_size": 2, "max_new_tokens": 48},
        "evaluation": {"max_new_tokens": 48, "samples": DRAWS, "limit": None, "samples_limit": None},
        "tracking": {"uri": f"sqlite:///{folder}/mlflow.db", "artifacts": f"{folder}/mlartifacts"},
        "hardware": {"usd_per_hour": 0.05},
    }  # fmt: skip
    return validate(merge(base, changes))


def write_ledger(path: Path, rows: int, attempts: int) -> None:
    """A ledger of so many chained rows: each attempt opens, gives signs of life every 15 s, and ends."""
    start, link, size = datetime(2026, 11, 2, tzinfo=UTC), "", 0
    priced = {"device": "CPU", "count": 1, "usd_per_hour": 0.05, "price_source": "a list"}
    process = {"price_date": start.date(), "host": "h", "pid": 7}
    each = rows // attempts
    with path.open("wb") as handle:
        for number in range(rows):
            attempt, row, seconds = number // each, number % each, 15.0 * number
            stage, variant, seed = JOBS[attempt % len(JOBS)]
            at = {"id": f"{attempt:032x}", "time": start + timedelta(seconds=seconds), "clock": seconds, "boot": "b"}
            event: events.Event = events.Touch(**at)
            if row == 0:
                job = {"stage": stage, "model": MODEL, "variant": variant, "seed": seed}
                event = events.Open(**at, **job, **priced, **process, born=seconds - 5.0, age=5.0)
            elif row == each - 1:
                event = events.Close(**at, outcome="finished" if attempt % 3 else "failed", error=None)
            line, link = chain.chained(link.encode(), event.model_dump_json().encode())
            size += handle.write(line)
    chain.write_head(path, chain.Head(size, link))


def problem(split: str, number: int) -> dict[str, str]:
    """A question of the tiny world."""
    question = f"Tom has {number} apples and buys 3 more. How many apples does Tom have?"
    return {"id": f"{split}-{number}", "question": question, "answer": str(number + 3)}


def answer(number: int, right: bool) -> dict[str, Any]:
    """A completion, judged."""
    text = f"{number} apples and 3 more <answer> {number + 3 if right else number} </answer>"
    return {"completion": text, "strict": right, "flexible": right, "truncated": False, "length": len(text.split())}


def key_of(settings: Settings, job: Job) -> dict[str, Any]:
    """What a stage records of its key; no library computes anything here."""
    key = keys.asked(settings, job)
    return {"key": key.digest, ASKED: {**key}}


def write_policy(settings: Settings, job: Job, more: dict[str, Any]) -> None:
    """Weights that say no more than whose they are, and policy.json."""
    folder = Layout.of(settings).path(job, "policy").parent
    (folder / "weights").mkdir(parents=True)
    (folder / "weights/model.safetensors").write_text(f"the weights of {job}")
    write_json(folder / "weights/config.json", {"hidden_size": 128, "model_type": "llama"})
    write_json(folder / "policy.json", {"weights": {"folder": "weights"}, **more, **key_of(settings, job)})


def write_evaluation(settings: Settings, job: Job, questions: int, percent: int) -> None:
    """Greedy and sampled answers, of which so many in a hundred are right."""
    folder, policy = Layout.of(settings).folder(job), read_json(Layout.of(settings).needs(job)["policy"])
    items = [{**problem("test", n), **answer(n, n * 37 % 100 < percent)} for n in range(questions)]
    samples = [
        {"id": f"test-{n}", "draw": draw, **answer(n, (n * 37 + draw * 11) % 100 < percent)}
        for n in range(questions)
        for draw in range(DRAWS)
    ]
    write_jsonl(folder / "items.jsonl", items)
    write_jsonl(folder / "samples.jsonl", samples)
    told = {**job.run, **outcome_means(items), **key_of(settings, job)}
    seen = {name: part for name, part in policy.items() if name != ASKED}
    more = {"seconds": 12.5, "policy": seen, "harness": {"version": "0"}, "engine": "generate"}
    kept = sums(folder / "items.jsonl", folder / "samples.jsonl")
    write_json(folder / "evaluation.json", {**told, **more, "sampled": avg_at_k.figures(samples), "sums": kept})


def write_training(settings: Settings, job: Job, train: int) -> None:
    """Metrics and completions of every step."""
    folder = Layout.of(settings).folder(job)
    completions, metrics = [], []
    for step in range(settings.training.steps):
        asked = problem("train", step % train)
        own = [answer(step % train, right) for right in (step % 3 > 0, step % 2 > 0)]
        rewards = [1.0 if one["strict"] else -1.0 for one in own]
        weights = [rewards[0] - rewards[1], rewards[1] - rewards[0]]
        for one, reward, weight in zip(own, rewards, weights, strict=True):
            kept = {key: one[key] for key in ("completion", "length", "truncated")}
            of = {"step": step, "question": asked["question"], "answer": asked["answer"]}
            completions.append({**of, **kept, "reward": reward, "advantage": weight})
        derived = point(
            [rewards], [weights], [one["strict"] for one in own], [one["length"] for one in own], [False] * 2
        )
        measured = {"weights_changed": 0.5, "kl_to_start": 0.001} if step % 10 == 9 else dict.fromkeys(LATE)
        speed = {"tokens_per_second": derived["tokens"] / 0.72, "seconds_rollout": 0.5, "seconds_update": 0.22}
        drift = {"gradient_norm": 1.2, "entropy": 0.5, "sampler_gap": 1e-6, "skipped": False, "learning_rate": 2e-4}
        metrics.append({"step": step, **derived, **drift, **speed, **measured})
    write_jsonl(folder / "metrics.jsonl", metrics)
    write_jsonl(folder / "completions.jsonl", completions)
    told = {**training_summary(metrics, settings.variant(VARIANT)), "stopped": None, "checkpoint": None}
    write_json(folder / "training.json", {**told, "sums": sums(folder / "metrics.jsonl", folder / "completions.jsonl")})
    start = read_json(Layout.of(settings).needs(job)["policy"])
    training = training_of(settings, MODEL, VARIANT).model_dump(mode="json")
    write_policy(settings, job, {**start, "variant": VARIANT, "seed": 0, "training": training})


LATE = ("weights_changed", "kl_to_start")
"""Figures of every tenth step."""


def write_experiment(settings: Settings, share: float) -> None:
    """A finished experiment, all but its report."""
    layout, questions = Layout.of(settings), round(QUESTIONS * share)
    write_json(layout.config, settings.model_dump(mode="json"))
    write_json(layout.preflight, {"checks": [], "environment": {"python": "3", "packages": {}}})
    splits = {name: [problem(name, n) for n in range(count)] for name, count in (("train", 30), ("test", questions))}
    for name, rows in splits.items():
        write_jsonl(layout.data / f"{name}.jsonl", rows)
    told = {"task": "word_world", "counts": {name: len(rows) for name, rows in splits.items()}, "source": {"seed": 0}}
    kept = sums(*(layout.data / f"{name}.jsonl" for name in splits))
    write_json(layout.data / "manifest.json", {**told, "sha256": kept})
    (layout.data / "demonstrations.jsonl").touch()
    start = settings.policies[MODEL].start
    source = {"model": MODEL, "source": "from_scratch", "revision": None, "parameters": 803_968}
    fetched, trained = Job("fetch_policy", MODEL), Job("train", MODEL, VARIANT, 0)
    write_policy(settings, fetched, {**source, "start": start.model_dump(mode="json") if start else None})
    write_training(settings, trained, 30)
    both = Job("evaluate_baseline", MODEL), Job("evaluate_trained", MODEL, VARIANT, 0)
    for job, percent in zip(both, (50, 70), strict=True):
        write_evaluation(settings, job, questions, percent)
    sides = [layout.folder(job) for job in both]
    resamples = settings.evaluation.bootstrap_resamples
    figures = compare_evaluations(*sides, resamples=resamples, seed=BOOTSTRAP_SEED)
    write_json(layout.comparison(MODEL, VARIANT, 0), {"model": MODEL, "variant": VARIANT, "seed": 0, **figures})
    write_ledger(layout.ledger, round(ROWS * share), round(RUNS * share))


def command(*options: str) -> Callable[[Settings], None]:
    """The subcommand `ledger` with these options."""
    return lambda settings: _quiet(lambda: cli.main(["ledger", "--config", str(Layout.of(settings).config), *options]))


def _quiet(action: Callable[[], Any]) -> None:
    with contextlib.redirect_stdout(io.StringIO()):
        if action():
            raise SystemExit(1)


def ask(settings: Settings) -> None:
    """What the gate asks after every step, with a sign of life before each."""
    ledger = Ledger(ledger_path(settings))
    meter = LedgerMeter(settings, ledger.attempt(ledger.open("train", settings.hardware)))
    meter.spent()  # the first time reads everything, as the plan before the stage does
    began = time.perf_counter()
    for _ in range(TIMES):
        ledger.touch(next(iter(ledger._opened)))
        meter.spent()
    seconds["step"] = (time.perf_counter() - began) / TIMES


def verified(settings: Settings) -> None:
    """Verify, and see that all agrees."""
    checks = verify(settings.folder)
    if any(check.differences for check in checks):
        raise SystemExit(as_text(checks))


CASES: dict[str, Callable[[Settings], Any]] = {
    "ledger": command(),
    "check": command("--check"),
    "gate": lambda settings: status.survey(settings, {MODEL: RATES}),
    "report": lambda settings: build(settings, settings.folder),
    "verify": verified,
    "rebuild": rebuild,
    "step": ask,
}
"""In this order: what is verified is reported before, and `step` adds to the ledger."""

seconds: dict[str, float] = {}
"""Of a case that measures itself."""


def measure(case: str, config: Path) -> dict[str, float]:
    """Run one case in this process."""
    settings = load([config])
    if case == "rebuild":
        import mlflow  # noqa: F401
    began, cpu = time.perf_counter(), time.process_time()
    CASES[case](settings)
    taken = {"seconds": time.perf_counter() - began, "cpu_seconds": time.process_time() - cpu}
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2**20
    return {**taken, **({"seconds": seconds[case]} if case in seconds else {}), "peak_gib": peak}


def in_a_process(case: str, config: Path) -> dict[str, float]:
    """Run one case in a process of its own."""
    command = [sys.executable, __file__, "--case", case, "--config", str(config)]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    if done.returncode:
        raise SystemExit(f"{case}: {done.stderr[-3000:]}")
    return dict(json.loads(done.stdout.splitlines()[-1]))


def growth(rows: list[dict[str, float]], key: str) -> float:
    """Slope of the logarithm of a figure over that of the size, by least squares."""
    x, y = [math.log(share) for share in SHARES], [math.log(row[key]) for row in rows]
    middle, level = sum(x) / len(x), sum(y) / len(y)
    return sum((a - middle) * (b - level) for a, b in zip(x, y, strict=True)) / sum((a - middle) ** 2 for a in x)


def main() -> None:
    """Measure, print and write; see the top of this file."""
    parser = output_arguments(__doc__, "books.json")
    parser.add_argument("--case", choices=CASES, help=argparse.SUPPRESS)
    parser.add_argument("--config", type=Path, help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if arguments.case:
        print(json.dumps(measure(arguments.case, arguments.config)))
        return
    load_before, taken = os.getloadavg(), {case: [] for case in CASES}
    for share in SHARES:
        with tempfile.TemporaryDirectory() as name:
            settings = settings_of(Path(name), share)
            write_experiment(settings, share)
            for case, rows in taken.items():
                rows.append({"share": share, **in_a_process(case, Layout.of(settings).config)})
                print(case, json.dumps(rows[-1]), file=sys.stderr, flush=True)
    cases = {
        case: {"growth_seconds": growth(rows, "seconds"), "growth_cpu": growth(rows, "cpu_seconds"), "sizes": rows}
        for case, rows in taken.items()
    }
    largest = {"ledger_rows": ROWS, "runs": RUNS, "steps": STEPS, "questions": QUESTIONS, "answers_each": DRAWS}
    load = {"load_before": load_before, "load_after": os.getloadavg()}
    finish(arguments.output, {**made_with(), **load, "largest": largest, "cases": cases})


if __name__ == "__main__":
    main()
