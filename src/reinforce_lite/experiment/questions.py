"""Preflight's look at questions and answers: the splits are what they should be, prompts fit, and answers end."""

import sys
from collections.abc import Iterable, Iterator
from typing import Any, NamedTuple

from reinforce_lite.config import PolicySettings, Settings
from reinforce_lite.errors import UserError
from reinforce_lite.evaluation import memorisation
from reinforce_lite.experiment.rewards import load
from reinforce_lite.resources.memory import PROMPT_TOKENS, longest_completion
from reinforce_lite.resources.precision import evaluation_of, training_of
from reinforce_lite.tasks import Dataset, Task, task_of
from reinforce_lite.tasks.prepare import check

Question = tuple[str, str]
"""What to call it, and its text."""


class Limit(NamedTuple):
    """The most tokens a prompt may have, and who says so."""

    tokens: int
    whose: str


class Reading(NamedTuple):
    """Questions that are put by one prompt, and what limits them."""

    prompt: str
    questions: list[Question]
    limits: list[Limit]


def task(settings: Settings) -> str:
    """The data can be had as far as this machine knows, own functions can be loaded, and models from scratch have words
    to be built over, and demonstrations to start from.

    Raises:
        UserError: naming the key, or file and line.
    """
    chosen = task_of(settings.task)
    checked = chosen.preflight(settings.task)
    load(settings)
    for name in settings.models:
        if settings.policies[name].start and not settings.task.demonstrations:
            raise UserError(
                f"policies.{name}.start needs demonstrations, and task.demonstrations is 0",
                "set task.demonstrations, or start: null",
            )
        if settings.policies[name].from_scratch and not chosen.vocabulary:
            raise UserError(
                f"policies.{name}.from_scratch needs the vocabulary of a task, and {settings.task.name} has none",
                "choose another task, or a policy with weights; for questions of your own, task.vocabulary",
            )
    return checked


def prompts(settings: Settings) -> str:
    """The splits are what they should be, every prompt is short enough, and something ends an answer.

    Needs the data, the policies' configurations and their tokenizers, but no weights.

    Raises:
        UserError: naming the problem, the split or the policy; or something of these, or a perturbation, cannot be had.
    """
    chosen = task_of(settings.task)
    found = chosen.build(settings.task)
    check(found)
    said = [f"{len(found.train):,} problems to learn from, {len(found.test):,} of the test"]
    for model in settings.models:
        tokenizer, positions, end = _described(settings.policies[model], model, chosen)
        said.append(f"{model}: {end}")
        for reading in _readings(settings, model, found, positions):
            _check_lengths(chosen, tokenizer, reading, model)
    return "; ".join(said)


def _described(policy: PolicySettings, model: str, chosen: Task[Any]) -> tuple[Any, int, str]:
    """A policy's tokenizer, the tokens of the longest text that it was made for, and what ends its answers."""
    from reinforce_lite.policy import fetch, scratch, turns

    tokenizer = fetch.tokenizer(policy, chosen.vocabulary)
    if policy.from_scratch is not None:
        return tokenizer, scratch.POSITIONS, "made from nothing"
    config = fetch.config(policy)
    text = config.get_text_config()
    try:
        end = turns.stops(tokenizer, fetch.named_ends(policy, config), text.vocab_size).note
    except UserError as error:
        raise UserError(f"policies.{model}: {error.problem}", error.fix) from error
    return tokenizer, getattr(text, "max_position_embeddings", None) or sys.maxsize, end


def _check_lengths(chosen: Task[Any], tokenizer: Any, reading: Reading, model: str) -> None:
    from reinforce_lite.policy import encode_prompt, render_prompt

    def text(question: str) -> str:
        return render_prompt(tokenizer, chosen.messages(reading.prompt, question))

    limit, around = min(reading.limits), len(text("").encode())
    for name, question in reading.questions:
        if around + len(question.encode()) <= limit.tokens:  # no token has less than a byte
            continue
        if (length := len(encode_prompt(tokenizer, text(question)))) > limit.tokens:
            raise UserError(
                f"{name}: its prompt has {length:,} tokens for {model}, and {limit.whose} {limit.tokens:,}",
                "leave the question out of the data, or lower max_new_tokens, or set training.engine and "
                "evaluation.engine: generate",
            )


def _readings(settings: Settings, model: str, found: Dataset, positions: int) -> Iterator[Reading]:
    """All that a model has to read, in training and evaluation."""
    evaluation = evaluation_of(settings, model)
    task, number = settings.task, evaluation.memorisation
    asked = memorisation.questions(task_of(task), found.train, number, task.seed)
    tested = _named([*found.test[: settings.evaluation.limit], *asked])
    limits = [*_engine(evaluation.engine), *_left(positions, evaluation.max_new_tokens)]
    for prompt in dict.fromkeys([settings.task.prompt, *map(settings.prompt, settings.variants)]):
        yield Reading(prompt, tested, limits)
    shown = [(f"demonstration {i}", each.question) for i, each in enumerate(found.demonstrations)]
    yield Reading(settings.task.prompt, shown, _left(positions, 0))
    for variant in settings.variants:
        training = training_of(settings, model, variant)
        if not training.steps:
            continue
        limits = [*_engine(training.engine), *_left(positions, training.max_new_tokens)]
        longest = longest_completion(settings.policies[model], training, settings.hardware)
        room = PROMPT_TOKENS + longest - training.max_new_tokens
        limits.append(Limit(room, "beside max_new_tokens hardware.memory_gib has room for an update of"))
        yield Reading(settings.prompt(variant), _named(found.train), limits)


def _named(problems: Iterable[Any]) -> list[Question]:
    return [(problem.id, problem.question) for problem in problems]


def _engine(name: str) -> list[Limit]:
    from reinforce_lite.rollout.vllm import PROMPT_TOKENS as TAKEN

    return [Limit(TAKEN, "the engine vllm takes")] if name == "vllm" else []


def _left(positions: int, completion: int) -> list[Limit]:
    return [Limit(positions - completion, f"of its {positions:,} positions max_new_tokens leaves")]
