"""What is downloaded and what is compiled for a GPU is kept between stages, on the host and under Apptainer."""

import os
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from dag_runner import rules_file
from snakemake.settings.types import DeploymentMethod

COMPILED = ("VLLM_CACHE_ROOT", "TRITON_CACHE_DIR", "TORCHINDUCTOR_CACHE_DIR")


@pytest.fixture
def containers(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> dict[str, Any]:
    """The workflow's preparation of containers, for a user with an empty home and nothing set."""
    for name in (*os.environ,):
        if name.startswith(("APPTAINER", "SINGULARITY")) or name in ("HF_HOME", "XDG_CACHE_HOME", *COMPILED):
            monkeypatch.delenv(name)
    monkeypatch.setenv("HOME", str(tmp_path))
    programs = tmp_path / "bin"
    programs.mkdir()
    (programs / "apptainer").write_text("#!/bin/sh\n")
    (programs / "apptainer").chmod(0o755)
    monkeypatch.setenv("PATH", str(programs))
    settings = SimpleNamespace(deployment_method={DeploymentMethod.APPTAINER})
    (tmp_path / "my_reward.py").touch()
    config = {
        "task": {}, "models": [], "policies": {}, "container": {"image": "x.sif"}, "training_variants": {"a": {}},
        "training": {"reward": f"{tmp_path / 'my_reward.py'}:score"},
    }  # fmt: skip
    names = {"workflow": SimpleNamespace(deployment_settings=settings), "config": config, "WORKFLOW": "/w"}
    return rules_file("containers", **names, file_of=lambda function: function and function.partition(":")[0])


def test_without_a_word_they_lie_where_the_libraries_look(containers: dict[str, Any], tmp_path: Path) -> None:
    assert containers["caches"]() == {
        "HF_HOME": f"{tmp_path}/.cache/huggingface",
        "VLLM_CACHE_ROOT": f"{tmp_path}/.cache/vllm",
        "TRITON_CACHE_DIR": f"{tmp_path}/.triton/cache",
        "TORCHINDUCTOR_CACHE_DIR": f"{tmp_path}/.cache/torchinductor",
    }


def test_what_the_user_sets_is_taken(
    containers: dict[str, Any], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", "/scratch/me")
    monkeypatch.setenv("TRITON_CACHE_DIR", "~/triton")
    assert containers["caches"]() == {
        "HF_HOME": "/scratch/me/huggingface",
        "VLLM_CACHE_ROOT": "/scratch/me/vllm",
        "TRITON_CACHE_DIR": f"{tmp_path}/triton",
        "TORCHINDUCTOR_CACHE_DIR": "/scratch/me/torchinductor",
    }


def test_a_container_of_apptainers_has_the_hosts_folders(
    containers: dict[str, Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in (
        "APPTAINER_BIND",
        *(f"APPTAINERENV_{name}" for name in (*COMPILED, "HF_HOME", "REINFORCE_LITE_IMAGE")),
    ):
        monkeypatch.setenv(name, "")  # so that they are taken away again
    containers["prepare_apptainer"]()
    bound = os.environ["APPTAINER_BIND"].split(",")
    for name, folder in containers["caches"]().items():
        assert os.environ[f"APPTAINERENV_{name}"] == folder
        assert folder in bound and Path(folder).is_dir()
    assert f"{os.environ['HOME']}/my_reward.py" in bound, "the file of an own reward"


def test_vllm_reads_these_variables() -> None:
    envs = pytest.importorskip("vllm.envs")
    assert "VLLM_CACHE_ROOT" in envs.environment_variables
