"""How much of a device's memory a training takes, by arithmetic.

Weights, gradients and the optimiser's state are in `footprint`, the activations of an update in `update_bytes`. The
rollout is left out: a second copy of the weights then takes the place of the gradients, and its cache that of the
activations.
"""

from bisect import bisect_right
from dataclasses import dataclass
from typing import Literal

from reinforce_lite.config import Hardware, PolicySettings, Training

Scheme = Literal["nearest", "master", "stochastic", "kahan", "8bit", "offload", "lora"]

GIB = 2**30
SCALES = 2 * 4 / 256
"""Bytes a weight: 8 bits are kept of each of two averages, and a float32 scale for each block of 256."""
BYTES: dict[Scheme, float] = {
    "master": 16, "stochastic": 12, "kahan": 10, "8bit": 6 + SCALES, "offload": 4, "nearest": 8
}  # fmt: skip
"""On the device, of one bfloat16 weight with its gradient, its two averages and what is kept beside it; the best scheme
first. `offload` loses no more than `master`, but moves 24 bytes a weight in each step."""
CPU_BYTES: dict[Scheme, float] = {"offload": 12}
"""Beside the device: the two averages and the float32 copy."""
DRIFT_BYTES = 4
"""Beside the device while drift is measured: the start weights and the present ones, in bfloat16."""
FLOAT32_BYTES = 16
ADAPTED = 0.0005
"""Weights of adapters of rank 1 for each weight of a policy, rounded up: 0.00047 for Llama-3.2-3B, 0.00041 for Phi-3.5.
They and their state are float32."""
RESERVED_GIB = 1.0
"""Of a GPU, for CUDA itself (0.5) and what the allocator cannot use; estimated, not measured."""
PROMPT_TOKENS = 256
"""Of the prompt beside a completion; the questions of GSM8K take fewer."""
GRID, LIMIT = 256, 131_072
"""The longest completion is reported in steps of GRID tokens, and sought up to LIMIT."""
VOCABULARY = 128_256
"""Of Llama 3, taken for every model, since the configuration names none. Phi-3.5 has 32,064, so its peak is
overestimated by 2.2 GB; of a model with more, the peak is underestimated by 22 KB for each word."""
WIDTH_PER_LAYER = 100
"""hidden / layers: 110 of Llama-3.2-3B, 96 of Phi-3.5, 19 of SmolLM2-135M."""
LAYER, SAVED, FITTED = 53, 43, 75e6
"""Bytes x hidden a token of one layer with its gradients, and of what it saves for them; bytes beside all else."""


@dataclass(frozen=True)
class Shape:
    """What the activations of a model depend on."""

    layers: float
    hidden: float
    vocabulary: float


def shape_of(parameters: float) -> Shape:
    """A usual shape of so many weights: 12 x layers x hidden^2 of them, and the largest head that they can hold.

    layers x hidden, which counts, is 4% more than that of Llama-3.2-3B and 2% more than that of Phi-3.5; of
    SmolLM2-135M, which is narrow and deep, it is 0.6 times as much.

    >>> shape = shape_of(3.21e9)
    >>> round(shape.layers, 1), round(shape.hidden), shape.vocabulary
    (29.9, 2991, 128256)
    """
    hidden = (WIDTH_PER_LAYER * parameters / 12) ** (1 / 3)
    return Shape(hidden / WIDTH_PER_LAYER, hidden, min(VOCABULARY, parameters / hidden))


def update_bytes(
    shape: Shape, tokens: int, chosen: float, chunk: int, itemsize: int = 2, recomputed: bool = True
) -> float:
    """Bytes of an update at its peak beside weights, gradients and the optimiser's state.

    `tokens` are the padded ones of the largest micro-batch, `chosen` of these belong to completions, and the logits of
    a `chunk` exist at the same time. Layers that are `recomputed` keep their hidden states alone.

    The hidden state of every layer for each token, and the larger of: the head (logits of a chunk, their log-softmax
    and both gradients in float32; five copies of what predicts the completions; from the second chunk on a gradient of
    the head beside the one that is summed up), or one layer that is computed again, while the gradient of the head
    waits for that of the embedding that it is tied to. Without recomputing, each layer keeps SAVED bytes x hidden a
    token instead of its hidden state. An optimiser's step takes less: 12 bytes for each of 2**24 weights.

    The copies were counted in a trace in fake tensors; SAVED is a measurement, LAYER that and an estimate of 10 for
    gradients, FITTED a fit. Eleven peaks measured on an H200 are met within 1.5%
    (tests/resources/test_update_memory.py).
    """
    states = tokens * shape.layers * shape.hidden * (itemsize if recomputed else SAVED / 2 * itemsize)
    tied = itemsize * shape.vocabulary * shape.hidden
    logits = 4 * 4 * shape.vocabulary * min(chunk, chosen)
    head = logits + 5 * itemsize * shape.hidden * chosen + (tied if chosen > chunk else 0)
    layer = tokens * shape.hidden * (LAYER if recomputed else LAYER - SAVED) / 2 * itemsize + tied
    return states + max(head, layer) + FITTED


