"""How the two running averages of AdamW are kept between steps: as floats, or in 8 bits."""

from dataclasses import dataclass
from typing import Protocol

import torch

from reinforce_lite.policy.rounding import BLOCK, code, decode_by, encode_by, lower_halves, round_by, uniform

FIRST, SECOND = "exp_avg", "exp_avg_sq"
State = dict[str, torch.Tensor]
"""What is kept of some weights, by name: one value a weight, or (names that end in `scale`) one a block of them."""


class Averages(Protocol):
    """A way to keep averages; `name` is FIRST or SECOND."""

    def begin(self, name: str, size: int) -> State:
        """Of `size` weights before their first step: zeros, on the CPU."""
        ...

    def tables(self, device: torch.device) -> State:
        """Constants that `read` and `write` look up in the state, whatever the weights; never written."""
        ...

    def draw(self, size: int, device: torch.device, generator: torch.Generator) -> torch.Tensor | None:
        """What `write` needs for one average of `size` weights."""
        ...

    def read(self, state: State, name: str) -> torch.Tensor:
        """In float32; may be the state itself."""
        ...

    def write(self, state: State, name: str, now: torch.Tensor, noise: torch.Tensor | None) -> None:
        """Keep `now`, in place."""
        ...


@dataclass(frozen=True)
class Floats:
    """As numbers of float32 or bfloat16.

    In bfloat16 a step of 1 - b2 = 0.001 would be rounded away, and the second average never fall; so they are rounded
    stochastically.
    """

    dtype: torch.dtype

    def begin(self, name: str, size: int) -> State:
        """Zeros."""
        return {name: torch.zeros(size, dtype=self.dtype)}

    def tables(self, device: torch.device) -> State:
        """None are needed."""
        return {}

    def draw(self, size: int, device: torch.device, generator: torch.Generator) -> torch.Tensor | None:
        """Lower halves, in bfloat16."""
        return lower_halves(size, device, generator) if self.dtype == torch.bfloat16 else None

    def read(self, state: State, name: str) -> torch.Tensor:
        """In float32."""
        return state[name].float()

    def write(self, state: State, name: str, now: torch.Tensor, noise: torch.Tensor | None) -> None:
        """Keep `now`."""
        state[name].copy_(now if noise is None else round_by(now, noise))


@dataclass(frozen=True)
class EightBits:
    """In 8 bits with a float32 scale a block, the second average without a sign (Dettmers et al. 2022).

    Rounded stochastically: a step of 0.001 is far less than a level, and to the nearest level an average would stay.
    """

    def begin(self, name: str, size: int) -> State:
        """Zeros."""
        return {name: torch.zeros(size, dtype=torch.uint8), f"{name}_scale": torch.zeros(-(-size // BLOCK))}

    def tables(self, device: torch.device) -> State:
        """What the codes stand for."""
        return {f"{name}_code": code(name == FIRST, device) for name in (FIRST, SECOND)}

    def draw(self, size: int, device: torch.device, generator: torch.Generator) -> torch.Tensor | None:
        """Numbers in [0, 1)."""
        return uniform(size, device, generator)

    def read(self, state: State, name: str) -> torch.Tensor:
        """In float32."""
        return decode_by(state[name], state[f"{name}_scale"], state[f"{name}_code"])

    def write(self, state: State, name: str, now: torch.Tensor, noise: torch.Tensor | None) -> None:
        """Keep `now`."""
        assert noise is not None
        codes, scales = encode_by(now, name == FIRST, noise, state[f"{name}_code"])
        state[name].copy_(codes)
        state[f"{name}_scale"].copy_(scales)
