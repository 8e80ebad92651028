"""Peak memory of one update by completion length and weight scheme, and the longest completion that fits a card.

    python benchmarks/memory.py                 # small shapes, on a CPU too
    python benchmarks/memory.py --shape 3b      # Llama-3.2-3B and Phi-3.5-mini, random weights: for a GPU

An update is weights, gradients, what the optimiser keeps, the backward pass and the step. The rollout is left out: it
comes before, and its cache is freed. Two completions of one length go through one by one (the second meets the
gradients of the first), after a short update that makes the optimiser's state. On a GPU the peak is the allocator's,
and a card is played by capping the allocator at its 10^9-byte gigabytes; on a CPU the peak is that of all tensors, by a
hook, and no card is played. The table goes to stderr; the last line of stdout is one JSON object, also written to
benchmarks/results.
"""

import gc
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any, get_args

import torch
from live import Live
from record import finish, made_with, output_arguments
from shapes import SHAPES, Shape, build
from worlds import device

from reinforce_lite.config import Training
from reinforce_lite.learning.batching import Sample
from reinforce_lite.learning.loop import prepare
from reinforce_lite.learning.update import descend, gradient
from reinforce_lite.optim.optimizer import optimizer_for
from reinforce_lite.policy import Policy
from reinforce_lite.policy.load import expandable_segments
from reinforce_lite.resources.memory import Scheme
from reinforce_lite.rollout import Completion

LENGTHS = {"3b": (1024, 4096, 8192), "small": (256, 512, 1024, 2048)}
SCHEMES = get_args(Scheme)
CARDS = (24, 48, 80)
GRID = 256
"""The longest completion is told in steps of so many tokens."""
PROMPT = {"3b": 256, "small": 16}
CHUNK = {"3b": 1024, "small": 32}
WARM_UP = 16


class Updates:
    """Updates of one policy under one scheme.

    Args:
        policy: random weights.
        training: the update.
        prompt: tokens of each prompt.
    """

    def __init__(self, policy: Policy, training: Training, prompt: int) -> None:
        prepare(policy, training, 0)
        policy.model.train()
        self._policy, self._training, self._prompt = policy, training, prompt
        self._optimizer = optimizer_for(policy.model, training, 0)
        self(WARM_UP)

    def __call__(self, length: int) -> None:
        """One update on two completions of this length."""
        ids = (torch.arange(self._prompt + length) % self._policy.model.config.vocab_size).tolist()
        written = Completion(ids[: self._prompt], ids[self._prompt :], [-9.0] * length, "length")
        samples = [Sample(written, 1.0), Sample(written, -0.5)]
        descend(self._optimizer, gradient(self._policy, samples, len(samples), self._training))

    def fits(self, length: int) -> bool:
        """Whether there is memory for this length; if not, what was half done is dropped."""
        try:
            self(length)
        except torch.OutOfMemoryError:
            fitted = False  # the error holds on to tensors until the clause has ended
        else:
            fitted = True
        if not fitted:
            self._policy.model.zero_grad(set_to_none=True)
            gc.collect()
            torch.cuda.empty_cache()
        return fitted


def largest(fits: Callable[[int], bool], lengths: Sequence[int]) -> int | None:
    """The largest of rising lengths that fits, the longest first, then by halving; None if not even the first does.

    >>> largest(lambda length: length <= 700, range(256, 2049, 256))
    512
    """
    if not lengths or fits(lengths[-1]):
        return lengths[-1] if lengths else None
    low, high = 0, len(lengths) - 1  # the first `low` lengths fit, those from `high` on do not
    while low < high:
        middle = (low + high) // 2
        if fits(lengths[middle]):
            low = middle + 1
        else:
            high = middle
    return lengths[low - 1] if low else None


@contextmanager
def card(gigabytes: int) -> Iterator[None]:
    """Inside, the GPU has no more memory than this."""
    torch.cuda.empty_cache()
    torch.cuda.set_per_process_memory_fraction(gigabytes * 1e9 / torch.cuda.mem_get_info()[1])
    try:
        yield
    finally:
        torch.cuda.set_per_process_memory_fraction(1.0)


