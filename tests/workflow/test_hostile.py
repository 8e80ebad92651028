"""A dry run where the machine is not as it should be: a message and a fix, or no trouble at all; never a traceback."""

import os
import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest
from dag_runner import copy_workflow

NAMES = ("USER", "LOGNAME", "LNAME", "USERNAME")
NAMELESS = "import pwd\ndef unknown(uid): raise KeyError(f'getpwuid(): uid not found: {uid}')\npwd.getpwuid = unknown\n"
"""What Python finds for a user of a bare number, as in a container."""


def dry_run(folder: Path, **variables: str) -> subprocess.CompletedProcess[str]:
    flow = copy_workflow(folder)
    environment = {name: value for name, value in flow.environment().items() if name not in NAMES} | variables
    return subprocess.run(
        flow.command("-n", "--quiet"), cwd=folder, env=environment, stdout=subprocess.PIPE, stderr=subprocess.STDOUT,
        text=True, check=False,
    )  # fmt: skip


def test_a_user_without_a_name_and_a_bare_environment(tmp_path: Path) -> None:
    (tmp_path / "site").mkdir()
    (tmp_path / "site/sitecustomize.py").write_text(NAMELESS)
    paths = f"{tmp_path / 'site'}{os.pathsep}{os.environ.get('PYTHONPATH', '')}"
    bare = {"LC_ALL": "C", "PYTHONIOENCODING": "ascii", "TMPDIR": str(tmp_path / "absent"), "HOME": str(tmp_path)}
    done = dry_run(tmp_path / "flow", PYTHONPATH=paths, **bare)
    assert done.returncode == 0, done.stdout[-3000:]


@pytest.mark.parametrize("target", ["-n", "prepare_dataset"])
def test_a_home_that_nobody_can_write(tmp_path: Path, target: str) -> None:
    flow = copy_workflow(tmp_path / "flow")
    environment = {name: value for name, value in flow.environment().items() if not name.startswith("XDG_")}
    arguments = [target] if target == "-n" else ["--until", target]
    done = subprocess.run(
        flow.command(*arguments), cwd=flow.folder, env=environment | {"HOME": "/proc/nobody"}, text=True, check=False,
        stdout=subprocess.PIPE, stderr=subprocess.STDOUT,
    )  # fmt: skip
    assert done.returncode == 0 and "Traceback" not in done.stdout, done.stdout[-3000:]


def link(place: Path) -> None:
    place.symlink_to(place.parent / "nowhere")


def file(place: Path) -> None:
    place.parent.mkdir(exist_ok=True)
    place.write_text("x")


@pytest.mark.parametrize(
    ("name", "spoil"), [("results", link), ("results", file), ("logs", link), ("results/mini", file)]
)
def test_a_folder_that_cannot_be_one(tmp_path: Path, name: str, spoil: Callable[[Path], None]) -> None:
    spoil(tmp_path / name)
    done = dry_run(tmp_path)
    assert done.returncode != 0 and "Traceback" not in done.stdout
    assert f"{name} is a file, or a link that leads to no folder\n  fix: move it away" in done.stdout
