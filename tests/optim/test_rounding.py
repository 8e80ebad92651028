"""Stochastic rounding to bfloat16 and to 8 bits."""

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from reinforce_lite.optim import rounding
from reinforce_lite.optim.rounding import BLOCK, code, levels, round_stochastically, round_to_nearest, uniform


def generator(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def encode(value: torch.Tensor, signed: bool, draws: torch.Generator) -> tuple[torch.Tensor, torch.Tensor]:
    noise = uniform(len(value), value.device, draws)
    return rounding.encode(value, signed, noise, code(signed, value.device))


def decode(codes: torch.Tensor, scales: torch.Tensor, signed: bool) -> torch.Tensor:
    return rounding.decode(codes, scales, code(signed, codes.device))


def there_and_back(value: torch.Tensor, signed: bool, seed: int = 0) -> torch.Tensor:
    return decode(*encode(value, signed, generator(seed)), signed)


@given(st.floats(-(2.0**126), 2.0**126, width=32).filter(lambda x: abs(x) > 1e-30))
def test_bfloat16_gives_one_of_the_two_neighbours(value: float) -> None:
    number = torch.tensor([value])
    toward_zero = (number.view(torch.int32) & -(2**16)).view(torch.float32)
    away = ((number.view(torch.int32) & -(2**16)) + 2**16).view(torch.float32)
    rounded = round_stochastically(number.repeat(64), generator()).float()
    assert ((rounded == toward_zero) | (rounded == away)).all()
    if number.item() == toward_zero.item():
        assert (rounded == number).all(), "what has a place is not moved"


def test_bfloat16_is_right_on_average() -> None:
    value = torch.full((200_000,), 1 + 0.3 / 128)
    rounded = round_stochastically(value, generator()).float()
    assert (rounded > 1).float().mean().item() == pytest.approx(0.3, abs=0.01)


def test_to_nearest_is_what_torch_does() -> None:
    """1 + 1/256 lies half-way between 1 and 1 + 1/128, and 1 + 3/256 between that and 1 + 1/64: both go to the even."""
    by_hand = {1 + 1 / 256: 1.0, 1 + 3 / 256: 1 + 1 / 64, 1.001: 1.0, -1.007: -1 - 1 / 128, 0.0: 0.0, 1e-40: 1e-40}
    value = torch.tensor([*by_hand])
    assert round_to_nearest(value).tolist() == torch.tensor([*by_hand.values()]).bfloat16().tolist()
    many = torch.randint(-(2**31), 2**31, (100_000,), generator=generator()).int().view(torch.float32)
    many = many[many.isfinite()]
    assert torch.equal(round_to_nearest(many), many.bfloat16())


def test_the_levels_by_hand() -> None:
    """127 from 2^-16 to 1 and 255 from 2^-32 to 1, each the same multiple of the one before."""
    for signed, count, octaves in ((True, 127, 16), (False, 255, 32)):
        known = levels(signed, torch.device("cpu")).double()
        assert len(known) == count + 1 and known[0] == 0 and known[1] == 2.0**-octaves and known[-1] == 1
        torch.testing.assert_close(
            known[2:] / known[1:-1], torch.full((count - 1,), 2.0 ** (octaves / (count - 1))).double()
        )


@pytest.mark.parametrize("signed", [True, False])
@pytest.mark.parametrize("size", [1, BLOCK - 1, BLOCK, 5 * BLOCK + 7])
def test_eight_bits_err_by_less_than_a_level(signed: bool, size: int) -> None:
    value = torch.randn(size, generator=generator(1)) * 10 ** torch.randn(size, generator=generator(2))
    value = value if signed else value.square()
    codes, scales = encode(value, signed, generator())
    assert codes.dtype == torch.uint8 and len(codes) == size and len(scales) == -(-size // BLOCK)
    back = decode(codes, scales, signed)
    largest = scales.repeat_interleave(BLOCK)[:size]
    smallest = largest * levels(signed, torch.device("cpu"))[1]
    assert ((back - value).abs() <= 0.0925 * value.abs() + smallest).all()
    assert (back * value >= 0).all(), "no sign is turned"


@given(st.integers(0, 2**32 - 1))
def test_what_has_a_code_is_not_moved(seed: int) -> None:
    for signed in (True, False):
        known = levels(signed, torch.device("cpu"))
        picked = known[torch.randint(len(known), (600,), generator=generator(seed))]
        picked[::BLOCK] = 1  # the scale of each block
        value = picked * (torch.randint(2, (600,), generator=generator(seed + 1)) * 2 - 1) if signed else picked
        assert torch.equal(there_and_back(value, signed), value)


@pytest.mark.parametrize("signed", [True, False])
@pytest.mark.parametrize("share", [0.9, 0.3, 1e-3, 2e-5])
def test_eight_bits_are_right_on_average(signed: bool, share: float) -> None:
    blocks = torch.full((400, BLOCK), -share if signed else share)
    blocks[:, 0] = 1
    back = there_and_back(3.7 * blocks.view(-1), signed).view(400, BLOCK)[:, 1:]
    assert len(back.unique()) == 2
    # 102,000 draws between two levels that lie 9% apart: a standard error below 0.0002 of the value.
    assert back.mean().item() == pytest.approx(3.7 * blocks[0, 1].item(), rel=8e-4)


def test_a_tiny_second_average_does_not_become_zero_and_zero_stays() -> None:
    value = torch.tensor([1.0, 1e-12, 1e-20, 0.0]).repeat_interleave(64)
    back = there_and_back(value, signed=False)
    assert (back[64:192] == 2.0**-32).all() and (back[192:] == 0).all()
    assert (there_and_back(torch.zeros(300), signed=False) == 0).all(), "a block that is all zero"
    assert (there_and_back(torch.zeros(300), signed=True) == 0).all()
    signed = there_and_back(torch.cat([torch.ones(1), torch.full((BLOCK - 1,), 2.0**-18)]).repeat(400), signed=True)
    tiny = signed.view(400, BLOCK)[:, 1:]
    assert set(tiny.unique().tolist()) == {0.0, 2.0**-16} and tiny.mean().item() == pytest.approx(2.0**-18, rel=0.02)


def test_small_steps_of_an_average_are_not_lost() -> None:
    """After 2,000 steps of 0.001 towards 1 an average that began at 4 is where float32 is: no level is that fine."""
    exact = torch.full((64 * BLOCK,), 4.0)
    exact[::BLOCK] = 16.0  # one in each block sets the scale
    kept, draw = encode(exact, False, generator()), generator(1)
    for _ in range(2000):
        exact = exact * 0.999 + 0.001
        kept = encode(decode(*kept, False) * 0.999 + 0.001, False, draw)
    ratio = decode(*kept, False) / exact
    assert ratio.mean().item() == pytest.approx(1, abs=0.01)
    assert ratio.std().item() < 0.3
