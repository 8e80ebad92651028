"""A function of the user's own that scores a completion: `my_reward.py:score` in the configuration.

It gets the text of a completion and a `Problem` with question and answer, and gives a number, or a dictionary of
numbers, whose sum counts and whose parts are kept. The same text has to give the same scores: `verify` asks again.
"""

import math
import random
import re
from collections.abc import Mapping
from numbers import Real
from pathlib import Path
from typing import Any, TypeGuard

from reinforce_lite.errors import UserError
from reinforce_lite.io.code import Code, code
from reinforce_lite.tasks import Grade, OptionsT, Problem, Reward, reward

_SPELLED = re.compile(r"(?P<file>.+\.py):(?P<function>[^\W\d]\w*)")
PARTS = "reward_parts"
"""Under this name a completion has the numbers whose sum it was paid."""
FULL = 1.0
"""Where the function grades, so much or more is correct."""


def is_own(chosen: Any) -> TypeGuard[str]:
    """Whether a value of the configuration names a function in a file.

    >>> is_own("rewards/mine.py:score"), is_own("strict"), is_own({"mine.py:score": 1.0})
    (True, False, False)
    """
    return isinstance(chosen, str) and _SPELLED.fullmatch(chosen) is not None


def in_folder(chosen: Reward, folder: Path) -> Reward:
    """An own function in the copy of its file that lies in a folder; any other value stays.

    >>> in_folder("rewards/mine.py:score", Path("/results/data"))
    '/results/data/mine.py:score'
    """
    return str(folder / Path(chosen).name) if is_own(chosen) else chosen


def kept(options: OptionsT, folder: Path) -> OptionsT:
    """The options of a task with its own grade where `prepare` has copied its file to."""
    grade = getattr(options, "grade", "")
    return options.model_copy(update={"grade": in_folder(grade, folder)}) if is_own(grade) else options


def file_of(spelled: str) -> Code:
    """The loaded file of an own function.

    Raises:
        UserError: it cannot be loaded, or has no such function.
    """
    file, function = _parts(spelled)
    loaded = code(Path(file))
    if not callable(getattr(loaded.module, function, None)):
        known = ", ".join(name for name, one in vars(loaded.module).items() if _is_defined_there(loaded, one))
        raise UserError(
            f"{loaded.path} defines no function {function}",
            f"define one: def {function}(completion, problem), or name one of: {known or 'it has none'}",
        )
    return loaded


def sums(spelled: str) -> dict[str, str]:
    """The SHA-256 of the file of an own function, on which what it scored depends.

    Raises:
        UserError: as `file_of`.
    """
    loaded = file_of(spelled)
    return {f"{loaded.path.name}, sha256": loaded.sha256}


def scores(spelled: str, completion: str, problem: Problem) -> float | dict[str, float]:
    """What an own function gives for a completion.

    It gets no more of the problem than the results hold: the id is empty, and there is no solution.

    Raises:
        UserError: as `file_of`; or the function raises an error, or gives anything but finite numbers.
    """
    loaded, function = file_of(spelled), _parts(spelled)[1]
    asked, shown = Problem("", problem.question, problem.answer), f"for the completion {completion[:60]!r}"
    try:
        given = getattr(loaded.module, function)(completion, asked)
    except (Exception, SystemExit) as error:  # it is the user's own code
        raise UserError(
            f"{loaded.place(error)}: {function} raised {type(error).__name__}: {error} {shown}",
            f"let {function} return a number for every text, whatever a policy may write",
        ) from error
    parts = given if isinstance(given, Mapping) else {"": given}
    numbers = {name: _number(one) for name, one in parts.items()}
    if not numbers or None in numbers.values() or not all(isinstance(name, str) for name in numbers):
        raise UserError(
            f"{loaded.path}: {function} gave {str(given)[:60]!r} ({type(given).__name__}) {shown}",
            "return a finite number (3, 0.5, True), or a dictionary of such by name",
        )
    found = {name: one for name, one in numbers.items() if one is not None}
    return found if isinstance(given, Mapping) else found[""]


def earned(
    chosen: Reward, grade: Grade, coin: random.Random, text: str, problem: Problem
) -> tuple[float, dict[str, float]]:
    """What a completion earns by a value of `training.reward`, and the parts of it if an own function names some.

    Raises:
        UserError: as `scores`.
    """
    if not is_own(chosen):
        return reward(chosen, grade, coin), {}
    given = scores(chosen, text, problem)
    return (sum(given.values()), given) if isinstance(given, dict) else (given, {})


def named_parts(parts: Mapping[str, float]) -> dict[str, Mapping[str, float]]:
    """What stands of the parts in the row of a completion: nothing if there are none."""
    return {PARTS: parts} if parts else {}


def graded(spelled: str, text: str, problem: Problem) -> Grade:
    """The grade that an own function gives: `correct` from FULL up, `score` as it is, and the parts of a dictionary.

    A dictionary says by its own `correct` whether a completion is; its `score` is the sum.

    Raises:
        UserError: as `scores`, or a dictionary has no `correct`.
    """
    given = scores(spelled, text, problem)
    if not isinstance(given, dict):
        return {"correct": given >= FULL, "score": given}
    if "correct" not in given:
        raise UserError(
            f"{file_of(spelled).path}: as a grade, {_parts(spelled)[1]} gave a dictionary without `correct`",
            "put `correct` into it, True or False: evaluations count that",
        )
    verdicts = ("correct", "flexible")
    return {"score": sum(given.values()), **{n: one >= FULL if n in verdicts else one for n, one in given.items()}}


def _parts(spelled: str) -> tuple[str, str]:
    file, _, function = spelled.rpartition(":")
    return file, function


def _is_defined_there(loaded: Code, one: Any) -> bool:
    return callable(one) and getattr(one, "__module__", None) == loaded.module.__name__


def _number(value: Any) -> float | None:
    """A finite number; None for anything else."""
    try:
        number = float(value) if isinstance(value, Real) else math.nan
    except OverflowError:
        return None
    return number if math.isfinite(number) else None
