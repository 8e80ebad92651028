"""The benchmarks of speed and memory for a GPU, one after another, each in a process and a file of its own.

    python benchmarks/gpu.py --parts engines memory --seconds 600 --output benchmarks/results/gpu
    python benchmarks/gpu.py --shape small          # a dry run on any machine: results/bench-small

First it says what each part is expected to take. A part writes its file when it has ended, in one piece: one that is
killed loses itself and no other. A part whose file is of this tree and this machine is not run again (`--force` does).
With `--seconds`, parts that no longer fit are left out and named, and one that runs past the limit is ended. Nothing is
installed but TRL for `peers`, and only where a package index answers. The exit code is 1 if a part failed.
"""

import argparse
import os
import subprocess
import sys
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path

from record import ROOT, machine, tree
from shapes import SHAPES

from reinforce_lite.errors import UserError
from reinforce_lite.io.files import read_json

HERE = ROOT / "benchmarks"
OUTPUTS = {"3b": HERE / "results/gpu", "small": ROOT / "results/bench-small"}


def nothing() -> str | None:
    """What most parts need."""
    return None


def has_trl() -> str | None:
    """Why TRL cannot be had, after trying to install it where it is absent; None if it is there."""
    if find_spec("trl") is None and not os.environ.get("HF_HUB_OFFLINE"):
        once = ["--quiet", "--disable-pip-version-check", "--retries", "0", "--timeout", "10", "--no-deps"]
        command = [sys.executable, "-m", "pip", "install", *once, "-r", str(HERE / "requirements.txt")]
        subprocess.run(command, stderr=subprocess.DEVNULL, check=False)
    return None if find_spec("trl") else "TRL is not installed, and cannot be installed here"


def has_smollm() -> str | None:
    """Which variable is absent that names SmolLM2's weights or GSM8K; None if both are set."""
    unset = [name for name in ("SMOLLM_GGUF", "GSM8K_DIR") if not os.environ.get(name)]
    return f"{' and '.join(unset)} not set" if unset else None


def has_optimizer() -> str | None:
    """Whether this tree has the benchmark."""
    return None if (HERE / "optimizer.py").exists() else "benchmarks/optimizer.py is not in this tree"


@dataclass(frozen=True)
class Part:
    """One benchmark.

    Attributes:
        seconds: expected at the 3B shapes, on an H100 or H200.
        source: where that figure comes from. `probe` is benchmarks/results/gpu/probe.json, measured on an H200; what
            is not from there is estimated.
        arguments: at the 3B shapes.
        small: arguments of a dry run.
        small_seconds: expected of it on two cores.
        needs: says why the part cannot run here, or None.
    """

    seconds: int
    source: str
    arguments: str
    small: str
    small_seconds: int
    needs: Callable[[], str | None] = nothing


BEGIN = "25 s to import, build and begin (probe: build 5 s; the rest estimated)"
PARTS = {
    "engines": Part(
        100,
        f"{BEGIN}, open vLLM 49 s (probe); 3 turns: generate 5.8 s, vllm 1.3 s, twice if it can be seeded in two ways "
        "(probe: 3,543 and 16,538 tokens/s)",
        "--shape 3b --questions 8 --lengths 256 --rounds 2",
        "--shape small --questions 1 8 --lengths 16 --rounds 1",
        15,
    ),
    "published_loop": Part(
        155,
        f"{BEGIN}, open vLLM 49 s (probe); theirs two questions of 10 x 128 tokens, 30 s each (probe: 40 s in "
        "deterministic mode; without it estimated); ours 5 steps of 80 x 128, 2 s each (probe: rollout 0.7 s, update "
        "1.2 s); fresh copies 10 s (estimated)",
        "--shape 3b --questions 1 --steps 2 --rounds 2",
        "--shape small --questions 1 --steps 2 --rounds 1",
        15,
    ),
    "memory": Part(
        165,
        f"{BEGIN}; for each of 2 models 8bit 20 s, stochastic 15 s (memory.json: an update takes 0.5 to 1.7 s, 6 to 12 "
        "of them are taken), offload 35 s (estimated: an update takes 5 s)",
        "--shape 3b --schemes 8bit stochastic offload --lengths 4096 8192 --cards 24 48",
        "--shape small --schemes 8bit stochastic --lengths 256 --cards",
        20,
    ),
    "optimizer": Part(
        50,
        f"{BEGIN}; 2 models by 2 schemes, 4 steps each (probe: 0.15 and 0.82 s), the first of which compiles 10 s "
        "(estimated)",
        "--shape 3b --schemes stochastic 8bit --rounds 3",
        "--shape small --schemes stochastic 8bit --rounds 1",
        20,
        has_optimizer,
    ),
    "start": Part(
        30,
        "12 steps of 64 rows, 0.6 to 1.1 s each (measured on the H200, on tree 86ae0d2); the rest is estimated",
        "",
        "--rows 1 --steps 1",
        40,
        has_smollm,
    ),
    "peers": Part(
        45,
        f"{BEGIN}; 2 steps each of 80 x 128: ours 4 s (probe), TRL 6 s (estimated); fresh copies 5 s (estimated)",
        "--shape 3b --peers grpo --rows 20 --steps 1 --rounds 1",
        "--shape small --peers grpo --rows 8 --steps 1 --rounds 1",
        40,
        has_trl,
    ),
    "scaling": Part(
        55,
        f"{BEGIN}; 5 points of 2 steps, 32 to 128 positions at 23 ms (probe: generate without deterministic mode), and "
        "4 s each for an update and a fresh copy (estimated)",
        "--shape 3b --rounds 1",
        "--shape small --rounds 1 --few",
        25,
    ),
}
"""In this order: what is worth most comes first."""


