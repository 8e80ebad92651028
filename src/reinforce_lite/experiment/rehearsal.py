"""A few real steps of everything, on the rented device and with the real model, to learn what the rest will cost."""

import gc
import math
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from statistics import fmean, median
from typing import Any

import torch

from reinforce_lite.budget.forecast import Interval, Rates, pushed_per_question, rollout_batches, step_tokens, updates
from reinforce_lite.budget.gate import Gate
from reinforce_lite.config import Evaluation, Settings, Start, Training
from reinforce_lite.experiment import ends
from reinforce_lite.io import clock, imports
from reinforce_lite.io.alone import alone
from reinforce_lite.learning.loop import Step, train
from reinforce_lite.learning.supervised import completion_ids, supervised_start
from reinforce_lite.policy import Policy, fetch
from reinforce_lite.policy.load import prepare_torch
from reinforce_lite.resources.precision import engines_of, evaluation_of, training_of
from reinforce_lite.rollout import Engine
from reinforce_lite.rollout.registry import opened
from reinforce_lite.tasks import Dataset, Problem, Task, own, task_of

STEPS = 5
"""Steps of training; the first one warms up, the last one measures drift, and the median step counts."""
CAP = 128
"""Most tokens of a rehearsed completion: enough to see what a token costs, not enough to cost much."""
PROMPTS = 4
"""Prompts by which a saved policy is held against the one before, and questions that get sampled answers."""
CUT = 0.5
"""If so many of the completions reach the cap, their length says nothing."""
ENDLESS = 0.95
"""If so many reach it, the policy may never stop."""


def rehearse(settings: Settings, to_download: Callable[[str], bool], elsewhere: float, gate: Gate) -> dict[str, Rates]:
    """The rates of every policy of the experiment, by model.

    Args:
        settings: the experiment.
        to_download: whether a model's weights are not here yet.
        elsewhere: seconds that this process has spent on what no other one does.
        gate: checked between the parts of the rehearsal.

    Raises:
        StoppedByBudgetError: the rehearsal costs more than there is.
        UserError: weights or data cannot be loaded, or what a stage does at its end fails in small.
    """
    # vLLM cannot be opened for one model after the other in a process.
    apart = {model for model in settings.models if "vllm" in engines_of(settings, model)}
    process = None if apart == set(settings.models) else process_seconds(elsewhere)
    data = few_problems(settings)
    parts = sum(3 if settings.policies[model].start is None else 4 for model in settings.models)
    gate.begin(parts, "part of the rehearsal,")
    measured: dict[str, Rates] = {}
    done = 0

    def part(finished: bool) -> None:
        nonlocal done
        done += finished
        gate.check(done)

    part(False)
    with ends.small(settings, few_sizes(settings)) as few:
        for model in settings.models:
            if to_download(model):
                print(f"downloading {settings.policies[model].repo}", file=sys.stderr, flush=True)
            if model in apart:
                measured[model] = alone(_measure, settings, few, model, data, None, hear=part)
            else:
                measured[model] = _measure(part, settings, few, model, data, process)
        ends.finish(few)
    return measured


def few_problems(settings: Settings) -> Dataset:
    """As many problems and demonstrations as a rehearsal needs, made as the real ones are."""
    found, sizes = task_of(settings.task).build(settings.task.model_copy(update=few_sizes(settings))), _wanted(settings)
    return replace(found, train=found.train[: sizes["train_size"]], test=found.test[: sizes["test_size"]])


def few_sizes(settings: Settings) -> dict[str, int]:
    """The keys of the task that say how many problems and demonstrations there are, as low as a rehearsal needs them.

    A key that takes all there are stays: how many these are only the data tell.
    """
    task = settings.task
    return {key: min(number, own) for key, number in _wanted(settings).items() if (own := getattr(task, key))}


def _wanted(settings: Settings) -> dict[str, int]:
    training = settings.variant(settings.variants[0])
    starts = [start.batch_size for model in settings.models if (start := settings.policies[model].start)]
    return {
        "train_size": STEPS * training.questions_per_step,
        "test_size": max(evaluation_of(settings, model).size for model in settings.models),
        "demonstrations": max(starts, default=0),
    }


