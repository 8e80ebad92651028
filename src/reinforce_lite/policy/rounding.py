"""Stochastic rounding, right on average: to bfloat16, and to 8 bits with a scale for each block of values.

What is drawn is handed in as a tensor, so that a compiler sees arithmetic alone and no generator.
"""

from functools import cache

import torch
import torch.nn.functional as F

BLOCK = 256
"""Values that share a scale (Dettmers et al. 2022)."""
OCTAVES = {"signed": 16, "unsigned": 32}
"""Powers of two between the smallest and the largest value of a block that have a code; an average of squares spans
twice as many as one of the values themselves."""


def round_stochastically(value: torch.Tensor, generator: torch.Generator) -> torch.Tensor:
    """Round float32 to one of its two neighbours in bfloat16, to the nearer one more often: right on average."""
    return round_by(value, lower_halves(value.numel(), value.device, generator).view(value.shape))


def lower_halves(size: int, device: torch.device, generator: torch.Generator) -> torch.Tensor:
    """What `round_by` adds, int32 [size]."""
    return torch.randint(0, 2**16, (size,), dtype=torch.int32, device=device, generator=generator)


def round_by(value: torch.Tensor, noise: torch.Tensor) -> torch.Tensor:
    """Round float32 to bfloat16, the upper half of float32: `noise` is added to the lower half, which is cut off."""
    return ((value.view(torch.int32) + noise) & -(2**16)).view(torch.float32).bfloat16()


def round_to_nearest(value: torch.Tensor) -> torch.Tensor:
    """As `value.bfloat16()` (ties to even), for finite values.

    A compiler takes that one away where it is turned into float32 again, and with it what the rounding is to tell.
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


def encode(value: torch.Tensor, signed: bool, generator: torch.Generator) -> tuple[torch.Tensor, torch.Tensor]:
    """As `encode_by`, with what it needs drawn from `generator`, which is of the value's device."""
    drawn = uniform(len(value), value.device, generator)
    return encode_by(value, signed, drawn, code(signed, value.device))


def uniform(size: int, device: torch.device, generator: torch.Generator) -> torch.Tensor:
    """What `encode_by` compares with, float32 in [0, 1), [size rounded up to whole blocks]."""
    return torch.rand(-(-size // BLOCK) * BLOCK, device=device, generator=generator)


def encode_by(
    value: torch.Tensor, signed: bool, drawn: torch.Tensor, known: torch.Tensor
) -> tuple[torch.Tensor, torch.Tensor]:
    """Put float32 values into 8 bits, each into one of the two codes around it, right on average.

    What is unsigned stays above zero, since a weight's second average of zero would make its next step boundless;
    below the smallest level it is therefore rounded up. Signed values there become zero or that level.

    Args:
        value: [N].
        signed: False if no value is negative.
        drawn: of `uniform`.
        known: `code(signed)`.

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
    codes = below.add_(drawn.view(-1, BLOCK) < (shares - low).div_(high - low))
    codes = codes + 128 * (rows < 0) if signed else torch.where(shares > 0, codes.clamp(min=1), 0)
    return codes.to(torch.uint8).view(-1)[: len(value)], scales


def decode(codes: torch.Tensor, scales: torch.Tensor, signed: bool) -> torch.Tensor:
    """The values of `encode`'s codes, float32 [N]."""
    return decode_by(codes, scales, code(signed, codes.device))


def decode_by(codes: torch.Tensor, scales: torch.Tensor, known: torch.Tensor) -> torch.Tensor:
    """As `decode`, with `code(signed)` handed in."""
    rows = F.pad(known[codes.int()], (0, -len(codes) % BLOCK)).view(-1, BLOCK)
    return (rows * scales[:, None]).view(-1)[: len(codes)]
