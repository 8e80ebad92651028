"""Preflight's look at functions of the user's own that pay or grade: each is tried, and its time is told."""

import time
from collections.abc import Iterator

from reinforce_lite.config import Settings
from reinforce_lite.errors import UserError
from reinforce_lite.tasks import Problem, own, task_of

TRIED = 3
"""Problems of train for whose completions a function is asked."""
CHARACTERS = 4
"""Of a token in a long completion."""


def load(settings: Settings) -> list[str]:
    """The own functions that the configuration names, each of which can be loaded.

    Raises:
        UserError: one cannot; the key, the file and the function are named.
    """
    named = {"task.grade": getattr(settings.task, "grade", None)}
    for name in settings.variants:
        where = f"training_variants.{name}" if "reward" in settings.training_variants[name] else "training"
        named[f"{where}.reward"] = settings.variant(name).reward
    for key, chosen in named.items():
        if own.is_own(chosen):
            try:
                own.file_of(chosen)
            except UserError as error:
                raise UserError(f"{key}: {error.problem}", error.fix) from error
    return list(dict.fromkeys(one for one in named.values() if own.is_own(one)))


def rewards(settings: Settings) -> str:
    """Own functions give numbers for a right answer, an empty text and a long one, and the same ones when asked again.

    Raises:
        UserError: naming the file, the line where an error was raised, and the completion.
    """
    functions = load(settings)
    if not functions:
        return "the task's own scores"
    problems = task_of(settings.task).build(settings.task).train[:TRIED]
    return "; ".join(_tried(settings, one, problems) for one in functions)


def _tried(settings: Settings, function: str, problems: list[Problem]) -> str:
    training = settings.variant(settings.variants[0])
    long = "so " * (training.max_new_tokens * CHARACTERS // 3)
    given, seconds = [], 0.0
    for problem, text in _completions(problems, long):
        began = time.perf_counter()
        given.append(own.scores(function, text, problem))
        seconds = max(seconds, time.perf_counter() - began)
        if (again := own.scores(function, text, problem)) != given[-1]:
            raise UserError(
                f"{function} gave {given[-1]} and then {again} for the completion {text[:60]!r}",
                "let it depend on nothing but completion and problem: what it paid is computed again by `verify`",
            )
    if function == getattr(settings.task, "grade", None):
        own.graded(function, "", problems[0])  # it has a verdict
    count = training.questions_per_step * training.completions_per_question
    said = f"{given[0]} for the right answer to {problems[0].id}, {given[1]} for an empty text"
    same = "" if any(one != given[0] for one in given) else ", the same for all that was tried: nothing could be learnt"
    return f"{function}: {said}{same}; {seconds * 1000:.3g} ms a completion, {seconds * count:.2g} s a step of {count}"


def _completions(problems: list[Problem], long: str) -> Iterator[tuple[Problem, str]]:
    for problem in problems:
        yield from ((problem, text) for text in (problem.solution or f"<answer>{problem.answer}</answer>", "", long))
