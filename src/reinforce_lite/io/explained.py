"""What is wrong with a configuration, key by key, in words, with file and line."""

from collections.abc import Mapping, Sequence
from difflib import get_close_matches
from typing import Any, get_args

from pydantic import BaseModel, ValidationError

from reinforce_lite.io.layers import Layer


def explained(error: ValidationError, model: type[BaseModel], read: Sequence[Layer] = ()) -> list[str]:
    """One line for each problem.

    Args:
        error: what pydantic found.
        model: of the whole configuration, for the keys that may be meant.
        read: the files that it was merged from, in their order.
    """
    return [f"{_where(problem['loc'], read)}{_explain(problem, model)}" for problem in error.errors()]


def _where(loc: Sequence[str | int], read: Sequence[Layer]) -> str:
    """File and line of a key, or of the closest one above it, in the last file that has it; nothing if none has."""
    for end in range(len(loc), 0, -1):
        keys = tuple(map(str, loc[:end]))
        for layer in reversed(read):
            if keys in layer.lines:
                return f"{layer.path}:{layer.lines[keys]}: "
            if not layer.lines and _holds(layer.values, keys):
                return f"{layer.path}: "
    return ""


def _holds(values: Any, keys: Sequence[str]) -> bool:
    for key in keys:
        if not isinstance(values, Mapping) or key not in values:
            return False
        values = values[key]
    return True


def _explain(problem: Any, model: type[BaseModel]) -> str:
    key = ".".join(str(part) for part in problem["loc"]) or "configuration"
    if problem["type"] == "extra_forbidden":
        meant = get_close_matches(str(problem["loc"][-1]), _keys_beside(problem["loc"], model), n=1)
        return f"{key}: unknown key{f'; did you mean {meant[0]}?' if meant else ''}"
    if problem["type"] == "missing":
        return f"{key}: this key is needed"
    value = problem["input"]
    shown = f" (it is {value!r})" if isinstance(value, str | int | float | bool | None) else ""
    return f"{key}: {problem['msg'].removeprefix('Value error, ')}{shown}"


def _keys_beside(loc: Sequence[str | int], model: type[BaseModel]) -> list[str]:
    """The keys of the section that an unknown key stands in."""
    section = model
    for name in loc[:-1]:
        if name in section.model_fields:
            found = _sections(section.model_fields[str(name)].annotation)
            if not found:
                return []
            section = found[0]
    return list(section.model_fields)


def _sections(annotation: Any) -> list[type[BaseModel]]:
    """The models that stand in a type."""
    if isinstance(annotation, type) and issubclass(annotation, BaseModel):
        return [annotation]
    return [one for part in get_args(annotation) for one in _sections(part)]
