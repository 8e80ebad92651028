"""What the benchmarks have in common: their arguments, and what they say of where a figure comes from."""

import argparse
import hashlib
import json
import platform
import sys
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from pathlib import Path
from statistics import median
from typing import Any

import psutil
import torch

from reinforce_lite.io.files import write_json
from reinforce_lite.io.provenance import git_commit

ROOT = Path(__file__).parents[1]


def made_with() -> dict[str, str]:
    """Date, command, machine and tree of this run."""
    return {
        "date": datetime.now(UTC).isoformat(timespec="seconds"),
        "command": " ".join(["python", *sys.argv]),
        "machine": machine(),
        "torch": torch.__version__,
        "tree": tree(),
    }


def machine() -> str:
    """Processor, Python and GPU."""
    device = torch.cuda.get_device_name() if torch.cuda.is_available() else "no GPU"
    return f"{psutil.cpu_count()} cores, {platform.machine()}, Python {platform.python_version()}, {device}"


def tree() -> str:
    """The commit of this code; where it is unknown or files differ from it, the sum of what can change a figure."""
    commit = git_commit()
    if commit is not None and not commit.endswith("-dirty"):
        return commit
    digest = hashlib.sha256()
    for path in sorted([*(ROOT / "src").rglob("*.py"), *(ROOT / "benchmarks").glob("*.py")]):
        digest.update(f"{path.relative_to(ROOT)}\0".encode() + path.read_bytes() + b"\0")
    return f"sources sha256:{digest.hexdigest()}"


def output_arguments(description: str | None, output: str) -> argparse.ArgumentParser:
    """The arguments of every benchmark; `output` is its file under benchmarks/results."""
    parser = argparse.ArgumentParser(description=description, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--output", type=Path, default=ROOT / "benchmarks/results" / output)
    return parser


def policy_arguments(description: str | None, output: str, required: bool = True) -> argparse.ArgumentParser:
    """The arguments of a benchmark that starts from a policy."""
    parser = output_arguments(description, output)
    parser.add_argument("--policy", type=Path, required=required, help="folder with policy.json, of fetch_policy")
    parser.add_argument("--config", type=Path, nargs="+", required=required, help="laid over config/config.yaml")
    return parser


def spread(values: Sequence[float]) -> dict[str, float]:
    """Median, smallest and largest."""
    return {"median": median(values), "min": min(values), "max": max(values)}


def finish(output: Path, result: Mapping[str, Any]) -> None:
    """Write the result to its file, and print it as the last line of stdout."""
    output.parent.mkdir(parents=True, exist_ok=True)
    write_json(output, dict(result))
    print(json.dumps(result))
