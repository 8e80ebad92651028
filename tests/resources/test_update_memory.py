"""The peak of an update by arithmetic, against the peaks that were measured."""

import pytest

from reinforce_lite.resources.memory import BYTES, Scheme, Shape, shape_of, update_bytes

LLAMA, PHI = Shape(28, 3072, 128_256), Shape(32, 3072, 32_064)
WEIGHTS = {LLAMA: 3_212_749_824, PHI: 3_821_079_552}
CHUNK = 1024
# benchmarks/memory.py on an H200, tree 86ae0d2: one row of 256 tokens and a completion at a time.
ROWS: list[tuple[Shape, Scheme, int, int]] = [
    (LLAMA, "8bit", 1024, 21_813_922_816),
    (LLAMA, "8bit", 4096, 23_218_962_944),
    (LLAMA, "stochastic", 1024, 40_993_226_752),
    (LLAMA, "stochastic", 4096, 42_393_077_248),
    (PHI, "8bit", 1024, 24_124_511_744),  # the step into 8 bits took 1.07 GB then, which is more than this update
    (PHI, "8bit", 4096, 24_832_751_616),
    (PHI, "stochastic", 1024, 46_740_233_728),
    (PHI, "stochastic", 4096, 47_635_454_976),
]


@pytest.mark.parametrize(("shape", "scheme", "length", "peak"), ROWS)
def test_the_measured_peaks_of_single_rows(shape: Shape, scheme: Scheme, length: int, peak: int) -> None:
    state = WEIGHTS[shape] * BYTES[scheme]
    assert state + update_bytes(shape, 256 + length, length, CHUNK) == pytest.approx(peak, rel=0.01)
    # What is made of the number of weights alone has Llama's vocabulary.
    general = state + update_bytes(shape_of(WEIGHTS[shape]), 256 + length, length, CHUNK)
    assert 0.999 < general / peak < (1.001 if shape is LLAMA else 1.09)


@pytest.mark.parametrize(
    ("scheme", "recomputed", "tokens", "chosen", "peak"),
    [
        ("stochastic", True, 42 * 384, 42 * 256, 44_409_701_376),
        ("8bit", True, 42 * 384, 42 * 256, 25_271_404_032),
        # Prompts are shared then: 60 completions of 256 tokens and 6 prompts of 128.
        ("stochastic", False, 60 * 256 + 6 * 128, 60 * 256, 101_250_512_896),
    ],
)
def test_the_measured_peaks_of_full_micro_batches(
    scheme: Scheme, recomputed: bool, tokens: int, chosen: int, peak: int
) -> None:
    """80 rows of 384 tokens in micro-batches of 16,384."""
    state = WEIGHTS[LLAMA] * BYTES[scheme]
    assert state + update_bytes(LLAMA, tokens, chosen, CHUNK, recomputed=recomputed) == pytest.approx(peak, rel=0.02)


def test_one_peak_by_hand() -> None:
    """Llama, 4,096 tokens: 28 x 3072 x 2 bytes for each of 4,352; and the head.

    Four float32 copies of 1,024 rows of logits, five of 4,096 hidden states, and a gradient of the head.
    """
    states, logits, hidden, head = 0.7487e9, 2.1013e9, 0.1258e9, 0.7880e9
    found = update_bytes(LLAMA, 4352, 4096, CHUNK)
    assert found == pytest.approx(states + logits + hidden + head + 0.075e9, rel=1e-3)
    assert update_bytes(LLAMA, 1280, 1024, CHUNK) == pytest.approx(0.2202e9 + 2.1013e9 + 0.0315e9 + 0.075e9, rel=1e-3)
    # 16,384 tokens: one layer of 53 x 3072 bytes a token is more than the head, and the head's gradient waits.
    whole = update_bytes(LLAMA, 16_384, 16_384 * 0.8, CHUNK)
    assert whole == pytest.approx(2.8186e9 + 2.6676e9 + 0.7880e9 + 0.075e9, rel=1e-3)


def test_a_small_model_has_no_vocabulary_of_llamas() -> None:
    tiny = shape_of(0.9e6)
    assert tiny.vocabulary * tiny.hidden <= 0.9e6
    assert update_bytes(tiny, 2048, 300, CHUNK, itemsize=4, recomputed=False) < 0.3e9
