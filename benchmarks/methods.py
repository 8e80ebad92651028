"""What each method makes of the tiny worlds: accuracy before and after; `machinery.py` measures what its steps cost.

    python benchmarks/methods.py

Each world is an experiment of its own, `config/machinery.yaml` over the world's configuration, run by Snakemake in
results/machinery_<world>: what is finished there is kept, so a call that was cut goes on, and each has a report. A
world that is not asked for (--worlds) keeps the figures that the output has of it, with their date and tree. Every
method takes as many steps from the same start, with one training seed; PPO takes more optimiser steps a batch.

Beside accuracy stand what the training has cost by the ledger, and the swings of its reward curve: the standard
deviation of the change of the mean reward from step to step over the square root of two (von Neumann 1941), which a
rise does not count among.

The table goes to stderr; the last line of stdout is one JSON object, also written to benchmarks/results.
"""

import subprocess
import sys
from collections.abc import Sequence
from itertools import pairwise
from math import sqrt
from pathlib import Path
from statistics import stdev
from typing import Any

from record import ROOT, finish, made_with, output_arguments

from reinforce_lite.io.files import read_json, read_jsonl

WORLDS = ("tiny", "tiny_countdown", "tiny_knights")


def run(world: str) -> dict[str, Any]:
    """Run the experiment of a world, or what is left of it, and look at its summary."""
    experiment = f"machinery_{world}"
    configs = ["--configfile", f"config/{world}.yaml", "config/machinery.yaml", "--config", f"experiment={experiment}"]
    subprocess.run([sys.executable, "-m", "snakemake", "--cores", "1", *configs], cwd=ROOT, check=True)
    return look(ROOT / "results" / experiment)


def look(folder: Path) -> dict[str, Any]:
    """Accuracy with its interval, US dollars and swings of each run of the only model of an experiment."""
    summary = read_json(folder / "summary.json")
    [(name, model)] = summary["models"].items()
    found: dict[str, Any] = {"n": model["n"], "baseline": model["baseline"]["strict"], "runs": {}}
    for one in model["runs"]:
        variant = one["variant"]
        gain = {key: one[key] for key in ("delta", "ci95", "mcnemar_p", "stopped")}
        run = variant, one["seed"]
        [cost] = [row for row in summary["cost"]["per_point"] if (row["variant"], row["seed"]) == run]
        steps = read_jsonl(folder / f"train/{name}/{variant}/seed{one['seed']}/metrics.jsonl")
        found["runs"][variant] = {
            "trained": one["trained"]["strict"],
            **gain,
            "usd": cost["training_usd"],
            "swings": swings([row["reward_mean"] for row in steps]),
        }
    return found


def swings(rewards: Sequence[float]) -> float:
    """How far a curve jumps from step to step, without its rise.

    >>> swings([0.0, 1.0, 2.0, 3.0]), round(swings([0.0, 1.0, 0.0, 1.0]), 3)
    (0.0, 0.816)
    """
    return stdev(after - before for before, after in pairwise(rewards)) / sqrt(2)


def main() -> None:
    """Run, print and write; see the top of this file."""
    parser = output_arguments(__doc__, "methods.json")
    parser.add_argument("--worlds", nargs="+", choices=WORLDS, default=WORLDS)
    given = parser.parse_args()
    worlds = read_json(given.output)["worlds"] if given.output.exists() else {}
    made = made_with()
    for world in given.worlds:
        figures = worlds[world] = {"date": made["date"], "tree": made["tree"], **run(world)}
        for name, row in figures["runs"].items():
            told = f"{figures['baseline']:.1%} -> {row['trained']:.1%}, ${row['usd']:.4f}, swings {row['swings']:.3f}"
            print(f"{world:<15} {name:<14} {told}", file=sys.stderr)
    finish(given.output, {**made, "worlds": worlds})


if __name__ == "__main__":
    main()
