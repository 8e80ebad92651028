"""The optimiser and its schedule."""

from typing import Any, Literal

import torch

from reinforce_lite.config import Training
from reinforce_lite.io.instructions import are_common
from reinforce_lite.optim.adamw import SCHEMES, AdamW


def adamw(
    model: Any, *, learning_rate: float, weight_decay: float = 0.0, betas: tuple[float, float] = (0.9, 0.999)
) -> torch.optim.AdamW:
    """AdamW of torch over all trainable weights, states in the precision of the weights."""
    weights = [weight for weight in model.parameters() if weight.requires_grad]
    # Fused, it needs no copy of all weights while it steps; on the CPU that is no matter, but its square root is the
    # CPU's own there, and not MKL's, which even in its compatible mode is another one on CPUs of another maker.
    fused = all(weight.is_cuda for weight in weights) or are_common()
    return torch.optim.AdamW(weights, lr=learning_rate, weight_decay=weight_decay, betas=betas, fused=fused)


def optimizer_for(model: Any, settings: Training, seed: int) -> torch.optim.Optimizer:
    """The optimiser of a training; torch's own AdamW for float32 weights, which lose no steps, and for `nearest`."""
    if settings.weights in SCHEMES and next(model.parameters()).dtype == torch.bfloat16:
        weights = [weight for weight in model.parameters() if weight.requires_grad]
        return AdamW(weights, settings.weights, settings.learning_rate, settings.weight_decay, seed=seed)
    return adamw(model, learning_rate=settings.learning_rate, weight_decay=settings.weight_decay)


def learning_rate(peak: float, kind: Literal["constant", "linear"], step: int, steps: int, warmup: int = 0) -> float:
    """The learning rate of step `step` of `steps`: linear warm-up, then constant or a straight line towards 0.

    A function of the step alone, so that there is no scheduler whose state could be lost.

    >>> [learning_rate(1.0, "linear", step, steps=4, warmup=2) for step in range(4)]
    [0.5, 1.0, 1.0, 0.5]
    """
    if step < warmup:
        return peak * (step + 1) / warmup
    return peak if kind == "constant" else peak * (steps - step) / max(1, steps - warmup)


def set_learning_rate(optimizer: torch.optim.Optimizer, rate: float) -> None:
    """Use `rate` for the next step of every group of weights, or its own multiple of it."""
    for group in optimizer.param_groups:
        group["lr"] = rate * group.get("lr_times", 1)
