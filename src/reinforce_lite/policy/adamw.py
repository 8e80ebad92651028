"""AdamW whose steps are not lost in weights of 16 bits.

bfloat16 keeps 8 significant bits: adding less than 1/512 of a weight to it changes nothing, and at a learning rate of
1e-6 nearly every step is less. What is left out of the textbook: amsgrad, maximize, closures.
"""

import weakref
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any

import torch

from reinforce_lite.errors import UserError
from reinforce_lite.policy.averages import FIRST, SECOND, Averages, EightBits, Floats, State
from reinforce_lite.policy.rounding import BLOCK, round_stochastically

SLICE = 2**24
"""Weights moved at a time: the float32 copies of a large embedding would not fit beside it. A multiple of BLOCK."""
Kept = torch.Tensor | None


@dataclass(frozen=True)
class Scheme:
    """How a new value gets into a weight that has too few bits for it.

    Attributes:
        read: (weight, kept) -> the value in float32.
        write: (weight, kept, new value in float32, generator), in place.
        kept: precision of what is kept beside a weight; None if nothing is.
        averages: how the two averages are kept.
        on_cpu: all that is kept lies in the CPU's memory, and comes to the weights a slice at a time.
    """

    read: Callable[[torch.Tensor, Kept], torch.Tensor]
    write: Callable[[torch.Tensor, Kept, torch.Tensor, torch.Generator], None]
    kept: torch.dtype | None
    averages: Averages
    on_cpu: bool = False


def _read_master(weight: torch.Tensor, kept: Kept) -> torch.Tensor:
    assert kept is not None
    return kept.clone()


def _write_master(weight: torch.Tensor, kept: Kept, new: torch.Tensor, generator: torch.Generator) -> None:
    assert kept is not None
    kept.copy_(new)
    weight.copy_(new)


def _read_weight(weight: torch.Tensor, kept: Kept) -> torch.Tensor:
    return weight.float()


def _write_stochastic(weight: torch.Tensor, kept: Kept, new: torch.Tensor, generator: torch.Generator) -> None:
    weight.copy_(round_stochastically(new, generator))


def _read_kahan(weight: torch.Tensor, kept: Kept) -> torch.Tensor:
    assert kept is not None
    return weight.float() + kept.float()


def _write_kahan(weight: torch.Tensor, kept: Kept, new: torch.Tensor, generator: torch.Generator) -> None:
    assert kept is not None
    weight.copy_(new)
    kept.copy_(new - weight.float())  # what the weight had no bits for


FLOAT32, BFLOAT16 = Floats(torch.float32), Floats(torch.bfloat16)
SCHEMES: Mapping[str, Scheme] = {
    # A float32 copy that takes the steps; the weight is its rounded image (Micikevicius et al. 2018).
    "master": Scheme(_read_master, _write_master, torch.float32, FLOAT32),
    # Gupta et al. 2015.
    "stochastic": Scheme(_read_weight, _write_stochastic, None, FLOAT32),
    # Kahan 1965, for bfloat16 by Zamirai et al. 2020.
    "kahan": Scheme(_read_kahan, _write_kahan, torch.bfloat16, BFLOAT16),
    # Dettmers et al. 2022 for the averages; the weights as in `stochastic`.
    "8bit": Scheme(_read_weight, _write_stochastic, None, EightBits()),
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
    scheme = SCHEMES[group["scheme"]]
    slopes = gradient.reshape(-1).split(SLICE)
    for part, slope, there in zip(weight.view(-1).split(SLICE), slopes, slices(state, weight.numel()), strict=True):
        here = {name: value.to(weight.device, non_blocking=True, copy=scheme.on_cpu) for name, value in there.items()}
        update = adam(slope.float(), here, scheme.averages, state["step"], group["betas"], group["eps"], generator)
        value = scheme.read(part, here.get("kept"))
        value.mul_(1 - group["lr"] * group["weight_decay"]).sub_(update, alpha=group["lr"])
        scheme.write(part, here.get("kept"), value, generator)
        if scheme.on_cpu:
            for name, kept in there.items():
                kept.copy_(here[name], non_blocking=True)


def slices(state: Mapping[str, Any], size: int) -> Iterator[State]:
    """What is kept of each slice of `size` weights, as views."""
    each = {name: SLICE // BLOCK if name.endswith("scale") else SLICE for name in state if name != "step"}
    for index in range(-(-size // SLICE)):
        yield {name: state[name].view(-1)[index * n : (index + 1) * n] for name, n in each.items()}


def adam(
    gradient: torch.Tensor,
    state: State,
    averages: Averages,
    step: int,
    betas: tuple[float, float],
    eps: float,
    generator: torch.Generator,
) -> torch.Tensor:
    """The direction of a step in float32 (Kingma & Ba 2015): m / (1 - b1^t) over sqrt(v / (1 - b2^t)) + eps.

    What is kept of the averages is brought up to date in place.
    """
    m = averages.read(state, FIRST).lerp_(gradient, 1 - betas[0])
    v = averages.read(state, SECOND).mul_(betas[1]).addcmul_(gradient, gradient, value=1 - betas[1])
    averages.write(state, FIRST, m, generator)
    averages.write(state, SECOND, v, generator)
    return (m / (1 - betas[0] ** step)).div_((v / (1 - betas[1] ** step)).sqrt_().add_(eps))
