"""How the two running averages of AdamW are kept between steps: as floats, or in 8 bits."""

from dataclasses import dataclass
from typing import Protocol

import torch

from reinforce_lite.policy.rounding import BLOCK, decode, encode, round_stochastically

FIRST, SECOND = "exp_avg", "exp_avg_sq"
State = dict[str, torch.Tensor]
"""What is kept of some weights, by name: one value a weight, or (names that end in `scale`) one a block of them."""


class Averages(Protocol):
    """A way to keep averages; `name` is FIRST or SECOND."""

    def begin(self, name: str, size: int) -> State:
        """Of `size` weights before their first step: zeros, on the CPU."""
        ...

    def read(self, state: State, name: str) -> torch.Tensor:
        """In float32; may be the state itself."""
        ...

    def write(self, state: State, name: str, now: torch.Tensor, generator: torch.Generator) -> None:
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

    def read(self, state: State, name: str) -> torch.Tensor:
        """In float32."""
        return state[name].float()

    def write(self, state: State, name: str, now: torch.Tensor, generator: torch.Generator) -> None:
        """Keep `now`."""
        state[name].copy_(round_stochastically(now, generator) if self.dtype == torch.bfloat16 else now)


@dataclass(frozen=True)
class EightBits:
    """In 8 bits with a float32 scale a block, the second average without a sign (Dettmers et al. 2022).

    Rounded stochastically: a step of 0.001 is far less than a level, and to the nearest level an average would stay.
    """

    def begin(self, name: str, size: int) -> State:
        """Zeros."""
        return {name: torch.zeros(size, dtype=torch.uint8), f"{name}_scale": torch.zeros(-(-size // BLOCK))}

    def read(self, state: State, name: str) -> torch.Tensor:
        """In float32."""
        return decode(state[name], state[f"{name}_scale"], signed=name == FIRST)

    def write(self, state: State, name: str, now: torch.Tensor, generator: torch.Generator) -> None:
        """Keep `now`."""
        codes, scales = encode(now, name == FIRST, generator)
        state[name].copy_(codes)
        state[f"{name}_scale"].copy_(scales)
