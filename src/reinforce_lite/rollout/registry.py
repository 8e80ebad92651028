"""Which engine `auto` takes, why one cannot be had, how much memory it gets, and the engine itself by its name.

The choice looks at the configuration and at installed packages, never at a device, so that every stage of an
experiment makes the same one. This file imports nothing heavy.
"""

import sys
from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext
from dataclasses import dataclass, field
from importlib.util import find_spec
from typing import TYPE_CHECKING, Literal

from reinforce_lite.config import Auto, EngineName
from reinforce_lite.rollout import Engine

if TYPE_CHECKING:
    from reinforce_lite.policy import Policy

Name = Literal["generate", "vllm"]

OTHER_GIB = 4.0
"""What a rollout takes on a GPU beside weights and cache: activations, the sampler's logits, CUDA graphs, and what a
card has less than its name says. Estimated, not measured."""
SMALLEST_CACHE_GIB = 2.0
"""With less than this for keys and values vLLM writes a few rows at a time, and `generate` does as well."""
ROWS: dict[Name, int] = {"generate": 256, "vllm": 512}
"""Most completions side by side. vLLM captures CUDA graphs for at most 512 rows, and queues the others."""
ANSWERS: dict[Name, int] = {"generate": 64, "vllm": 512}
"""The same for an evaluation, which keeps each batch when it ends: small ones lose less to a kill."""
USUAL_PROMPT = 512
"""Tokens of a prompt, when rows of `generate` are counted; a question of GSM8K takes 100 to 400."""
GIB = 2**30


def _has_vllm() -> bool:
    return find_spec("vllm") is not None


@dataclass(frozen=True)
class Place:
    """What the choice depends on.

    Attributes:
        device: "cuda" or "cpu".
        weights_gib: one copy of the policy.
        free_gib: the device's memory beside the policy and whatever else is kept there during a rollout.
        vllm: it is installed.
    """

    device: str
    weights_gib: float
    free_gib: float
    vllm: bool = field(default_factory=lambda: _has_vllm())

    def cache_gib(self, engine: Name) -> float | None:
        """GiB for keys and values: what is left beside everything else; None on a CPU, where nothing is reserved.

        >>> Place("cuda", 6.0, 18.0, True).cache_gib("vllm")  # beside a second copy of the weights
        8.0
        >>> Place("cuda", 6.0, 18.0, True).cache_gib("generate")
        14.0
        """
        if self.device != "cuda":
            return None
        return self.free_gib - OTHER_GIB - (self.weights_gib if engine == "vllm" else 0.0)

    @property
    def vllm_gib(self) -> float:
        """GiB that vLLM needs: a second copy of the weights, and a cache."""
        return self.weights_gib + OTHER_GIB + SMALLEST_CACHE_GIB


def decide(configured: EngineName, place: Place) -> Name:
    """The configured engine; for `auto`, the fastest that can be had.

    >>> [decide("auto", Place("cuda", 6.0, free, vllm=True)) for free in (20, 8)]
    ['vllm', 'generate']
    >>> decide("auto", Place("cpu", 0.0, 0.0, vllm=True))
    'generate'
    """
    if configured != "auto":
        return configured
    return "vllm" if place.device == "cuda" and unavailable("vllm", place) is None else "generate"


def unavailable(name: Name, place: Place) -> tuple[str, str] | None:
    """Why an engine cannot be had here, to stand after its name, and the fix; None if it can."""
    if name != "vllm":
        return None
    if not place.vllm:
        return (
            "needs the package vllm, which is not installed",
            "make setup TORCH=cuda or pip install 'reinforce-lite[vllm]' on a GPU machine, or take auto",
        )
    if place.device == "cuda" and place.free_gib < place.vllm_gib:
        return (
            f"needs about {place.vllm_gib:.1f} GiB for a second copy of the weights and its cache, and "
            f"{max(0.0, place.free_gib):.1f} GiB are left",
            "take auto, or a larger device",
        )
    return None


def rows_at_once(configured: int | Auto, most: int, rows: int) -> int:
    """Rows decoded side by side: the configured number; for `auto`, all there are, but at most what suits an engine.

    >>> rows_at_once("auto", 512, 80), rows_at_once("auto", 512, 5276), rows_at_once(30, 512, 80)
    (80, 512, 30)
    """
    return min(most, rows) if configured == "auto" else configured


def rows_that_fit(rows: int, policy: "Policy", max_new_tokens: int, cache_gib: float | None) -> int:
    """Rows whose keys and values fit into so many GiB at their full length, at least one; all of them without a bound.

    `generate` keeps a row whole from its first token on. vLLM needs no such bound: its other rows wait.
    """
    if cache_gib is None:
        return rows
    row = (USUAL_PROMPT + max_new_tokens) * policy.cache_bytes_per_token
    return max(1, min(rows, int(cache_gib * GIB) // row))


def here(policy: "Policy") -> Place:
    """The place of a policy that is loaded."""
    import torch

    on_gpu = policy.device.type == "cuda"
    free = torch.cuda.mem_get_info(policy.device)[0] / GIB if on_gpu else 0.0
    return Place(policy.device.type, policy.bytes / GIB, free)


@contextmanager
def opened(
    configured: EngineName, policy: "Policy", rows: int | Auto, max_new_tokens: int, cache_gib: float | Auto = "auto"
) -> Iterator[Engine]:
    """The configured engine, printed on stderr, and closed afterwards; `auto` is decided by the policy's device.

    It decodes so many `rows` side by side (`auto`: as many as suit it), of at most `max_new_tokens`, with `cache_gib`
    of a GPU for keys and values (`auto`: what is free now).
    """
    place = here(policy)
    name = decide(configured, place)
    room = place.cache_gib(name) if cache_gib == "auto" else cache_gib
    at_once = ROWS[name] if rows == "auto" else rows
    print(f"engine: {name}{' (auto)' if configured == 'auto' else ''}", file=sys.stderr)
    if name == "generate":
        from reinforce_lite.rollout.generate import GenerateEngine

        yield GenerateEngine(policy, rows_that_fit(at_once, policy, max_new_tokens, room))
    else:
        from reinforce_lite.rollout.vllm import VllmEngine

        engine = VllmEngine(policy, at_once, max_new_tokens, room)
        try:
            yield engine
        finally:
            engine.close()


def kept_open(engine: Engine | None, otherwise: AbstractContextManager[Engine]) -> AbstractContextManager[Engine]:
    """An engine that is open already, and stays so; without one, `otherwise`."""
    return otherwise if engine is None else nullcontext(engine)
