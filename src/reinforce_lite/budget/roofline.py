"""Seconds of what a model does on a GPU that is not here, from the GPU's data sheet.

The shares of bandwidth and arithmetic were measured on one NVIDIA H200 (4,800 GB/s, 989 TFLOPS) with random weights of
the 3B shapes: on 2026-11-26 (tree 86ae0d2), and those of optimiser steps on 2026-11-27 (benchmarks/results/gpu). They
are taken to hold for other cards and models. One figure from elsewhere: Qwen2.5-7B in vLLM on an A6000, 256 rows side
by side, 4,040 tokens/s reported; these shares give 3,990 at a length of 500.
What nobody has measured is called assumed.
"""

from dataclasses import dataclass

from reinforce_lite.budget.cards import Card

BANDWIDTH = 0.80
"""Of the data sheet's bandwidth: a copy reached 3.82 to 3.94 of 4.8 TB/s."""
ARITHMETIC = 0.45
"""Of the dense bfloat16 peak: an update of 30,720 tokens in 1.76 s, 8 operations a weight and token since activations
are recomputed; in 1.33 s, the same share, with 6 where they are kept. (Counted as 6 in both it is 34% and 45%.)"""
ROW_SECONDS = 32e-6
"""Of vLLM for each row and token, beside what bandwidth or arithmetic allow: a token step of 80 rows took 4.84 ms, and
the bandwidth allows 2.30; 320 rows of 512 tokens, 256 at once, took 8.97 s, and it allows 3.61."""
GENERATE = 0.08
"""Of the data sheet's bandwidth, what `generate` reaches: 3,543 tokens/s at 80 rows, a tenth of the bound."""
OPTIMISER = {"8bit": 0.038, "stochastic": 0.155}
"""Of the data sheet's bandwidth, what an optimiser step reaches with the slower one of two models: `8bit` 0.174 s for
3.21e9 weights (0.087 s for 3.82e9), `stochastic` 0.113 s for 3.82e9 (0.064 s for 3.21e9)."""
OPTIMISER_ELSE = 0.10
"""The same of the other schemes: assumed. `stochastic` reached it before its step was compiled."""
STEP_BYTES = {"master": 28, "stochastic": 22, "kahan": 18, "8bit": 10, "offload": 4, "nearest": 14, "lora": 0}
"""Moved on the device for each weight in a step (optim/adamw.py): the gradient is read, the weight and what is kept
beside it are read and written."""
LINK_BYTES = {"offload": 24}
"""Moved between the device and the CPU's memory: 12 bytes a weight both ways."""
LINK, PAGEABLE_GB_S = 0.5, 3.0
"""Of the link's speed, what such a step reaches; GB/s of other copies of weights to the CPU and back: assumed."""
PROMPT, ANSWER = 130.0, 250.0
"""Tokens of a tagged question of GSM8K (380 characters at 4.2 a token, and a chat template: computed), and of an answer
(assumed, unless told)."""
STILL_WRITTEN = 0.1
"""Share of the rows that go on to the token limit when the others have reached the mean length: assumed."""
CACHE_KIB = {
    "meta-llama/Llama-3.2-3B-Instruct": 112.0, "microsoft/Phi-3.5-mini-instruct": 384.0,
    "Qwen/Qwen2.5-0.5B": 12.0, "Qwen/Qwen2.5-3B": 36.0, "Qwen/Qwen2.5-3B-Instruct": 36.0,
    "Qwen/Qwen2.5-7B-Instruct-1M": 56.0,
}  # fmt: skip
"""Keys and values of one token: layers x key-value heads x size of a head x 2 x 2 bytes."""
CACHE_KIB_ELSE = 100.0
"""The same for each 1e9 weights of a model that is not known: about Phi's, which has more than most."""


def cache_kib(repo: str | None, weights: float) -> tuple[float, bool]:
    """(KiB of keys and values of one token, whether that is known and not assumed)."""
    known = CACHE_KIB.get(str(repo))
    return (CACHE_KIB_ELSE * weights / 1e9, False) if known is None else (known, True)


@dataclass(frozen=True)
class Roofline:
    """A model in bfloat16 on a card.

    Attributes:
        card: which.
        weights: how many.
        kib: keys and values of one token.
    """

    card: Card
    weights: float
    kib: float

    def arithmetic(self, operations: float) -> float:
        """Seconds of so many operations for each weight."""
        return operations * self.weights / (ARITHMETIC * 1e12 * self.card.tflops)

    def position(self, engine: str, rows: float, context: float) -> float:
        """Seconds of one more token in each of so many rows, which have so many tokens already."""
        moved = (2 * self.weights + rows * context * 1024 * self.kib) / (1e9 * self.card.bandwidth_gb_s)
        if engine != "vllm":
            return moved / GENERATE
        return max(moved / BANDWIDTH, self.arithmetic(2 * rows)) + ROW_SECONDS * rows

    def writing(
        self, engine: str, rows: float, at_once: float, prompts: float, lengths: tuple[float, float], prompt: float
    ) -> float:
        """Seconds for so many rows of these (mean, longest) tokens.

        Args:
            engine: `vllm` puts a new row in the place of one that has ended; any other one waits for the last.
            rows: how many, in all.
            at_once: most of them side by side.
            prompts: how many different ones.
            lengths: (mean, longest) tokens of a row.
            prompt: tokens of a prompt.
        """
        mean, longest = lengths
        turns = max(1.0, rows / at_once)
        together, few = rows / turns, STILL_WRITTEN * rows / turns
        until_mean = turns * mean * self.position(engine, together, prompt + mean / 2)
        after = (longest - mean) * self.position(engine, few, prompt + mean)
        return self.arithmetic(2 * prompt * prompts) + until_mean + after * (1 if engine == "vllm" else turns)

    def update_token(self, recomputed: bool) -> float:
        """Seconds of forward and backward pass for each token that carries a gradient."""
        return self.arithmetic(8 if recomputed else 6)

    def optimiser(self, scheme: str) -> float:
        """Seconds of one step."""
        on_card = STEP_BYTES[scheme] / (OPTIMISER.get(scheme, OPTIMISER_ELSE) * self.card.bandwidth_gb_s)
        return 1e-9 * self.weights * (on_card + LINK_BYTES.get(scheme, 0) / (LINK * self.card.link_gb_s))

    def drift(self, tokens: float) -> float:
        """Seconds to measure drift over so many tokens: two forward passes.

        Four copies of the weights too: the start's to the card and back, the present ones kept, and compared.
        """
        return self.arithmetic(4 * tokens) + 4 * 2e-9 * self.weights / PAGEABLE_GB_S


def shares() -> str:
    """What the figures are computed with, for people."""
    return (
        f"Computed, not measured: {BANDWIDTH:.0%} of the data sheet's bandwidth or {ARITHMETIC:.0%} of its dense "
        f"bfloat16 peak, whichever takes longer, and in vLLM {1e6 * ROW_SECONDS:.0f} us a row and token; generate "
        f"{GENERATE:.0%} of the bandwidth; an optimiser step {OPTIMISER['stochastic']:.0%} of it "
        f"(8bit {OPTIMISER['8bit']:.1%}; schemes not measured: {OPTIMISER_ELSE:.0%}). These shares were measured on "
        "one H200 (2026-11, random weights of the 3B shapes), and are taken to hold for other cards and models."
    )