def _measure(
    part: Callable[[bool], None], settings: Settings, few: Settings, model: str, data: Dataset, process: float | None
) -> Rates:
    """Everything about one policy; its weights are dropped afterwards.

    `part` is called after each part (True), and after each step of a part (False). `few` is the experiment in small,
    for what stages do at their ends. `process` are the seconds that a process needs to begin; None where this one has
    just begun.
    """
    process = process_seconds(0.0) if process is None else process
    prepare_torch(settings.hardware)
    chosen, task, prompt = settings.policies[model], task_of(settings.task), settings.task.prompt
    if chosen.repo is not None and chosen.path is None:
        fetch.download(chosen)
    began = time.perf_counter()
    policy = fetch.materialise(
        chosen, task.vocabulary, chosen.start.seed if chosen.start else 0, settings.hardware.device
    )
    load = time.perf_counter() - began
    part(True)
    usual, evaluation = training_of(settings, model, settings.variants[0]), evaluation_of(settings, model)
    steps: list[Step] = []
    began = time.perf_counter()
    with engines(policy, usual, evaluation) as (writer, answerer):
        _wait()
        opening = time.perf_counter() - began
        start_step = demonstrated = None
        if chosen.start is not None:  # untrained it would write to the limit; a token's cost depends on their number
            demonstrated = demonstrated_lengths(policy, data)
            limit = min(usual.max_new_tokens, math.ceil(demonstrated[0]))
            usual = usual.model_copy(update={"max_new_tokens": limit})
        ready, each = chosen.start is None, lambda: part(False)
        training = measure_training(policy, data.train, task, prompt, usual, each, writer, ready, steps)
        part(True)
        if chosen.start is not None:
            start_step = _start_step(policy, data, task, prompt, chosen.start)
            part(True)
        around, summary, answers = _evaluation(policy, data, settings, evaluation, answerer)
        part(True)
    prompts = [task.messages(prompt, problem.question) for problem in data.test[:PROMPTS]]
    described, saved = fetch.describe(policy, chosen), ends.save_once(policy, prompts, few, model)
    del policy, writer, answerer
    _free()  # before the next one comes
    ends.load_again(saved, prompts, few, model, chosen)
    _free()
    ends.write(few, model, described, ends.Written(steps, summary, answers))
    return Rates(
        process=process, engine=opening, harness=around[0], load=load, start_step=start_step,
        evaluation_position=around[1], **{**training, **({"lengths": demonstrated} if demonstrated else {})},
    )  # fmt: skip


def _free() -> None:
    """Give back the memory of what nothing points to any more."""
    gc.collect()
    if torch.cuda.is_available():
        torch.cuda.empty_cache()


def process_seconds(elsewhere: float) -> float:
    """Seconds from the creation of this process until it could begin, but for those `elsewhere`."""
    with imports.quick():
        imports.models()  # as every stage does

    return max(0.0, clock.age_seconds(clock.first_process()) - elsewhere)


@contextmanager
def engines(policy: Policy, training: Training, evaluation: Evaluation) -> Iterator[tuple[Engine, Engine]]:
    """The engines of training and evaluation; vLLM, which a process can open once, is the same for both."""
    from reinforce_lite.evaluation.sampling import opened_for

    if training.engine == evaluation.engine == "vllm":
        rows = max(training.rows, evaluation.size)
        longest = max(training.max_new_tokens, evaluation.max_new_tokens)
        with opened("vllm", policy, rows, longest, training.kv_cache_gib) as both:
            yield both, both
        return
    own = training.rollout_batch, training.max_new_tokens, training.kv_cache_gib
    with opened(training.engine, policy, *own) as writer, opened_for(policy, evaluation) as answerer:
        yield writer, answerer


def demonstrated_lengths(policy: Policy, data: Dataset) -> tuple[float, float]:
    """(mean, longest) tokens of the demonstrations: the lengths of a policy after its start."""
    tokens = [len(completion_ids(policy, shown.completion)) + 1 for shown in data.demonstrations]  # and a stop id
    return fmean(tokens), float(max(tokens))


def measure_training(
    policy: Policy,
    problems: list[Problem],
    task: Task[Any],
    prompt: str,
    training: Training,
    after_step: Callable[[], None] = lambda: None,
    engine: Engine | None = None,
    ready: bool = True,
    steps: list[Step] | None = None,
) -> dict[str, Any]:
    """Take a few steps of the real loop, with a coin for a reward, so that there is a gradient to push.

    `after_step` is called after each; what it raises ends them. Without an open engine, one is opened. Completions of a
    policy that is `ready`, used as it is, are expected to end. The steps are added to `steps`.

    Returns:
        warm_up, rollout_position, update_token, drift_token (seconds), prompt_tokens, lengths: see `Rates`.
    """
    shorter = {"steps": STEPS, "reward": "random", "kl_every": STEPS, "max_skipped": STEPS + 1}
    shorter["max_new_tokens"] = min(CAP, training.max_new_tokens)
    few = training.model_copy(update=shorter)
    steps = [] if steps is None else steps

    def keep(step: Step) -> None:
        steps.append(step)
        after_step()

    train(policy, problems, task, prompt, few, 0, keep, engine=engine)
    prompt_tokens = fmean(len(policy.prompt_ids(task.messages(prompt, problem.question))) for problem in problems)
    paying = _paying(training, steps[-1].completions)
    rows = [{**step.metrics, "seconds_reward": step.metrics["seconds_reward"] + paying} for step in steps]
    longest = [max(row["length"] for row in step.completions) for step in steps]
    truncated = fmean(row["truncated"] for row in rows)
    if truncated >= ENDLESS and ready and training.estimator != "supervised":
        print(endless(policy, truncated, few.max_new_tokens), file=sys.stderr, flush=True)
    cut = truncated >= CUT and few.max_new_tokens < training.max_new_tokens
    return {
        **_rates(few, prompt_tokens, rows, longest),
        "prompt_tokens": prompt_tokens,
        "lengths": None if cut else (fmean(row["length_mean"] for row in rows), float(max(longest))),
    }


