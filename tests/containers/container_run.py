"""Calls of the real Docker engine."""

import os
import subprocess
from pathlib import Path
from typing import Any

from reinforce_lite.files import read_json

UID = 12345 if os.getuid() == 0 else os.getuid()
"""Who the containers run as: nobody that the image knows, if there is a choice."""
SEALED = ("--read-only", "--tmpfs", "/tmp", "--user", f"{UID}:{UID}")
LOCKED = ("--network", "none", *SEALED)


def docker(*arguments: str, timeout: float = 900) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        ["docker", *arguments], timeout=timeout,
        stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, check=False,
    )  # fmt: skip


def models(results: Path) -> dict[str, Any]:
    """The figures of a finished tiny run."""
    found: dict[str, Any] = read_json(results / "tiny/summary.json")["models"]
    return found
