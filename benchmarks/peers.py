"""Ours against TRL's GRPOTrainer and RLOOTrainer: the same start, questions, group, lengths, optimiser and batch.

    pip install --no-deps -r benchmarks/requirements.txt
    python benchmarks/peers.py --policy results/tiny/policies/tiny-llama --config config/tiny.yaml
    python benchmarks/peers.py --shape 3b          # random weights, forced lengths: for a GPU

The systems take turns, each from a fresh copy of the policy, and the first step of each turn is left out. Both write
with transformers (ours by the engine `generate`): vLLM can be opened once a process, so it has no place in turns. TRL
may choose: before the rounds it tries how many completions go through one forward pass of the update, and keeps the
fastest number (`--rows` gives it one instead). A ratio is ours over theirs: median, smallest and largest of the rounds;
in `phases` it is one of completions per second, so above 1 ours is faster. At the top stand the ratios to the fastest
trainer. Peak memory is the GPU's; on a CPU it is that of all tensors, by a hook in one more turn (ours with the copy of
the start that drift is measured from). The table goes to stderr; the last line of stdout is one JSON object, also
written to benchmarks/results.
"""

import gc
import importlib.metadata
import sys
import time
from collections.abc import Callable
from functools import partial
from statistics import median
from typing import Any

import torch
from live import Live
from record import finish, made_with, spread
from tqdm import tqdm
from trl_loop import TRAINERS, Count, theirs
from worlds import World, arguments, chosen, own_mode

from reinforce_lite.learning.loop import Step, train

PHASES = ("generation", "reward", "update")
WHAT = ("completions", "gradients", "tokens")
Loop = Callable[[int, int], Count]
"""(steps, seed) -> what was counted."""


def ours(world: World, steps: int, seed: int) -> Count:
    """So many steps of our loop after one that warms up; the measurement of drift is left out, theirs has none."""
    done: list[tuple[float, Step]] = []
    training = world.training.model_copy(update={"steps": steps + 1, "kl_every": steps + 2})
    problems, prompt = world.problems, world.prompt

    def after(step: Step) -> None:
        done.append((time.perf_counter(), step))

    train(world.fresh(), problems, world.task, prompt, training, seed, after)
    rows = [step.metrics for _, step in done[1:]]
    return {
        "seconds": done[-1][0] - done[0][0] - sum(row["seconds_drift"] for row in rows),
        "generation": sum(row["seconds_rollout"] for row in rows),
        "reward": sum(row["seconds_reward"] for row in rows),
        "update": sum(row["seconds_update"] for row in rows),
        "completions": world.batch * len(rows),
        "gradients": sum(round(world.batch * (1 - row["groups_dropped"])) for row in rows),
        "tokens": sum(row["tokens"] for row in rows),
    }


def turn(name: str, loop: Loop, steps: int, seed: int) -> Count:
    """One turn; on a GPU with the peak of allocated memory."""
    gc.collect()
    with own_mode(name == "ours"):
        if not torch.cuda.is_available():
            return loop(steps, seed)
        torch.cuda.empty_cache()
        torch.cuda.reset_peak_memory_stats()
        return {**loop(steps, seed), "peak_bytes": torch.cuda.max_memory_allocated()}


