"""AdamW whose steps are not lost in weights of 16 bits.

bfloat16 keeps 8 significant bits: adding less than 1/512 of a weight to it changes nothing, and at a learning rate of
1e-6 nearly every step is less. Left out of the textbook: amsgrad, maximize, closures.

On a GPU a step costs the bytes it moves. As torch's own operations, each of which reads and writes whole slices,
`stochastic` moves some 180 bytes a weight, `8bit` about 1,000 (0.15 and 0.82 s for 3.2e9 weights on an H200, measured
at commit 86ae0d2). Compiled (optim/compiled.py), each value is read and written once, 28 to 34 bytes a weight: 0.06 s
and 0.17 s for 3.2e9 weights, 0.11 s and 0.09 s for 3.8e9, on an H200 (`benchmarks/results/gpu/optimizer.json`).
"""

import weakref
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import cache, partial
from typing import Any

import torch

from reinforce_lite.errors import UserError
from reinforce_lite.optim.compiled import Step, in_blocks
from reinforce_lite.optim.rounding import (
    BLOCK,
    FIRST,
    SECOND,
    Averages,
    State,
    lower_halves,
    round_by,
    round_to_nearest,
)

SLICE = 2**24
"""Weights moved at a time: the float32 copies of a large embedding would not fit beside it. A multiple of BLOCK."""
Noise = torch.Tensor | None


@dataclass(frozen=True)
class Scheme:
    """How a new value gets into a weight that has too few bits for it.

    Attributes:
        kept: beside a weight: its float32 copy, or in bfloat16 the remainder that it had no bits for; None: nothing.
        averages: how the two averages are kept.
        drawn: a weight is rounded by noise, of `lower_halves`.
        on_cpu: all that is kept lies in the CPU's memory, and comes to the weights a slice at a time.
    """

    kept: torch.dtype | None
    averages: Averages
    drawn: bool = False
    on_cpu: bool = False

    def begin(self, weight: torch.Tensor) -> State:
        """What is kept of a weight before its first step, in its place."""
        state = self.averages.begin(weight.numel())
        if self.kept == torch.float32:
            state["kept"] = weight.detach().view(-1).to("cpu" if self.on_cpu else weight.device).float()
        elif self.kept is not None:
            state["kept"] = torch.zeros(weight.numel(), dtype=self.kept)
        return self.placed(state, weight)

    def placed(self, state: State, weight: torch.Tensor) -> State:
        """Copies of a state, where the scheme keeps it."""
        place = "cpu" if self.on_cpu else weight.device
        copies = {name: value.to(place, copy=True) for name, value in state.items()}
        if self.on_cpu and weight.is_cuda:
            for value in copies.values():
                _lock(value)
        return copies

    def draw(self, size: int, generator: torch.Generator) -> tuple[Noise, Noise, Noise]:
        """The noise of one step of `size` weights: for the first average, the second, and the weights."""
        device = generator.device
        first, second = (self.averages.draw(size, device, generator) for _ in (FIRST, SECOND))
        return first, second, lower_halves(size, device, generator) if self.drawn else None

    def read(self, weight: torch.Tensor, kept: torch.Tensor | None) -> torch.Tensor:
        """The value of a weight in float32, as a copy."""
        if kept is None:
            return weight.float()
        return kept.clone() if self.kept == torch.float32 else weight.float() + kept.float()

    def write(self, weight: torch.Tensor, kept: torch.Tensor | None, new: torch.Tensor, noise: Noise) -> None:
        """Put a new value into a weight, in place."""
        if noise is not None:
            weight.copy_(round_by(new, noise))
            return
        assert kept is not None
        if self.kept == torch.float32:
            kept.copy_(new)
            weight.copy_(new)
        else:
            rounded = round_to_nearest(new)
            weight.copy_(rounded)
            kept.copy_(new - rounded.float())


FLOAT32 = Averages(torch.float32)
SCHEMES: Mapping[str, Scheme] = {
    # A float32 copy that takes the steps; the weight is its rounded image (Micikevicius et al. 2018).
    "master": Scheme(torch.float32, FLOAT32),
    # Gupta et al. 2015.
    "stochastic": Scheme(None, FLOAT32, drawn=True),
    # Kahan 1965, for bfloat16 by Zamirai et al. 2020.
    "kahan": Scheme(torch.bfloat16, Averages(torch.bfloat16)),
    # Dettmers et al. 2022 for the averages; the weights as in `stochastic`.
    "8bit": Scheme(None, Averages(torch.uint8), drawn=True),
    # `master` to the last bit, at the price of moving 12 bytes a weight both ways in each step (Ren et al. 2021).
    "offload": Scheme(torch.float32, FLOAT32, on_cpu=True),
}


