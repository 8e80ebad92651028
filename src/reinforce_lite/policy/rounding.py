"""Stochastic rounding, right on average: to bfloat16, and to 8 bits with a scale for each block of values."""

from functools import cache

import torch
import torch.nn.functional as F

BLOCK = 256
"""Values that share a scale (Dettmers et al. 2022)."""
OCTAVES = {"signed": 16, "unsigned": 32}
"""Powers of two between the smallest and the largest value of a block that have a code; an average of squares spans
twice as many as one of the values themselves."""


def round_stochastically(value: torch.Tensor, generator: torch.Generator) -> torch.Tensor:
    """Round float32 to one of its two neighbours in bfloat16, to the nearer one more often: right on average.

    bfloat16 is the upper half of float32, so a random lower half is added before the lower half is cut off.
    """
    noise = torch.randint(0, 2**16, value.shape, dtype=torch.int32, device=value.device, generator=generator)
    return ((value.view(torch.int32) + noise) & -(2**16)).view(torch.float32).bfloat16()


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


def encode(value: torch.Tensor, signed: bool, generator: torch.Generator) -> tuple[torch.Tensor, torch.Tensor]:
    """Put float32 values into 8 bits, each into one of the two codes around it, right on average.

    What is unsigned stays above zero, since a weight's second average of zero would make its next step boundless;
    below the smallest level it is therefore rounded up. Signed values there become zero or that level.

    Args:
        value: [N].
        signed: False if no value is negative.
        generator: of the value's device.

    Returns:
        (codes [N] of uint8, scales [ceil(N / BLOCK)] of float32: the largest magnitude of each block).
    """
    rows = F.pad(value, (0, -len(value) % BLOCK)).view(-1, BLOCK)
    magnitudes = rows.abs()
    scales = magnitudes.amax(1)
    shares = magnitudes.div_(scales.clamp(min=torch.finfo(torch.float32).tiny)[:, None])
    known = levels(signed, value.device)
    top, octaves = len(known) - 1, OCTAVES["signed" if signed else "unsigned"]
    # The level at or below a share; log2 may be wrong in its last bit, which moves no value by more than that.
    below = (shares.log2().mul_((top - 1) / octaves) + top).floor_().clamp_(0, top - 1).int()
    low, high = known[below], known[below + 1]
    drawn = torch.rand(shares.shape, device=value.device, generator=generator)
    codes = below.add_(drawn < (shares - low).div_(high - low))
    codes = codes + 128 * (rows < 0) if signed else torch.where(shares > 0, codes.clamp(min=1), 0)
    return codes.to(torch.uint8).view(-1)[: len(value)], scales


def decode(codes: torch.Tensor, scales: torch.Tensor, signed: bool) -> torch.Tensor:
    """The values of `encode`'s codes, float32 [N]."""
    known = levels(signed, codes.device)
    if signed:
        known = torch.cat([known, -known])
    rows = F.pad(known[codes.int()], (0, -len(codes) % BLOCK)).view(-1, BLOCK)
    return (rows * scales[:, None]).view(-1)[: len(codes)]
