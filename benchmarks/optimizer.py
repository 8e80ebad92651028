"""Seconds of one optimiser step under each weight scheme, at the number of weights of a model.

    python benchmarks/optimizer.py                 # small shapes, on a CPU too, in seconds
    python benchmarks/optimizer.py --shape 3b      # Llama-3.2-3B and Phi-3.5-mini, random weights: for a GPU

The first step of a scheme makes its state, and on a GPU compiles its kernel, so it is told apart from those that
follow. `over_stochastic` is the median of a scheme over that of `stochastic`. A scheme for which there is no memory has
no seconds. The table goes to stderr; the last line of stdout is one JSON object, also written to benchmarks/results.
"""

import gc
import sys
import time
from typing import Any

import torch
from record import finish, made_with, output_arguments, spread
from shapes import SHAPES, build
from worlds import device

from reinforce_lite.config import Training
from reinforce_lite.optim.optimizer import optimizer_for
from reinforce_lite.resources.memory import BYTES

SCHEMES = tuple(BYTES)


def seconds(optimizer: torch.optim.Optimizer) -> float:
    """One step, from an idle device to an idle device."""
    _wait()
    began = time.perf_counter()
    optimizer.step()
    _wait()
    return time.perf_counter() - began


def _wait() -> None:
    if torch.cuda.is_available():
        torch.cuda.synchronize()


def steps(model: Any, scheme: str, rounds: int) -> dict[str, Any]:
    """The first step and those after it; None where there is no memory."""
    training = {"steps": 1, "questions_per_step": 1, "max_new_tokens": 1, "learning_rate": 1e-6, "weights": scheme}
    try:
        optimizer = optimizer_for(model, Training.model_validate(training), 0)
        first = seconds(optimizer)
        return {"first_seconds": first, "seconds": spread([seconds(optimizer) for _ in range(rounds)])}
    except torch.OutOfMemoryError:
        return {"first_seconds": None, "seconds": None}


def measure(shape: str, schemes: list[str], rounds: int) -> list[dict[str, Any]]:
    """Every model of a shape under every scheme."""
    found = []
    for name, measures in SHAPES[shape].items():
        model = build(measures, device()).model
        weights = sum(weight.numel() for weight in model.parameters())
        for weight in model.parameters():
            weight.grad = torch.randn_like(weight)
        rows = []
        for scheme in schemes:
            rows.append({"model": name, "parameters": weights, "weights": scheme, **steps(model, scheme, rounds)})
            gc.collect()
            torch.cuda.empty_cache()
        usual = next((row["seconds"] for row in rows if row["weights"] == "stochastic"), None)
        for row in rows:
            known = row["seconds"] and usual
            row["over_stochastic"] = row["seconds"]["median"] / usual["median"] if known else None
            print(line(row), file=sys.stderr, flush=True)
        found += rows
        del model
    return found


def line(row: dict[str, Any]) -> str:
    """One row of the table."""
    if row["seconds"] is None:
        return f"{row['model']:<14} {row['weights']:<12} out of memory"
    ratio = f"  x {row['over_stochastic']:.2f} of stochastic" if row["over_stochastic"] else ""
    return f"{row['model']:<14} {row['weights']:<12} {row['seconds']['median']:.4f} s{ratio}"


def main() -> None:
    """Measure, print and write; see the top of this file."""
    parser = output_arguments(__doc__, "optimizer.json")
    parser.add_argument("--shape", choices=SHAPES, default="small")
    parser.add_argument("--schemes", nargs="+", choices=SCHEMES, default=SCHEMES)
    parser.add_argument("--rounds", type=int, default=5)
    given = parser.parse_args()
    rows = measure(given.shape, given.schemes, given.rounds)
    finish(given.output, {**made_with(), "shape": given.shape, "device": device(), "steps": rows})


if __name__ == "__main__":
    main()