def training(scheme: str, shape: str) -> Training:
    """An update whose forward passes hold one completion each."""
    return Training.model_validate(
        {"steps": 1, "questions_per_step": 1, "max_new_tokens": 1, "learning_rate": 1e-6, "weights": scheme,
         "micro_batch_tokens": 1, "logprob_chunk_tokens": CHUNK[shape]}
    )  # fmt: skip


def on_gpu(shape: str, model: Shape, scheme: str, lengths: Sequence[int], cards: Sequence[int]) -> dict[str, Any]:
    """Peaks by length, and the longest completion by card; None where there is no memory, or no such card to play."""
    try:
        updates = Updates(build(model, "cuda"), training(scheme, shape), PROMPT[shape])
    except torch.OutOfMemoryError:
        return {"lengths": [], "longest": dict.fromkeys(map(str, cards))}
    rows = []
    for length in lengths:
        torch.cuda.reset_peak_memory_stats()
        began = time.perf_counter()
        fitted = updates.fits(length)
        torch.cuda.synchronize()
        seconds = time.perf_counter() - began
        peak = torch.cuda.max_memory_allocated()
        rows.append({"length": length, "peak_bytes": peak if fitted else None, "seconds": seconds if fitted else None})
    grid = range(GRID, max(lengths) + 1, GRID)
    longest: dict[str, int | None] = {}
    for gigabytes in cards:
        longest[str(gigabytes)] = None
        if gigabytes * 1e9 <= torch.cuda.mem_get_info()[1]:
            with card(gigabytes):
                longest[str(gigabytes)] = largest(updates.fits, grid)
    return {"lengths": rows, "longest": longest}


def on_cpu(shape: str, model: Shape, scheme: str, lengths: Sequence[int]) -> dict[str, Any]:
    """Peaks by length."""
    rows = []
    with Live() as live:
        updates = Updates(build(model, "cpu"), training(scheme, shape), PROMPT[shape])
        for length in lengths:
            gc.collect()
            live.restart()
            updates(length)
            rows.append({"length": length, "peak_bytes": live.peak})
    return {"lengths": rows, "longest": None}


def measure(shape: str, schemes: Sequence[str], lengths: Sequence[int], cards: Sequence[int]) -> list[dict[str, Any]]:
    """Every model of a shape under every scheme."""
    found = []
    for name, model in SHAPES[shape].items():
        for scheme in schemes:
            peaks = (
                on_gpu(shape, model, scheme, lengths, cards)
                if device() == "cuda"
                else on_cpu(shape, model, scheme, lengths)
            )
            gc.collect()
            torch.cuda.empty_cache()
            found.append({"model": name, "weights": scheme, **peaks})
            print(line(found[-1]), file=sys.stderr, flush=True)
    return found


def line(row: dict[str, Any]) -> str:
    """One row of the table."""
    peaks = "  ".join(
        f"{at['length']}: " + ("out of memory" if at["peak_bytes"] is None else f"{at['peak_bytes'] / 1e9:.3g} GB")
        for at in row["lengths"]
    )
    longest = ", ".join(f"{card} GB: {length or 'no'}" for card, length in (row["longest"] or {}).items())
    return f"{row['model']:<14} {row['weights']:<12} {peaks}" + (f"  longest on {longest}" if longest else "")


def main() -> None:
    """Measure, print and write; see the top of this file."""
    parser = output_arguments(__doc__, "memory.json")
    parser.add_argument("--shape", choices=SHAPES, default="small")
    parser.add_argument("--schemes", nargs="+", choices=SCHEMES, default=SCHEMES)
    parser.add_argument("--lengths", type=int, nargs="+", help="tokens of a completion, rising")
    parser.add_argument("--cards", type=int, nargs="*", default=CARDS, help="GB")
    given = parser.parse_args()
    lengths = sorted(given.lengths or LENGTHS[given.shape])
    if device() == "cuda":
        expandable_segments()
    rows = measure(given.shape, given.schemes, lengths, given.cards)
    fixed = {"device": device(), "prompt_tokens": PROMPT[given.shape], "chunk_tokens": CHUNK[given.shape]}
    finish(given.output, {**made_with(), "shape": given.shape, **fixed, "updates": rows})


if __name__ == "__main__":
    main()
