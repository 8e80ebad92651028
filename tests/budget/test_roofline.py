"""Seconds computed from a data sheet, against what was measured on one card, and by hand."""

import pytest

from reinforce_lite.budget import roofline
from reinforce_lite.budget.cards import CARDS, Card, find
from reinforce_lite.budget.roofline import Roofline
from reinforce_lite.errors import UserError

H200 = Card("h200", "NVIDIA H200", 141, 4800, 989.4, 64, (1, 1), "nobody")
LLAMA, PHI = Roofline(H200, 3.21e9, 112), Roofline(H200, 3.82e9, 384)


def test_the_shares_give_back_what_was_measured_on_the_h200() -> None:
    # 80 rows of 256 tokens after prompts of 128: 256 on average.
    assert 80 / LLAMA.position("vllm", 80, 256) == pytest.approx(16_538, rel=0.02)
    assert 80 / LLAMA.position("generate", 80, 256) == pytest.approx(3_543, rel=0.02)
    # 320 rows of 512 tokens: 256 of them, then the other 64.
    seconds = 512 * (LLAMA.position("vllm", 256, 384) + LLAMA.position("vllm", 64, 384))
    assert seconds == pytest.approx(8.97, rel=0.02)
    assert 30_720 * LLAMA.update_token(recomputed=True) == pytest.approx(1.759, rel=0.02)
    assert 30_720 * LLAMA.update_token(recomputed=False) == pytest.approx(1.327, rel=0.02)
    # Of both models the slower one sets the share.
    assert PHI.optimiser("stochastic") == pytest.approx(0.1126, rel=0.02)
    assert LLAMA.optimiser("8bit") == pytest.approx(0.1736, rel=0.02)


def test_a_public_figure_of_another_card() -> None:
    qwen = Roofline(find("a6000"), 7.6e9, 56)
    assert 256 / qwen.position("vllm", 256, 500) == pytest.approx(4_040, rel=0.02)


ROUND = Card("round", "a card of round figures", 48, 1000, 100, 50, (1, 2), "nobody")


def test_by_hand() -> None:
    at = Roofline(ROUND, 1e9, 100)
    # 2 GB of weights and 10 rows x 1,000 tokens x 102,400 bytes = 1.024 GB at 800 GB/s, and 10 x 32 us.
    assert at.position("vllm", 10, 1000) == pytest.approx(3.024e9 / 800e9 + 320e-6)
    assert at.position("generate", 10, 1000) == pytest.approx(3.024e9 / 80e9)
    # 1,000 rows of 10 tokens: 2e12 operations at 45 TFLOPS take 44 ms, and 3.024 GB less than 4.
    assert at.position("vllm", 1000, 10) == pytest.approx(2 / 45 + 0.032)
    assert at.optimiser("stochastic") == pytest.approx(22 / 155)
    # offload: 4 GB on the card at 100 GB/s, 24 GB over half of 50 GB/s.
    assert at.optimiser("offload") == pytest.approx(0.04 + 24 / 25)
    # Two passes over 1,000 tokens, 4e12 operations at 45 TFLOPS, and four copies of 2 GB at 3 GB/s.
    assert at.drift(1000) == pytest.approx(4 / 45 + 8 / 3)


def test_writing_by_hand() -> None:
    at = Roofline(ROUND, 1e9, 100)
    # 8 rows, 4 side by side: two turns of 100 tokens, then 0.4 rows for 50 more; 2 prompts of 10 are read.
    full, few = at.position("vllm", 4, 60), at.position("vllm", 0.4, 110)
    read = 2 * 10 * 2e9 / 45e12
    assert at.writing("vllm", 8, 4, 2, (100, 150), 10) == pytest.approx(read + 200 * full + 50 * few)
    # Another engine waits for the last row of each turn.
    full, few = at.position("generate", 4, 60), at.position("generate", 0.4, 110)
    assert at.writing("generate", 8, 4, 2, (100, 150), 10) == pytest.approx(read + 200 * full + 100 * few)
    assert at.writing("vllm", 3, 4, 1, (100, 100), 0) == pytest.approx(100 * at.position("vllm", 3, 50))


def test_cards_and_shapes_are_found_or_said_to_be_assumed() -> None:
    assert len({card.key for card in CARDS}) == len(CARDS) and all(
        c.usd_per_hour[0] <= c.usd_per_hour[1] for c in CARDS
    )
    assert find("H100-SXM") is find("nvidia h100 sxm")
    with pytest.raises(UserError, match=r"GPU 'abacus'(?s:.*)use one of a6000, 4090"):
        find("abacus")
    assert roofline.cache_kib("meta-llama/Llama-3.2-3B-Instruct", 3.21e9) == (112, True)
    assert roofline.cache_kib(None, 2e9) == (200, False)
