"""What fits a card: the search, and an update that has no memory and leaves nothing behind."""

from dataclasses import replace

import memory
import pytest
import torch
from live import Live
from memory import SCHEMES, Updates, largest, on_cpu, training
from shapes import SHAPES, build

from reinforce_lite.policy import Policy

LENGTHS = range(256, 2049, 256)
SHAPE = replace(SHAPES["small"]["small-llama"], layers=1)


@pytest.mark.parametrize("room", [0, 255, 256, 700, 2047, 2048, 9999])
def test_the_largest_length_is_that_of_trying_all(room: int) -> None:
    asked = []

    def fits(length: int) -> bool:
        asked.append(length)
        return length <= room

    assert largest(fits, LENGTHS) == max((length for length in LENGTHS if length <= room), default=None)
    assert len(asked) <= 4 and len(set(asked)) == len(asked)


def test_an_update_without_memory_does_not_fit_and_drops_its_gradients(monkeypatch: pytest.MonkeyPatch) -> None:
    policy = build(SHAPE, "cpu")
    updates = Updates(policy, training("stochastic", "small"), 16)
    assert updates.fits(32)

    def half(policy: Policy, *rest: object) -> None:
        for weight in policy.model.parameters():
            weight.grad = torch.ones_like(weight)
        raise torch.OutOfMemoryError("CUDA out of memory")

    with monkeypatch.context() as patch:
        patch.setattr(memory, "gradient", half)
        assert not updates.fits(32)
    assert all(weight.grad is None for weight in policy.model.parameters())
    assert updates.fits(32)


def test_every_scheme_is_measured_and_a_longer_completion_needs_more() -> None:
    for scheme in SCHEMES:
        # The longer one must need more than the optimiser's own copies do, which are the same for both.
        short, long = on_cpu("small", SHAPE, scheme, [64, 4096])["lengths"]
        assert 0 < short["peak_bytes"] < long["peak_bytes"], scheme


def test_the_peak_starts_anew() -> None:
    with Live() as live:
        kept, _ = torch.zeros(1000), torch.zeros(5000)
        del _
        assert live.peak == 24_000
        live.restart()
        assert live.peak == live.bytes == 4000
    assert len(kept) == 1000
