"""Copies of the workflow in which the DAG runs for real."""

from pathlib import Path

import pytest
from dag_runner import Workflow, copy_workflow


@pytest.fixture
def workflow(tmp_path: Path) -> Workflow:
    return copy_workflow(tmp_path)


@pytest.fixture(scope="module")
def finished(tmp_path_factory: pytest.TempPathFactory) -> Workflow:
    """The mini DAG, run to its end."""
    made = copy_workflow(tmp_path_factory.mktemp("mini"))
    done = made.run()
    assert done.returncode == 0, done.stdout[-3000:]
    return made