class AdamW(torch.optim.Optimizer):
    """AdamW (Loshchilov & Hutter 2019), computed in float32 for weights in bfloat16, by a scheme of `SCHEMES`.

    All randomness derives from the seed and the number of the step, so none of it has to be kept.
    """

    def __init__(
        self, weights: Iterable[torch.Tensor], scheme: str, learning_rate: float, weight_decay: float = 0.0,
        betas: tuple[float, float] = (0.9, 0.999), eps: float = 1e-8, seed: int = 0,
    ) -> None:  # fmt: skip
        self._seed = seed
        defaults = {"lr": learning_rate, "weight_decay": weight_decay, "betas": betas, "eps": eps, "scheme": scheme}
        super().__init__(weights, defaults)

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """Take over a saved state, bit for bit.

        torch's own method casts states to the precision and device of the weights: of float32 states little would be
        left, and states on the CPU would have to fit beside the weights.

        Raises:
            UserError: it is of another scheme.
        """
        saved, own = (groups[0].get("scheme") for groups in (state_dict["param_groups"], self.param_groups))
        if saved != own:
            raise UserError(
                f"the checkpoint's optimiser keeps its weights by the scheme {saved}, this one by {own}",
                f"set training.weights: {saved}, or delete the checkpoint",
            )
        super().load_state_dict({**state_dict, "state": {}})
        weights = [weight for group in self.param_groups for weight in group["params"]]
        for index, states in state_dict["state"].items():
            tensors = {name: value for name, value in states.items() if name != "step"}
            self.state[weights[index]] = {"step": states["step"], **SCHEMES[str(own)].placed(tensors, weights[index])}

    @torch.no_grad()
    def step(self, closure: None = None) -> None:  # type: ignore[override]
        """Move every weight that has a gradient."""
        for group in self.param_groups:
            scheme, generators = SCHEMES[group["scheme"]], dict[torch.device, torch.Generator]()
            for weight in group["params"]:
                if weight.grad is None:
                    continue
                if not self.state[weight]:
                    self.state[weight] = {"step": 0, **scheme.begin(weight)}
                state = self.state[weight]
                state["step"] += 1
                if weight.device not in generators:
                    seed = self._seed * 1_000_003 + state["step"]
                    generators[weight.device] = torch.Generator(weight.device).manual_seed(seed)
                _move(weight, weight.grad, state, group, generators[weight.device])
            for device in generators:
                if scheme.on_cpu and device.type == "cuda":
                    torch.cuda.synchronize(device)  # copies to the CPU end before anything reads them


def _lock(tensor: torch.Tensor) -> None:
    """Lock the pages of a CPU tensor while it lives, so that a GPU copies it at full speed and without waiting.

    `pin_memory` would round each tensor up to a power of two: 54 GB instead of 38.5 for Llama-3.2-3B. If the driver
    refuses, copies are merely slower.
    """
    runtime: Any = torch.cuda.cudart()
    if int(runtime.cudaHostRegister(tensor.data_ptr(), tensor.nbytes, 0)) == 0:
        weakref.finalize(tensor, runtime.cudaHostUnregister, tensor.data_ptr())


def _move(
    weight: torch.Tensor, gradient: torch.Tensor, state: State, group: Mapping[str, Any], generator: torch.Generator
) -> None:
    """One step of one weight, in place, a slice at a time."""
    scheme, step = SCHEMES[group["scheme"]], int(state["step"])
    tables = scheme.averages.tables(weight.device)
    b1, b2 = group["betas"]
    numbers = (1 - group["lr"] * group["weight_decay"], group["lr"], 1 - b1**step, 1 - b2**step)
    rule = scheme, b1, b2, group["eps"]
    advance = _compiled(*rule) if weight.is_cuda else partial(advanced, *rule)
    parts = zip(weight.detach().view(-1).split(SLICE), gradient.reshape(-1).split(SLICE), strict=True)
    for index, (part, slope) in enumerate(parts):
        sizes = {name: SLICE // BLOCK if name.endswith("scale") else SLICE for name in state if name != "step"}
        there = {name: state[name].view(-1)[index * n : (index + 1) * n] for name, n in sizes.items()}
        here = {name: value.to(weight.device, non_blocking=True, copy=scheme.on_cpu) for name, value in there.items()}
        advance(part, slope, {**here, **tables}, scheme.draw(len(part), generator), numbers)
        if scheme.on_cpu:
            for name, kept in there.items():
                kept.copy_(here[name], non_blocking=True)


def advanced(
    scheme: Scheme, b1: float, b2: float, eps: float,
    weight: torch.Tensor, gradient: torch.Tensor, state: State,
    noise: Sequence[Noise], numbers: Sequence[float] | torch.Tensor,
) -> None:  # fmt: skip
    """One step of some weights, in place, and all of its arithmetic (Kingma & Ba 2015, Loshchilov & Hutter 2019).

    The direction is m / (1 - b1^t) over sqrt(v / (1 - b2^t)) + eps, with m and v the two averages.

    Weights (bfloat16), gradient, and what the state holds for each weight are [N] or [blocks, BLOCK]; the state has the
    tables of the scheme's averages too, and the noise is of `Scheme.draw`. The numbers are 1 - rate x weight decay,
    rate, 1 - b1^t and 1 - b2^t: float32 on the weights' device when compiled.
    """
    gradient = gradient.view(-1).float()
    state = {name: value.view(-1) for name, value in state.items()}
    weight, kept = weight.view(-1), state.get("kept")
    first, second, rounding = (None if drawn is None else drawn.view(-1) for drawn in noise)
    decay, rate, correction1, correction2 = numbers
    m = scheme.averages.read(state, FIRST).lerp_(gradient, 1 - b1)
    v = scheme.averages.read(state, SECOND).mul_(b2).addcmul_(gradient, gradient, value=1 - b2)
    scheme.averages.write(state, FIRST, m, first)
    scheme.averages.write(state, SECOND, v, second)
    update = (m / correction1).div_((v / correction2).sqrt_().add_(eps))
    value = scheme.read(weight, kept).mul_(decay)
    # A compiler would make a kernel for each rate that is a number.
    value = value - update * rate if isinstance(rate, torch.Tensor) else value.sub_(update, alpha=rate)
    scheme.write(weight, kept, value, rounding)


@cache
def _compiled(scheme: Scheme, b1: float, b2: float, eps: float) -> Step:
    return in_blocks(partial(advanced, scheme, b1, b2, eps))
