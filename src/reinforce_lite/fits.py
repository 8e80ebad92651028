"""Preflight's look at memory: the update of every training, on the device and beside it."""

import psutil

from reinforce_lite.errors import UserError
from reinforce_lite.precision import GIB, cpu_gib, longest_completion, training_of, update_gib, usable_gib
from reinforce_lite.settings import PolicySettings, Settings, Training


def memory(settings: Settings) -> str:
    """The update of every policy fits, and what is kept beside the device; by which scheme, and how far."""
    said = [_update(name, way, policy, training, settings) for (name, way), policy, training in trainings(settings)]
    return "; ".join(dict.fromkeys(said))


def _update(model: str, way: str, policy: PolicySettings, training: Training, settings: Settings) -> str:
    """One training's peak at its longest completion, and the longest that there is memory for."""
    hardware, needed = settings.hardware, update_gib(policy, training)
    if needed > usable_gib(hardware):
        raise UserError(
            f"{model} needs about {needed:.1f} GiB for an update (training.weights: {way}, micro_batch_tokens: "
            f"{training.micro_batch_tokens}, max_new_tokens: {training.max_new_tokens}), and of hardware.memory_gib "
            f"{usable_gib(hardware):g} can be used",
            "lower training.micro_batch_tokens, or choose a larger device, policies.*.dtype: bfloat16, or "
            "training.weights: auto",
        )
    if policy.parameters is None:
        return f"{model}: policies.{model}.parameters is not set, so nothing is known (training.weights: {way})"
    longest = longest_completion(policy, training, hardware)
    peak = f"{model} needs about {needed:.1f} of {hardware.memory_gib:g} GiB for an update"
    reach = f"with completions of {training.max_new_tokens} tokens, and reaches {longest}"
    return f"{peak} {reach} (training.weights: {way}{_beside(policy, training)})"


def _beside(policy: PolicySettings, training: Training) -> str:
    """What the CPU's memory has to hold of a training."""
    needed = cpu_gib(policy, training)
    if not needed:
        return ""
    there = psutil.virtual_memory().total / GIB
    if needed > 0.9 * there:
        raise UserError(
            f"training.weights: offload needs about {needed:.1f} GiB of the CPU's memory, and there are {there:.1f}",
            "rent a machine with more memory, or set training.weights: 8bit",
        )
    return f", {needed:.1f} of {there:.0f} GiB beside the device"


def trainings(settings: Settings) -> list[tuple[tuple[str, str], PolicySettings, Training]]:
    """Each model with each of its variants: its name and the scheme's, its settings, the training's."""
    runs = [(name, training_of(settings, name, variant)) for name in settings.models for variant in settings.variants]
    return [((name, training.weights), settings.policies[name], training) for name, training in runs]
