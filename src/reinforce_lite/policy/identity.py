"""What changes a policy's numbers: its weights, its tokenizer, and what is read of its configuration.

A README beside them changes nothing, nor does another name of the folder or of a file.
"""

from collections.abc import Callable
from pathlib import Path
from typing import Any

from reinforce_lite.errors import UserError
from reinforce_lite.io.files import read_json
from reinforce_lite.io.keyed import CONFIG, FILES
from reinforce_lite.policy.files import TOKENIZER, weight_files
from reinforce_lite.stages import POLICY

Sum = Callable[[Path], str]
"""The SHA-256 of a file."""

ADAPTER = ("adapter_config.json", "adapter_model.safetensors")
"""transformers puts an adapter that lies beside the weights on them."""
UNREAD = {"_name_or_path", "_commit_hash", "transformers_version", "torch_dtype", "dtype", "architectures"}
"""Entries of config.json that decide nothing here: the precision is that of the settings."""
READ_OF_GENERATION = ("eos_token_id",)
"""Entries of generation_config.json that are read; how to sample is the settings' business."""


def policy_key(name: str, folder: Path, sum_of: Sum) -> dict[str, Any]:
    """The parts of a key for the policy that policy.json in `folder` describes; weights of the hub by their commit.

    Raises:
        UserError: a file is absent or damaged.
    """
    weights = read_json(folder / POLICY)["weights"]
    if "folder" not in weights and "path" not in weights:
        return {f"{name} {key}": value for key, value in weights.items()}
    return place_key(name, folder / weights["folder"] if "folder" in weights else Path(weights["path"]), sum_of)


def place_key(name: str, place: Path, sum_of: Sum) -> dict[str, Any]:
    """The same for a folder in the format of transformers, or a .gguf file."""
    if place.is_file():
        return {f"{name}{FILES}": {place.name: sum_of(place)}}
    if not place.is_dir():
        raise UserError(f"{place} does not exist", "restore the folder with the policy's weights")
    others = (place / name for name in (*TOKENIZER, *ADAPTER))
    read = [*weight_files(place), *(path for path in others if path.exists())]
    sums = {path.name: sum_of(path) for path in read}
    return {f"{name}{FILES}": sums, f"{name}{CONFIG}": _config(place)}


def _config(place: Path) -> dict[str, Any]:
    """What is read of config.json and generation_config.json, by file and entry."""
    found: dict[str, Any] = {}
    if (place / "config.json").exists():
        content = read_json(place / "config.json")
        found |= {f"config.json {name}": value for name, value in content.items() if name not in UNREAD}
    if (place / "generation_config.json").exists():
        content = read_json(place / "generation_config.json")
        found |= {f"generation_config.json {name}": content[name] for name in READ_OF_GENERATION if name in content}
    return found
