"""The published loop against ours: seconds and dollars for a thousand completions, same policy, same questions.

    python benchmarks/published_loop.py --policy results/tiny/policies/tiny-llama --config config/tiny.yaml
    python benchmarks/published_loop.py --shape 3b      # random weights, forced lengths: for a GPU

The published loop is written here from its description: a question a step, ten calls of `generate` with one row each,
the logits of the whole first completion, one backward pass. Ours is `learning.loop` as it is, with the engine that
`auto` takes. Each runs in its own best mode: deterministic kernels are there only where the product asks for them, and
are off while theirs runs. The two take turns. Ours is one training, for vLLM can be opened once a process: its first
step warms up, and after every `--steps` of the others it waits for a round of theirs, which begins with a fresh copy of
the policy. A peak is what torch has allocated; what vLLM allocates while it writes may lie beside that.

The table goes to stderr; the last line of stdout is one JSON object, also written to benchmarks/results. A ratio is
ours over theirs: median, smallest and largest of the rounds. `goal` is what is aimed at on a GPU: a hundred times as
many completions a second.
"""

import gc
import random
import sys
import time
from collections.abc import Callable
from typing import Any

import torch
from record import finish, made_with, spread
from worlds import World, arguments, chosen, own_mode

from reinforce_lite.config import Training
from reinforce_lite.learning.estimators import as_published
from reinforce_lite.learning.loop import Step, train
from reinforce_lite.policy import Policy
from reinforce_lite.tasks import Problem, Task, reward

GROUP, TEMPERATURE, TOP_P, LEARNING_RATE, CLIP = 10, 0.7, 0.9, 1e-6, 1.0
GOAL = 100
"""Ours over theirs in completions a second, on a GPU."""
WARM_UP_TOKENS = 16
"""Of the published loop's completions before the first round."""
Count = dict[str, float]
"""seconds, completions, gradients (completions that carry one), tokens (of completions)."""


def published(
    policy: Policy, problems: list[Problem], task: Task[Any], prompt: str, limit: int, judge: str = "published"
) -> Count:
    """The published loop, one step a problem."""
    model, coin = policy.model, random.Random(0)
    optimizer = torch.optim.AdamW(model.parameters(), lr=LEARNING_RATE)
    count: Count = {"seconds": 0.0, "completions": 0, "gradients": 0, "tokens": 0}
    began = time.perf_counter()
    for problem in problems:
        ids = torch.tensor([policy.prompt_ids(task.messages(prompt, problem.question))], device=policy.device)
        model.eval()
        written = [
            model.generate(
                ids, attention_mask=torch.ones_like(ids), do_sample=True, temperature=TEMPERATURE, top_p=TOP_P, top_k=0,
                max_new_tokens=limit, eos_token_id=sorted(policy.stop_ids) or None, pad_token_id=policy.pad_id,
            )
            for _ in range(GROUP)
        ]  # fmt: skip
        answers = [policy.text(row[0, ids.shape[1] :].tolist()) for row in written]
        rewards = [reward(judge, task.grade(text, problem), coin) for text in answers]
        advantage = as_published(torch.tensor([rewards]))[0, 0].item()
        model.train()
        logits = model(written[0]).logits[0, ids.shape[1] - 1 : -1]
        chosen = torch.log_softmax(logits.float(), -1).gather(-1, written[0][0, ids.shape[1] :, None])
        loss = -chosen.sum() * advantage
        torch.autograd.backward(loss)
        torch.nn.utils.clip_grad_norm_(model.parameters(), CLIP)
        if torch.isfinite(loss):
            optimizer.step()
        optimizer.zero_grad()
        count["completions"] += GROUP
        count["gradients"] += advantage != 0
        count["tokens"] += sum(row.shape[1] - ids.shape[1] for row in written)
    _wait(policy)
    count["seconds"] = time.perf_counter() - began
    return count


def ours(world: World, training: Training, rounds: int, steps: int, between: Callable[[], None]) -> list[Count]:
    """Our loop, one count a round of so many steps, after each of which `between` is called.

    The measurement of drift is left out, for theirs has none.
    """
    done: list[Step] = []
    counts: list[Count] = []

    def after(step: Step) -> None:
        done.append(step)
        finished, more = divmod(len(done) - 1, steps)  # the first step warms up
        if finished and not more:
            counts.append({**counted(done[-steps:], training), **_peak(world, 0)})
            between()
        if len(done) == 1 or not more:
            _restart_peak(world)

    all_steps = {"steps": 1 + rounds * steps, "kl_every": 2 + rounds * steps}
    settings = training.model_copy(update=all_steps)
    train(world.fresh(), world.problems, world.task, world.prompt, settings, 0, after)
    return counts