def best_rows(world: World, kind: str) -> tuple[int, dict[int, float | None]]:
    """How many completions TRL should put through one forward pass, and the seconds of each number; None: no memory."""
    tried: dict[int, float | None] = {}
    for rows in (world.batch // parts for parts in (1, 2, 4, 8, 16, 32) if world.batch % parts == 0):
        try:
            # The faster of two tries, so that what else the machine does decides less.
            tried[rows] = min(turn(kind, partial(theirs, kind, world, rows), 2, seed)["seconds"] for seed in range(2))
        except torch.OutOfMemoryError:
            tried[rows] = None
    return min((seconds, rows) for rows, seconds in tried.items() if seconds is not None)[1], tried


def ratios(mine: list[Count], other: list[Count]) -> dict[str, Any]:
    """Ours over theirs, round by round; None where a side has nothing to count."""

    def rate(count: Count, what: str, seconds: str) -> float:
        return count[what] / count[seconds]

    def ratio(what: str, seconds: str = "seconds") -> dict[str, float] | None:
        pairs = list(zip(mine, other, strict=True))
        if not all(b[what] and b[seconds] and a[seconds] for a, b in pairs):
            return None
        return spread([rate(a, what, seconds) / rate(b, what, seconds) for a, b in pairs])

    peaks = [(a["peak_bytes"], b["peak_bytes"]) for a, b in zip(mine, other, strict=True) if "peak_bytes" in a]
    return {
        "completions_ratio": ratio("completions"),
        "gradient_ratio": ratio("gradients"),
        "tokens_ratio": ratio("tokens"),
        "peak_memory_ratio": spread([a / b for a, b in peaks]) if peaks else None,
        "phases": {phase: ratio("completions", phase) for phase in PHASES},
    }


def told(counts: list[Count]) -> dict[str, Any]:
    """What a system did: rates by the medians of its turns."""
    return {
        **{f"{what}_per_second": median(c[what] / c["seconds"] for c in counts) for what in WHAT},
        "tokens_per_completion": sum(c["tokens"] for c in counts) / sum(c["completions"] for c in counts),
        **{f"ms_per_completion_{name}": median(1000 * c[name] / c["completions"] for c in counts) for name in PHASES},
        "peak_bytes": max((c["peak_bytes"] for c in counts if "peak_bytes" in c), default=None),
    }


def compare(world: World, kinds: list[str], rounds: int, steps: int, given_rows: int | None) -> dict[str, Any]:
    """All systems by turns; TRL's update by so many rows at once, or as many as are fastest."""
    settings: dict[str, Any] = {}
    loops: dict[str, Loop] = {"ours": partial(ours, world)}
    for kind in kinds:
        rows, tried = (given_rows, {}) if given_rows else best_rows(world, kind)
        settings[kind] = {"rows": rows, "seconds_by_rows": tried}
        loops[kind] = partial(theirs, kind, world, rows)
    taken: dict[str, list[Count]] = {name: [] for name in loops}
    warm_up = 1 if world.device == "cpu" else 0  # on a GPU the first step of each turn suffices
    for seed in tqdm(range(rounds + warm_up), desc="rounds"):
        for name, loop in loops.items():
            taken[name].append(turn(name, loop, steps, seed))
    taken = {name: counts[warm_up:] for name, counts in taken.items()}
    if world.device == "cpu":
        for name, loop in loops.items():
            peak = peak_on_cpu(name, loop)
            for count in taken[name]:
                count["peak_bytes"] = peak
    against = {kind: ratios(taken["ours"], taken[kind]) for kind in kinds}
    fastest = min(against, key=lambda kind: against[kind]["completions_ratio"]["median"])
    systems = {name: {**told(counts), **settings.get(name, {})} for name, counts in taken.items()}
    return {"systems": systems, "against": against, "fastest_peer": fastest, **against[fastest]}


def peak_on_cpu(name: str, loop: Loop) -> int:
    """Bytes of all tensors at the peak of a turn of two steps."""
    live = Live()
    with live:
        turn(name, loop, 1, 0)
    return live.peak


def main() -> None:
    """Measure, print and write; see the top of this file."""
    parser = arguments(__doc__, "peers.json")
    parser.add_argument("--rounds", type=int, default=5, help="on a CPU after one that warms up")
    parser.add_argument("--steps", type=int, default=3, help="of each system in a round, after one that warms up")
    parser.add_argument("--peers", nargs="+", choices=TRAINERS, default=list(TRAINERS))
    parser.add_argument("--rows", type=int, help="completions in one forward pass of TRL's update; tried by default")
    try:
        version = importlib.metadata.version("trl")
    except importlib.metadata.PackageNotFoundError:
        sys.exit("TRL is not installed: pip install --no-deps -r benchmarks/requirements.txt")
    given, world = chosen(parser)
    found = compare(world, given.peers, given.rounds, given.steps, given.rows)
    for name, system in found["systems"].items():
        figures = "  ".join(f"{key} {value:.4g}" for key, value in system.items() if isinstance(value, float | int))
        print(f"{name:<16} {figures}", file=sys.stderr)
    for kind, ratio in found["against"].items():
        phases = "  ".join(f"{phase} x{value['median']:.2f}" for phase, value in ratio["phases"].items() if value)
        print(f"ours / {kind:<9} completions x{ratio['completions_ratio']['median']:.2f}  {phases}", file=sys.stderr)
    dtype = str(world.policy.model.dtype).removeprefix("torch.")
    made = {**made_with(), "model": world.name, "trl": version, "device": world.device, "rounds": given.rounds}
    batch = {"completions_a_step": world.batch, "group": world.training.group_size, "dtype": dtype}
    finish(given.output, {**made, "threads": torch.get_num_threads(), **batch, **found})


if __name__ == "__main__":
    main()
