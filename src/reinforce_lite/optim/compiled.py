"""The optimiser's step as one compiled kernel, and what a machine needs for that.

torch.compile writes the kernel with Triton, which comes with torch's CUDA build; Triton builds its launcher with a C
compiler and Python's headers, which do not. Without them there is an error and no slow fallback: preflight looks for
them, and its rehearsal takes real steps.
"""

import os
import shutil
import sysconfig
from collections.abc import Callable, Sequence
from functools import lru_cache
from importlib.util import find_spec
from pathlib import Path

import torch
import torch.nn.functional as F

from reinforce_lite.optim.rounding import BLOCK, State

Step = Callable[[torch.Tensor, torch.Tensor, State, Sequence[torch.Tensor | None], Sequence[float]], None]
"""(weights [N], gradient, state, noise, numbers), in place; see `adamw.advanced`."""


def in_blocks(step: Callable[..., None]) -> Step:
    """`step` compiled, once for all sizes, and called with [blocks, BLOCK] instead of [N].

    The number of blocks is dynamic; one block alone is a second kernel, for torch specialises on 1. A last block that
    is not whole is padded, in a copy: only small weights have one (SmolLM2's norms of 576). More kernels than torch's
    limit are an error (`fullgraph`), never a step that is not compiled.
    """
    kernel = torch.compile(step, fullgraph=True)

    def stepped(
        weight: torch.Tensor, gradient: torch.Tensor, state: State,
        noise: Sequence[torch.Tensor | None], numbers: Sequence[float],
    ) -> None:  # fmt: skip
        constant = {name: value for name, value in state.items() if name.endswith("code")}
        kept = {name: value for name, value in state.items() if name not in constant}
        inside = {n: _dynamic(v) if n.endswith("scale") else _blocks(v) for n, v in kept.items()}
        part, drawn = _blocks(weight), [None if each is None else _blocks(each) for each in noise]
        kernel(part, _blocks(gradient), {**inside, **constant}, drawn, _on_device(tuple(numbers), weight.device))
        if len(weight) % BLOCK:  # the step changed a copy
            weight.copy_(part.view(-1)[: len(weight)])
            for name, value in kept.items():
                value.copy_(inside[name].view(-1)[: len(value)])

    return stepped


def _blocks(value: torch.Tensor) -> torch.Tensor:
    return _dynamic((F.pad(value, (0, -len(value) % BLOCK)) if len(value) % BLOCK else value).view(-1, BLOCK))


def _dynamic(value: torch.Tensor) -> torch.Tensor:
    torch._dynamo.maybe_mark_dynamic(value, 0)
    return value


@lru_cache(maxsize=8)
def _on_device(numbers: tuple[float, ...], device: torch.device) -> torch.Tensor:
    """Copied once a step, not once a slice: the copy waits for the GPU."""
    return torch.tensor(numbers, device=device)


def missing() -> tuple[str, str] | None:
    """What a GPU machine lacks to compile kernels, and the fix; None if it lacks nothing."""
    if find_spec("triton") is None:
        return "the package triton is not installed", "install torch's CUDA build (make setup TORCH=cuda)"
    named = os.environ.get("CC")
    if not (shutil.which(named) if named else shutil.which("gcc") or shutil.which("clang")):
        return "there is no C compiler (CC, gcc or clang)", "apt-get install gcc libc6-dev"
    if not (Path(sysconfig.get_paths()["include"]) / "Python.h").exists():
        return "Python's headers (Python.h) are not installed", "apt-get install python3-dev"
    return None
