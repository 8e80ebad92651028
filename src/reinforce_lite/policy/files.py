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
WEIGHTS = (WHOLE, INDEX, "pytorch_model.bin", "pytorch_model.bin.index.json")
"""Where transformers looks for weights; it takes the first that is there."""
TOKENIZER = (
    "tokenizer.json", "tokenizer.model", "tokenizer_config.json", "special_tokens_map.json", "added_tokens.json",
    "vocab.json", "vocab.txt", "merges.txt", "spiece.model", "sentencepiece.bpe.model", "chat_template.jinja",
    "chat_template.json",
)  # fmt: skip
"""What a tokenizer is read from, as far as it is there."""
TOKENIZERS = ("tokenizer.json", "tokenizer.model", "vocab.json", "vocab.txt")
"""Any of these makes a tokenizer."""
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
    for name in ("generation_config.json", *TOKENIZER):
        if name.endswith(".json") and (place / name).exists():
            _json(place / name)
    if not any((place / name).exists() for name in TOKENIZERS):
        raise UserError(f"{place} has no tokenizer: none of {', '.join(TOKENIZERS)}", AGAIN)
    return sum(_elements(tensor) for header in _headers(place) for tensor in header.values())


def _headers(place: Path) -> Iterator[dict[str, Any]]:
    """The tensors of each file of weights, by their names."""
    every = weight_files(place) or [place / WHOLE]
    if every[0].suffix != ".safetensors":
        return
    named = {} if every[0].name == WHOLE else _weight_map(place / INDEX)
    for path in every:
        header = safetensors_header(path)
        absent = [name for name, where in named.items() if where == path.name and name not in header]
        if absent:
            raise UserError(f"{path} lacks {absent[0]}, which {INDEX} says it holds", AGAIN)
        yield header


def weight_files(place: Path) -> list[Path]:
    """The files of weights that transformers loads from a folder; none if there are none.

    Raises:
        UserError: an index is damaged.
    """
    first = next((place / name for name in WEIGHTS if (place / name).exists()), None)
    if first is None or first.suffix != ".json":
        return [] if first is None else [first]
    return [place / shard for shard in sorted(set(_weight_map(first).values()))]


def _weight_map(index: Path) -> dict[str, str]:
    named = _json(index).get("weight_map")
    if not isinstance(named, dict) or not named:
        raise UserError(f"{index} has no weight_map", AGAIN)
    return named


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
