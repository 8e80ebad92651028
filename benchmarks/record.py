"""What the benchmarks have in common: their arguments, and what they say of where a figure comes from."""

import argparse
import platform
import sys
from datetime import UTC, datetime
from pathlib import Path

import psutil
import torch

ROOT = Path(__file__).parents[1]


def made_with() -> dict[str, str]:
    """Date, command and machine of this run."""
    device = torch.cuda.get_device_name() if torch.cuda.is_available() else "no GPU"
    return {
        "date": datetime.now(UTC).isoformat(timespec="seconds"),
        "command": " ".join(["python", *sys.argv]),
        "machine": f"{psutil.cpu_count()} cores, {platform.machine()}, Python {platform.python_version()}, {device}",
    }


def policy_arguments(description: str | None, output: str) -> argparse.ArgumentParser:
    """The arguments of a benchmark that starts from a policy; `output` is its file under benchmarks/results."""
    parser = argparse.ArgumentParser(description=description, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--policy", type=Path, required=True, help="folder with policy.json, as fetch_policy writes it")
    parser.add_argument("--config", type=Path, nargs="+", required=True, help="laid over config/config.yaml")
    parser.add_argument("--output", type=Path, default=ROOT / "benchmarks/results" / output)
    return parser
