"""Copies of the workflow in which the DAG runs for real."""

import os
import shutil
import subprocess
import sys
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml

from made_once import made_once

ROOT = Path(__file__).parents[2]
MINI = ("config/tiny.yaml", "config/mini.yaml")
BEFORE_TRAINING = ("results/mini/preflight.json", "results/mini/baseline/tiny-llama/items.jsonl")
"""What the mini DAG makes first; nothing waits for the file of preflight, so it is named."""


@dataclass(frozen=True)
class Workflow:
    """A folder with the workflow, and what it has made."""

    folder: Path

    def command(self, *arguments: str, config: tuple[str, ...] = MINI) -> list[str]:
        files = ["--configfile", *config] if config else []
        return [sys.executable, "-m", "snakemake", "--cores", "1", *arguments, *files]

    def environment(self) -> dict[str, str]:
        path = f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"
        return {**os.environ, "PATH": path, "MLFLOW_DISABLE_TELEMETRY": "true"}

    def run(self, *arguments: str, config: tuple[str, ...] = MINI) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            self.command(*arguments, config=config), cwd=self.folder, env=self.environment(),
            stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, check=False,
        )  # fmt: skip

    def must_run(self, *arguments: str, config: tuple[str, ...] = MINI) -> None:
        done = self.run(*arguments, config=config)
        assert done.returncode == 0, done.stdout[-3000:]

    def copied(self, folder: Path) -> "Workflow":
        """A copy with its results, the times of the files included, for a test that changes it."""
        return Workflow(Path(shutil.copytree(self.folder, folder, dirs_exist_ok=True)))

    def results(self, experiment: str = "mini") -> Path:
        return self.folder / "results" / experiment


def copy_workflow(folder: Path) -> Workflow:
    """The workflow without results."""
    for name in ("config", "workflow", "profiles"):
        shutil.copytree(ROOT / name, folder / name)
    shutil.copy(ROOT / "Snakefile", folder)
    shutil.copy(ROOT / "tests/workflow/mini.yaml", folder / "config")
    return Workflow(folder)


def in_small(shared: Path, tiny: str, overlay: Mapping[str, Any]) -> Workflow:
    """A tiny form, made smaller by mini.yaml and an overlay and run by the first test that asks; it may not change."""

    def make(folder: Path) -> None:
        workflow = copy_workflow(folder)
        (folder / "config/small.yaml").write_text(yaml.safe_dump(dict(overlay)))
        workflow.must_run(config=(f"config/{tiny}.yaml", "config/mini.yaml", "config/small.yaml"))

    return Workflow(made_once(shared, tiny, make))


def rules_file(name: str, **names: Any) -> dict[str, Any]:
    """The names that a file of workflow/rules without rules defines, where Snakemake gives it these `names`."""
    path = ROOT / f"workflow/rules/{name}.smk"
    exec(compile(path.read_text(), path, "exec"), names)
    return names
