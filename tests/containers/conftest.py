"""The images as people run them, with a real Docker engine and a real Apptainer (`make test-containers`)."""

import os
import sys
from pathlib import Path

import pytest
from container_run import UID, WORLD, Started, python_with_snakemake, start_apptainer, start_docker
from dag_runner import Workflow, copy_workflow


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
def on_host(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder of results of a run without a container: that of `make tiny` if there is one, or made now."""
    finished = os.environ.get("TINY_RESULTS")
    if finished and WORLD.name == "tiny":
        return Path(finished).parent
    workflow = copy_workflow(tmp_path_factory.mktemp("host"))
    workflow.folder.chmod(0o755)  # pytest's folders are closed to the user that the container runs as
    done = workflow.run(config=WORLD.config)
    assert done.returncode == 0, done.stdout[-3000:]
    return workflow.folder / "results"


@pytest.fixture
def work(tmp_path: Path) -> Path:
    """An empty folder to mount, of the user that the container runs as."""
    os.chown(tmp_path, UID, UID)
    return tmp_path


@pytest.fixture(scope="session")
def alone(tmp_path_factory: pytest.TempPathFactory) -> Path | None:
    """Python of an environment with Snakemake and nothing of this project; None if it cannot be made."""
    return python_with_snakemake(tmp_path_factory.mktemp("alone")) if os.environ.get("TEST_SIF") else None


@pytest.fixture(scope="session")
def started(tmp_path_factory: pytest.TempPathFactory, alone: Path | None) -> dict[str, Started]:
    """The run in Docker and under Apptainer, side by side: each leaves half of the cores idle."""
    runs = {}
    if image := os.environ.get("TEST_IMAGE"):
        runs["docker"] = start_docker(image, tmp_path_factory.mktemp("docker"))
    if sif := os.environ.get("TEST_SIF"):
        workflow = copy_workflow(tmp_path_factory.mktemp("apptainer"))
        runs["apptainer"] = start_apptainer(sif, workflow, alone or Path(sys.executable))
    return runs


@pytest.fixture(scope="session")
def in_docker(image: str, started: dict[str, Started]) -> Path:
    """The folder in which `docker run ...` ran."""
    output = started["docker"].output()
    assert started["docker"].process.returncode == 0, output[-3000:]
    return started["docker"].folder


@pytest.fixture(scope="session")
def in_apptainer(sif: str, started: dict[str, Started]) -> Workflow:
    """The workflow whose every rule ran under Apptainer."""
    output = started["apptainer"].output()
    assert started["apptainer"].process.returncode == 0, output[-3000:]
    assert output.count("Activating singularity image") == WORLD.jobs, "each rule but all"
    return Workflow(started["apptainer"].folder)