def _paying(training: Training, completions: list[dict[str, Any]]) -> float:
    """Seconds that a function of the user's own takes for the completions of a step; a coin was asked instead of it."""
    if not own.is_own(training.reward):
        return 0.0
    began = time.perf_counter()
    for row in completions:
        own.scores(training.reward, row["completion"], Problem("", row["question"], row["answer"]))
    return time.perf_counter() - began


def endless(policy: Policy, truncated: float, limit: int) -> str:
    """A warning that nearly all completions ran to the limit."""
    stops = ", ".join(map(str, policy.tokenizer.convert_ids_to_tokens(sorted(policy.stop_ids))))
    return (
        f"warning: {truncated:.0%} of the rehearsed completions ran to their limit of {limit} tokens: either answers "
        f"are that long, or the policy never stops (it would at {stops})"
    )


def _rates(few: Training, prompt_tokens: float, rows: list[dict[str, Any]], longest: list[int]) -> dict[str, float]:
    """The seconds of `measure_training`, from the metrics of each step and its longest completion."""
    working = [row["seconds_rollout"] + row["seconds_reward"] + row["seconds_update"] for row in rows]

    def usual(value: Callable[[int], float]) -> float:
        return median(value(step) for step in range(1, STEPS))

    def tokens(step: int, completions: int) -> float:
        """Of one step, so many of a question's completions."""
        return step_tokens(few, prompt_tokens, Interval.exactly(rows[step]["length_mean"]), completions).expected

    def update_token(step: int) -> float:
        pushed = tokens(step, pushed_per_question(few)) * (1 - rows[step]["groups_dropped"])  # carried a gradient
        return (rows[step]["seconds_reward"] + rows[step]["seconds_update"]) / max(1.0, pushed * updates(few))

    return {
        "warm_up": max(0.0, working[0] - usual(lambda step: working[step])),
        "rollout_position": usual(lambda step: rows[step]["seconds_rollout"] / (rollout_batches(few) * longest[step])),
        "update_token": usual(update_token),
        "drift_token": rows[-1]["seconds_drift"] / tokens(-1, few.completions_per_question),
    }


def _start_step(policy: Policy, data: Dataset, task: Task[Any], prompt: str, start: Start) -> float:
    """Seconds of one step of the supervised start."""
    supervised_start(policy, data.demonstrations, task, prompt, start.model_copy(update={"steps": 1}))
    began = time.perf_counter()
    supervised_start(policy, data.demonstrations, task, prompt, start.model_copy(update={"steps": STEPS}))
    _wait()
    return (time.perf_counter() - began) / STEPS


def _evaluation(
    policy: Policy, data: Dataset, settings: Settings, usual: Evaluation, engine: Engine
) -> tuple[tuple[float, float], dict[str, Any], dict[str, list[dict[str, Any]]]]:
    """Evaluate in small.

    Returns:
        (seconds that the harness needs around its batches, seconds of one more token in every row of a batch), then
        summary, and the files of answers that the experiment wants, beside the test to a few questions.
    """
    began = time.perf_counter()  # the harness' imports are a part of its cost
    from reinforce_lite.evaluation import memorisation
    from reinforce_lite.evaluation.harness import evaluate
    from reinforce_lite.evaluation.sampling import sample
    from reinforce_lite.evaluation.written import Written

    class Watch(Written):
        """Takes the seconds of each batch, and keeps nothing."""

        def __init__(self) -> None:
            self.seconds = 0.0

        def resume(self, prompts: Any, size: int) -> tuple[dict[str, Any], float]:
            return {}, 0.0

        def append(self, completions: Any, seconds: float) -> None:
            self.seconds += seconds

    watch = Watch()
    few = {"max_new_tokens": min(CAP, usual.max_new_tokens), "cross_check": False}
    few["samples_limit"] = min(PROMPTS, usual.samples_limit or PROMPTS)
    shorter, task = usual.model_copy(update=few), task_of(settings.task)
    how = task, settings.task.prompt, shorter
    summary, items = evaluate(policy, data.test[: shorter.size], *how, watch, engine=engine)
    around = time.perf_counter() - began - watch.seconds
    answers = {"outcomes": items}
    if usual.samples:
        answers["samples"] = sample(policy, data.test, *how, engine=engine)
    if usual.memorisation:
        asked = memorisation.questions(task, data.train, 1, settings.task.seed)
        _, answers["memorisation"] = evaluate(policy, asked, *how, engine=engine)
    return (around, watch.seconds / max(item["length"] for item in items)), summary, answers


def _wait() -> None:
    if torch.cuda.is_available():
        torch.cuda.synchronize()
