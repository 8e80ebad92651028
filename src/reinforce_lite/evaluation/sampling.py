"""Several sampled answers a question, beside the greedy one: how much of an accuracy is the luck of the draw."""

import random
from contextlib import AbstractContextManager
from typing import Any

from reinforce_lite.config import Evaluation
from reinforce_lite.evaluation.written import AfterBatch, Written, write_batches
from reinforce_lite.policy import Policy
from reinforce_lite.rollout import Completion, Engine, Sampling
from reinforce_lite.rollout.registry import kept_open, opened
from reinforce_lite.stages import EVALUATED
from reinforce_lite.tasks import Problem, Task, verdicts

SAMPLES = EVALUATED["samples"]
"""Beside items.jsonl, where answers were sampled."""


def draw_seed(problem: str) -> int:
    """The seed of all answers to a question: the same for every policy, so that base and trained share their luck."""
    return random.Random(f"evaluate/{problem}").getrandbits(62)


def sample(
    policy: Policy,
    problems: list[Problem],
    task: Task[Any],
    prompt: str,
    settings: Evaluation,
    written: Written | None = None,
    after_batch: AfterBatch = lambda done: None,
    engine: Engine | None = None,
) -> list[dict[str, Any]]:
    """Answer the first `samples_limit` problems `samples` times each, at temperature 1 over the whole vocabulary.

    Args:
        policy: which one.
        problems: of the test split.
        task: it puts the problems, and grades the answers.
        prompt: name of the prompt.
        settings: how.
        written: keeps finished batches; by default they go with the process.
        after_batch: what it raises ends it all.
        engine: one that is open already; by default one is opened for this.

    Returns:
        For each answer, question after question: id, draw (from 0), completion, strict, flexible, truncated, length
        (tokens).
    """
    k, answered = settings.samples, problems[: settings.samples_limit]
    ids = {problem.id: policy.prompt_ids(task.messages(prompt, problem.question)) for problem in answered}
    prompts = {f"{name}/{draw}": tokens for name, tokens in ids.items() for draw in range(k)}
    rows = rows_at_once(settings)
    how = Sampling(temperature=1, top_p=1, max_new_tokens=settings.max_new_tokens)
    needs = settings.engine, policy, rows, settings.max_new_tokens, settings.kv_cache_gib
    with kept_open(engine, opened(*needs)) as writer:

        def complete(batch: list[str]) -> dict[str, Completion]:
            """All answers to the questions of a batch."""
            names = list(dict.fromkeys(answer.rpartition("/")[0] for answer in batch))
            groups = writer([ids[name] for name in names], k, how, [draw_seed(name) for name in names])
            pairs = zip(names, groups, strict=True)
            return {f"{name}/{draw}": each for name, group in pairs for draw, each in enumerate(group)}

        completions, _ = write_batches(prompts, rows, complete, written, after_batch, "sample")
    answers = []
    for problem in answered:
        for draw in range(k):
            completion = completions[f"{problem.id}/{draw}"]
            text = policy.text(completion.token_ids)
            judged = {**verdicts(task.grade(text, problem)), "truncated": completion.finish_reason == "length"}
            length = len(completion.token_ids)
            answers.append({"id": problem.id, "draw": draw, "completion": text, **judged, "length": length})
    return answers


def rows_at_once(settings: Evaluation) -> int:
    """Answers in a batch: those to as many whole questions as its size allows, at least one."""
    return settings.samples * max(1, settings.size // settings.samples)


def opened_for(policy: Policy, settings: Evaluation) -> AbstractContextManager[Engine]:
    """The engine for a whole evaluation, its greedy answers and its sampled ones."""
    rows = max(settings.size, rows_at_once(settings) if settings.samples else 0)
    return opened(settings.engine, policy, rows, settings.max_new_tokens, settings.kv_cache_gib)
