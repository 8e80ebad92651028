"""GPUs by their data sheets, with dated prices: what an estimate needs where no GPU is at hand."""

import re
from dataclasses import dataclass

from reinforce_lite.errors import UserError


@dataclass(frozen=True)
class Card:
    """One GPU, by NVIDIA's data sheet of it.

    Attributes:
        key: its name on the command line.
        name: its name where it is rented.
        memory_gib: as it is sold.
        bandwidth_gb_s: of its memory.
        tflops: bfloat16 on the tensor cores, dense (data sheets print twice as much, "with sparsity"), sums in float32.
        link_gb_s: to the CPU's memory, each way: PCIe 4.0 or 5.0 with 16 lanes.
        usd_per_hour: lowest and highest price that was seen.
        source: where the prices are from, and when they were seen, as far as that is known.
    """

    key: str
    name: str
    memory_gib: float
    bandwidth_gb_s: float
    tflops: float
    link_gb_s: float
    usd_per_hour: tuple[float, float]
    source: str


SECOND_HAND = "2026, quoted second-hand: neither market nor day is known"
CARDS = (
    Card("a6000", "NVIDIA RTX A6000", 48, 768, 154.8, 32, (0.55, 1.09), "Vast.ai, May 2026; Lambda, September 2026"),
    Card("4090", "NVIDIA RTX 4090", 24, 1008, 165.2, 32, (0.31, 0.88), SECOND_HAND),
    Card("l40s", "NVIDIA L40S", 48, 864, 362.0, 32, (0.79, 0.79), SECOND_HAND),
    Card("a100-80", "NVIDIA A100 80 GB", 80, 1935, 312.0, 32, (1.19, 1.79), SECOND_HAND),
    Card("h100-pcie", "NVIDIA H100 PCIe", 80, 2000, 756.0, 64, (1.99, 2.89), SECOND_HAND),
    Card("h100-sxm", "NVIDIA H100 SXM", 80, 3350, 989.4, 64, (2.69, 4.29), SECOND_HAND),
)


def find(key: str) -> Card:
    """The card of this key or name, however it is written; of several that begin like that, the first.

    >>> [find(key).key for key in ("a6000", "NVIDIA L40S", "RTX 4090", "rtx_4090", "A100", "h100", "H100 SXM")]
    ['a6000', 'l40s', '4090', '4090', 'a100-80', 'h100-pcie', 'h100-sxm']

    Raises:
        UserError: there is none.
    """
    wanted = _plain(key)
    for card in CARDS:
        if wanted and any(_plain(name).startswith(wanted) for name in (card.key, card.name)):
            return card
    raise UserError(f"no figures are known for the GPU {key!r}", f"use one of {', '.join(c.key for c in CARDS)}")


def _plain(name: str) -> str:
    """A name without its maker, its line of products and its punctuation."""
    return re.sub(r"nvidia|geforce|rtx|[^a-z0-9]", "", name.lower())
