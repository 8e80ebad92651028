"""The promise on the tiny world: limits of 5, 20, 50 and 90% of what it costs, and forecasts against what happened.

    python benchmarks/budgets.py results/tiny

The folder is that of a finished `make tiny` on this machine, and its forecasts are shown. Each limit is a run of its
own in a temporary folder. The table goes to stderr; the last line of stdout is one JSON object, which is also
written to benchmarks/results.
"""

import argparse
import json
import os
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any

from record import ROOT, made_with

from reinforce_lite.budget.costs import spent_usd
from reinforce_lite.budget.ledger import attempts
from reinforce_lite.io.files import read_json, read_jsonl, write_json

PARTS = (0.05, 0.2, 0.5, 0.9)


def run(limit_usd: float) -> dict[str, Any]:
    """The tiny world under a limit, from nothing."""
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        for part in ("config", "workflow", "profiles"):
            shutil.copytree(ROOT / part, folder / part)
        shutil.copy(ROOT / "Snakefile", folder)
        budget = f"budget={json.dumps({'limit_usd': limit_usd})}"
        command = [sys.executable, "-m", "snakemake", "--cores", "1", "--configfile", "config/tiny.yaml"]
        own = f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"  # where the rules find our command
        done = subprocess.run(
            [*command, "--config", budget], cwd=folder, env={**os.environ, "PATH": own},
            capture_output=True, text=True, check=False,
        )  # fmt: skip
        if done.returncode:
            print(done.stdout[-3000:], done.stderr[-3000:], file=sys.stderr)
        return {"limit_usd": limit_usd, "exit_code": done.returncode, **look(folder / "results/tiny", limit_usd)}


def look(results: Path, limit_usd: float) -> dict[str, Any]:
    """What a run left behind: what it spent, and what it could not."""
    summary = read_json(results / "summary.json")
    ledger = attempts(results / "ledger.jsonl")
    steps = [step_seconds(row) for path in results.glob("train/*/*/*/metrics.jsonl") for row in read_jsonl(path)]
    price = ledger[0].usd_per_hour * ledger[0].count / 3600
    return {
        "report": (results / "report.html").exists(),
        "spent_usd": spent_usd(ledger),
        "over_usd": max(0.0, spent_usd(ledger) - limit_usd),
        "dearest_training_step_usd": max(steps, default=0.0) * price,
        "models": {
            name: figures["not_run"] or figures["stopped"] or f"{figures['delta']:+.3f}"
            for name, figures in summary["models"].items()
        },
    }


def step_seconds(row: dict[str, Any]) -> float:
    """What a step took, by its metrics."""
    return sum(value for key, value in row.items() if key.startswith("seconds_") and value is not None)


def forecasts(results: Path) -> list[dict[str, Any]]:
    """Every job of a finished run: what preflight and the last plan before it expected, and what it took."""
    plans = read_json(results / "plan.json")["plans"]
    took = {
        tuple(map(str, (a.stage, a.model, a.variant, a.seed))): a.seconds
        for a in attempts(results / "ledger.jsonl")
        if a.outcome == "finished"
    }
    rows = []
    for job in plans[0]["jobs"]:
        key = tuple(map(str, (job["stage"], job["model"], job["variant"], job["seed"])))
        name = " ".join(part for part in key if part != "None")
        pending = [seconds for plan in plans if (seconds := expected(plan, job))]
        rows.append({"job": name, "preflight": pending[0], "latest": pending[-1], "actual": took[key]})
    return rows


def expected(plan: dict[str, Any], job: dict[str, Any]) -> float:
    """Device-seconds that a plan expects of a job; 0 if it is done by then."""
    same = ("stage", "model", "variant", "seed")
    (row,) = (row for row in plan["jobs"] if all(row[key] == job[key] for key in same))
    return float(row["device_seconds"]["expected"])


def main() -> None:
    """Measure, print and write; see the top of this file."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("finished", type=Path, help="results/tiny of a finished make tiny on this machine")
    parser.add_argument("--parts", type=float, nargs="+", default=PARTS, help="of what it cost")
    parser.add_argument("--output", type=Path, default=ROOT / "benchmarks/results/budgets.json")
    arguments = parser.parse_args()
    whole = spent_usd(attempts(arguments.finished / "ledger.jsonl"))
    rows = []
    for part in sorted(arguments.parts):
        rows.append({"part": part, **run(part * whole)})
        print(json.dumps(rows[-1]), file=sys.stderr, flush=True)
    result = {
        **made_with(),
        "whole_usd": whole,
        "overspend_usd": max(row["over_usd"] for row in rows),
        "budgets": rows,
        "forecasts": forecasts(arguments.finished),
    }
    print(f"{'job':<50} {'preflight':>9} {'latest':>7} {'actual':>7}  seconds", file=sys.stderr)
    for row in result["forecasts"]:
        print("{job:<50} {preflight:>9.0f} {latest:>7.0f} {actual:>7.0f}".format(**row), file=sys.stderr)
    write_json(arguments.output, result)
    print(json.dumps(result))


if __name__ == "__main__":
    main()
