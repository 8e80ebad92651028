"""Copies of the workflow in which the DAG runs for real."""

from pathlib import Path

import pytest
from dag_runner import BEFORE_TRAINING, Workflow, copy_workflow

from made_once import made_once


@pytest.fixture
def workflow(tmp_path: Path) -> Workflow:
    return copy_workflow(tmp_path)


@pytest.fixture(scope="session")
def finished(shared: Path) -> Workflow:
    """The mini DAG, run to its end by one call. Nobody may change it: the tests of all modules look at it."""
    return Workflow(made_once(shared, "mini", lambda folder: copy_workflow(folder).must_run()))


@pytest.fixture(scope="session")
def begun(shared: Path) -> Workflow:
    """The mini DAG up to its training. Nobody may change it."""
    return Workflow(made_once(shared, "begun", lambda folder: copy_workflow(folder).must_run(*BEFORE_TRAINING)))


@pytest.fixture
def before_training(begun: Workflow, tmp_path: Path) -> Workflow:
    """A copy of the mini DAG whose next job is the training."""
    return begun.copied(tmp_path)
