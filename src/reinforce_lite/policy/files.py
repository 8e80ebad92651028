"""The files of a policy, looked at before anything loads them: all there, whole, and of how many weights.

Headers are read, not weights, so this takes no time.
"""

import json
import math
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from reinforce_lite.errors import UserError

INDEX, WHOLE = "model.safetensors.index.json", "model.safetensors"
TOKENIZERS = ("tokenizer.json", "tokenizer.model", "vocab.json", "vocab.txt")
"""Any of these makes a tokenizer."""
READ = ("generation_config.json", "tokenizer.json", "tokenizer_config.json", "special_tokens_map.json", "vocab.json")
"""What transformers reads beside config.json, if it is there."""
AGAIN = "fetch the file again (in a clone of a repository: git lfs pull)"


def weights(place: Path) -> int:
    """How many weights a folder of transformers' format holds, or a .gguf file; each of its files has been looked at.

    0 for a folder of torch's own files, which do not say it.

    Raises:
        UserError: a file is absent, cut short, or not what its name says.
    """
    if place.suffix == ".gguf":
        return _gguf(place)
    _json(place / "config.json")
    for name in READ:
        if (place / name).exists():
            _json(place / name)
    if not any((place / name).exists() for name in TOKENIZERS):
        raise UserError(f"{place} has no tokenizer: none of {', '.join(TOKENIZERS)}", AGAIN)
    return sum(_elements(tensor) for header in _headers(place) for tensor in header.values())


def _headers(place: Path) -> Iterator[dict[str, Any]]:
    """The tensors of each file of weights, by their names."""
    if not (place / INDEX).exists():
        if (place / WHOLE).exists() or not any(place.glob("pytorch_model*.bin")):
            yield safetensors_header(place / WHOLE)
        return
    named = _json(place / INDEX).get("weight_map")
    if not isinstance(named, dict) or not named:
        raise UserError(f"{place / INDEX} has no weight_map", AGAIN)
    for shard in sorted(set(named.values())):
        header = safetensors_header(place / shard)
        absent = [name for name, where in named.items() if where == shard and name not in header]
        if absent:
            raise UserError(f"{place / shard} lacks {absent[0]}, which {INDEX} says it holds", AGAIN)
        yield header


def safetensors_header(path: Path) -> dict[str, Any]:
    """Dtype, shape and place of each tensor of a file of weights that is as long as they need.

    Raises:
        UserError: it is absent, empty, cut short, or no such file.
    """
    try:
        size = path.stat().st_size
        with path.open("rb") as handle:
            length = int.from_bytes(handle.read(8), "little")
            header: dict[str, Any] = json.loads(handle.read(length)) if 0 < length <= size - 8 else {}
        header.pop("__metadata__", None)
        needed = 8 + length + max(tensor["data_offsets"][1] for tensor in header.values())
    except OSError as error:
        raise UserError(f"cannot read {path}: {error.strerror}", AGAIN) from error
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        raise UserError(f"{path} is empty, cut short, or no file of safetensors ({size:,} bytes)", AGAIN) from error
    if size != needed:
        raise UserError(f"{path} has {size:,} bytes, and its header speaks of {needed:,}: it is cut short", AGAIN)
    return header


def _elements(tensor: dict[str, Any]) -> int:
    return math.prod(tensor["shape"])


def _gguf(path: Path) -> int:
    reader = gguf(path)
    try:
        return sum(int(tensor.n_elements) for tensor in reader(path).tensors)
    except (OSError, ValueError, IndexError, KeyError, OverflowError, MemoryError) as error:
        size = path.stat().st_size if path.exists() else 0
        raise UserError(f"{path} is absent, empty, cut short, or no GGUF file ({size:,} bytes)", AGAIN) from error


def gguf(path: Path) -> Any:
    """The reader of GGUF files, needed for `path`.

    Raises:
        UserError: its package is not installed.
    """
    try:
        from gguf import GGUFReader
    except ImportError as error:
        raise UserError(
            f"{path} is a GGUF file, which needs the package gguf", "pip install 'reinforce-lite[gguf]'"
        ) from error
    return GGUFReader


def _json(path: Path) -> Any:
    try:
        return json.loads(path.read_bytes())
    except OSError as error:
        raise UserError(f"cannot read {path}: {error.strerror}", AGAIN) from error
    except ValueError as error:
        raise UserError(f"{path} is cut short or no JSON ({error})", AGAIN) from error
