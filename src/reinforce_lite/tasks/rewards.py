"""What a completion earns: +1 if its reading is right, -1 if it is wrong or cannot be read."""

import random
from collections.abc import Callable

from reinforce_lite.errors import UserError
from reinforce_lite.tasks import answers


def strict(text: str, answer: str) -> bool:
    """True if the number in the last complete answer tag is right."""
    return answers.is_correct(answers.strict(text), answer)


def flexible(text: str, answer: str) -> bool:
    """True if the strict reading, else the last box, else the last number is right."""
    return answers.is_correct(answers.flexible(text), answer)


def in_format(text: str, answer: str) -> bool:
    """True if the last complete answer tag holds a number, whichever it is: what a gain by format alone would earn."""
    return answers.strict(text) is not None


JUDGES: dict[str, Callable[[str, str], bool]] = {
    "strict": strict,
    "flexible": flexible,
    "published": answers.published_is_correct,
    "released": answers.released_is_correct,
    "format": in_format,
}


def reward(name: str, text: str, answer: str, *, rng: random.Random | None = None) -> float:
    """The reward of one completion.

    `answer` is normalised (`Problem.answer`); the published code had GSM8K's raw strings. For `published` and
    `released` this makes answers with thousands commas attainable (79 of train); negative ones still always fail.

    Args:
        name: a value of `training.reward`. `random`, a control, ignores the text and tosses a fair coin.
        text: the completion.
        answer: the normalised gold answer.
        rng: the source of the coin; only `random` uses it, and exactly once.

    Raises:
        UserError: there is no reward of this name.
        ValueError: `random` without an rng, or `answer` is no number.
    """
    if name == "random":
        if rng is None:
            raise ValueError("the reward `random` needs an rng")
        return 1.0 if rng.random() < 0.5 else -1.0
    if name not in JUDGES:
        raise UserError(f"training.reward: '{name}' is unknown", f"use one of {', '.join([*JUDGES, 'random'])}")
    return 1.0 if JUDGES[name](text, answer) else -1.0
