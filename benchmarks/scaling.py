"""How seconds and memory of a step grow with questions, group, completion length and model size.

    python benchmarks/scaling.py                # small shapes, on a CPU too
    python benchmarks/scaling.py --shape 3b     # around Llama-3.2-3B, random weights: for a GPU

One factor at a time leaves the base point; completions have the length that is asked for. The points take turns, each
from a fresh copy of the weights, and the first step of each turn is left out. Exponents are fitted by least squares in
log-log: seconds or bytes ~ factor ** exponent. Memory is the peak of a whole step: weights, the rollout's cache,
everything. On a GPU it is the allocator's; on a CPU that of all tensors, by a hook, in one more turn (with
the copy of the start that drift is measured from). The table goes to stderr; the last line of stdout is one JSON
object, also written to benchmarks/results. The engine `generate` writes 256 completions side by side, and a forward
pass of the update holds 16,384 tokens: memory stops growing with the batch where those are full.
"""

import gc
import sys
from collections.abc import Sequence
from dataclasses import dataclass, replace
from statistics import median
from typing import Any

import numpy as np
import torch
from live import Live
from record import finish, made_with, output_arguments
from shapes import SHAPES, Shape, build
from tqdm import tqdm
from worlds import SIZES, Size, World, device, of_numbers

from reinforce_lite.learning.loop import Step, train
from reinforce_lite.policy import Policy

MULTIPLES: dict[str, tuple[float, ...]] = {
    "questions": (0.5, 1, 2, 4),
    "group": (1, 2, 4, 8),
    "length": (0.5, 1, 2, 4),
    "layers": (0.25, 0.5, 1),
}
"""Of the base point's value. No group is smaller than its: the coin would drop too many small ones."""
FEW: dict[str, tuple[float, ...]] = {"questions": (1, 4), "group": (1, 8), "length": (1, 4), "layers": (0.25, 1)}
"""The same where a point takes ten seconds, as at the 3B shape: what a factor does between two points."""
FACTORS = ("questions", "group", "length", "parameters")
MEASURES = ("seconds", "rollout", "update", "peak_bytes")
BASES = {
    "3b": replace(SIZES["3b"], questions=4, group=8, length=32),
    "small": replace(SIZES["small"], questions=2, group=8),
}


@dataclass(frozen=True)
class Point:
    """One step to be measured, and the factors that it stands for."""

    size: Size
    layers: int
    factors: frozenset[str]


def points(base: Size, layers: int, along: dict[str, tuple[float, ...]] = MULTIPLES) -> list[Point]:
    """The base point, which stands for every factor, and those that leave it in one."""
    found = [Point(base, layers, frozenset(along))]
    for factor, multiples in along.items():
        middle = layers if factor == "layers" else getattr(base, factor)
        values = {max(1, round(middle * multiple)) for multiple in multiples} - {middle}
        for value in sorted(values):
            size = base if factor == "layers" else replace(base, **{factor: value})
            found.append(Point(size, value if factor == "layers" else layers, frozenset([factor])))
    return found


def exponent(xs: Sequence[float], ys: Sequence[float]) -> float | None:
    """The slope of log y over log x by least squares; None with fewer than two different xs.

    >>> round(exponent([1, 2, 4], [3, 12, 48]), 6)
    2.0
    """
    if len(set(xs)) < 2:
        return None
    return float(np.polyfit(np.log(xs), np.log(ys), 1)[0])


def turn(world: World, steps: int = 2) -> dict[str, float]:
    """Seconds of the last of so many steps, and on a GPU its peak."""
    done: list[Step] = []

    def after(step: Step) -> None:
        done.append(step)
        if torch.cuda.is_available() and len(done) < steps:
            torch.cuda.reset_peak_memory_stats()

    training = world.training.model_copy(update={"steps": steps, "kl_every": steps + 1})
    train(world.fresh(), world.problems, world.task, world.prompt, training, 0, after)
    seen = done[-1].metrics
    seconds = {"rollout": seen["seconds_rollout"], "update": seen["seconds_reward"] + seen["seconds_update"]}
    taken = {"seconds": sum(seconds.values()), **seconds, "groups_dropped": seen["groups_dropped"]}
    if torch.cuda.is_available():
        taken["peak_bytes"] = torch.cuda.max_memory_allocated()
    gc.collect()
    return taken


def measure(shape: Shape, chosen: list[Point], rounds: int) -> list[dict[str, Any]]:
    """Every point by turns; medians of the rounds."""
    policies: dict[int, Policy] = {}
    for layers in {point.layers for point in chosen}:
        policies[layers] = build(replace(shape, layers=layers), device())
        policies[layers].model.to("cpu")
    worlds = [of_numbers("random", policies[point.layers], point.size) for point in chosen]
    taken: list[list[dict[str, float]]] = [[] for _ in chosen]
    for _ in tqdm(range(rounds), desc="rounds"):
        for world, turns in zip(worlds, taken, strict=True):
            turns.append(turn(world))
    rows = []
    for point, world, turns in zip(chosen, worlds, taken, strict=True):
        row = {key: median(one[key] for one in turns) for key in turns[0]}
        if "peak_bytes" not in row:
            with Live() as live:
                turn(world, steps=1)
            row["peak_bytes"] = live.peak
        weights = sum(weight.numel() for weight in world.policy.model.parameters())
        factors = sorted("parameters" if factor == "layers" else factor for factor in point.factors)
        at = {"questions": point.size.questions, "group": point.size.group, "length": point.size.length}
        rows.append({**at, "layers": point.layers, "parameters": weights, "varies": factors, **row})
    return rows


def exponents(rows: Sequence[dict[str, Any]]) -> dict[str, dict[str, float | None]]:
    """For every factor the exponents of what was measured, by the points that stand for it."""
    found = {}
    for factor in FACTORS:
        along = [row for row in rows if factor in row["varies"]]
        xs = [row[factor] for row in along]
        found[factor] = {name: exponent(xs, [row[name] for row in along]) for name in MEASURES}
    return found


def main() -> None:
    """Measure, print and write; see the top of this file."""
    parser = output_arguments(__doc__, "scaling.json")
    parser.add_argument("--shape", choices=SHAPES, default="small")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--few", action="store_true", help="two points a factor, as always at the 3B shape")
    given = parser.parse_args()
    name, shape = next(iter(SHAPES[given.shape].items()))
    along = FEW if given.few or given.shape == "3b" else MULTIPLES
    rows = measure(shape, points(BASES[given.shape], shape.layers, along), given.rounds)
    for row in rows:
        at = "  ".join(f"{key} {row[key]:>5}" for key in ("questions", "group", "length", "layers"))
        took = f"{row['seconds']:.4g} s (rollout {row['rollout']:.4g}, update {row['update']:.4g})"
        print(f"{at}  {took}  {row['peak_bytes'] / 1e9:.4g} GB", file=sys.stderr)
    found = exponents(rows)
    for factor, slopes in found.items():
        told = "  ".join(f"{key} {value:.2f}" for key, value in slopes.items() if value is not None)
        print(f"~ {factor:<11} ** {told}", file=sys.stderr)
    fixed = {"model": name, "device": device(), "rounds": given.rounds, "prompt_tokens": BASES[given.shape].prompt}
    finish(given.output, {**made_with(), **fixed, "points": rows, "exponents": found})


if __name__ == "__main__":
    main()
