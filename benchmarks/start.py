"""Seconds a step of SmolLM2-135M's supervised start on GSM8K's worked solutions.

    SMOLLM_GGUF=model.gguf GSM8K_DIR=gsm8k python benchmarks/start.py

The start is `learning/supervised.py` as it is, in bfloat16 on a GPU and in float32 on a CPU, on the questions of train
in the order of the file. The first steps warm up and do not count. The last line of stdout is one JSON object, also
written to benchmarks/results.
"""

import os
import sys
import time
from itertools import pairwise
from pathlib import Path
from typing import Any

import torch
from record import finish, made_with, output_arguments, spread
from worlds import device

from reinforce_lite.config import PolicySettings, Start
from reinforce_lite.learning.supervised import completion_ids, supervised_start
from reinforce_lite.policy import Policy, load
from reinforce_lite.tasks import Demonstration
from reinforce_lite.tasks.gsm8k import TASK, Gsm8kOptions

PROMPT = "tagged"
WARM_UP = 2


def steps(policy: Policy, demonstrations: list[Demonstration], rows: int, count: int) -> list[float]:
    """Seconds of each of `count` steps of `rows` demonstrations, after those that warm up."""
    ends: list[float] = []

    def watch(completed: int) -> str | None:
        if policy.device.type == "cuda":
            torch.cuda.synchronize()
        ends.append(time.perf_counter())
        return None

    settings = Start(steps=WARM_UP + count, batch_size=rows, learning_rate=1e-5)
    supervised_start(policy, demonstrations, TASK, PROMPT, settings, stop=watch)
    return [end - begin for begin, end in pairwise(ends[WARM_UP - 1 :])]


def measure(weights: Path, data: Path, rows: int, count: int) -> dict[str, Any]:
    """Seconds a step, and tokens a second."""
    where = device()
    dtype = "bfloat16" if where == "cuda" else "float32"
    policy = load.local(weights, PolicySettings.model_validate({"path": weights, "dtype": dtype}), where)
    wanted = (WARM_UP + count) * rows
    task = Gsm8kOptions(name="gsm8k", path=data, dev_size=0, train_size=1, test_size=1, demonstrations=wanted)
    shown = TASK.build(task).demonstrations
    seconds = steps(policy, shown, rows, count)
    tokens = sum(
        len(policy.prompt_ids(TASK.messages(PROMPT, one.question))) + len(completion_ids(policy, one.completion)) + 1
        for one in shown
    )
    each = tokens / len(shown)
    spent = spread(seconds)
    return {
        "model": "smollm2-135m",
        "dtype": dtype,
        "batch": rows,
        "steps": count,
        "tokens_per_row": each,
        "seconds_per_step": spent,
        "tokens_per_second": rows * each / spent["median"],
    }


def main() -> None:
    """Measure, print and write; see the top of this file."""
    parser = output_arguments(__doc__, "start.json")
    parser.add_argument("--weights", type=Path, default=os.environ.get("SMOLLM_GGUF"), help="default: SMOLLM_GGUF")
    parser.add_argument("--data", type=Path, default=os.environ.get("GSM8K_DIR"), help="default: GSM8K_DIR")
    parser.add_argument("--rows", type=int, default=64, help="demonstrations a step")
    parser.add_argument("--steps", type=int, default=10, help=f"after {WARM_UP} that warm up")
    given = parser.parse_args()
    if given.weights is None or given.data is None:
        parser.error("give --weights and --data, or set SMOLLM_GGUF and GSM8K_DIR")
    found = measure(given.weights, given.data, given.rows, given.steps)
    told = "{median:.2f} s a step ({min:.2f} to {max:.2f})".format(**found["seconds_per_step"])
    print(f"{told}, {found['tokens_per_second']:,.0f} tokens/s", file=sys.stderr)
    finish(given.output, {**made_with(), **found})


if __name__ == "__main__":
    main()
