"""What each method makes of the tiny worlds: accuracy before and after; `machinery.py` measures what its steps cost.

    python benchmarks/methods.py

Each world is an experiment of its own, `config/machinery.yaml` over the world's configuration, run by Snakemake in
results/machinery_<world>: what is finished there is kept, so a call that was cut goes on, and each has a report. Every
method takes as many steps from the same start, with one training seed; PPO takes more optimiser steps a batch.

The table goes to stderr; the last line of stdout is one JSON object, also written to benchmarks/results.
"""

import subprocess
import sys
from typing import Any

from record import ROOT, finish, made_with, output_arguments

from reinforce_lite.io.files import read_json

WORLDS = ("tiny", "tiny_countdown", "tiny_knights")


def run(world: str) -> dict[str, Any]:
    """Run the experiment of a world, or what is left of it, and look at its summary."""
    experiment = f"machinery_{world}"
    configs = ["--configfile", f"config/{world}.yaml", "config/machinery.yaml", "--config", f"experiment={experiment}"]
    subprocess.run([sys.executable, "-m", "snakemake", "--cores", "1", *configs], cwd=ROOT, check=True)
    return look(read_json(ROOT / "results" / experiment / "summary.json"))


def look(summary: dict[str, Any]) -> dict[str, Any]:
    """Accuracy and interval of each run of the only model."""
    [model] = summary["models"].values()
    found: dict[str, Any] = {"n": model["n"], "baseline": model["baseline"]["strict"], "runs": {}}
    for one in model["runs"]:
        gain = {key: one[key] for key in ("delta", "ci95", "mcnemar_p", "stopped")}
        found["runs"][one["variant"]] = {"trained": one["trained"]["strict"], **gain}
    return found


def main() -> None:
    """Run, print and write; see the top of this file."""
    parser = output_arguments(__doc__, "methods.json")
    parser.add_argument("--worlds", nargs="+", choices=WORLDS, default=WORLDS)
    given = parser.parse_args()
    worlds = {world: run(world) for world in given.worlds}
    for world, figures in worlds.items():
        for name, row in figures["runs"].items():
            print(f"{world:<15} {name:<14} {figures['baseline']:.1%} -> {row['trained']:.1%}", file=sys.stderr)
    finish(given.output, {**made_with(), "worlds": worlds})


if __name__ == "__main__":
    main()
