"""How a step gets into weights of 16 bits: which scheme fits the device. The schemes are in policy/adamw.py."""

from typing import Literal

from reinforce_lite.settings import Hardware, PolicySettings, Settings, Training

Scheme = Literal["nearest", "master", "stochastic", "kahan", "8bit", "offload", "lora"]

SCALES = 2 * 4 / 256
"""Bytes a weight: 8 bits are kept of each of two averages, and a float32 scale for each block of 256."""
BYTES: dict[Scheme, float] = {
    "master": 16,
    "stochastic": 12,
    "kahan": 10,
    "8bit": 6 + SCALES,
    "offload": 4,
    "nearest": 8,
}
"""On the device, of one bfloat16 weight with its gradient, its two averages and what is kept beside it; the best scheme
first. `offload` loses no more than `master`, but moves 24 bytes a weight in each step."""
CPU_BYTES: dict[Scheme, float] = {"offload": 12}
"""Beside the device: the two averages and the float32 copy."""
DRIFT_BYTES = 4
"""Beside the device while drift is measured: the start weights and the present ones, in bfloat16."""
FLOAT32_BYTES = 16
ADAPTED = 0.0005
"""Weights of adapters of rank 1 for each weight of a policy, rounded up: 0.00047 for Llama-3.2-3B, 0.00041 for Phi-3.5.
They and all that belongs to them are float32."""
SHARE = 0.75
"""Of the device's memory for all that; the rest is for activations, logits and the cache of a rollout."""
GIB = 2**30


def scheme(policy: PolicySettings, training: Training, hardware: Hardware) -> Scheme:
    """The scheme for a policy: as `training.weights` says, or the best that fits.

    float32 weights need none, so theirs is `nearest`. What fits nowhere gets the smallest that loses no steps; whether
    that is possible at all, preflight tells. `lora` is nobody's choice but the user's, for it trains something else.
    """
    if training.weights == "lora":
        return "lora"
    if policy.dtype == "float32":
        return "nearest"
    if training.weights != "auto":
        return training.weights
    # Beside a device that is the CPU there is no other memory.
    useless = {"nearest", "offload"} if hardware.device == "cpu" else {"nearest"}
    best = [name for name in BYTES if name not in useless]
    fitting = [name for name in best if _gib(policy, BYTES[name]) <= SHARE * hardware.memory_gib]
    return fitting[0] if fitting else min(best, key=BYTES.__getitem__)


def training_gib(policy: PolicySettings, training: Training) -> float:
    """GiB on the device of weights, gradients and what the optimiser keeps; 0 if the policy's size is not told.

    Args:
        policy: its size and precision.
        training: with `weights` decided (`training_of`).

    >>> policy = PolicySettings(repo="a/b", revision="c", parameters=3.21)
    >>> one = Training(steps=1, questions_per_step=1, max_new_tokens=1, learning_rate=1e-6)
    >>> of = lambda name: training_gib(policy, one.model_copy(update={"weights": name})) * GIB / 1e9
    >>> [round(of(name), 1) for name in (*BYTES, "lora")]
    [51.4, 38.5, 32.1, 19.4, 12.8, 25.7, 6.8]
    """
    single = policy.dtype == "float32"
    if training.weights == "lora":
        return _gib(policy, (4 if single else 2) + FLOAT32_BYTES * ADAPTED * training.lora.rank)
    return _gib(policy, FLOAT32_BYTES if single else BYTES[_decided(training)])


def checkpoint_gib(policy: PolicySettings, training: Training) -> float:
    """GiB of a checkpoint: all that a training changes and keeps but the gradients; 0 if the size is not told."""
    if training.weights == "lora":
        return _gib(policy, (FLOAT32_BYTES - 4) * ADAPTED * training.lora.rank)
    if policy.dtype == "float32":
        return _gib(policy, FLOAT32_BYTES - 4)
    return _gib(policy, BYTES[_decided(training)] - 2 + CPU_BYTES.get(_decided(training), 0))


def cpu_gib(policy: PolicySettings, training: Training) -> float:
    """GiB of the CPU's memory for what a scheme keeps there, and for drift beside it; 0 if it keeps nothing there."""
    if policy.dtype == "float32" or training.weights not in CPU_BYTES:
        return 0.0
    return _gib(policy, CPU_BYTES[_decided(training)] + DRIFT_BYTES)


def training_of(settings: Settings, model: str, variant: str) -> Training:
    """The training settings of a run, with `weights` decided."""
    training = settings.variant(variant)
    return training.model_copy(update={"weights": scheme(settings.policies[model], training, settings.hardware)})


def _gib(policy: PolicySettings, bytes_each: float) -> float:
    return bytes_each * (policy.parameters or 0) * 1e9 / GIB


def _decided(training: Training) -> Scheme:
    assert training.weights != "auto", "training_of decides"
    return training.weights
