"""The rollout engines side by side: tokens a second against group size and completion length, and the memory's bound.

    python benchmarks/engines.py --policy results/tiny/policies/tiny-llama --config config/tiny.yaml
    python benchmarks/engines.py --shape 3b        # random weights: for a GPU

Every engine that is installed writes groups of completions of a fixed length (no token stops them) after the same
question. All are open at once and take turns, round by round, after one turn that warms them up and does not count. A
turn is a whole call: prefill, decoding, and for vLLM the hand-over of the weights.

A decode step must read all weights and the keys and values of all rows. The bound is what that takes at the bandwidth
measured here by copying a large tensor; the share of it that an engine reaches says what there is left to gain. A model
that fits into the processor's cache may pass it. The table goes to stderr; the last line of stdout is one JSON object,
also written to benchmarks/results.
"""

import sys
import time
from collections.abc import Iterator
from contextlib import ExitStack
from dataclasses import replace
from itertools import product
from statistics import median
from typing import Any

import torch
from record import finish, made_with, spread
from tqdm import tqdm
from worlds import World, arguments, chosen

from reinforce_lite.policy import Policy
from reinforce_lite.rollout import Engine, Sampling
from reinforce_lite.rollout.choose import here, opened, unavailable
from reinforce_lite.tasks.prompts import messages

ENGINES = ("generate", "continuous", "vllm")
COPIED_BYTES = 2**28
Turn = tuple[str, int, int]
"""engine, group, length"""


def bandwidth(device: torch.device) -> float:
    """Bytes a second that memory reads and writes, the best of a few copies of a tensor too large for any cache."""
    source = torch.ones(COPIED_BYTES, dtype=torch.uint8, device=device)
    target = torch.empty_like(source)
    best = float("inf")
    for _ in range(6):
        wait(device)
        began = time.perf_counter()
        target.copy_(source)
        wait(device)
        best = min(best, time.perf_counter() - began)
    return 2 * COPIED_BYTES / best


def wait(device: torch.device) -> None:
    if device.type == "cuda":
        torch.cuda.synchronize()


def step_bytes(policy: Policy, rows: int, positions: float) -> float:
    """Bytes that one decode step must read: the weights, and keys and values of `positions` tokens of every row."""
    model, config = policy.model, policy.model.config
    weights = sum(weight.numel() * weight.element_size() for weight in model.parameters())
    table, head = model.get_input_embeddings().weight, model.get_output_embeddings().weight
    if table is not head:  # of a table of its own, a step reads a row for each token
        weights -= table.numel() * table.element_size()
    width = getattr(config, "head_dim", None) or config.hidden_size // config.num_attention_heads
    position = 2 * config.num_hidden_layers * config.num_key_value_heads * width * model.dtype.itemsize
    return weights + rows * positions * position


def turns(names: list[str], groups: list[int], lengths: list[int], rounds: int) -> Iterator[Turn]:
    """Who writes when: the engines follow one another, so that a slow minute of the machine meets them all."""
    for _ in range(rounds):
        for group, length in product(groups, lengths):
            yield from ((name, group, length) for name in names)


def measure(
    policy: Policy, prompt: list[int], engines: dict[str, Engine], groups: list[int], lengths: list[int], rounds: int
) -> dict[Turn, list[float]]:
    """Seconds of every turn."""
    taken: dict[Turn, list[float]] = {}
    schedule = list(turns(list(engines), groups, lengths, rounds + 1))
    for number, turn in enumerate(tqdm(schedule, desc="turns")):
        name, group, length = turn
        wait(policy.device)
        began = time.perf_counter()
        engines[name]([prompt], group, Sampling(1.0, 1.0, length), [number])
        wait(policy.device)
        taken.setdefault(turn, []).append(time.perf_counter() - began)
    return {turn: seconds[1:] for turn, seconds in taken.items()}


def table(policy: Policy, prompt: list[int], taken: dict[Turn, list[float]], speed: float) -> list[dict[str, Any]]:
    """One row a turn: tokens a second (median, slowest and fastest round), the bound, and the share reached."""
    rows = []
    for (name, group, length), seconds in taken.items():
        rates = [group * length / each for each in seconds]
        bound = group * speed / step_bytes(policy, group, len(prompt) + length / 2)
        rows.append(
            {
                "engine": name,
                "group": group,
                "length": length,
                "tokens_per_second": spread(rates),
                "bound_tokens_per_second": bound,
                "share_of_bound": median(rates) / bound,
            }
        )
    return rows


def run(world: World, policy: Policy, names: list[str], groups: list[int], lengths: list[int], rounds: int) -> Any:
    """Open the engines, let them take turns, and say what came out."""
    endless = replace(policy, stop_ids=frozenset())
    prompt = policy.prompt_ids(messages(world.prompt, world.problems[0].question))
    speed = bandwidth(policy.device)
    with ExitStack() as stack:
        engines = {name: stack.enter_context(opened(name, endless, max(groups), max(lengths))) for name in names}
        taken = measure(endless, prompt, engines, groups, lengths, rounds)
    return {
        "prompt_tokens": len(prompt),
        "bandwidth_bytes_per_second": speed,
        "engines": table(policy, prompt, taken, speed),
    }


def main() -> None:
    """Measure, print and write; see the top of this file."""
    parser = arguments(__doc__, "engines.json")
    parser.add_argument("--engines", nargs="+", choices=ENGINES, help="those that are installed by default")
    parser.add_argument("--groups", type=int, nargs="+", default=[10, 80])
    parser.add_argument("--lengths", type=int, nargs="+", default=[32, 128])
    parser.add_argument("--rounds", type=int, default=3)
    given, world = chosen(parser)
    policy = world.fresh()
    policy.model.eval()
    names = given.engines or [name for name in ENGINES if unavailable(name, here(policy)) is None]
    found = run(world, policy, names, given.groups, given.lengths, given.rounds)
    made = {**made_with(), "model": world.name, "threads": torch.get_num_threads(), "rounds": given.rounds}
    print(f"{'engine':<12}{'group':>6}{'length':>8}{'tokens/s':>10}{'bound':>10}{'share':>8}", file=sys.stderr)
    for row in found["engines"]:
        print(
            f"{row['engine']:<12}{row['group']:>6}{row['length']:>8}{row['tokens_per_second']['median']:>10.0f}"
            f"{row['bound_tokens_per_second']:>10.0f}{row['share_of_bound']:>8.1%}",
            file=sys.stderr,
        )
    finish(given.output, {**made, **found})


if __name__ == "__main__":
    main()
