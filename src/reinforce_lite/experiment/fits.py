"""Preflight's look at memory: every update fits on the device and beside it, and every engine can be had."""

from typing import cast

import psutil

from reinforce_lite.config import PolicySettings, Settings, Training
from reinforce_lite.errors import UserError
from reinforce_lite.resources.memory import GIB, footprint, longest_completion, update_gib, usable_gib
from reinforce_lite.resources.precision import evaluation_of, evaluation_place, training_of, training_place
from reinforce_lite.rollout.registry import Name, unavailable


def trainings(settings: Settings) -> list[tuple[str, PolicySettings, Training]]:
    """Each model with each of its variants: its name, its settings, and the training's with nothing left to `auto`."""
    pairs = [(model, variant) for model in settings.models for variant in settings.variants]
    return [(model, settings.policies[model], training_of(settings, model, variant)) for model, variant in pairs]


def memory(settings: Settings) -> str:
    """By which scheme every policy is trained, what its update needs, and the longest completion that fits.

    Raises:
        UserError: an update does not fit on the device, or what is kept beside it in the CPU's memory.
    """
    return "; ".join(dict.fromkeys(_update(*each, settings) for each in trainings(settings)))


def _update(model: str, policy: PolicySettings, training: Training, settings: Settings) -> str:
    hardware, needed = settings.hardware, update_gib(policy, training)
    if policy.billions is None:
        raise UserError(
            f"policies.{model}.parameters is not set, and neither its files nor the hub say how large it is",
            f"set policies.{model}.parameters, in billions",
        )
    if needed > usable_gib(hardware):
        raise UserError(
            f"{model} needs about {needed:.1f} GiB for an update (training.weights: {training.weights}, "
            f"micro_batch_tokens: {training.micro_batch_tokens}, max_new_tokens: {training.max_new_tokens}), and of "
            f"hardware.memory_gib {usable_gib(hardware):g} can be used",
            "lower training.micro_batch_tokens, or choose a larger device, policies.*.dtype: bfloat16, or "
            "training.weights: auto",
        )
    return (
        f"{model} needs about {needed:.1f} of {hardware.memory_gib:g} GiB for an update with completions of "
        f"{training.max_new_tokens} tokens, and reaches {longest_completion(policy, training, hardware)} "
        f"(training.weights: {training.weights}{_beside(policy, training)})"
    )


def _beside(policy: PolicySettings, training: Training) -> str:
    needed, there = footprint(policy, training).cpu, psutil.virtual_memory().total / GIB
    if needed > 0.9 * there:
        raise UserError(
            f"training.weights: offload needs about {needed:.1f} GiB of the CPU's memory, and there are {there:.1f}",
            "rent a machine with more memory, or set training.weights: 8bit",
        )
    return f", {needed:.1f} of {there:.0f} GiB beside the device" if needed else ""


def engines(settings: Settings) -> str:
    """Which engine each stage takes, and what memory it gets.

    Raises:
        UserError: one of them is not installed, or does not fit.
    """
    lines: dict[str, None] = {}
    stages = [
        ("evaluation.engine", model, evaluation_of(settings, model).engine, evaluation_place(settings, model))
        for model in settings.models
    ]
    for model, policy, training in trainings(settings):
        place = training_place(policy, training, settings.hardware)
        stages.append(("training.engine", model, training.engine, place))
    for key, model, engine, place in sorted(stages, key=lambda stage: settings.models.index(stage[1])):
        name = cast(Name, engine)  # decided
        if (missing := unavailable(name, place)) is not None:
            reason, fix = missing
            raise UserError(f"{key}: {name} for {model} {reason}", fix)
        cache = "" if (gib := place.cache_gib(name)) is None else f" ({gib:.1f} GiB for keys and values)"
        lines[f"{key} of {model}: {name}{cache}"] = None
    return "; ".join(lines)
