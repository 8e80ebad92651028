"""The step that a GPU runs as one kernel, compiled here for the CPU: the same numbers, from the same draws."""

import shutil
import sysconfig
from functools import partial
from pathlib import Path

import pytest
import torch
from torch._dynamo.utils import counters

from reinforce_lite.optim import compiled
from reinforce_lite.optim.adamw import SCHEMES, advanced
from reinforce_lite.optim.rounding import BLOCK, State

SIZES = (4 * BLOCK, 1000, 9 * BLOCK, 3 * BLOCK + 1, 200, 7)
"""Whole blocks and others, and less than one."""
needs_compiler = pytest.mark.skipif(
    not (shutil.which("g++") and (Path(sysconfig.get_paths()["include"]) / "Python.h").exists()),
    reason="torch.compile needs g++ and Python's headers",
)


def after_steps(step: compiled.Step, name: str, size: int) -> tuple[torch.Tensor, State]:
    """Weights and what is kept of them after three steps."""
    values = torch.Generator().manual_seed(size)
    weight, scheme = (0.02 * torch.randn(size, generator=values)).bfloat16(), SCHEMES[name]
    state, tables = scheme.begin(weight), scheme.averages.tables(weight.device)
    for index in range(1, 4):
        slope, drawn = torch.randn(size, generator=values).bfloat16(), scheme.draw(size, values)
        step(weight, slope, {**state, **tables}, drawn, (1 - 1e-4, 1e-3 / index, 1 - 0.9**index, 1 - 0.99**index))
    return weight, state


@pytest.mark.slow
@needs_compiler
@pytest.mark.parametrize("name", ["8bit", "kahan", "master"])  # `stochastic` is parts of these, `offload` is `master`
def test_compiled_it_is_the_same_step_and_one_kernel_serves_all_sizes(name: str) -> None:
    plain = partial(advanced, SCHEMES[name], 0.9, 0.99, 1e-8)
    quick = compiled.in_blocks(plain)
    known = counters["stats"]["unique_graphs"]
    for size in SIZES:
        (ours, state), (weight, expected) = after_steps(quick, name, size), after_steps(plain, name, size)
        # A product and a sum may be rounded once instead of twice; then a draw falls to the other side, rarely.
        assert (ours != weight).float().mean() <= 0.01
        torch.testing.assert_close(ours, weight, rtol=2**-7, atol=0)
        for part, value in state.items():
            if value.dtype == torch.uint8:
                assert (value != expected[part]).float().mean() <= 0.01 and value.any(), part
            else:
                torch.testing.assert_close(value, expected[part], rtol=2**-7, atol=1e-6)
    assert counters["stats"]["unique_graphs"] - known == 2, "one for one block, one for any number of them"


def test_what_a_compiler_lacks_is_named(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr(compiled, "find_spec", lambda name: None)
    assert compiled.missing() == (
        "the package triton is not installed", "install torch's CUDA build (make setup TORCH=cuda)"
    )  # fmt: skip
    monkeypatch.setattr(compiled, "find_spec", lambda name: name)
    monkeypatch.delenv("CC", raising=False)
    monkeypatch.setattr(compiled.shutil, "which", lambda name: None)
    assert compiled.missing() == ("there is no C compiler (CC, gcc or clang)", "apt-get install gcc libc6-dev")
    monkeypatch.setattr(compiled.shutil, "which", lambda name: "/usr/bin/clang" if name == "clang" else None)
    monkeypatch.setattr(compiled.sysconfig, "get_paths", lambda: {"include": str(tmp_path)})
    assert compiled.missing() == ("Python's headers (Python.h) are not installed", "apt-get install python3-dev")
    (tmp_path / "Python.h").touch()
    assert compiled.missing() is None
    monkeypatch.setenv("CC", "/nowhere/cc")
    assert compiled.missing() is not None
