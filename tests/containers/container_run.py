"""Calls of the real Docker engine and the real Apptainer."""

import json
import os
import re
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from dag_runner import ROOT, Workflow

from reinforce_lite.io.files import read_json

PATIENT = {"OMP_WAIT_POLICY": "passive"}
"""Threads that wait do not spin, so that two runs can share the cores; it changes no number."""

UID = 12345 if os.getuid() == 0 else os.getuid()
"""Who the containers run as: nobody that the image knows, if there is a choice."""
SEALED = ("--read-only", "--tmpfs", "/tmp", "--user", f"{UID}:{UID}")
LOCKED = ("--network", "none", *SEALED)


def docker(*arguments: str, timeout: float = 900) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        ["docker", *arguments], timeout=timeout,
        stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, check=False,
    )  # fmt: skip


@dataclass(frozen=True)
class World:
    """What is run in both containers and outside.

    Attributes:
        name: of the experiment.
        overlays: files of config/ that are laid over tiny.yaml.
        jobs: how many rules are run, `all` left out.
        results: how many of them tell which image has made them.
        steps: of a training.
    """

    name: str
    overlays: tuple[str, ...]
    jobs: int
    results: int
    steps: int

    def files(self, folder: str, overlays: str) -> tuple[str, ...]:
        """The configuration: tiny.yaml in one folder, what is laid over it in another."""
        return (f"{folder}/tiny.yaml", *(f"{overlays}/{name}" for name in self.overlays))

    @property
    def config(self) -> tuple[str, ...]:
        """The configuration in a copy of the workflow."""
        return self.files("config", "config")


WORLDS = {
    "tiny": World("tiny", (), 26, 2 + 2 + 2 * 3 * 2, 60),  # policies, baselines; per run its training and evaluation
    "mini": World("mini", ("mini.yaml",), 9, 1 + 1 + 1 * 2, 4),
}
WORLD = WORLDS[os.environ.get("TEST_WORLD", "tiny")]


def run_in_docker(image: str, folder: Path) -> None:
    """`docker run ...` with everything taken from it that can be."""
    os.chown(folder, UID, UID)
    settings = [word for name, value in PATIENT.items() for word in ("-e", f"{name}={value}")]
    files = WORLD.files("config", "/opt/reinforce-lite/tests/workflow")
    words = ["tiny"] if WORLD.name == "tiny" else ["reproduce", "--configfile", *files]
    done = docker("run", "--rm", *LOCKED, *settings, "-v", f"{folder}:/work", image, *words)
    assert done.returncode == 0, done.stdout[-3000:]


def environment_with_snakemake(folder: Path) -> None:
    """A new environment `venv` as README has the host make it, in the lock's versions; empty if pip fails."""
    pins = re.findall(r"^[a-z0-9._-]+==[^\\\n]+", (ROOT / "envs/runtime.txt").read_text(), re.MULTILINE)
    (folder / "versions.txt").write_text("\n".join(pins))
    subprocess.run([sys.executable, "-m", "venv", folder / "venv"], check=True)
    pip = [folder / "venv/bin/python", "-m", "pip", "--quiet", "install", "--constraint", folder / "versions.txt"]
    subprocess.run([*pip, "snakemake", "pygments"], check=False)


def run_in_apptainer(sif: str, workflow: Workflow, python: Path) -> None:
    """`snakemake --use-singularity` with this Python. A rule that ran outside would meet the decoy, and fail."""
    decoy = workflow.folder / "decoy/reinforce-lite"
    decoy.parent.mkdir()
    decoy.write_text("#!/bin/sh\necho this ran outside of the container\nexit 97\n")
    decoy.chmod(0o755)
    command = workflow.command("--use-singularity", *with_image(sif), config=WORLD.config)
    done = subprocess.run(
        [str(python), *command[1:]], cwd=workflow.folder, env={**bare_environment(str(decoy.parent)), **PATIENT},
        stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stdout[-3000:]
    assert done.stdout.count("Activating singularity image") == WORLD.jobs, "each rule but all"


def with_image(image: str) -> tuple[str, str]:
    return "--config", f"container={json.dumps({'image': image})}"


def bare_environment(first_on_path: str = "") -> dict[str, str]:
    """An environment in which the package's own command is not on PATH, or what lies in another folder is."""
    own = str(Path(sys.executable).parent)
    path = [first_on_path, *(part for part in os.environ["PATH"].split(os.pathsep) if part != own)]
    others = {name: value for name, value in os.environ.items() if name != "PYTHONPATH"}
    return {**others, "PATH": os.pathsep.join(filter(None, path))}


def models(results: Path) -> dict[str, Any]:
    """The figures of a finished run."""
    found: dict[str, Any] = read_json(results / WORLD.name / "summary.json")["models"]
    return found
