"""How a step gets into weights of 16 bits: which scheme fits the device. The schemes are in policy/adamw.py."""

from typing import Literal

from reinforce_lite.settings import Hardware, PolicySettings, Settings, Training

Scheme = Literal["nearest", "master", "stochastic", "kahan"]

BYTES: dict[Scheme, int] = {"master": 16, "stochastic": 12, "kahan": 10, "nearest": 8}
"""Of one bfloat16 weight with its gradient, its two averages and what is kept beside it; the best scheme first."""
FLOAT32_BYTES = 16
SHARE = 0.75
"""Of the device's memory for all that; the rest is for activations, logits and the cache of a rollout."""
GIB = 2**30


def scheme(policy: PolicySettings, training: Training, hardware: Hardware) -> Scheme:
    """The scheme for a policy: as `training.weights` says, or the best that fits.

    float32 weights need none, so theirs is `nearest`. What fits nowhere gets the smallest that loses no steps; whether
    that is possible at all, preflight tells.
    """
    if policy.dtype == "float32":
        return "nearest"
    if training.weights != "auto":
        return training.weights
    room = SHARE * hardware.memory_gib
    fitting = [name for name in BYTES if name != "nearest" and training_gib(policy, name) <= room]
    return fitting[0] if fitting else "kahan"


def training_gib(policy: PolicySettings, scheme: Scheme) -> float:
    """GiB of weights, gradients and what the optimiser keeps; 0 if the policy's size is not told.

    >>> policy = PolicySettings(repo="a/b", revision="c", parameters=3.21)
    >>> [round(training_gib(policy, name) * GIB / 1e9, 1) for name in BYTES]
    [51.4, 38.5, 32.1, 25.7]
    """
    each = FLOAT32_BYTES if policy.dtype == "float32" else BYTES[scheme]
    return each * (policy.parameters or 0) * 1e9 / GIB


def checkpoint_gib(policy: PolicySettings, scheme: Scheme) -> float:
    """GiB of a checkpoint: all that training holds but the gradients; 0 if the policy's size is not told."""
    whole, gradient = (FLOAT32_BYTES, 4) if policy.dtype == "float32" else (BYTES[scheme], 2)
    return training_gib(policy, scheme) * (whole - gradient) / whole


def training_of(settings: Settings, model: str, variant: str) -> Training:
    """The training settings of a run, with `weights` decided."""
    training = settings.variant(variant)
    return training.model_copy(update={"weights": scheme(settings.policies[model], training, settings.hardware)})
