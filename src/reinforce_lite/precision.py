"""What `auto` is decided to be: how a step gets into 16-bit weights (policy/adamw.py), and the engine (rollout/)."""

from bisect import bisect_right
from typing import Literal, cast

from reinforce_lite.errors import UserError
from reinforce_lite.memory import shape_of, update_bytes
from reinforce_lite.rollout.choose import ANSWERS, ROWS, Name, Place, decide, rows_at_once, unavailable
from reinforce_lite.settings import Auto, Evaluation, Hardware, PolicySettings, Settings, Training

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
RESERVED_GIB = 1.0
"""Of a GPU, for CUDA itself (0.5) and what the allocator cannot use; estimated, not measured."""
PROMPT_TOKENS = 256
"""Of the prompt beside a completion; the questions of GSM8K take fewer."""
GRID = 256
"""The longest completion is told in steps of so many tokens, and sought up to LIMIT."""
LIMIT = 131_072
GIB = 2**30


def scheme(policy: PolicySettings, training: Training, hardware: Hardware) -> Scheme:
    """The scheme for a policy: as `training.weights` says, or the best whose updates fit (`update_gib`).

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
    by = {name: training.model_copy(update={"weights": name}) for name in best}
    fitting = [name for name in best if update_gib(policy, by[name]) <= usable_gib(hardware)]
    return fitting[0] if fitting else min(best, key=BYTES.__getitem__)


def usable_gib(hardware: Hardware) -> float:
    """GiB of a device that an update may take."""
    return hardware.memory_gib - (RESERVED_GIB if hardware.device == "cuda" else 0)


def update_gib(policy: PolicySettings, training: Training, completion_tokens: int | None = None) -> float:
    """GiB on the device at the peak of an update, by memory.py; 0 if the policy's size is not told.

    Its largest forward pass has `micro_batch_tokens`, or one row if that is longer. The larger the completions, the
    more of these tokens are theirs.

    Args:
        policy: its size and precision.
        training: with `weights` decided.
        completion_tokens: the longest completion, if it is not `max_new_tokens`.
    """
    if policy.parameters is None:
        return 0.0
    length = completion_tokens or training.max_new_tokens
    row = PROMPT_TOKENS + length
    tokens = max(row, training.micro_batch_tokens)
    sizes = tokens, tokens * length / row, training.logprob_chunk_tokens
    itemsize = 4 if policy.dtype == "float32" else 2
    shape = shape_of(policy.parameters * 1e9)
    return training_gib(policy, training) + update_bytes(shape, *sizes, itemsize, training.gradient_checkpointing) / GIB


def longest_completion(policy: PolicySettings, training: Training, hardware: Hardware) -> int:
    """Tokens of the longest completion whose update fits, a multiple of GRID, at most LIMIT; 0 if none does."""
    lengths = range(GRID, LIMIT + 1, GRID)
    free = usable_gib(hardware)
    fitting = bisect_right(lengths, free, key=lambda length: update_gib(policy, training, length))
    return GRID * fitting


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


def gradients_gib(policy: PolicySettings, training: Training) -> float:
    """GiB of the gradients, which are there in an update only; 0 if the size is not told."""
    if training.weights == "lora":
        return _gib(policy, 4 * ADAPTED * training.lora.rank)
    return _gib(policy, 4 if policy.dtype == "float32" else 2)


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


def weights_gib(policy: PolicySettings) -> float:
    """GiB of one copy of the weights; 0 if the policy's size is not told."""
    return _gib(policy, 4 if policy.dtype == "float32" else 2)


def training_place(policy: PolicySettings, training: Training, hardware: Hardware) -> Place:
    """Where a training's rollouts take place: beside all that it keeps, but the gradients, which come later.

    Args:
        policy: its size and precision.
        training: with `weights` decided.
        hardware: the device.
    """
    kept = training_gib(policy, training) - gradients_gib(policy, training)
    return _place(policy, hardware, kept)


def evaluation_place(settings: Settings, model: str) -> Place:
    """Where an evaluation takes place: beside the weights."""
    policy = settings.policies[model]
    return _place(policy, settings.hardware, weights_gib(policy))


def _place(policy: PolicySettings, hardware: Hardware, kept_gib: float) -> Place:
    free = hardware.memory_gib - kept_gib
    return Place(hardware.device, weights_gib(policy), free)


def training_of(settings: Settings, model: str, variant: str) -> Training:
    """The training settings of a run, with `weights`, `engine`, `rollout_batch` and `kv_cache_gib` decided."""
    policy, training = settings.policies[model], settings.variant(variant)
    training = training.model_copy(update={"weights": scheme(policy, training, settings.hardware)})
    place = training_place(policy, training, settings.hardware)
    engine = decide(training.engine, place)
    completions = training.questions_per_step * training.group_size
    rows = rows_at_once(training.rollout_batch, ROWS[engine], completions)
    return training.model_copy(
        update={"engine": engine, "rollout_batch": rows, "kv_cache_gib": _cache_gib(training, engine, place)}
    )


def evaluation_of(settings: Settings, model: str) -> Evaluation:
    """The evaluation settings of a model, with `engine`, `batch_size` and `kv_cache_gib` decided."""
    place, asked = evaluation_place(settings, model), settings.evaluation
    engine = decide(asked.engine, place)
    size = rows_at_once(asked.batch_size, ANSWERS[engine], ANSWERS[engine])
    return asked.model_copy(
        update={"engine": engine, "batch_size": size, "kv_cache_gib": _cache_gib(asked, engine, place)}
    )


def _cache_gib(asked: Training | Evaluation, engine: Name, place: Place) -> float | Auto:
    """GiB for keys and values as asked, else what is free; on a CPU it stays `auto`, for nothing is reserved there."""
    free = place.cache_gib(engine)
    return free if asked.kv_cache_gib == "auto" and free is not None else asked.kv_cache_gib


def engines_of(settings: Settings, model: str) -> set[str]:
    """The engines that write for a model, in training and evaluation."""
    trained = {training_of(settings, model, variant).engine for variant in settings.variants}
    return {*trained, evaluation_of(settings, model).engine}


def engines(settings: Settings) -> str:
    """The engines of all stages can be had; which ones, and what memory they get.

    Raises:
        UserError: one of them is not installed, or does not fit.
    """
    said: dict[str, None] = {}
    for model in settings.models:
        stages = [("evaluation.engine", evaluation_of(settings, model).engine, evaluation_place(settings, model))]
        for variant in settings.variants:
            training = training_of(settings, model, variant)
            place = training_place(settings.policies[model], training, settings.hardware)
            stages.append(("training.engine", training.engine, place))
        for key, engine, place in stages:
            name = cast(Name, engine)  # decided
            cache = "" if (gib := place.cache_gib(name)) is None else f" ({gib:.1f} GiB for keys and values)"
            if (missing := unavailable(name, place)) is not None:
                reason, fix = missing
                raise UserError(f"{key}: {name} for {model} {reason}", fix)
            said[f"{key} of {model}: {name}{cache}"] = None
    return "; ".join(said)


def _gib(policy: PolicySettings, bytes_each: float) -> float:
    return bytes_each * (policy.parameters or 0) * 1e9 / GIB


def _decided(training: Training) -> Scheme:
    assert training.weights != "auto", "training_of decides"
    return training.weights
