"""What is wrong with a configuration, key by key, in words, with file and line."""

import re
from collections.abc import Sequence
from difflib import get_close_matches
from typing import Any, get_args

from pydantic import BaseModel, ValidationError

from reinforce_lite.io.layers import Layer, where

WORDS = {
    "bool": "must be true or false",
    "date": "must be a date (YYYY-MM-DD)",
    "dict": "must be a mapping of keys",
    "float": "must be a number",
    "int": "must be an integer",
    "list": "must be a list: [one, another]",
    "model": "must be a mapping of keys",
    "path": "must be a path",
    "string": "must be a text; write a number that is meant as one in quotes",
}
"""By how the kind of pydantic's error begins."""
_WAYS = re.compile(r"(str|int|float|(literal|dict|list|constrained|function)\W.*)")
"""What stands behind the key where a value may be of several types."""


def explained(error: ValidationError, model: type[BaseModel], read: Sequence[Layer] = ()) -> list[str]:
    """One line for each problem.

    Args:
        error: what pydantic found.
        model: of the whole configuration, for the keys that may be meant.
        read: the files that it was merged from, in their order.
    """
    found: dict[tuple[str | int, ...], list[str]] = {}
    values: dict[tuple[str | int, ...], str] = {}
    for problem in error.errors():
        loc, said = _key(problem, read)
        found.setdefault(loc, []).append(_explain(loc, said, problem, model))
        values.setdefault(loc, _shown(problem))
    lines = []
    for loc, words in found.items():
        key = ".".join(map(str, loc)) or "configuration"
        lines.append(f"{where(loc, read)}{key}: {', or '.join(dict.fromkeys(words))}{values[loc]}")
    return lines


def _key(problem: Any, read: Sequence[Layer]) -> tuple[tuple[str | int, ...], str]:
    """The key that a problem is about, and what is said of it; a check of several keys names its own."""
    loc, said = tuple(problem["loc"]), problem["msg"].removeprefix("Value error, ")
    while len(loc) > 1 and isinstance(loc[-1], str) and _WAYS.fullmatch(loc[-1]):
        loc = loc[:-1]
    named = re.match(r"([a-z_]+(?:\.[\w.-]+)?): (?s:(.+))", said) if problem["type"] == "value_error" else None
    if named and ".py" not in named[1]:
        keys = tuple(map(str, loc)) + _parts(named[1], loc, read)
        return keys, named[2]
    return loc, said


def _parts(dotted: str, above: Sequence[str | int], read: Sequence[Layer]) -> tuple[str, ...]:
    """The keys of a path in which names may have dots, as the files write them."""
    known = {keys[len(above) :] for layer in read for keys in layer.lines if keys[: len(above)] == tuple(above)}
    return next((keys for keys in known if ".".join(keys) == dotted), tuple(dotted.split(".")))


def _explain(loc: Sequence[str | int], said: str, problem: Any, model: type[BaseModel]) -> str:
    if problem["type"] == "extra_forbidden":
        return f"unknown key{_meant(str(loc[-1]), loc, model)}"
    if problem["type"] == "missing":
        return "this key is needed"
    kind, point = problem["type"].split("_")[0], isinstance(problem["input"], float)
    if kind in WORDS and problem["type"].endswith(("_type", "_parsing", "_from_float", "_inexact")):
        return WORDS[kind] + (", written without a point" if kind == "int" and point else "")
    if problem["type"] == "string_pattern_mismatch":
        return f"must be made of letters, digits, '.', '_' and '-' (pattern {problem['ctx']['pattern']})"
    return re.sub(r"^(Input|List|Dictionary|String) should|( after validation, not \d+$)", _must, said)


def _must(found: re.Match[str]) -> str:
    return "must" if found[1] else ""


def _shown(problem: Any) -> str:
    value = problem["input"]
    told = problem["type"] not in ("extra_forbidden", "missing")
    return f" (it is {value!r})" if told and isinstance(value, str | int | float | bool | None) else ""


def _meant(key: str, loc: Sequence[str | int], model: type[BaseModel]) -> str:
    """What may be meant by an unknown key."""
    first, _, rest = key.partition(".")
    if rest and len(loc) == 1 and first in model.model_fields:
        return f"; keys of keys are written as YAML: '{first}={{\"{rest}\": ...}}'"
    meant = get_close_matches(key, _keys_beside(loc, model), n=1)
    return f"; did you mean {meant[0]}?" if meant else ""


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
