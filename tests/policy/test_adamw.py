"""Steps that get into weights of 16 bits, against torch's own AdamW in float32."""

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from reinforce_lite.errors import UserError
from reinforce_lite.policy import adamw as module
from reinforce_lite.policy.adamw import SCHEMES, AdamW, round_stochastically

SETTINGS = {"weight_decay": 0.1, "betas": (0.9, 0.99)}


def weights(dtype: torch.dtype, size: int = 20_000) -> torch.Tensor:
    values = 0.02 * torch.randn(size, generator=torch.Generator().manual_seed(0))
    return values.bfloat16().to(dtype).requires_grad_()


def gradients(steps: int, size: int = 20_000) -> list[torch.Tensor]:
    """With a direction of their own for each weight, so that many small steps add up."""
    generator = torch.Generator().manual_seed(1)
    bias = torch.randn(size, generator=generator)
    return [(bias + torch.randn(size, generator=generator)).bfloat16() for _ in range(steps)]


def trained(weight: torch.Tensor, optimizer: torch.optim.Optimizer, steps: int) -> torch.Tensor:
    before = weight.detach().float().clone()
    for gradient in gradients(steps, weight.numel()):
        weight.grad = gradient.to(weight.dtype)
        optimizer.step()
    return weight.detach().float() - before


@pytest.fixture(scope="module")
def exact() -> torch.Tensor:
    """How far float32 weights move in 100 steps at a learning rate of 1e-6."""
    weight = weights(torch.float32)
    return trained(weight, torch.optim.AdamW([weight], lr=1e-6, **SETTINGS), 100)


def share_of(exact: torch.Tensor, moved: torch.Tensor) -> float:
    """How much of the way was gone, over all weights: 1 for all of it."""
    return float((exact * moved).sum() / (exact * exact).sum())


def test_rounded_to_nearest_most_of_the_way_is_lost(exact: torch.Tensor) -> None:
    weight = weights(torch.bfloat16)
    moved = trained(weight, torch.optim.AdamW([weight], lr=1e-6, **SETTINGS), 100)
    assert share_of(exact, moved) < 0.5


@pytest.mark.parametrize("scheme", SCHEMES)
def test_no_scheme_loses_the_way(exact: torch.Tensor, scheme: str) -> None:
    weight = weights(torch.bfloat16)
    optimizer = AdamW([weight], scheme, 1e-6, **SETTINGS)
    moved = trained(weight, optimizer, 100)
    assert share_of(exact, moved) == pytest.approx(1, abs=0.1)


def test_the_master_copy_is_torchs_own_adamw() -> None:
    ours, theirs = weights(torch.bfloat16), weights(torch.float32)
    optimizer = AdamW([ours], "master", 1e-3, **SETTINGS)
    trained(ours, optimizer, 20)
    trained(theirs, torch.optim.AdamW([theirs], lr=1e-3, **SETTINGS), 20)
    torch.testing.assert_close(optimizer.state[ours]["kept"], theirs.detach(), rtol=1e-5, atol=1e-7)
    assert torch.equal(ours, optimizer.state[ours]["kept"].bfloat16())


def test_what_kahan_keeps_and_the_weight_are_the_value_together() -> None:
    weight, kept, new = torch.ones(1, dtype=torch.bfloat16), torch.zeros(1, dtype=torch.bfloat16), torch.tensor([1.001])
    for _ in range(10):  # ten times 0.001 are 2.56 of the weight's last bits (1/128 above 1)
        value = SCHEMES["kahan"].read(weight, kept) + 0.001
        SCHEMES["kahan"].write(weight, kept, value, torch.Generator())
    assert (weight.float() + kept.float()).item() == pytest.approx(1.01, abs=1e-4)
    assert weight.item() == 1 + 1 / 128
    assert new.bfloat16().item() == 1, "one step alone is lost"


@given(st.floats(-(2.0**126), 2.0**126, width=32).filter(lambda x: abs(x) > 1e-30))
def test_stochastic_rounding_gives_one_of_the_two_neighbours(value: float) -> None:
    number = torch.tensor([value])
    toward_zero = (number.view(torch.int32) & -(2**16)).view(torch.float32)
    away = ((number.view(torch.int32) & -(2**16)) + 2**16).view(torch.float32)
    rounded = round_stochastically(number.repeat(64), torch.Generator().manual_seed(0)).float()
    assert ((rounded == toward_zero) | (rounded == away)).all()
    if number.item() == toward_zero.item():
        assert (rounded == number).all(), "what has a place is not moved"


def test_stochastic_rounding_is_right_on_average() -> None:
    value = torch.full((200_000,), 1 + 0.3 / 128)
    rounded = round_stochastically(value, torch.Generator().manual_seed(0)).float()
    assert (rounded > 1).float().mean().item() == pytest.approx(0.3, abs=0.01)


@pytest.mark.parametrize("scheme", SCHEMES)
def test_slices_change_nothing_that_is_not_drawn(scheme: str, monkeypatch: pytest.MonkeyPatch) -> None:
    whole = weights(torch.bfloat16, 1000)
    trained(whole, AdamW([whole], scheme, 1e-3, **SETTINGS), 3)
    monkeypatch.setattr(module, "SLICE", 64)
    sliced = weights(torch.bfloat16, 1000)
    trained(sliced, AdamW([sliced], scheme, 1e-3, **SETTINGS), 3)
    tolerance = 0 if scheme == "master" else 0.02  # elsewhere the draws fall on other weights
    torch.testing.assert_close(sliced, whole, rtol=tolerance, atol=tolerance * 0.01)


@pytest.mark.parametrize("scheme", SCHEMES)
def test_a_saved_state_goes_on_bit_for_bit(scheme: str) -> None:
    from reinforce_lite.policy.checkpoint import restore_optimizer

    whole, first = weights(torch.bfloat16, 1000), weights(torch.bfloat16, 1000)
    one, other = AdamW([whole], scheme, 1e-3, **SETTINGS), AdamW([first], scheme, 1e-3, **SETTINGS)
    slopes = gradients(6, 1000)
    for optimizer, weight, some in ((one, whole, slopes), (other, first, slopes[:3])):
        for slope in some:
            weight.grad = slope.clone()
            optimizer.step()
    second = first.detach().clone().requires_grad_()
    resumed = AdamW([second], scheme, 1e-3, **SETTINGS)
    restore_optimizer(resumed, other.state_dict())
    for slope in slopes[3:]:
        second.grad = slope.clone()
        resumed.step()
    assert torch.equal(whole, second)


def test_a_state_of_another_scheme_is_refused() -> None:
    one = AdamW([weights(torch.bfloat16)], "kahan", 1e-3)
    with pytest.raises(UserError, match=r"scheme kahan, this one by master\n  fix: set training\.weights: kahan"):
        AdamW([weights(torch.bfloat16)], "master", 1e-3).load_state_dict(one.state_dict())
