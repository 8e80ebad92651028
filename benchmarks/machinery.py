"""What the machinery costs that Reinforce-Lite leaves out: memory, seconds, code and networks of a step at equal batch.

    python benchmarks/machinery.py --policy results/tiny/policies/tiny-llama --config config/tiny.yaml
    python benchmarks/machinery.py --shape 3b      # random weights, forced lengths: for a GPU

The methods are variants of the configuration (METHODS), on the same questions with the same number of completions; a
group of equal rewards costs Reinforce-Lite no update. They take turns: each begins with a fresh copy of the policy, its
first step warms up, and its second one counts, rollout, reward and update. A peak is what that step holds before drift
is measured, the start weights from which that is done included: on a GPU by the allocator, on a CPU that of all
tensors, by a hook, in one more turn. Lines are those of `learning/` that a step runs, each once, of the files that hold
the method. Networks are what a step needs: the reference is the start policy, whose weights wait on the CPU until they
are swapped in; the old policy is kept as log-probabilities and the reward is a rule, so neither is a network here.

The table goes to stderr; the last line of stdout is one JSON object, also written to benchmarks/results. A ratio is
that of a method to Reinforce-Lite, by turns.
"""

import gc
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from types import FrameType
from typing import Any

import torch
from live import Live
from record import ROOT, finish, made_with, spread
from worlds import World, arguments, chosen

from reinforce_lite import learning
from reinforce_lite.config import Training
from reinforce_lite.config import load as load_config
from reinforce_lite.learning.loop import Step, train

METHODS = {
    "Reinforce-Lite": "leave_one_out",
    "with an entropy bonus": "entropy_bonus",
    "REINFORCE++": "reinforce_pp",
    "GRPO": "grpo",
    "PPO": "ppo",
}
"""By variant of the configuration."""
FILES = ("batching", "critic", "estimators", "experience", "loop", "objectives", "update")
"""Of learning/, what holds the method; the rest records and resumes."""


def variants(world: World, configs: list[Path]) -> dict[str, Training]:
    """The methods as the configuration has them, laid over the world's step."""
    catalogue = load_config([ROOT / "config/config.yaml", *configs]).training_variants
    base = world.training.model_dump()
    return {name: Training.model_validate({**base, **catalogue[variant]}) for name, variant in METHODS.items()}


def networks(training: Training) -> dict[str, int]:
    """How many a step needs of each kind."""
    return {
        "policy": 1,
        "old policy": 0,
        "reference": int(training.kl_coefficient > 0),
        "critic": training.networks - 1,
        "reward": 0,
    }


def turn(world: World, training: Training, live: Live | None = None) -> dict[str, float]:
    """Seconds of the second step of a training, and its peak where something tells one."""
    done: list[Step] = []
    peak: list[int] = []

    def before_drift(completed: int) -> None:
        if live is not None or world.device == "cuda":
            peak.append(live.peak if live is not None else torch.cuda.max_memory_allocated())

    def after(step: Step) -> None:
        done.append(step)
        if live is not None:
            live.restart()
        elif world.device == "cuda":
            torch.cuda.reset_peak_memory_stats()

    two = training.model_copy(update={"steps": 2, "kl_every": 2})
    train(world.fresh(), world.problems, world.task, world.prompt, two, 0, after, stop=before_drift)
    gc.collect()
    seen = done[-1].metrics
    seconds = {"rollout": seen["seconds_rollout"], "update": seen["seconds_reward"] + seen["seconds_update"]}
    told = {"seconds": sum(seconds.values()), **seconds, "groups_dropped": seen["groups_dropped"]}
    return {**told, **({"peak_bytes": peak[-1]} if peak else {})}


@contextmanager
def lines_run() -> Iterator[set[tuple[str, int]]]:
    """(file, line) of what runs inside, of FILES."""
    folder, seen = Path(learning.__file__).parent, set[tuple[str, int]]()
    files = {str(folder / f"{name}.py") for name in FILES}

    def trace(frame: FrameType, event: str, argument: Any) -> Any:
        if frame.f_code.co_filename not in files:
            return None
        if event == "line":
            seen.add((frame.f_code.co_filename, frame.f_lineno))
        return trace

    before = sys.gettrace()
    sys.settrace(trace)
    try:
        yield seen
    finally:
        sys.settrace(before)


def measure(world: World, methods: dict[str, Training], rounds: int) -> dict[str, Any]:
    """Every method by turns; its peak where no allocator tells one, and its lines, in turns of their own."""
    taken: dict[str, list[dict[str, float]]] = {name: [] for name in methods}
    for _ in range(rounds):
        for name, training in methods.items():
            taken[name].append(turn(world, training))
    found: dict[str, Any] = {}
    for name, training in methods.items():
        turns = taken[name]
        measures = ("seconds", "rollout", "update", "groups_dropped")
        row: dict[str, Any] = {key: spread([one[key] for one in turns]) for key in measures}
        if "peak_bytes" in turns[0]:
            row["peak_bytes"] = max(int(one["peak_bytes"]) for one in turns)
        else:
            with Live() as live:
                row["peak_bytes"] = int(turn(world, training, live)["peak_bytes"])
        with lines_run() as seen:
            turn(world, training)
        first = taken[next(iter(methods))]
        ratios = [one["seconds"] / other["seconds"] for one, other in zip(turns, first, strict=True)]
        row |= {"lines": len(seen), "networks": networks(training), "seconds_ratio": spread(ratios)}
        found[name] = {"variant": METHODS[name], **row}
    return found


def line(name: str, row: dict[str, Any]) -> str:
    """One row of the table."""
    held = ", ".join(kind for kind, count in row["networks"].items() if count)
    return (
        f"{name:<15} {row['seconds']['median']:.3g} s (rollout {row['rollout']['median']:.3g}, update "
        f"{row['update']['median']:.3g})  {row['peak_bytes'] / 1e6:,.0f} MB  {row['lines']} lines  {held}"
    )


def main() -> None:
    """Measure, print and write; see the top of this file."""
    parser = arguments(__doc__, "machinery.json")
    parser.add_argument("--rounds", type=int, default=3)
    given, world = chosen(parser)
    methods = measure(world, variants(world, given.config or []), given.rounds)
    for name, row in methods.items():
        print(line(name, row), file=sys.stderr)
    fixed = {"model": world.name, "device": world.device, "rounds": given.rounds, "completions": world.batch}
    finish(given.output, {**made_with(), **fixed, "methods": methods})


if __name__ == "__main__":
    main()
