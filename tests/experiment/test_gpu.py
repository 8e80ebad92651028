import pytest
import torch

from reinforce_lite.experiment import gpu


@pytest.fixture(autouse=True)
def _machine(monkeypatch: pytest.MonkeyPatch, tmp_path) -> None:
    """A GPU machine with the CUDA build, outside a container."""
    (tmp_path / "nvidiactl").touch()
    monkeypatch.setattr(gpu, "GPU_FILES", (str(tmp_path / "nvidiactl"),))
    monkeypatch.setattr(gpu, "image", lambda: None)
    monkeypatch.setattr("torch.version.cuda", "13.0")


def init_raises(monkeypatch: pytest.MonkeyPatch, error: Exception) -> None:
    def init() -> None:
        raise error

    monkeypatch.setattr(torch.cuda, "init", init)


def test_the_cpu_build(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("torch.version.cuda", None)
    reason, fix = gpu.why_none()
    assert "CPU build" in reason and "TORCH=cuda" in fix and "-cpu" in fix


def test_no_gpu(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(gpu, "GPU_FILES", ("/no/such/file",))
    assert gpu.why_none()[0] == "this machine has no GPU that torch can use"
    monkeypatch.setattr(gpu, "image", lambda: "x:1")
    reason, fix = gpu.why_none()
    assert "in this container" in reason and "--gpus all" in fix and "--nv" in fix


def test_an_old_driver_is_told_in_versions(monkeypatch: pytest.MonkeyPatch) -> None:
    # The words of torch 2.13 (torch/csrc/cuda/Module.cpp and c10/cuda/CUDAFunctions.cpp).
    words = "The NVIDIA driver on your system is too old (found version 12020). Please update your GPU driver by ..."
    init_raises(monkeypatch, RuntimeError(words))
    reason, fix = gpu.why_none()
    assert reason == "the GPU's driver is too old: it knows CUDA 12.2, and this torch needs 13.0"
    assert "580" in fix


@pytest.mark.parametrize(
    ("error", "said"),
    [(RuntimeError("CUDA unknown error\nmore"), "CUDA unknown error"), (AssertionError("none"), "none")],
)
def test_any_other_trouble_is_told_in_torchs_words(monkeypatch, error: Exception, said: str) -> None:
    init_raises(monkeypatch, error)
    assert gpu.why_none()[0] == f"no GPU can be used: {said}"
