"""AdamW whose steps are not lost in weights of 16 bits.

bfloat16 keeps 8 significant bits: adding less than 1/512 of a weight to it changes nothing, and at a learning rate of
1e-6 nearly every step is less. What is left out of the textbook: amsgrad, maximize, closures.
"""

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from typing import Any

import torch

from reinforce_lite.errors import UserError

SLICE = 2**24
"""Weights moved at a time: the float32 copies of a large embedding would not fit beside it."""
Kept = torch.Tensor | None


@dataclass(frozen=True)
class Scheme:
    """How a new value gets into a weight that has too few bits for it.

    Attributes:
        read: (weight, kept) -> the value in float32.
        write: (weight, kept, new value in float32, generator), in place.
        kept: precision of what is kept beside a weight; None if nothing is.
        averages: precision of the two averages.
    """

    read: Callable[[torch.Tensor, Kept], torch.Tensor]
    write: Callable[[torch.Tensor, Kept, torch.Tensor, torch.Generator], None]
    kept: torch.dtype | None
    averages: torch.dtype


def round_stochastically(value: torch.Tensor, generator: torch.Generator) -> torch.Tensor:
    """Round float32 to one of its two neighbours in bfloat16, to the nearer one more often: right on average.

    bfloat16 is the upper half of float32, so a random lower half is added before the lower half is cut off.
    """
    noise = torch.randint(0, 2**16, value.shape, dtype=torch.int32, device=value.device, generator=generator)
    return ((value.view(torch.int32) + noise) & -(2**16)).view(torch.float32).bfloat16()


def _write_master(weight: torch.Tensor, kept: Kept, new: torch.Tensor, generator: torch.Generator) -> None:
    assert kept is not None
    kept.copy_(new)
    weight.copy_(new)


def _write_stochastic(weight: torch.Tensor, kept: Kept, new: torch.Tensor, generator: torch.Generator) -> None:
    weight.copy_(round_stochastically(new, generator))


def _write_kahan(weight: torch.Tensor, kept: Kept, new: torch.Tensor, generator: torch.Generator) -> None:
    assert kept is not None
    weight.copy_(new)
    kept.copy_(new - weight.float())  # what the weight had no bits for


SCHEMES: Mapping[str, Scheme] = {
    # A float32 copy that takes the steps; the weight is its rounded image (Micikevicius et al. 2018).
    "master": Scheme(lambda weight, kept: kept.clone(), _write_master, torch.float32, torch.float32),  # type: ignore[union-attr]
    # Gupta et al. 2015.
    "stochastic": Scheme(lambda weight, kept: weight.float(), _write_stochastic, None, torch.float32),
    # Kahan 1965, for bfloat16 by Zamirai et al. 2020.
    "kahan": Scheme(lambda weight, kept: weight.float() + kept.float(), _write_kahan, torch.bfloat16, torch.bfloat16),  # type: ignore[union-attr]
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
        """Take over a saved state.

        Raises:
            UserError: it is of another scheme.
        """
        saved, own = (groups[0].get("scheme") for groups in (state_dict["param_groups"], self.param_groups))
        if saved != own:
            raise UserError(
                f"the checkpoint's optimiser keeps its weights by the scheme {saved}, this one by {own}",
                f"set training.weights: {saved}, or delete the checkpoint",
            )
        super().load_state_dict(state_dict)

    @torch.no_grad()
    def step(self, closure: None = None) -> None:  # type: ignore[override]
        """Move every weight that has a gradient."""
        for group in self.param_groups:
            generators: dict[torch.device, torch.Generator] = {}
            for weight in group["params"]:
                if weight.grad is None:
                    continue
                state = self.state[weight] or self._begin(weight, SCHEMES[group["scheme"]])
                state["step"] += 1
                if weight.device not in generators:
                    seed = self._seed * 1_000_003 + state["step"]
                    generators[weight.device] = torch.Generator(weight.device).manual_seed(seed)
                move(weight, weight.grad, state, group, generators[weight.device])

    def _begin(self, weight: torch.Tensor, scheme: Scheme) -> dict[str, Any]:
        state = self.state[weight]
        state["step"] = 0
        for name in ("exp_avg", "exp_avg_sq"):
            state[name] = torch.zeros_like(weight, dtype=scheme.averages)
        if scheme.kept is not None:
            # At first a master copy is the weight, and no rounding has left anything over.
            state["kept"] = weight.to(torch.float32) if scheme.kept == torch.float32 else torch.zeros_like(weight)
        return state


def move(
    weight: torch.Tensor,
    gradient: torch.Tensor,
    state: Mapping[str, Any],
    group: Mapping[str, Any],
    generator: torch.Generator,
) -> None:
    """One step of one weight, in place, a slice at a time."""
    scheme = SCHEMES[group["scheme"]]
    averages = state["exp_avg"].view(-1).split(SLICE), state["exp_avg_sq"].view(-1).split(SLICE)
    slices = weight.view(-1).split(SLICE)
    kept = state["kept"].view(-1).split(SLICE) if "kept" in state else (None,) * len(slices)
    for part, slope, first, second, beside in zip(
        slices, gradient.reshape(-1).split(SLICE), *averages, kept, strict=True
    ):
        update = adam(slope.float(), first, second, state["step"], group["betas"], group["eps"], generator)
        value = scheme.read(part, beside)
        value.mul_(1 - group["lr"] * group["weight_decay"]).sub_(update, alpha=group["lr"])
        scheme.write(part, beside, value, generator)


def adam(
    gradient: torch.Tensor,
    first: torch.Tensor,
    second: torch.Tensor,
    step: int,
    betas: tuple[float, float],
    eps: float,
    generator: torch.Generator,
) -> torch.Tensor:
    """The direction of a step in float32 (Kingma & Ba 2015): m / (1 - b1^t) over sqrt(v / (1 - b2^t)) + eps.

    The averages are brought up to date in place. In bfloat16 a step of 1 - b2 = 0.001 would be rounded away, and the
    second one never fall; so they are rounded stochastically.
    """
    m = first.float().lerp_(gradient, 1 - betas[0])
    v = second.float().mul_(betas[1]).addcmul_(gradient, gradient, value=1 - betas[1])
    for average, now in ((first, m), (second, v)):
        average.copy_(round_stochastically(now, generator) if average.dtype == torch.bfloat16 else now)
    return (m / (1 - betas[0] ** step)).div_((v / (1 - betas[1] ** step)).sqrt_().add_(eps))