def counted(done: list[Step], training: Training) -> Count:
    """What some steps of ours took and made."""
    completions = training.questions_per_step * training.group_size
    rows = [step.metrics for step in done]
    return {
        "seconds": sum(row["seconds_rollout"] + row["seconds_reward"] + row["seconds_update"] for row in rows),
        "completions": completions * len(rows),
        "gradients": sum(completions * (1 - row["groups_dropped"]) for row in rows),
        "tokens": sum(row["tokens"] for row in rows),
    }


def _peak(world: World, held: int) -> Count:
    """On a GPU, the most bytes that torch had allocated beside those that were held before."""
    return {"peak_bytes": torch.cuda.max_memory_allocated() - held} if world.device == "cuda" else {}


def _restart_peak(world: World) -> int:
    """Forget the peak so far; bytes that are allocated now."""
    gc.collect()
    if world.device != "cuda":
        return 0
    torch.cuda.empty_cache()
    torch.cuda.reset_peak_memory_stats()
    return torch.cuda.memory_allocated()


def _wait(policy: Policy) -> None:
    if policy.device.type == "cuda":
        torch.cuda.synchronize()


def theirs(world: World, problems: list[Problem], limit: int, judge: str) -> Count:
    """The published loop on a fresh copy of the policy; on a GPU with its peak."""
    held = _restart_peak(world)
    with own_mode(ours=False):
        return {**published(world.fresh(), problems, world.task, world.prompt, limit, judge), **_peak(world, held)}


def rates(count: Count, usd_per_hour: float | None) -> dict[str, float | None]:
    """Seconds and dollars for a thousand completions, and for a thousand that carry a gradient."""
    told: dict[str, float | None] = {"tokens_per_completion": count["tokens"] / count["completions"]}
    for name in ("completions", "gradients"):
        seconds = 1000 * count["seconds"] / count[name] if count[name] else None
        told[f"seconds_per_1000_{name}"] = seconds
        priced = seconds is not None and usd_per_hour is not None
        told[f"usd_per_1000_{name}"] = seconds * usd_per_hour / 3600 if priced else None  # type: ignore[operator]
    return told


def compare(world: World, rounds: int, questions: int, steps: int) -> dict[str, Any]:
    """Both loops by turns."""
    training, few = world.training, world.problems[:questions]
    judge = "random" if training.reward == "random" else "published"
    taken: dict[str, list[Count]] = {"published": [], "ours": []}

    def between() -> None:
        taken["published"].append(theirs(world, few, training.max_new_tokens, judge))

    theirs(world, few[:1], min(WARM_UP_TOKENS, training.max_new_tokens), judge)
    taken["ours"] = ours(world, training, rounds, steps, between)

    def ratio(name: str) -> dict[str, float] | None:
        pairs = list(zip(taken["ours"], taken["published"], strict=True))
        if name == "peak_bytes":
            return spread([a[name] / b[name] for a, b in pairs]) if "peak_bytes" in pairs[0][0] else None
        theirs = sum(b[name] for _, b in pairs) / sum(b["seconds"] for _, b in pairs)
        if name == "gradients":  # theirs are few: the rate of all rounds together
            return spread([a[name] / a["seconds"] / theirs for a, _ in pairs]) if theirs else None
        return spread([(a[name] / a["seconds"]) / (b[name] / b["seconds"]) for a, b in pairs])

    sums = {name: {key: sum(count[key] for count in counts) for key in counts[0]} for name, counts in taken.items()}
    return {
        **{name: rates(count, world.usd_per_hour) for name, count in sums.items()},
        "completions_ratio": ratio("completions"),
        "gradient_ratio": ratio("gradients"),
        "peak_memory_ratio": ratio("peak_bytes"),
    }


def main() -> None:
    """Measure, print and write; see the top of this file."""
    parser = arguments(__doc__, "published_loop.json")
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--questions", type=int, default=8, help="steps of the published loop in a round")
    parser.add_argument("--steps", type=int, default=3, help="steps of ours in a round")
    given, world = chosen(parser, engine="auto")
    found = compare(world, given.rounds, given.questions, given.steps)
    for key in found["ours"]:
        print(f"{key:<28} published {found['published'][key]}  ours {found['ours'][key]}", file=sys.stderr)
    goal = {"goal": GOAL, "reached": found["completions_ratio"]["median"] >= GOAL} if world.device == "cuda" else {}
    finish(given.output, {**made_with(), "model": world.name, "rounds": given.rounds, **goal, **found})


if __name__ == "__main__":
    main()
