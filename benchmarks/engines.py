"""The rollout engines side by side: tokens a second against questions and completion length, and the memory's bound.

    python benchmarks/engines.py --policy results/tiny/policies/tiny-llama --config config/tiny.yaml
    python benchmarks/engines.py --shape 3b        # random weights: for a GPU

Every engine that is installed writes groups of completions of a fixed length (no token stops them), by the way that
training takes: questions in, a seed each, `rollout` of learning/experience.py. All are open at once and take turns,
round by round, after one turn that warms them up and does not count. A turn is a whole call: prefill, decoding, and for
vLLM the hand-over of the weights. vLLM is opened once, for a process can hold no second one; where its engine can draw
with and without a generator for each request (`SEEDS`), both ways are measured with the same one.

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
from statistics import fmean, median
from typing import Any

import torch
from record import finish, made_with, spread
from tqdm import tqdm
from worlds import World, arguments, chosen

from reinforce_lite.learning.experience import ask, rollout
from reinforce_lite.policy import Policy
from reinforce_lite.rollout import Completion, Engine, Sampling
from reinforce_lite.rollout.registry import here, opened, unavailable

ENGINES = ("generate", "vllm")
SEEDS = "seeded"
"""Where VllmEngine keeps its keyword `seeded`: whether each request has a generator of its own. It is read at each
call, so one engine can be measured both ways; an engine without it has one way."""
COPIED_BYTES = 2**28
Turn = tuple[str, int, int]
"""engine, questions, length"""


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


def ways(name: str, engine: Engine) -> dict[str, Engine]:
    """The ways of drawing that an engine offers, by what they are called; most have one."""
    if not hasattr(engine, SEEDS):
        return {name: engine}

    def drawing(seeded: bool) -> Engine:
        def write(
            prompts: list[list[int]], group: int, sampling: Sampling, seeds: list[int] | None
        ) -> list[list[Completion]]:
            setattr(engine, SEEDS, seeded)
            return engine(prompts, group, sampling, seeds)

        return write

    return {f"{name} (a generator each)": drawing(True), f"{name} (one generator)": drawing(False)}


def turns(names: list[str], questions: list[int], lengths: list[int], rounds: int) -> Iterator[Turn]:
    """Who writes when: the engines follow one another, so that a slow minute of the machine meets them all."""
    for _ in range(rounds):
        for asked, length in product(questions, lengths):
            yield from ((name, asked, length) for name in names)


def measure(world: World, policy: Policy, engines: dict[str, Engine], schedule: list[Turn]) -> dict[Turn, list[float]]:
    """Seconds of every turn; the first of each kind warms up and is left out."""
    taken: dict[Turn, list[float]] = {}
    for number, turn in enumerate(tqdm(schedule, desc="turns")):
        name, questions, length = turn
        asked = ask([world.problems[i % len(world.problems)] for i in range(questions)], 0, number)
        training = world.training.model_copy(update={"max_new_tokens": length, "temperature": 1.0, "top_p": 1.0})
        wait(policy.device)
        began = time.perf_counter()
        rollout(policy, engines[name], asked, world.task, world.prompt, training)
        wait(policy.device)
        taken.setdefault(turn, []).append(time.perf_counter() - began)
    return {turn: seconds[1:] for turn, seconds in taken.items()}


def table(
    policy: Policy, group: int, prompt: float, taken: dict[Turn, list[float]], speed: float
) -> list[dict[str, Any]]:
    """One row a turn: tokens a second (median, slowest and fastest round), the bound, and the share reached."""
    rows = []
    for (name, questions, length), seconds in taken.items():
        count = questions * group
        rates = [count * length / each for each in seconds]
        bound = count * speed / step_bytes(policy, count, prompt + length / 2)
        rows.append(
            {
                "engine": name,
                "questions": questions,
                "group": group,
                "length": length,
                "tokens_per_second": spread(rates),
                "bound_tokens_per_second": bound,
                "share_of_bound": median(rates) / bound,
            }
        )
    return rows


def run(world: World, policy: Policy, names: list[str], questions: list[int], lengths: list[int], rounds: int) -> Any:
    """Open the engines, let them take turns, and say what came out."""
    endless, group = replace(policy, stop_ids=frozenset()), world.training.group_size
    speed, began = bandwidth(policy.device), time.perf_counter()
    with ExitStack() as stack:
        engines: dict[str, Engine] = {}
        seconds = {}
        for name in names:
            engine = stack.enter_context(opened(name, endless, max(questions) * group, max(lengths)))
            engines |= ways(name, engine)
            seconds[name], began = time.perf_counter() - began, time.perf_counter()
        schedule = list(turns(list(engines), questions, lengths, rounds + 1))
        taken = measure(world, endless, engines, schedule)
    prompt = fmean(
        len(endless.prompt_ids(world.task.messages(world.prompt, p.question))) for p in world.problems[: max(questions)]
    )
    return {
        "prompt_tokens": prompt,
        "bandwidth_bytes_per_second": speed,
        "seconds_to_open": seconds,
        "engines": table(endless, group, prompt, taken, speed),
    }


def main() -> None:
    """Measure, print and write; see the top of this file."""
    parser = arguments(__doc__, "engines.json")
    parser.add_argument("--engines", nargs="+", choices=ENGINES, help="those that are installed by default")
    parser.add_argument("--questions", type=int, nargs="+", default=[1, 8], help="each with a group of completions")
    parser.add_argument("--lengths", type=int, nargs="+", default=[32, 128])
    parser.add_argument("--rounds", type=int, default=3)
    given, world = chosen(parser)
    policy = world.fresh()
    policy.model.eval()
    names = given.engines or [name for name in ENGINES if unavailable(name, here(policy)) is None]
    found = run(world, policy, names, given.questions, given.lengths, given.rounds)
    made = {**made_with(), "model": world.name, "threads": torch.get_num_threads(), "rounds": given.rounds}
    print(f"{'engine':<26}{'rows':>6}{'length':>8}{'tokens/s':>10}{'bound':>10}{'share':>8}", file=sys.stderr)
    for row in found["engines"]:
        print(
            f"{row['engine']:<26}{row['questions'] * row['group']:>6}{row['length']:>8}"
            f"{row['tokens_per_second']['median']:>10.0f}{row['bound_tokens_per_second']:>10.0f}"
            f"{row['share_of_bound']:>8.1%}",
            file=sys.stderr,
        )
    finish(given.output, {**made, **found})


if __name__ == "__main__":
    main()
