"""AdamW whose steps are not lost in weights of 16 bits.

bfloat16 keeps 8 significant bits: adding less than 1/512 of a weight to it changes nothing, and at a learning rate of
1e-6 nearly every step is less. What is left out of the textbook: amsgrad, maximize, closures.

On a GPU a step costs the bytes it moves. Written as torch's own operations one after the other, each reads and writes
whole slices: `stochastic` moves some 180 bytes a weight, `8bit` about 1,000 (0.15 and 0.82 s for 3.2e9 weights at the
3.9 TB/s of an H200, measured at commit 86ae0d2). Compiled (policy/compiled.py), each value is read and written once:

    bytes a weight   gradient  weight  averages  noise, written and read  together
    stochastic           2        4       16              8                  30
    8bit                 2        4        4.06          24                  34
    kahan                2        4       12             16                  34 (4 of them what is kept)
    master, offload      2        2       24              0                  28 (8 of them what is kept)

That is 0.03 s for 3.2e9 weights at that rate: computed, not measured. `python benchmarks/optimizer.py --shape 3b`
measures it.
"""

import weakref
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cache, partial
from typing import Any

import torch

from reinforce_lite.errors import UserError
from reinforce_lite.policy.averages import FIRST, SECOND, Averages, EightBits, Floats, State
from reinforce_lite.policy.compiled import Step, in_blocks
from reinforce_lite.policy.rounding import BLOCK, lower_halves, round_by, round_to_nearest

SLICE = 2**24
"""Weights moved at a time: the float32 copies of a large embedding would not fit beside it. A multiple of BLOCK."""
Kept = torch.Tensor | None
Noise = torch.Tensor | None


@dataclass(frozen=True)
class Scheme:
    """How a new value gets into a weight that has too few bits for it.

    Attributes:
        read: (weight, kept) -> the value in float32.
        write: (weight, kept, new value in float32, noise), in place.
        kept: precision of what is kept beside a weight; None if nothing is.
        averages: how the two averages are kept.
        drawn: `write` rounds by the noise, of `lower_halves`; else there is none.
        on_cpu: all that is kept lies in the CPU's memory, and comes to the weights a slice at a time.
    """

    read: Callable[[torch.Tensor, Kept], torch.Tensor]
    write: Callable[[torch.Tensor, Kept, torch.Tensor, Noise], None]
    kept: torch.dtype | None
    averages: Averages
    drawn: bool = False
    on_cpu: bool = False


def _read_master(weight: torch.Tensor, kept: Kept) -> torch.Tensor:
    assert kept is not None
    return kept.clone()


def _write_master(weight: torch.Tensor, kept: Kept, new: torch.Tensor, noise: Noise) -> None:
    assert kept is not None
    kept.copy_(new)
    weight.copy_(new)


def _read_weight(weight: torch.Tensor, kept: Kept) -> torch.Tensor:
    return weight.float()


def _write_stochastic(weight: torch.Tensor, kept: Kept, new: torch.Tensor, noise: Noise) -> None:
    assert noise is not None
    weight.copy_(round_by(new, noise))


def _read_kahan(weight: torch.Tensor, kept: Kept) -> torch.Tensor:
    assert kept is not None
    return weight.float() + kept.float()


def _write_kahan(weight: torch.Tensor, kept: Kept, new: torch.Tensor, noise: Noise) -> None:
    assert kept is not None
    rounded = round_to_nearest(new)
    weight.copy_(rounded)
    kept.copy_(new - rounded.float())  # what the weight had no bits for


FLOAT32, BFLOAT16 = Floats(torch.float32), Floats(torch.bfloat16)
SCHEMES: Mapping[str, Scheme] = {
    # A float32 copy that takes the steps; the weight is its rounded image (Micikevicius et al. 2018).
    "master": Scheme(_read_master, _write_master, torch.float32, FLOAT32),
    # Gupta et al. 2015.
    "stochastic": Scheme(_read_weight, _write_stochastic, None, FLOAT32, drawn=True),
    # Kahan 1965, for bfloat16 by Zamirai et al. 2020.
    "kahan": Scheme(_read_kahan, _write_kahan, torch.bfloat16, BFLOAT16),
    # Dettmers et al. 2022 for the averages; the weights as in `stochastic`.
    "8bit": Scheme(_read_weight, _write_stochastic, None, EightBits(), drawn=True),
    # `master` to the last bit, at the price of moving 12 bytes a weight both ways in each step (Ren et al. 2021).
    "offload": Scheme(_read_master, _write_master, torch.float32, FLOAT32, on_cpu=True),
}


