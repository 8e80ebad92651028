"""Which engine: what `auto` takes, what cannot be had, and the engine itself by its name.

The choice looks at the configuration and at installed packages, never at a device, so that every stage of an
experiment makes the same one. This file imports nothing heavy.
"""

import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from importlib.util import find_spec
from typing import TYPE_CHECKING, Literal

from reinforce_lite.rollout import Engine
from reinforce_lite.settings import EngineName

if TYPE_CHECKING:
    from reinforce_lite.policy import Policy

Name = Literal["generate", "continuous", "vllm"]

VLLM_GIB = 6.0
"""What vLLM takes beside its copy of the weights: 4 GiB of cache (rollout/vllm.py), and an allowance of 2 GiB for
activations and CUDA graphs, which is estimated and not measured."""
GIB = 2**30


def _has_vllm() -> bool:
    return find_spec("vllm") is not None


def _has_flash() -> bool:
    # Installed ones only: `kernels` would fetch one from the hub, or, where that cannot be reached, silently none.
    return any(find_spec(name) is not None for name in ("flash_attn", "flash_attn_interface"))


@dataclass(frozen=True)
class Place:
    """What the choice depends on.

    Attributes:
        device: "cuda" or "cpu".
        weights_gib: one copy of the policy.
        free_gib: the device's memory beside the policy and whatever else is kept there during a rollout.
        half: the weights have 16 bits; flash attention takes no others.
        vllm: it is installed.
        flash: a flash attention is installed.
    """

    device: str
    weights_gib: float
    free_gib: float
    half: bool
    vllm: bool = field(default_factory=lambda: _has_vllm())
    flash: bool = field(default_factory=lambda: _has_flash())

    @property
    def vllm_fits(self) -> bool:
        """Whether there is room for a second copy of the weights, and for a cache."""
        return self.free_gib >= self.weights_gib + VLLM_GIB


def decide(asked: EngineName, place: Place) -> Name:
    """The engine that is asked for; for `auto`, the fastest that can be had.

    >>> [decide("auto", Place("cuda", 6.0, free, True, True, True)) for free in (20, 8)]
    ['vllm', 'continuous']
    >>> decide("auto", Place("cpu", 0.0, 0.0, False, True, True))
    'generate'
    """
    if asked != "auto":
        return asked
    if place.device != "cuda":
        return "generate"
    if place.vllm and place.vllm_fits:
        return "vllm"
    return "continuous" if place.flash and place.half else "generate"


def unavailable(name: Name, place: Place) -> tuple[str, str] | None:
    """Why an engine cannot be had here, to stand after its name, and what to do about it; None if it can."""
    if name != "vllm":
        return None
    if not place.vllm:
        return "needs the package vllm, which is not installed", "pip install 'reinforce-lite[vllm]', or take auto"
    if place.device == "cuda" and not place.vllm_fits:
        return (
            f"needs about {place.weights_gib + VLLM_GIB:.1f} GiB for a second copy of the weights and its cache, and "
            f"{max(0.0, place.free_gib):.1f} GiB are left",
            "take auto, or a larger device",
        )
    return None


def here(policy: "Policy") -> Place:
    """The place of a policy that is loaded: of use where there is no configuration to ask."""
    import torch

    weights = sum(weight.numel() * weight.element_size() for weight in policy.model.parameters()) / GIB
    on_gpu = policy.device.type == "cuda"
    free = torch.cuda.mem_get_info(policy.device)[0] / GIB if on_gpu else 0.0
    return Place(policy.device.type, weights, free, policy.model.dtype.itemsize == 2)


@contextmanager
def opened(asked: EngineName, policy: "Policy", rows_at_once: int, max_new_tokens: int) -> Iterator[Engine]:
    """The engine of that name, told on stderr, and closed afterwards.

    Args:
        asked: its name; `auto` is decided by the policy's device.
        policy: who writes.
        rows_at_once: completions decoded side by side.
        max_new_tokens: the longest completion that will be asked for.
    """
    name = decide(asked, here(policy)) if asked == "auto" else asked
    print(f"engine: {name}{' (auto)' if asked == 'auto' else ''}", file=sys.stderr)
    if name == "generate":
        from reinforce_lite.rollout.generate import GenerateEngine

        yield GenerateEngine(policy, rows_at_once)
    elif name == "continuous":
        from reinforce_lite.rollout.continuous import ContinuousEngine

        yield ContinuousEngine(policy, rows_at_once)
    else:
        from reinforce_lite.rollout.vllm import VllmEngine

        engine = VllmEngine(policy, rows_at_once, max_new_tokens)
        try:
            yield engine
        finally:
            engine.close()
