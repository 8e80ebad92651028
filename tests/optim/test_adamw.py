"""Steps that get into weights of 16 bits, against torch's own AdamW in float32."""

import pytest
import torch

from reinforce_lite.errors import UserError
from reinforce_lite.optim import adamw as module
from reinforce_lite.optim.adamw import SCHEMES, AdamW

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


def test_states_on_the_cpu_change_no_bit(monkeypatch: pytest.MonkeyPatch) -> None:
    """Every slice is a copy that has to be written back, on a CPU too."""
    monkeypatch.setattr(module, "SLICE", 256)
    beside, away = weights(torch.bfloat16, 1000), weights(torch.bfloat16, 1000)
    one, other = AdamW([beside], "master", 1e-3, **SETTINGS), AdamW([away], "offload", 1e-3, **SETTINGS)
    trained(beside, one, 5)
    trained(away, other, 5)
    assert torch.equal(beside, away)
    for name in ("exp_avg", "exp_avg_sq", "kept"):
        assert torch.equal(one.state[beside][name], other.state[away][name]) and one.state[beside][name].any()


@pytest.mark.gpu
@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA device")
def test_on_a_gpu_the_states_stay_on_the_cpu_in_locked_pages(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "SLICE", 256)
    beside, away = (weights(torch.bfloat16, 1000).detach().cuda().requires_grad_() for _ in range(2))
    one, other = AdamW([beside], "master", 1e-3, **SETTINGS), AdamW([away], "offload", 1e-3, **SETTINGS)
    for slope in gradients(5, 1000):
        for weight, optimizer in ((beside, one), (away, other)):
            weight.grad = slope.cuda()
            optimizer.step()
    assert torch.equal(beside, away)
    for name in ("exp_avg", "exp_avg_sq", "kept"):
        there = other.state[away][name]
        assert there.device.type == "cpu" and there.is_pinned()
        assert torch.equal(there, one.state[beside][name].cpu())


def test_eight_bits_keep_a_byte_an_average_and_a_scale_a_block() -> None:
    weight = weights(torch.bfloat16, 1000)
    optimizer = AdamW([weight], "8bit", 1e-3, **SETTINGS)
    trained(weight, optimizer, 1)
    sizes = {name: (value.dtype, len(value)) for name, value in optimizer.state[weight].items() if name != "step"}
    codes, scales = (torch.uint8, 1000), (torch.float32, 4)
    names = ("exp_avg", "exp_avg_sq")
    assert sizes == {**dict.fromkeys(names, codes), **{f"{name}_scale": scales for name in names}}


def fall_of_the_loss(weight: torch.Tensor, optimizer: torch.optim.Optimizer) -> float:
    """Loss after 60 steps over the loss before, of 16 neurons that should each add 4e-5 to the mean of 256 weights."""
    goal = weight.detach().float().view(16, 256).mean(1) + 4e-5
    losses = []
    for _ in range(61):
        loss = (weight.float().view(16, 256).mean(1) - goal).square().sum()
        losses.append(loss.item())
        (weight.grad,) = torch.autograd.grad(loss, weight)
        optimizer.step()
    return losses[-1] / losses[0]


def test_a_simple_loss_falls_in_float32_and_not_in_bfloat16() -> None:
    single, half = weights(torch.float32, 4096), weights(torch.bfloat16, 4096)
    assert fall_of_the_loss(single, torch.optim.AdamW([single], lr=1e-6)) < 0.02
    assert fall_of_the_loss(half, torch.optim.AdamW([half], lr=1e-6)) > 0.8


@pytest.mark.parametrize("scheme", SCHEMES)
def test_a_simple_loss_falls_by_every_scheme(scheme: str) -> None:
    weight = weights(torch.bfloat16, 4096)
    assert fall_of_the_loss(weight, AdamW([weight], scheme, 1e-6)) < 0.05


def test_what_kahan_keeps_and_the_weight_are_the_value_together() -> None:
    weight, kept, new = torch.ones(1, dtype=torch.bfloat16), torch.zeros(1, dtype=torch.bfloat16), torch.tensor([1.001])
    for _ in range(10):  # ten times 0.001 are 2.56 of the weight's last bits (1/128 above 1)
        value = SCHEMES["kahan"].read(weight, kept) + 0.001
        SCHEMES["kahan"].write(weight, kept, value, None)
    assert (weight.float() + kept.float()).item() == pytest.approx(1.01, abs=1e-4)
    assert weight.item() == 1 + 1 / 128
    assert new.bfloat16().item() == 1, "one step alone is lost"


@pytest.mark.parametrize("scheme", SCHEMES)
def test_slices_change_nothing_that_is_not_drawn(scheme: str, monkeypatch: pytest.MonkeyPatch) -> None:
    whole = weights(torch.bfloat16, 1000)
    trained(whole, AdamW([whole], scheme, 1e-3, **SETTINGS), 3)
    monkeypatch.setattr(module, "SLICE", 256)
    sliced = weights(torch.bfloat16, 1000)
    trained(sliced, AdamW([sliced], scheme, 1e-3, **SETTINGS), 3)
    # Elsewhere the draws fall on other weights.
    tolerance = {"master": 0, "offload": 0, "8bit": 0.04}.get(scheme, 0.02)
    torch.testing.assert_close(sliced, whole, rtol=tolerance, atol=tolerance * 0.01)


@pytest.mark.parametrize("scheme", SCHEMES)
def test_a_saved_state_goes_on_bit_for_bit(scheme: str) -> None:
    from reinforce_lite.learning.checkpoint import restore_optimizer

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
