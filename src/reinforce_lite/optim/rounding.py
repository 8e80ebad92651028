"""Values in few bits, rounded so that they are right on average: in bfloat16, or in 8 bits with a scale a block.

Noise is passed in as a tensor, so that a compiler sees arithmetic alone and no generator.
"""

from dataclasses import dataclass
from functools import cache

import torch
import torch.nn.functional as F

BLOCK = 256
"""Values that share a scale (Dettmers et al. 2022)."""
OCTAVES = {"signed": 16, "unsigned": 32}
"""Powers of two between the smallest and the largest value of a block that have a code; an average of squares spans
twice as many as one of the values themselves."""
FIRST, SECOND = "exp_avg", "exp_avg_sq"
State = dict[str, torch.Tensor]
"""What is kept of some weights, by name: one value a weight, or (names that end in `scale`) one a block of them."""


def round_stochastically(value: torch.Tensor, generator: torch.Generator) -> torch.Tensor:
    """Round float32 to one of its two neighbours in bfloat16, to the nearer one more often: right on average."""
    return round_by(value, lower_halves(value.numel(), value.device, generator).view(value.shape))


def lower_halves(size: int, device: torch.device, generator: torch.Generator) -> torch.Tensor:
    """The noise of `round_by`, int32 [size]."""
    return torch.randint(0, 2**16, (size,), dtype=torch.int32, device=device, generator=generator)


def round_by(value: torch.Tensor, noise: torch.Tensor) -> torch.Tensor:
    """Round float32 to bfloat16, the upper half of float32: `noise` is added to the lower half, which is cut off."""
    return ((value.view(torch.int32) + noise) & -(2**16)).view(torch.float32).bfloat16()


def round_to_nearest(value: torch.Tensor) -> torch.Tensor:
    """As `value.bfloat16()` (ties to even), for finite values.

    A compiler drops that conversion where its result becomes float32 again, and the rounding with it.
    """
    bits = value.view(torch.int32)
    return round_by(value, (bits >> 16 & 1) + 0x7FFF)


@cache
def levels(signed: bool, device: torch.device) -> torch.Tensor:
    """The magnitudes that have a code, as shares of a block's largest: 0, then a geometric row that ends in 1.

    Signed codes have 127 of them above 0 (the eighth bit is the sign), unsigned ones 255; neighbours differ by 9%
    either way. A step divides by the root of the second average, so what counts is the relative error: the dynamic
    code of Dettmers et al. has two levels in its lowest decade, and the row 26.
    """
    count, octaves = (127, OCTAVES["signed"]) if signed else (255, OCTAVES["unsigned"])
    row = torch.linspace(-octaves, 0, count, dtype=torch.float64).exp2()
    return torch.cat([torch.zeros(1), row.float()]).to(device)


@cache
def code(signed: bool, device: torch.device) -> torch.Tensor:
    """The share of a block's largest magnitude that each of the 256 codes stands for, float32 [256]."""
    known = levels(signed, device)
    return torch.cat([known, -known]) if signed else known


def uniform(size: int, device: torch.device, generator: torch.Generator) -> torch.Tensor:
    """The noise of `encode`, float32 in [0, 1), [size rounded up to whole blocks]."""
    return torch.rand(-(-size // BLOCK) * BLOCK, device=device, generator=generator)


def encode(
    value: torch.Tensor, signed: bool, noise: torch.Tensor, known: torch.Tensor
) -> tuple[torch.Tensor, torch.Tensor]:
    """Put float32 values into 8 bits, each into one of the two codes around it, right on average.

    An unsigned value stays above zero, since a weight's second average of zero would make its next step boundless;
    below the smallest level it is therefore rounded up. Signed values there become zero or that level. The values are
    [N], the noise is of `uniform`, and `known` is `code(signed)`.

    Returns:
        (codes [N] of uint8, scales [ceil(N / BLOCK)] of float32: the largest magnitude of each block).
    """
    rows = F.pad(value, (0, -len(value) % BLOCK)).view(-1, BLOCK)
    magnitudes = rows.abs()
    scales = magnitudes.amax(1)
    shares = magnitudes.div_(scales.clamp(min=torch.finfo(torch.float32).tiny)[:, None])
    top, octaves = (127, OCTAVES["signed"]) if signed else (255, OCTAVES["unsigned"])
    # The level at or below a share; log2 may be wrong in its last bit, which moves no value by more than that.
    below = (shares.log2().mul_((top - 1) / octaves) + top).floor_().clamp_(0, top - 1).int()
    low, high = known[below], known[below + 1]
    codes = below.add_(noise.view(-1, BLOCK) < (shares - low).div_(high - low))
    codes = codes + 128 * (rows < 0) if signed else torch.where(shares > 0, codes.clamp(min=1), 0)
    return codes.to(torch.uint8).view(-1)[: len(value)], scales


def decode(codes: torch.Tensor, scales: torch.Tensor, known: torch.Tensor) -> torch.Tensor:
    """The values of `encode`'s codes, float32 [N]; `known` is `code(signed)`."""
    rows = F.pad(known[codes.int()], (0, -len(codes) % BLOCK)).view(-1, BLOCK)
    return (rows * scales[:, None]).view(-1)[: len(codes)]


@dataclass(frozen=True)
class Averages:
    """How AdamW's two running averages, FIRST and SECOND, are kept between steps.

    A step of 1 - b2 = 0.001 is less than half a level of bfloat16 or of 8 bits: rounded to nearest, the second average
    would never fall. So both are rounded stochastically.

    Attributes:
        dtype: float32; bfloat16; or uint8, with a float32 scale a block, SECOND without a sign (Dettmers et al. 2022).
    """

    dtype: torch.dtype

    def begin(self, size: int) -> State:
        """Zeros for `size` weights, on the CPU."""
        state = {name: torch.zeros(size, dtype=self.dtype) for name in (FIRST, SECOND)}
        if self.dtype == torch.uint8:
            state |= {f"{name}_scale": torch.zeros(-(-size // BLOCK)) for name in (FIRST, SECOND)}
        return state

    def tables(self, device: torch.device) -> State:
        """Constants that `read` and `write` look up in the state; never written."""
        if self.dtype != torch.uint8:
            return {}
        return {f"{name}_code": code(name == FIRST, device) for name in (FIRST, SECOND)}

    def draw(self, size: int, device: torch.device, generator: torch.Generator) -> torch.Tensor | None:
        """The noise of `write` for one average of `size` weights."""
        if self.dtype == torch.uint8:
            return uniform(size, device, generator)
        return lower_halves(size, device, generator) if self.dtype == torch.bfloat16 else None

    def read(self, state: State, name: str) -> torch.Tensor:
        """An average in float32; may be the state itself."""
        if self.dtype == torch.uint8:
            return decode(state[name], state[f"{name}_scale"], state[f"{name}_code"])
        return state[name].float()

    def write(self, state: State, name: str, now: torch.Tensor, noise: torch.Tensor | None) -> None:
        """Keep `now`, in place."""
        if noise is None:
            state[name].copy_(now)
        elif self.dtype == torch.bfloat16:
            state[name].copy_(round_by(now, noise))
        else:
            codes, scales = encode(now, name == FIRST, noise, state[f"{name}_code"])
            state[name].copy_(codes)
            state[f"{name}_scale"].copy_(scales)
