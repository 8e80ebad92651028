"""Weights that really move: the tiny world trained in bfloat16 by each scheme, and in float32.

    python benchmarks/schemes.py --policy results/tiny/policies/tiny-llama --config config/tiny.yaml

Every training has the same start, questions, seed and settings; only how a step gets into the weights differs. Adapters
(`lora`) are another set of weights at the same learning rate, unless they are given one of their own. The table goes to
stderr; the last line of stdout is one JSON object, also written to benchmarks/results.
"""

import json
import sys
import time
from pathlib import Path
from typing import Any

from record import ROOT, made_with, policy_arguments

from reinforce_lite.config import Settings, Training
from reinforce_lite.config import load as load_config
from reinforce_lite.evaluation import harness
from reinforce_lite.io.files import read_json, write_json
from reinforce_lite.learning.loop import Step, train
from reinforce_lite.policy.load import load, prepare_torch
from reinforce_lite.resources.memory import BYTES, GIB, footprint
from reinforce_lite.tasks import named

SCHEMES = [("float32", "nearest"), *(("bfloat16", weights) for weights in (*BYTES, "lora"))]

SIZES = ("device", "cpu", "checkpoint")
"""Bytes of one weight with all that belongs to it; see memory.py."""


def run(config: Settings, folder: Path, model: str, dtype: str, training: Training) -> dict[str, Any]:
    """One training, and the evaluations before and after it."""
    chosen = config.policies[model].model_copy(update={"dtype": dtype, "parameters": 1.0})  # the sizes are for one
    policy = load(folder, chosen, config.hardware.device)
    task = named(config.task.name)
    data = task.build(config.task)
    before, _ = harness.evaluate(policy, data.test, task, config.task.prompt, config.evaluation)
    steps: list[Step] = []
    began = time.perf_counter()
    train(policy, data.train, task, config.task.prompt, training, 0, steps.append)
    seconds = time.perf_counter() - began
    after, _ = harness.evaluate(policy, data.test, task, config.task.prompt, config.evaluation)
    last = steps[-1].metrics
    return {
        "weights": f"{dtype}, {training.weights}" if dtype == "bfloat16" else dtype,
        "learning_rate": training.learning_rate,
        **{f"bytes_{name}": getattr(footprint(chosen, training), name) * GIB / 1e9 for name in SIZES},
        "before": before["strict"],
        "after": after["strict"],
        "gain_points": 100 * (after["strict"] - before["strict"]),
        "weights_changed": last["weights_changed"],
        "kl_to_start": last["kl_to_start"],
        "seconds": seconds,
    }


def main() -> None:
    """Measure, print and write; see the top of this file."""
    parser = policy_arguments(__doc__, "schemes.json")
    parser.add_argument("--learning-rate", type=float, help="of all trainings; the configuration's by default")
    parser.add_argument("--lora-learning-rate", type=float, help="of the adapters; that of the others by default")
    parser.add_argument("--steps", type=int, help="of each training; the configuration's by default")
    arguments = parser.parse_args()
    config = load_config([ROOT / "config/config.yaml", *arguments.config])
    usual = config.variant("leave_one_out")
    rate = arguments.learning_rate or usual.learning_rate
    model = read_json(arguments.policy / "policy.json")["model"]
    prepare_torch(config.hardware)
    rows = []
    for dtype, weights in SCHEMES:
        own = arguments.lora_learning_rate if weights == "lora" else None
        update = {"weights": weights, "learning_rate": own or rate, "steps": arguments.steps or usual.steps}
        rows.append(run(config, arguments.policy, model, dtype, usual.model_copy(update=update)))
        print(json.dumps(rows[-1]), file=sys.stderr, flush=True)
    result = {
        **made_with(),
        "model": model,
        "schemes": rows,
    }
    write_json(arguments.output, result)
    print(json.dumps(result))


if __name__ == "__main__":
    main()
