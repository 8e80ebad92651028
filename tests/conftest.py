"""Shared fixtures."""

import os
import signal
from datetime import date
from pathlib import Path

import hypothesis
import pytest
import torch

from reinforce_lite.config import Settings, validate
from reinforce_lite.policy import Policy
from toys import toy_policy

# Hypothesis fails what takes longer than 200 ms, be it only an import on a busy machine.
# The same tree has the same verdict. HYPOTHESIS_PROFILE=search tries other and more examples.
hypothesis.settings.register_profile("gate", deadline=None, derandomize=True)
hypothesis.settings.register_profile("search", deadline=None, max_examples=2000)
hypothesis.settings.load_profile(os.environ.get("HYPOTHESIS_PROFILE", "gate"))

# Inherited by every process that a test starts.
os.environ["MLFLOW_DISABLE_TELEMETRY"] = "true"
os.environ["HF_HUB_DISABLE_TELEMETRY"] = "1"
# Experiments of several workers, and of several checkouts, run side by side: each on a device of its own name.
os.environ["REINFORCE_LITE_DEVICE"] = f"cpu:test{os.getpid()}"
if signal.getsignal(signal.SIGHUP) is signal.SIG_IGN:  # under nohup; what is started here shall hear it all the same
    signal.signal(signal.SIGHUP, lambda *_: None)


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


@pytest.fixture
def settings(tmp_path: Path, request: pytest.FixtureRequest) -> Settings:
    """A small experiment; its tracking address is bad unless a test asks for a real database."""
    config = {
        "experiment": "small", "results": str(tmp_path), "models": ["m"], "variants": ["v"], "seeds": [0],
        "hardware": {
            "device": "cpu", "name": "laptop", "memory_gib": 8, "usd_per_hour": 0.79, "price_source": "a shop",
            "price_date": date(2026, 5, 1),
        },
        "budget": {"limit_usd": 10.0},
        "task": {"name": "word_world", "dev_size": 1},
        "policies": {"m": {"from_scratch": {"architecture": "phi3"}, "start": {"steps": 1, "learning_rate": 1e-3}}},
        "training": {"steps": 1, "questions_per_step": 1, "max_new_tokens": 8, "learning_rate": 1e-4},
        "training_variants": {"v": {}},
        "evaluation": {"max_new_tokens": 8, "batch_size": 1},
        "tracking": {"uri": getattr(request, "param", "gopher://nowhere"), "artifacts": str(tmp_path / "artifacts")},
        "container": {"image": "docker://example.org/none"},
    }  # fmt: skip
    return validate(config)
