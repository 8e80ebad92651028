"""What a GPU does not let vLLM do, tried with a stand-in: no second engine in a process, none in deterministic mode."""

import os
import subprocess
import sys
from pathlib import Path

import pytest
import torch
import yaml

from reinforce_lite.io.files import read_json, read_jsonl

TESTS = Path(__file__).parents[1]
ROOT = TESTS.parent


@pytest.fixture
def stand_in() -> dict[str, str]:
    """An environment in which `import vllm` finds the stand-in, here and in every process that a test starts."""
    import reinforce_lite

    package = str(Path(reinforce_lite.__file__).parents[1])
    path = os.pathsep.join([str(TESTS / "one_engine"), package, os.environ.get("PYTHONPATH", "")])
    return {**os.environ, "PYTHONPATH": path}


def run(environment: dict[str, str], *command: str, cwd: Path = ROOT) -> str:
    done = subprocess.run(
        [sys.executable, *command], cwd=cwd, env=environment, text=True, check=False,
        stdout=subprocess.PIPE, stderr=subprocess.STDOUT,
    )  # fmt: skip
    assert done.returncode == 0, done.stdout[-3000:]
    return done.stdout


def test_the_stand_in_refuses_what_vllm_refuses(stand_in: dict[str, str]) -> None:
    code = (
        "import sys; sys.path.insert(0, 'tests')\n"
        "import torch\n"
        "from toys import toy_policy\n"
        "from reinforce_lite.rollout.vllm import VllmEngine\n"
        "torch.use_deterministic_algorithms(True, warn_only=True)\n"
        "first = VllmEngine(toy_policy('llama'), 4, 8)\n"
        "assert torch.are_deterministic_algorithms_enabled()\n"
        "assert torch.is_deterministic_algorithms_warn_only_enabled(), 'the mode is as it was'\n"
        "from reinforce_lite.rollout import Sampling\n"
        "assert len(first([[1, 5]], 3, Sampling(1, 1, 8), [1])[0]) == 3\n"
        "try:\n    VllmEngine(toy_policy('phi3'), 4, 8)\n"
        "except AssertionError as error:\n    print(error)\n"
    )
    assert "one instance per process" in run(stand_in, "-c", code)


def test_a_gpu_is_not_put_into_deterministic_mode(monkeypatch: pytest.MonkeyPatch) -> None:
    from reinforce_lite.config import load
    from reinforce_lite.policy.load import deterministic_algorithms, prepare_torch

    hardware = load([ROOT / "config/config.yaml"]).hardware
    mode = torch.are_deterministic_algorithms_enabled()
    monkeypatch.delenv("CUBLAS_WORKSPACE_CONFIG", raising=False)
    torch.use_deterministic_algorithms(False)
    try:
        prepare_torch(hardware)
        assert not torch.are_deterministic_algorithms_enabled() and "CUBLAS_WORKSPACE_CONFIG" not in os.environ
        prepare_torch(hardware, deterministic_update=True)
        assert not torch.are_deterministic_algorithms_enabled(), "not around rollouts"
        assert os.environ.pop("CUBLAS_WORKSPACE_CONFIG") == ":4096:8"
        with deterministic_algorithms(False):
            assert not torch.are_deterministic_algorithms_enabled()
        with deterministic_algorithms(True):
            assert torch.are_deterministic_algorithms_enabled()
        assert not torch.are_deterministic_algorithms_enabled()
        prepare_torch(hardware.model_copy(update={"device": "cpu", "cpu_threads": None}))
        assert torch.are_deterministic_algorithms_enabled(), "on a CPU runs repeat bit for bit"
    finally:
        torch.use_deterministic_algorithms(mode, warn_only=True)


@pytest.mark.slow
def test_preflight_over_two_models_and_an_evaluation_with_samples(stand_in: dict[str, str], tmp_path: Path) -> None:
    engine = {"engine": "vllm"}
    small = {"from_scratch": {"hidden_size": 64, "layers": 2}, "start": {"steps": 20, "batch_size": 32}}
    overlay = {
        "policies": {"tiny-phi": small}, "models": ["tiny-llama", "tiny-phi"], "training": engine,
        "results": str(tmp_path / "results"),
        "evaluation": engine, "tracking": {"uri": f"sqlite:///{tmp_path}/mlflow.db"}, "budget": {"limit_usd": 1},
    }  # fmt: skip
    (tmp_path / "vllm.yaml").write_text(yaml.safe_dump(overlay))
    layers = ["config/config.yaml", "config/tiny.yaml", "tests/workflow/mini.yaml", str(tmp_path / "vllm.yaml")]

    def reinforce_lite(*words: str) -> str:
        return run(stand_in, "-m", "reinforce_lite.cli", words[0], "--config", *layers, *words[1:])

    told = reinforce_lite("preflight")
    assert "training.engine of tiny-phi: vllm" in told
    folder = tmp_path / "results/mini"
    rates = read_json(folder / "plan.json")["rehearsal"]["policies"]
    assert rates.keys() == {"tiny-llama", "tiny-phi"}
    assert all(found["rollout_position"] > 0 and found["engine"] > 0 for found in rates.values())
    reinforce_lite("prepare-dataset")
    reinforce_lite("fetch-policy", "--model", "tiny-phi")
    reinforce_lite("evaluate", "--model", "tiny-phi")
    assert read_json(folder / "baseline/tiny-phi/evaluation.json")["engine"] == "vllm"
    assert len(read_jsonl(folder / "baseline/tiny-phi/samples.jsonl")) == 20
    reinforce_lite("train", "--model", "tiny-phi", "--variant", "leave_one_out", "--seed", "0")
    steps = read_jsonl(folder / "train/tiny-phi/leave_one_out/seed0/metrics.jsonl")
    assert all(row["sampler_gap"] < 1e-4 for row in steps), "the weights are handed over before each step"
