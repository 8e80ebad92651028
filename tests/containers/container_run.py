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

from reinforce_lite.files import read_json

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


@dataclass(frozen=True)
class Started:
    """A run of the workflow that may still be going on."""

    folder: Path
    process: subprocess.Popen[bytes]

    @classmethod
    def start(cls, folder: Path, command: list[str], environment: dict[str, str]) -> "Started":
        with (folder.parent / f"{folder.name}.log").open("wb") as log:
            return cls(folder, subprocess.Popen(command, cwd=folder, env=environment, stdout=log, stderr=log))

    def output(self) -> str:
        """What it has printed, once it has ended."""
        self.process.wait()
        return (self.folder.parent / f"{self.folder.name}.log").read_text()


def start_docker(image: str, folder: Path) -> Started:
    """`docker run ...` with everything taken from it that can be."""
    os.chown(folder, UID, UID)
    settings = [word for name, value in PATIENT.items() for word in ("-e", f"{name}={value}")]
    files = WORLD.files("config", "/opt/reinforce-lite/tests/workflow")
    words = ["tiny"] if WORLD.name == "tiny" else ["reproduce", "--configfile", *files]
    command = ["docker", "run", "--rm", *LOCKED, *settings, "-v", f"{folder}:/work", image, *words]
    return Started.start(folder, command, dict(os.environ))


def python_with_snakemake(folder: Path) -> Path | None:
    """Python of a new environment as README has the host make it, in the lock's versions; None if pip cannot."""
    pins = re.findall(r"^[a-z0-9._-]+==[^\\\n]+", (ROOT / "envs/runtime.txt").read_text(), re.MULTILINE)
    (folder / "versions.txt").write_text("\n".join(pins))
    subprocess.run([sys.executable, "-m", "venv", folder / "venv"], check=True)
    python = folder / "venv/bin/python"
    pip = [python, "-m", "pip", "--quiet", "install", "--constraint", folder / "versions.txt"]
    done = subprocess.run([*pip, "snakemake", "pygments"], check=False)
    return None if done.returncode else python


def start_apptainer(sif: str, workflow: Workflow, python: Path) -> Started:
    """`snakemake --use-singularity` with this Python. A rule that ran outside would meet the decoy, and fail."""
    decoy = workflow.folder / "decoy/reinforce-lite"
    decoy.parent.mkdir()
    decoy.write_text("#!/bin/sh\necho this ran outside of the container\nexit 97\n")
    decoy.chmod(0o755)
    command = workflow.command("--use-singularity", *with_image(sif), config=WORLD.config)
    command[0] = str(python)
    return Started.start(workflow.folder, command, {**bare_environment(str(decoy.parent)), **PATIENT})


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
