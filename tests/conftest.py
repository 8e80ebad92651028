"""Shared fixtures."""

import os

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
