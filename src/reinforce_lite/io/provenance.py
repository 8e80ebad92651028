"""What a result was made with: software, machine, commit and image."""

import hashlib
import os
import platform
import subprocess
from collections.abc import Iterable
from importlib import metadata
from pathlib import Path
from typing import Any

import psutil

PACKAGES = ("torch", "transformers", "lm-eval", "mlflow", "snakemake", "datasets", "accelerate")
"""Packages whose version can change a result."""


def environment() -> dict[str, Any]:
    """Describe what runs, as values that JSON can hold.

    Returns:
        python, platform, cpu (model), cpus (logical ones), memory_gib, packages (name to version, None if not
        installed), git_commit, git_dirty (None if unknown), image (see `image`).
    """
    commit, dirty = _commit()
    return {
        "python": platform.python_version(),
        "platform": platform.platform(),
        "cpu": _cpu_model(),
        "cpus": os.cpu_count(),
        "memory_gib": round(psutil.virtual_memory().total / 2**30, 2),
        "packages": {name: _version(name) for name in PACKAGES},
        "git_commit": commit,
        "git_dirty": dirty,
        "image": image(),
    }


def origin() -> dict[str, str | None]:
    """What made a result: git_commit and image, None where unknown.

    Each result says its own, for an experiment may be continued by another version, or outside a container.
    """
    return {"git_commit": git_commit(), "image": image()}


def computed_with(packages: Iterable[str], device: str, cpu: bool, count_threads: bool) -> dict[str, Any]:
    """The libraries and the device that compute here, as far as another one would round otherwise.

    Args:
        packages: the libraries.
        device: "cuda" or "cpu"; its model is named.
        cpu: whether the CPU computes, with the instructions that torch uses.
        count_threads: whether it does so with as many threads as torch takes by itself.
    """
    import torch

    found: dict[str, Any] = {name: _version(name) for name in packages}
    found["device"] = _cpu_model() if device == "cpu" else torch.cuda.get_device_name()
    if cpu:
        found["CPU capability"] = torch.backends.cpu.get_cpu_capability()
        found |= {"threads": torch.get_num_threads()} if count_threads else {}
    return found


def image() -> str | None:
    """The container image this runs in, as `<name> contents sha256:<sum of its files>`; None outside a container.

    An image cannot know the digest under which a registry has it, but it knows what is in it: the sum is taken when it
    is built (`docker run IMAGE contents` takes it again).
    """
    name = os.environ.get("REINFORCE_LITE_IMAGE") or os.environ.get("APPTAINER_CONTAINER")
    try:
        contents = Path(os.environ["REINFORCE_LITE_CONTENTS"]).read_text(encoding="ascii").strip()
    except (KeyError, OSError):
        return name or None
    return f"{name or 'unnamed'} contents sha256:{contents}"


def git_commit() -> str | None:
    """The commit of this code, with `-dirty` behind it if tracked files differ from it; None if it is unknown."""
    commit, dirty = _commit()
    return f"{commit}-dirty" if commit and dirty else commit


def sha256_file(path: Path) -> str:
    """SHA-256 of a file's bytes, as 64 hexadecimal digits."""
    with path.open("rb") as handle:
        return hashlib.file_digest(handle, "sha256").hexdigest()


def sums(*paths: Path) -> dict[str, str]:
    """SHA-256 of files by their names, for a result to say which files beside it are its own."""
    return {path.name: sha256_file(path) for path in paths}


def _commit() -> tuple[str | None, bool | None]:
    """Commit and dirty flag; REINFORCE_LITE_COMMIT, which an image sets, goes before the checkout."""
    given = os.environ.get("REINFORCE_LITE_COMMIT")
    if given:
        return given.removesuffix("-dirty"), given.endswith("-dirty")
    # A virtual environment may lie inside a checkout of something else: this file has to be tracked there.
    if _git("ls-files", "--error-unmatch", Path(__file__).name) is None:
        return None, None
    commit, changes = _git("rev-parse", "HEAD"), _git("status", "--porcelain", "--untracked-files=no")
    return commit, None if commit is None or changes is None else bool(changes)


def _git(*arguments: str) -> str | None:
    command = ["git", "-C", str(Path(__file__).resolve().parent), *arguments]
    try:
        return subprocess.run(command, capture_output=True, text=True, timeout=10, check=True).stdout.strip()
    except (OSError, subprocess.SubprocessError):
        return None


def _cpu_model() -> str:
    try:
        lines = Path("/proc/cpuinfo").read_text(encoding="utf-8", errors="replace").splitlines()
    except OSError:
        lines = []
    names = (line.partition(":")[2].strip() for line in lines if line.startswith("model name"))
    return next(names, "") or platform.processor() or platform.machine()


def _version(package: str) -> str | None:
    try:
        return metadata.version(package)
    except metadata.PackageNotFoundError:
        return None