class AdamW(torch.optim.Optimizer):
    """AdamW (Loshchilov & Hutter 2019), computed in float32 for weights in bfloat16.

    Args:
        weights: bfloat16 tensors.
        scheme: a name of `SCHEMES`.
        learning_rate: of the first step; `set_learning_rate` changes it.
        weight_decay: decoupled.
        betas: of the two averages.
        seed: all randomness derives from it and the number of the step, so none of it has to be kept.
    """

    def __init__(
        self,
        weights: Iterable[torch.Tensor],
        scheme: str,
        learning_rate: float,
        weight_decay: float = 0.0,
        betas: tuple[float, float] = (0.9, 0.999),
        eps: float = 1e-8,
        seed: int = 0,
    ) -> None:
        self._seed = seed
        defaults = {"lr": learning_rate, "weight_decay": weight_decay, "betas": betas, "eps": eps, "scheme": scheme}
        super().__init__(weights, defaults)

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """Take over a saved state, bit for bit.

        torch's own way casts states to the precision and device of the weights: of what is kept in float32 little would
        be left, and what is kept on the CPU would have to fit beside the weights.

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
            self.state[weights[index]] = {"step": states["step"], **placed(tensors, weights[index], SCHEMES[str(own)])}

    @torch.no_grad()
    def step(self, closure: None = None) -> None:  # type: ignore[override]
        """Move every weight that has a gradient."""
        for group in self.param_groups:
            scheme, generators = SCHEMES[group["scheme"]], dict[torch.device, torch.Generator]()
            for weight in group["params"]:
                if weight.grad is None:
                    continue
                if not self.state[weight]:
                    self.state[weight] = {"step": 0, **begun(weight, scheme)}
                state = self.state[weight]
                state["step"] += 1
                if weight.device not in generators:
                    seed = self._seed * 1_000_003 + state["step"]
                    generators[weight.device] = torch.Generator(weight.device).manual_seed(seed)
                move(weight, weight.grad, state, group, generators[weight.device])
            for device in generators:
                if scheme.on_cpu and device.type == "cuda":
                    torch.cuda.synchronize(device)  # what was sent to the CPU is there when somebody reads it


def begun(weight: torch.Tensor, scheme: Scheme) -> State:
    """What a scheme keeps of a weight before its first step."""
    size = weight.numel()
    state = {**scheme.averages.begin(FIRST, size), **scheme.averages.begin(SECOND, size)}
    if scheme.kept == torch.float32:
        state["kept"] = weight.detach().view(-1).to("cpu" if scheme.on_cpu else weight.device).float()
    elif scheme.kept is not None:
        state["kept"] = torch.zeros(size, dtype=scheme.kept)  # no rounding has left anything over
    return placed(state, weight, scheme)


def placed(state: State, weight: torch.Tensor, scheme: Scheme) -> State:
    """Copies of what is kept, where the scheme keeps it."""
    if not scheme.on_cpu:
        return {name: value.to(weight.device, copy=True) for name, value in state.items()}
    copies = {name: value.to("cpu", copy=True) for name, value in state.items()}
    if weight.is_cuda:
        for value in copies.values():
            lock(value)
    return copies


def lock(tensor: torch.Tensor) -> None:
    """Lock the pages of a CPU tensor while it lives, so that a GPU copies it at full speed and without waiting.

    `pin_memory` would round each tensor up to a power of two: 54 GB instead of 38.5 for Llama-3.2-3B. If the driver
    refuses, copies are slower and nothing else.
    """
    runtime: Any = torch.cuda.cudart()
    if int(runtime.cudaHostRegister(tensor.data_ptr(), tensor.nbytes, 0)) == 0:
        weakref.finalize(tensor, runtime.cudaHostUnregister, tensor.data_ptr())


def move(
    weight: torch.Tensor,
    gradient: torch.Tensor,
    state: Mapping[str, Any],
    group: Mapping[str, Any],
    generator: torch.Generator,
) -> None:
    """One step of one weight, in place, a slice at a time."""
    scheme, tables = SCHEMES[group["scheme"]], SCHEMES[group["scheme"]].averages.tables(weight.device)
    b1, b2 = group["betas"]
    rule = Rule(group["scheme"], b1, b2, group["eps"])
    numbers = (1 - group["lr"] * group["weight_decay"], group["lr"], 1 - b1 ** state["step"], 1 - b2 ** state["step"])
    advance = _compiled(rule) if weight.is_cuda else partial(advanced, rule)
    slopes = gradient.reshape(-1).split(SLICE)
    weights = weight.detach().view(-1).split(SLICE)
    for part, slope, there in zip(weights, slopes, slices(state, weight.numel()), strict=True):
        here = {name: value.to(weight.device, non_blocking=True, copy=scheme.on_cpu) for name, value in there.items()}
        advance(part, slope, {**here, **tables}, draw(scheme, len(part), generator), numbers)
        if scheme.on_cpu:
            for name, kept in there.items():
                kept.copy_(here[name], non_blocking=True)


def slices(state: Mapping[str, Any], size: int) -> Iterator[State]:
    """What is kept of each slice of `size` weights, as views."""
    each = {name: SLICE // BLOCK if name.endswith("scale") else SLICE for name in state if name != "step"}
    for index in range(-(-size // SLICE)):
        yield {name: state[name].view(-1)[index * n : (index + 1) * n] for name, n in each.items()}


def draw(scheme: Scheme, size: int, generator: torch.Generator) -> tuple[Noise, Noise, Noise]:
    """All that a step of so many weights draws: for the first average, the second, and the weights, in this order."""
    device = generator.device
    first, second = (scheme.averages.draw(size, device, generator) for _ in (FIRST, SECOND))
    return first, second, lower_halves(size, device, generator) if scheme.drawn else None


@dataclass(frozen=True)
class Rule:
    """What stays the same from step to step: a name of `SCHEMES`, the decay of the two averages, and epsilon."""

    scheme: str
    b1: float
    b2: float
    eps: float


def advanced(
    rule: Rule,
    weight: torch.Tensor,
    gradient: torch.Tensor,
    state: State,
    noise: Sequence[Noise],
    numbers: Sequence[float] | torch.Tensor,
) -> None:
    """One step of some weights, in place, and all of its arithmetic (Kingma & Ba 2015, Loshchilov & Hutter 2019).

    The direction is m / (1 - b1^t) over sqrt(v / (1 - b2^t)) + eps.

    Args:
        rule: what stays the same.
        weight: bfloat16 [N], or [blocks, BLOCK] as all others that have a value a weight.
        gradient: of them.
        state: what is kept of them, with the tables of its scheme's averages.
        noise: of `draw`.
        numbers: 1 - rate x weight decay, rate, 1 - b1^t, 1 - b2^t; float32 on the weights' device when compiled.
    """
    scheme, gradient = SCHEMES[rule.scheme], gradient.view(-1).float()
    state = {name: value.view(-1) for name, value in state.items()}
    weight, kept = weight.view(-1), state.get("kept")
    first, second, rounding = (None if drawn is None else drawn.view(-1) for drawn in noise)
    decay, rate, correction1, correction2 = numbers
    m = scheme.averages.read(state, FIRST).lerp_(gradient, 1 - rule.b1)
    v = scheme.averages.read(state, SECOND).mul_(rule.b2).addcmul_(gradient, gradient, value=1 - rule.b2)
    scheme.averages.write(state, FIRST, m, first)
    scheme.averages.write(state, SECOND, v, second)
    update = (m / correction1).div_((v / correction2).sqrt_().add_(rule.eps))
    value = scheme.read(weight, kept).mul_(decay)
    # A compiler would make a kernel for each rate that is a number.
    value = value - update * rate if isinstance(rate, torch.Tensor) else value.sub_(update, alpha=rate)
    scheme.write(weight, kept, value, rounding)


@cache
def _compiled(rule: Rule) -> Step:
    return in_blocks(partial(advanced, rule))
