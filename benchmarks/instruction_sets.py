"""Which instructions of the CPU decide the numbers of the tiny world, and which settings make them the same.

    python benchmarks/instruction_sets.py

Each row is a process of its own, with one thread: a supervised start of 4 steps and a step of reinforcement, for each
of the two architectures, under environment variables that the libraries read when they begin. `numbers` is the start of
the SHA-256 of all losses, rewards and weights to the last bit: rows with the same one computed the same. Rows come in
turn, `rounds` times over, and `cpu_seconds` are those of the training alone; `cost` is the median ratio to the row
without any setting of the same round. Under `limits` stand the rows that show what a setting makes equal: those whose
names begin with `pinned` have it, with the other settings varied. The last line of stdout is one JSON object, also
written to benchmarks/results.
"""

import argparse
import hashlib
import json
import os
import subprocess
import sys
import time
from pathlib import Path
from statistics import median
from typing import Any

import torch
from record import ROOT, finish, made_with, output_arguments, spread

from reinforce_lite.config import load
from reinforce_lite.io.instructions import COMMON
from reinforce_lite.io.provenance import environment
from reinforce_lite.learning.loop import train
from reinforce_lite.learning.supervised import supervised_start
from reinforce_lite.policy import scratch
from reinforce_lite.policy.load import prepare_torch
from reinforce_lite.resources.precision import training_of
from reinforce_lite.tasks import named

START_STEPS, STEPS = 4, 1
ATEN, ONEDNN, MKL, MKL_MOST = "ATEN_CPU_CAPABILITY", "ONEDNN_MAX_CPU_ISA", "MKL_CBWR", "MKL_ENABLE_INSTRUCTIONS"
KNOWN = {"avx512": "avx512f", "avx2": "avx2", "default": ""}
"""What torch can be told to use, and the flag of a processor that can; told otherwise, torch dies."""

ROWS: dict[str, dict[str, str]] = {
    "nothing": {},
    "nothing, again": {},
    **{f"torch {name}": {ATEN: name} for name, flag in KNOWN.items() if flag in Path("/proc/cpuinfo").read_text()},
    **{f"oneDNN {name}": {ONEDNN: name} for name in ("SSE41", "AVX2")},
    **{f"MKL {name}": {MKL: name} for name in ("COMPATIBLE", "AVX2")},
    "MKL at most SSE4_2": {MKL_MOST: "SSE4_2"},
    "all AVX2": {ATEN: "avx2", ONEDNN: "AVX2", MKL: "AVX2"},
    "common": COMMON,
    "common, oneDNN SSE41": {**COMMON, ONEDNN: "SSE41"},
    "least": {ATEN: "default", ONEDNN: "SSE41", MKL: "COMPATIBLE"},
}
"""What is set, by the name of the row."""


def numbers(model: str, threads: int) -> tuple[str, float, float]:
    """Train for a few steps: the sum over all numbers, the last loss, and CPU seconds."""
    settings = load([ROOT / "config/config.yaml", ROOT / "config/tiny.yaml"])
    prepare_torch(settings.hardware.model_copy(update={"cpu_threads": threads}))
    chosen, task = settings.policies[model], named("word_world")
    few = settings.task.model_copy(update={"demonstrations": 2000, "train_size": 100, "test_size": 10, "dev_size": 1})
    data, prompt = task.build(few), settings.task.prompt
    assert chosen.from_scratch is not None and chosen.start is not None
    policy = scratch.build(chosen.from_scratch, task.vocabulary, seed=0, device="cpu")
    began = time.process_time()
    start = chosen.start.model_copy(update={"steps": START_STEPS})
    losses = [row["loss"] for row in supervised_start(policy, data.demonstrations, task, prompt, start)]
    training = training_of(settings, model, settings.variants[0]).model_copy(update={"steps": STEPS, "kl_every": 1})
    steps: list[Any] = []
    train(policy, data.train, task, prompt, training, 0, steps.append)
    seconds = time.process_time() - began
    digest = hashlib.sha256(json.dumps([loss.hex() for loss in losses]).encode())
    for step in steps:
        digest.update(json.dumps([row["completion"] for row in step.completions]).encode())
    for weight in policy.model.state_dict().values():
        digest.update(weight.detach().numpy().tobytes())
    return digest.hexdigest()[:16], losses[-1], seconds


def one(threads: int) -> dict[str, Any]:
    """What this process computes, under the environment that it has."""
    found = {model: numbers(model, threads) for model in ("tiny-llama", "tiny-phi")}
    return {
        "numbers": {model: digest for model, (digest, _, _) in found.items()},
        "loss": {model: loss for model, (_, loss, _) in found.items()},
        "cpu_seconds": sum(seconds for _, _, seconds in found.values()),
        "torch_uses": torch.backends.cpu.get_cpu_capability(),
    }


def measured(settings: dict[str, str], threads: int) -> dict[str, Any]:
    """The same in a process of its own."""
    unset = {name: value for name, value in os.environ.items() if name not in (ATEN, ONEDNN, MKL, MKL_MOST)}
    environment = {**unset, "OMP_NUM_THREADS": str(threads), "OMP_WAIT_POLICY": "PASSIVE", **settings}
    command = [sys.executable, str(Path(__file__)), "--one", "--threads", str(threads)]
    done = subprocess.run(command, env=environment, stdout=subprocess.PIPE, text=True, check=True)
    found: dict[str, Any] = json.loads(done.stdout.splitlines()[-1])
    return found


def table(rounds: list[dict[str, dict[str, Any]]]) -> dict[str, dict[str, Any]]:
    """Each row with what it computed in all rounds, and what it costs."""
    rows = {}
    for name, settings in ROWS.items():
        own = [found[name] for found in rounds]
        seconds, plain = [one["cpu_seconds"] for one in own], [found["nothing"]["cpu_seconds"] for found in rounds]
        rows[name] = {
            "set": settings,
            **{key: own[0][key] for key in ("numbers", "loss", "torch_uses")},
            "same_in_all_rounds": len({json.dumps(one["numbers"]) for one in own}) == 1,
            "same_as_nothing": own[0]["numbers"] == rounds[0]["nothing"]["numbers"],
            "cpu_seconds": spread(seconds),
            "cost": median(now / then for now, then in zip(seconds, plain, strict=True)),
        }
    return rows


def main(arguments: argparse.Namespace) -> None:
    """Measure all rows in turn, and write them down."""
    rounds = []
    for number in range(arguments.rounds):
        rounds.append({name: measured(settings, arguments.threads) for name, settings in ROWS.items()})
        print(f"round {number + 1} of {arguments.rounds}", file=sys.stderr)
    rows = table(rounds)
    for name, row in rows.items():
        print(f"{name:32} {row['numbers']['tiny-phi']}  {row['cost']:.2f}", file=sys.stderr)
    steps = {"start": START_STEPS, "reinforcement": STEPS}
    told = {**made_with(), "cpu": environment()["cpu"], "steps": steps, "rounds": arguments.rounds}
    finish(arguments.output, {**told, "threads": arguments.threads, "rows": rows})


if __name__ == "__main__":
    parser = output_arguments(__doc__, "instruction_sets.json")
    parser.add_argument("--rounds", type=int, default=2, help="how often the rows are measured, in turn")
    parser.add_argument("--threads", type=int, default=1, help="of torch")
    parser.add_argument("--one", action="store_true", help="measure this process alone, and print it")
    given = parser.parse_args()
    if given.one:
        print(json.dumps(one(given.threads)))
    else:
        main(given)
