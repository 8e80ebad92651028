"""The locks of envs/ fit together, and name packages by version and hash alone."""

import re
from pathlib import Path

import pytest
import yaml

ROOT = Path(__file__).parents[1]
HASHED = (
    "runtime", "dev", "cuda", "slurm", "sbom", "crate", "torch", "torch_cpu", "torch_cuda", "uv", "audit", "docs",
    "deploy",
)  # fmt: skip


def pins(name: str) -> dict[str, set[str]]:
    """The packages of a lock, each with its version; where it has several, with the markers that choose one of them."""
    found: dict[str, set[str]] = {}
    for line in (ROOT / f"envs/{name}.txt").read_text().splitlines():
        if parts := re.match(r"([a-z0-9._-]+)(?:\[.*?\])?==([^\\]+)", line):
            found.setdefault(parts[1], set()).add(parts[2].strip())
    return {package: pins if len(pins) > 1 else {pins.pop().split(" ;")[0]} for package, pins in found.items()}


@pytest.mark.parametrize("name", ["cuda", "slurm"])
def test_what_a_gpu_or_a_cluster_needs_beside_the_others_contradicts_neither(name: str) -> None:
    runtime, dev, more = pins("runtime"), pins("dev"), pins(name)
    assert not runtime.keys() & more.keys(), "installed already"
    assert runtime == {package: dev.get(package) for package in runtime}
    shared = dev.keys() & more.keys()
    assert {package: dev[package] for package in shared} == {package: more[package] for package in shared}


def test_vllm_and_its_torch_are_locked_as_they_are_wanted() -> None:
    cuda, wanted = pins("cuda"), (ROOT / "pyproject.toml").read_text()
    for name in ("torch", "vllm"):
        (version,) = cuda[name]
        assert f'"{name}=={version}"' in wanted
    (version,) = cuda["torch"]
    assert pins("torch") == {"torch": {version}} and pins("torch_cpu") == {"torch": {f"{version}+cpu"}}


def hashes(name: str, package: str) -> set[str]:
    """The hashes of one package of a lock."""
    text = (ROOT / f"envs/{name}.txt").read_text()
    block = re.search(rf"^{package}==.*\n(?:    --hash=.*\n?)+", text, re.MULTILINE)
    assert block is not None
    return set(re.findall(r"sha256:([0-9a-f]{64})", block[0]))


def test_torch_has_the_hashes_of_both_indexes_apart() -> None:
    """In one file pip would take the CUDA build: an index tells hashes, a folder of wheels does not."""
    assert hashes("torch", "torch") == hashes("cuda", "torch")
    assert len(hashes("torch_cpu", "torch")) == 4, "x86_64 and aarch64, 3.11 and 3.12"
    assert not hashes("torch_cpu", "torch") & hashes("torch", "torch")
    cuda, libraries = pins("cuda"), pins("torch_cuda")
    assert libraries == {name: cuda.get(name) for name in libraries} and "torch" not in libraries
    assert not libraries.keys() & pins("runtime").keys() and "nvidia-cublas" in libraries


def test_whatever_is_installed_is_named_by_its_content() -> None:
    for name in ("Makefile", "Dockerfile", "docker/install.sh", "envs/lock.sh"):
        for line in (ROOT / name).read_text().replace("\\\n", " ").splitlines():
            if re.search(r"(pip|PIP\)) .*install ", line) and not re.search(r"^ *#|echo ", line):
                assert re.search(r"--require-hashes|--editable \.|HASHED\)|TORCH_BUILD\)", line), line
    assert re.search(r"^ARG BASE_IMAGE=\S+@sha256:[0-9a-f]{64}$", (ROOT / "Dockerfile").read_text(), re.MULTILINE)
    workflows = (path.read_text() for path in (ROOT / ".github/workflows").glob("*.yaml"))
    used = re.findall(r"uses: (\S+)", "".join(workflows))
    assert used and all(re.fullmatch(r"[\w-]+/[\w-]+@[0-9a-f]{40}", action) for action in used), used


def test_every_service_is_read_only() -> None:
    services = yaml.safe_load((ROOT / "compose.yaml").read_text())["services"]
    assert all(service["read_only"] and service["tmpfs"] for service in services.values())


def test_only_the_lock_for_a_gpu_names_torch_or_its_libraries() -> None:
    for name in ("runtime", "dev", "slurm"):
        assert not [package for package in pins(name) if re.match(r"(torch|triton|cuda-.*|nvidia-.*)$", package)]


@pytest.mark.parametrize("name", HASHED)
def test_each_version_has_hashes_and_no_address(name: str) -> None:
    text = (ROOT / f"envs/{name}.txt").read_text()
    assert "://" not in text and "--index" not in text and "--find-links" not in text
    for block in re.split(r"\n(?=[a-z])", re.sub(r"^#.*\n", "", text, flags=re.MULTILINE)):
        assert "--hash=sha256:" in block, block[:80]
