"""How `auto` is decided: the scheme by which a step gets into 16-bit weights (optim/adamw.py), and the engine."""

from reinforce_lite.config import Auto, Evaluation, Hardware, PolicySettings, Settings, Training
from reinforce_lite.resources.memory import BYTES, Scheme, footprint, update_gib, usable_gib, weights_gib
from reinforce_lite.rollout.registry import ANSWERS, ROWS, Name, Place, decide, rows_at_once
from reinforce_lite.stages import EVALUATE_AGAIN, Job


def scheme(policy: PolicySettings, training: Training, hardware: Hardware) -> Scheme:
    """The scheme for a policy: `training.weights` if it names one, or the best whose updates fit (`update_gib`).

    float32 weights need none, so theirs is `nearest`. If none fits, it is the smallest that loses no steps, and
    preflight refuses it. `lora` is never chosen: it trains something else.
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


def training_place(policy: PolicySettings, training: Training, hardware: Hardware) -> Place:
    """Where rollouts of a training (its `weights` decided) take place: beside all that it keeps but the gradients."""
    size = footprint(policy, training)
    return Place(hardware.device, weights_gib(policy), hardware.memory_gib - (size.device - size.gradients))


def evaluation_place(settings: Settings, model: str) -> Place:
    """Where an evaluation takes place: beside the weights."""
    weights = weights_gib(settings.policies[model])
    return Place(settings.hardware.device, weights, settings.hardware.memory_gib - weights)


def training_of(settings: Settings, model: str, variant: str) -> Training:
    """The training settings of a run, with `weights`, `engine`, `rollout_batch` and `kv_cache_gib` decided."""
    policy, training = settings.policies[model], settings.variant(variant)
    training = training.model_copy(update={"weights": scheme(policy, training, settings.hardware)})
    place = training_place(policy, training, settings.hardware)
    engine = decide(training.engine, place)
    rows = rows_at_once(training.rollout_batch, ROWS[engine], training.questions_per_step * training.group_size)
    cache = _cache_gib(training, engine, place)
    return training.model_copy(update={"engine": engine, "rollout_batch": rows, "kv_cache_gib": cache})


def evaluation_of_job(settings: Settings, job: Job) -> Evaluation:
    """The evaluation settings of a job: the second evaluation before training has batches of its own."""
    usual = evaluation_of(settings, job.model)
    return usual.again() if job.stage == EVALUATE_AGAIN else usual


def evaluation_of(settings: Settings, model: str) -> Evaluation:
    """The evaluation settings of a model, with `engine`, `batch_size` and `kv_cache_gib` decided."""
    place, evaluation = evaluation_place(settings, model), settings.evaluation
    engine = decide(evaluation.engine, place)
    size = rows_at_once(evaluation.batch_size, ANSWERS[engine], ANSWERS[engine])
    cache = _cache_gib(evaluation, engine, place)
    return evaluation.model_copy(update={"engine": engine, "batch_size": size, "kv_cache_gib": cache})


def _cache_gib(configured: Training | Evaluation, engine: Name, place: Place) -> float | Auto:
    """GiB for keys and values: as configured, else what is free; on a CPU nothing is reserved, and it stays `auto`."""
    free = place.cache_gib(engine)
    return free if configured.kv_cache_gib == "auto" and free is not None else configured.kv_cache_gib


def engines_of(settings: Settings, model: str) -> set[str]:
    """The engines that write for a model, in training and evaluation."""
    trained = {training_of(settings, model, variant).engine for variant in settings.variants}
    return {*trained, evaluation_of(settings, model).engine}
