"""The images as people run them, with a real Docker engine and a real Apptainer (`make test-containers`)."""

import os
import sys
from pathlib import Path

import pytest
from container_run import UID, WORLD, environment_with_snakemake, run_in_apptainer, run_in_docker
from dag_runner import BEFORE_TRAINING, Workflow, copy_workflow

from made_once import made_once


def given(variable: str, what: str) -> str:
    value = os.environ.get(variable)
    if not value:
        pytest.skip(f"{variable} names no {what}; make test-containers makes one and sets it")
    return value


@pytest.fixture(scope="session")
def image() -> str:
    return given("TEST_IMAGE", "Docker image")


@pytest.fixture(scope="session")
def sif() -> str:
    return given("TEST_SIF", "image file for Apptainer")


@pytest.fixture(scope="session")
def mini(shared: Path) -> Workflow:
    """The mini DAG, run to its end without a container: the one that the other tests look at. Nobody may change it."""
    return Workflow(made_once(shared, "mini", lambda folder: copy_workflow(folder).must_run()))


@pytest.fixture
def before_training(shared: Path, tmp_path: Path) -> Workflow:
    """A copy of the mini DAG whose next job is the training; what is before that was made without a container."""
    made = made_once(shared, "begun", lambda folder: copy_workflow(folder).must_run(*BEFORE_TRAINING))
    return Workflow(made).copied(tmp_path)


@pytest.fixture(scope="session")
def on_host(request: pytest.FixtureRequest, shared: Path) -> Path:
    """The folder of results of a run without a container: that of `make tiny` if there is one, or made now."""
    if WORLD.name == "mini":
        return request.getfixturevalue("mini").folder / "results"  # type: ignore[no-any-return]
    if finished := os.environ.get("TINY_RESULTS"):
        return Path(finished).parent
    made = made_once(shared, WORLD.name, lambda folder: copy_workflow(folder).must_run(config=WORLD.config))
    return made / "results"


@pytest.fixture
def work(tmp_path: Path) -> Path:
    """An empty folder to mount, of the user that the container runs as."""
    os.chown(tmp_path, UID, UID)
    return tmp_path


@pytest.fixture(scope="session")
def in_docker(image: str, shared: Path) -> Path:
    """The folder in which `docker run ...` ran. Nobody may change it."""
    return made_once(shared, "docker", lambda folder: run_in_docker(image, folder))


@pytest.fixture(scope="session")
def alone(sif: str, shared: Path) -> Path | None:
    """Python of an environment with Snakemake and nothing of this project; None if it cannot be made."""
    python = made_once(shared, "alone", environment_with_snakemake) / "venv/bin/python"
    return python if (python.parent / "snakemake").exists() else None


@pytest.fixture(scope="session")
def in_apptainer(sif: str, alone: Path | None, shared: Path) -> Workflow:
    """The workflow whose every rule ran under Apptainer. Nobody may change it."""
    python = alone or Path(sys.executable)
    return Workflow(made_once(shared, "apptainer", lambda folder: run_in_apptainer(sif, copy_workflow(folder), python)))
