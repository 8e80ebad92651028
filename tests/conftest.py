"""Shared fixtures."""

import os
from pathlib import Path

import pytest
import torch

from reinforce_lite.policy import Policy
from toys import toy_policy

# Inherited by every process that a test starts.
os.environ["MLFLOW_DISABLE_TELEMETRY"] = "true"
os.environ["HF_HUB_DISABLE_TELEMETRY"] = "1"


@pytest.fixture(params=["llama", "phi3"])
def policy(request: pytest.FixtureRequest) -> Policy:
    torch.manual_seed(0)
    return toy_policy(request.param)


@pytest.fixture(scope="session")
def shared(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Where all workers find what `made_once` makes. SHARED_RUNS names a folder that outlives the session."""
    base = tmp_path_factory.getbasetemp()
    folder = Path(os.environ.get("SHARED_RUNS") or (base.parent if hasattr(request.config, "workerinput") else base))
    folder.mkdir(parents=True, exist_ok=True)
    return folder
