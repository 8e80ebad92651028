"""The locks of envs/ fit together, and name packages by version and hash alone."""

import re
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
HASHED = ("runtime", "dev", "cuda", "sbom", "crate")


def pins(name: str) -> dict[str, set[str]]:
    """The packages of a lock, each with its version; where it has several, with the markers that choose one of them."""
    found: dict[str, set[str]] = {}
    for line in (ROOT / f"envs/{name}.txt").read_text().splitlines():
        if parts := re.match(r"([a-z0-9._-]+)(?:\[.*?\])?==([^\\]+)", line):
            found.setdefault(parts[1], set()).add(parts[2].strip())
    return {package: pins if len(pins) > 1 else {pins.pop().split(" ;")[0]} for package, pins in found.items()}


def test_what_a_gpu_needs_beside_the_others_contradicts_neither() -> None:
    runtime, dev, cuda = pins("runtime"), pins("dev"), pins("cuda")
    assert not runtime.keys() & cuda.keys(), "installed already"
    assert runtime == {name: dev.get(name) for name in runtime}
    shared = dev.keys() & cuda.keys()
    assert {name: dev[name] for name in shared} == {name: cuda[name] for name in shared}


def test_vllm_and_its_torch_are_locked_as_they_are_wanted() -> None:
    cuda, wanted = pins("cuda"), (ROOT / "pyproject.toml").read_text()
    for name in ("torch", "vllm"):
        (version,) = cuda[name]
        assert f'"{name}=={version}"' in wanted
    assert pins("torch") == {"torch": cuda["torch"]}


def test_only_the_lock_for_a_gpu_names_torch_or_its_libraries() -> None:
    for name in ("runtime", "dev"):
        assert not [package for package in pins(name) if re.match(r"(torch|triton|cuda-.*|nvidia-.*)$", package)]


@pytest.mark.parametrize("name", HASHED)
def test_each_version_has_hashes_and_no_address(name: str) -> None:
    text = (ROOT / f"envs/{name}.txt").read_text()
    assert "://" not in text and "--index" not in text and "--find-links" not in text and "+cpu" not in text
    for block in re.split(r"\n(?=[a-z])", text):
        assert "--hash=sha256:" in block, block[:80]