@dataclass(frozen=True)
class Footprint:
    """GiB that a training takes for as long as it runs; all 0 if the policy's size is not known.

    Attributes:
        gradients: there in an update only.
        device: weights, gradients and the optimiser's state on the device.
        checkpoint: all that a training changes and keeps.
        cpu: of the CPU's memory: the optimiser's state there, and what measures drift beside it.
    """

    gradients: float
    device: float
    checkpoint: float
    cpu: float


def footprint(policy: PolicySettings, training: Training) -> Footprint:
    """What a training takes beside its activations, once its `weights` are decided (`precision.training_of`).

    A critic takes what the policy does; its layers are the policy's, but for an output layer that is not tied.

    >>> policy = PolicySettings(repo="a/b", revision="0" * 40, parameters=3.21)
    >>> one = Training(steps=1, questions_per_step=1, max_new_tokens=1, learning_rate=1e-6)
    >>> of = lambda name: footprint(policy, one.model_copy(update={"weights": name})).device * GIB / 1e9
    >>> [round(of(name), 1) for name in (*BYTES, "lora")]
    [51.4, 38.5, 32.1, 19.4, 12.8, 25.7, 6.8]
    """
    assert training.weights != "auto", "training_of decides"
    weight = 4 if policy.dtype == "float32" else 2
    if training.weights == "lora":
        rank = training.lora.rank
        trained, kept = FLOAT32_BYTES * ADAPTED * rank, (FLOAT32_BYTES - 4) * ADAPTED * rank
        each = (4 * ADAPTED * rank, weight + trained, kept, 0.0)
    elif policy.dtype == "float32":
        each = (weight, FLOAT32_BYTES, FLOAT32_BYTES - 4, 0.0)
    else:
        device, cpu = BYTES[training.weights], CPU_BYTES.get(training.weights, 0.0)
        each = (weight, device, device - 2 + cpu, cpu)
    gradients, device, checkpoint, cpu = (size * training.networks for size in each)
    cpu += cpu and DRIFT_BYTES
    return Footprint(*(_gib(policy, size) for size in (gradients, device, checkpoint, cpu)))


def weights_gib(policy: PolicySettings) -> float:
    """GiB of one copy of the weights; 0 if the policy's size is not known."""
    return _gib(policy, 4 if policy.dtype == "float32" else 2)


def _gib(policy: PolicySettings, bytes_each: float) -> float:
    return bytes_each * (policy.billions or 0) * 1e9 / GIB


def update_gib(policy: PolicySettings, training: Training, completion_tokens: int | None = None) -> float:
    """GiB on the device at the peak of an update; 0 if the policy's size is not known.

    Its largest forward pass has `micro_batch_tokens`, or one row if that is longer: a prompt and a completion of
    `completion_tokens`, by default `max_new_tokens`. The longer completions are, the more of these tokens are theirs.
    """
    if policy.billions is None:
        return 0.0
    length = completion_tokens or training.max_new_tokens
    row = PROMPT_TOKENS + length
    tokens = max(row, training.micro_batch_tokens)
    sizes = tokens, tokens * length / row, training.logprob_chunk_tokens
    itemsize = 4 if policy.dtype == "float32" else 2
    activations = update_bytes(shape_of(policy.billions * 1e9), *sizes, itemsize, training.gradient_checkpointing)
    return footprint(policy, training).device + activations / GIB


def usable_gib(hardware: Hardware) -> float:
    """GiB of a device that an update may take."""
    return hardware.memory_gib - (RESERVED_GIB if hardware.device == "cuda" else 0)


def longest_completion(policy: PolicySettings, training: Training, hardware: Hardware) -> int:
    """Tokens of the longest completion whose update fits, a multiple of GRID, at most LIMIT; 0 if none does."""
    lengths = range(GRID, LIMIT + 1, GRID)
    free = usable_gib(hardware)
    return GRID * bisect_right(lengths, free, key=lambda length: update_gib(policy, training, length))
