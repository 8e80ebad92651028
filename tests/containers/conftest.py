"""The images as people run them, with a real Docker engine and a real Apptainer (`make test-containers`)."""

import os
from pathlib import Path

import pytest
from container_run import LOCKED, UID, docker
from dag_runner import copy_workflow


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
def host_tiny(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder of results of `make tiny` without a container: a finished one, or made now."""
    finished = os.environ.get("TINY_RESULTS")
    if finished:
        return Path(finished).parent
    workflow = copy_workflow(tmp_path_factory.mktemp("host"))
    done = workflow.run(config=("config/tiny.yaml",))
    assert done.returncode == 0, done.stdout[-3000:]
    return workflow.folder / "results"


@pytest.fixture
def work(tmp_path: Path) -> Path:
    """An empty folder to mount, of the user that the container runs as."""
    os.chown(tmp_path, UID, UID)
    return tmp_path


@pytest.fixture(scope="session")
def docker_tiny(image: str, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder in which `docker run ... tiny` ran, with everything taken from it that can be."""
    folder = tmp_path_factory.mktemp("docker")
    os.chown(folder, UID, UID)
    done = docker("run", "--rm", *LOCKED, "-v", f"{folder}:/work", image, "tiny")
    assert done.returncode == 0, done.stdout[-3000:]
    return folder