@dataclass(frozen=True)
class Run:
    """What is asked for.

    Attributes:
        shape: `3b` or `small`.
        output: folder of the results.
        force: parts that are done are run again.
        limit: seconds for all of it, or None.
    """

    shape: str
    output: Path
    force: bool
    limit: float | None

    def expected(self, name: str) -> int:
        """Seconds of a part."""
        return PARTS[name].seconds if self.shape == "3b" else PARTS[name].small_seconds

    def command(self, name: str) -> list[str]:
        """What runs a part, in this Python."""
        given = PARTS[name].arguments if self.shape == "3b" else PARTS[name].small
        return [sys.executable, f"benchmarks/{name}.py", *given.split(), "--output", str(self.file(name))]

    def file(self, name: str) -> Path:
        """Where a part's result lies."""
        return self.output / f"{name}.json"

    def done(self, name: str) -> bool:
        """Whether there is a result of this tree and this machine."""
        try:
            found = read_json(self.file(name))
        except UserError:
            return False
        return (found.get("tree"), found.get("machine")) == (tree(), machine())


def plan(run: Run, names: Sequence[str]) -> tuple[list[str], dict[str, str]]:
    """The parts to run in their order, and why each other one is left out."""
    chosen: list[str] = []
    out: dict[str, str] = {}
    total = 0
    for name in dict.fromkeys(names):
        if not run.force and run.done(name):
            out[name] = f"done for this tree and machine, in {run.file(name)}; FORCE=1 or --force runs it again"
        elif (reason := PARTS[name].needs()) is not None:
            out[name] = reason
        elif run.limit is not None and total + run.expected(name) > run.limit:
            out[name] = f"no time: {run.expected(name)} s expected, {run.limit - total:.0f} s left"
        else:
            chosen.append(name)
            total += run.expected(name)
    return chosen, out


def told(run: Run, chosen: Sequence[str], out: dict[str, str]) -> str:
    """The plan for people."""
    source = (
        (lambda name: PARTS[name].source) if run.shape == "3b" else (lambda name: "on two cores that others use too")
    )
    lines = [f"{name:<16}{run.expected(name):>5} s  {source(name)}" for name in chosen]
    limit = "" if run.limit is None else f" of {run.limit:.0f}"
    lines.append(f"{'total':<16}{sum(map(run.expected, chosen)):>5} s{limit}, expected")
    return "\n".join(lines + [f"left out: {name}: {reason}" for name, reason in out.items()])


def execute(run: Run, chosen: Sequence[str], out: dict[str, str]) -> dict[str, str]:
    """Run the parts; what became of each. One that has no time any more is added to those left out."""
    ended: dict[str, str] = {}
    began = time.monotonic()
    for name in chosen:
        left = None if run.limit is None else run.limit - (time.monotonic() - began)
        if left is not None and left < run.expected(name):
            out[name] = f"no time: {run.expected(name)} s expected, {left:.0f} s left"
            continue
        print(f"== {name}", file=sys.stderr, flush=True)
        at = time.monotonic()
        try:
            code = subprocess.run(run.command(name), cwd=ROOT, timeout=left, check=False).returncode
            ended[name] = "done" if code == 0 else f"failed with exit code {code}"
        except subprocess.TimeoutExpired:
            ended[name] = "failed: it ran past the limit"
        ended[name] += f", {time.monotonic() - at:.0f} s ({run.expected(name)} expected)"
    return ended


def main() -> None:
    """Plan, run, and say what became of it; see the top of this file."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--shape", choices=SHAPES, default="3b")
    parser.add_argument("--parts", nargs="+", choices=PARTS, default=list(PARTS))
    parser.add_argument("--seconds", type=float, help="for all parts together; no limit by default")
    parser.add_argument("--output", type=Path, help="folder; by default benchmarks/results/gpu, or results/bench-small")
    parser.add_argument("--force", action="store_true", help="run parts again that are done")
    given = parser.parse_args()
    run = Run(given.shape, (given.output or OUTPUTS[given.shape]).resolve(), given.force, given.seconds)
    chosen, out = plan(run, given.parts)
    print(told(run, chosen, out), file=sys.stderr, flush=True)
    planned = set(out)
    ended = execute(run, chosen, out)
    for name, how in ended.items():
        print(f"{name}: {how}", file=sys.stderr)
    for name in out.keys() - planned:
        print(f"left out: {name}: {out[name]}", file=sys.stderr)
    sys.exit(any(how.startswith("failed") for how in ended.values()))


if __name__ == "__main__":
    main()
