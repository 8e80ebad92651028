"""What a release ties together: one version everywhere, and images pinned by digest."""

import re
import shutil
import subprocess
import tomllib
from pathlib import Path

import pytest
import yaml

from reinforce_lite.config import load

ROOT = Path(__file__).parents[1]
VERSION = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["version"]
DIGEST = "sha256:" + "0123456789abcdef" * 4
OVERLAYS = {
    "config": "cuda", "as_published": "cuda", "tiny": "cpu", "smollm": "cpu", "smollm_gpu": "cuda", "tinyzero": "cuda",
    "logic_rl": "cuda", "tiny_countdown": "cpu", "tiny_knights": "cpu",
}  # fmt: skip


def image_of(folder: Path, name: str) -> str:
    layers = [folder / "config.yaml"] + ([folder / f"{name}.yaml"] if name != "config" else [])
    return load(layers).container.image


@pytest.mark.parametrize(("name", "target"), OVERLAYS.items())
def test_images_are_of_this_version(name: str, target: str) -> None:
    image = image_of(ROOT / "config", name)
    suffix = "-cpu" if target == "cpu" else ""
    assert re.fullmatch(rf"docker://[\w./-]+(:{VERSION}{suffix}|@sha256:[0-9a-f]{{64}})", image)


def test_compose_kubernetes_and_citation_are_of_this_version() -> None:
    services = yaml.safe_load((ROOT / "compose.yaml").read_text())["services"]
    assert services["reproduce"]["image"].endswith(f":{VERSION}}}")
    assert services["ui"]["image"].endswith(f":{VERSION}-cpu}}")
    (job,) = (one for one in yaml.safe_load_all((ROOT / "deploy/kubernetes.yaml").read_text()) if one["kind"] == "Job")
    (container,) = job["spec"]["template"]["spec"]["containers"]
    assert container["image"].endswith(f":{VERSION}")
    assert yaml.safe_load((ROOT / "CITATION.cff").read_text())["version"] == VERSION


def make(folder: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(["make", *arguments], cwd=folder, capture_output=True, text=True, check=False)


@pytest.fixture
def copy(tmp_path: Path) -> Path:
    shutil.copytree(ROOT / "config", tmp_path / "config")
    for name in ("Makefile", "pyproject.toml"):
        shutil.copy(ROOT / name, tmp_path)
    shutil.copytree(ROOT / "envs", tmp_path / "envs")
    return tmp_path


@pytest.mark.skipif(shutil.which("make") is None, reason="make is not installed")
@pytest.mark.parametrize("target", ["cpu", "cuda"])
def test_pin_writes_the_digest_where_the_target_is_used(copy: Path, target: str) -> None:
    assert make(copy, "pin", f"TARGET={target}", f"DIGEST={DIGEST}").returncode == 0
    for name, used in OVERLAYS.items():
        pinned = image_of(copy / "config", name) == f"docker://reinforce-lite/reinforce-lite@{DIGEST}"
        assert pinned == (used == target), name


@pytest.mark.skipif(shutil.which("make") is None, reason="make is not installed")
def test_pin_refuses_what_is_no_digest(copy: Path) -> None:
    refused = make(copy, "pin", "DIGEST=latest")
    assert refused.returncode != 0 and "give DIGEST=sha256:" in refused.stdout
