"""Configuration files: each a layer that is laid over the one before, with the line of every key."""

import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from reinforce_lite.errors import UserError

Keys = tuple[str, ...]
"""A key with those above it."""


@dataclass(frozen=True)
class Layer:
    """One file.

    Attributes:
        path: of the file.
        values: what it holds.
        lines: of each key, from 1; those of JSON, which nobody writes by hand, are not known.
    """

    path: Path
    values: dict[str, Any]
    lines: Mapping[Keys, int]


def read(path: Path) -> Layer:
    """Read a YAML or JSON file.

    Raises:
        UserError: it is absent, cannot be read or parsed, holds no keys, or one of them twice; with the line.
    """
    import yaml

    text = _text(path)
    try:
        if path.suffix == ".json":  # as YAML the 1e-06 of a JSON file is no number but text
            values, lines = json.loads(text), dict[Keys, int]()
        else:
            values, node = yaml.safe_load(text), yaml.compose(text, Loader=yaml.SafeLoader)
            lines = dict(_lines(path, node)) if isinstance(node, yaml.MappingNode) else {}
    except (yaml.YAMLError, json.JSONDecodeError) as error:
        kind = "JSON" if path.suffix == ".json" else "YAML"
        raise UserError(f"{path}{_place(error)}: not valid {kind}{_problem(error)}", "correct the line") from error
    except (ValueError, RecursionError) as error:  # a date that is none, a number of too many digits; too many brackets
        deep = isinstance(error, RecursionError)
        known = not deep and path.suffix != ".json"
        line = next(_unread(yaml.compose(text, Loader=yaml.SafeLoader)), None) if known else None
        reason = "it is nested too deeply" if deep else str(error)
        raise UserError(f"{path}{f':{line}' if line else ''}: cannot be read: {reason}", "correct the line") from error
    if not isinstance(values, dict):
        what = "holds no mapping of keys" if values is not None else "is empty"
        raise UserError(f"{path} {what}", "write keys as in config/config.yaml, such as: experiment: mine")
    return Layer(path, values, lines)


def where(keys: Sequence[str | int], read: Sequence[Layer]) -> str:
    """File and line of a key, or of the closest one above it, in the last file that has it; nothing if none has.

    >>> where(["a", "b"], [Layer(Path("x.yaml"), {"a": 1}, {("a",): 3})])
    'x.yaml:3: '
    """
    for end in range(len(keys), 0, -1):
        wanted = tuple(map(str, keys[:end]))
        for layer in reversed(read):
            if wanted in layer.lines:
                return f"{layer.path}:{layer.lines[wanted]}: "
            if not layer.lines and wanted in dict(leaves(layer.values, inner=True)):
                return f"{layer.path}: "
    return ""


def leaves(values: Mapping[str, Any], above: Keys = (), inner: bool = False) -> Iterator[tuple[Keys, Any]]:
    """Every key of a mapping, and of those in it, that holds no further ones; with `inner` the others too."""
    for name, value in values.items():
        keys = (*above, str(name))
        deeper = isinstance(value, Mapping) and len(value) > 0
        if inner or not deeper:
            yield keys, value
        if deeper:
            yield from leaves(value, keys, inner)


def _text(path: Path) -> str:
    try:
        return path.read_text(encoding="utf-8-sig")
    except FileNotFoundError as error:
        raise UserError(f"{path} does not exist", "name a file of config/") from error
    except IsADirectoryError as error:
        raise UserError(f"{path} is a folder", f"name a file in it, such as {path / 'config.yaml'}") from error
    except UnicodeDecodeError as error:
        line = error.object[: error.start].count(b"\n") + 1
        raise UserError(
            f"{path}:{line}: not UTF-8 (byte 0x{error.object[error.start]:02x})", "save the file as UTF-8"
        ) from error
    except OSError as error:
        raise UserError(f"cannot read {path}: {error.strerror}", "make it a file that this user may read") from error


def _lines(path: Path, node: Any, above: Keys = ()) -> Iterator[tuple[Keys, int]]:
    """Every key of a mapping, and of the mappings in it, with its line."""
    seen: dict[str, int] = {}
    for key, value in node.value:
        name, line = str(key.value), key.start_mark.line + 1
        if name in seen and name != "<<":
            key_path = ".".join([*above, name])
            raise UserError(
                f"{path}:{line}: {key_path} stands twice, first in line {seen[name]}", "take one of the two out"
            )
        seen[name] = line
        yield (*above, name), line
        if key.tag.endswith(":merge") or value.start_mark.line + 1 < line:  # an alias stands where it is defined
            continue
        if isinstance(value.value, list) and value.id == "mapping":
            yield from _lines(path, value, (*above, name))


def _unread(node: Any) -> Iterator[int]:
    """The lines of values that YAML takes for a date or a number, and that are none."""
    import yaml

    if isinstance(node.value, str):
        try:
            yaml.SafeLoader("").construct_object(node)
        except ValueError:
            yield node.start_mark.line + 1
        return
    for item in node.value:
        for part in item if isinstance(item, tuple) else (item,):
            yield from _unread(part)


def _place(error: Exception) -> str:
    mark = getattr(error, "problem_mark", None)
    line = mark.line + 1 if mark else getattr(error, "lineno", None)
    return f":{line}" if line else ""


def _problem(error: Exception) -> str:
    """What the parser says; YAML's whole text would show the line, and what is secret in it."""
    said = getattr(error, "problem", None) or getattr(error, "msg", None)
    return f": {said}" if said else ""
