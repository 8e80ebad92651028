"""Low-rank adapters (Hu et al. 2022) in float32 beside frozen weights, by peft.

peft puts its layers in the place of linear ones inside the model, which stays the class it is: rollout, log-probs and
gradient checkpointing see no difference. After training the adapters are merged into the weights and are gone.
"""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import torch

from reinforce_lite.config import Lora
from reinforce_lite.errors import UserError
from reinforce_lite.optim.rounding import round_stochastically
from reinforce_lite.policy import Policy

ADAPTER = "default"


def adapt(policy: Policy, settings: Lora, seed: int) -> None:
    """Freeze the weights and put adapters beside them, in place; the policy computes what it did before.

    Raises:
        UserError: no layer has a name of `target_modules`, or one of them is not linear or is the output layer.
    """
    from peft import LoraConfig, inject_adapter_in_model

    targets = settings.target_modules
    targets = targets if isinstance(targets, str) else list(targets)
    config = LoraConfig(r=settings.rank, lora_alpha=settings.alpha, target_modules=targets)
    fix = "name linear layers of the policy, e.g. [q_proj, v_proj], or all-linear"
    with torch.random.fork_rng([policy.device] if policy.device.type == "cuda" else []):
        torch.manual_seed(seed)
        try:
            inject_adapter_in_model(config, policy.model, ADAPTER)
        except ValueError as error:
            raise UserError(f"training.lora.target_modules: {str(error).splitlines()[0]}", fix) from error
    output = policy.model.get_output_embeddings()
    for name, layer in layers(policy.model):
        if layer is output or not isinstance(layer.get_base_layer(), torch.nn.Linear):
            raise UserError(f"training.lora.target_modules: {name} cannot have an adapter that is merged", fix)
    for weight in policy.model.parameters():
        if weight.requires_grad:  # peft makes them in the precision of the layer
            weight.data = weight.data.float()


def adapted(model: Any) -> bool:
    """Whether a model has adapters."""
    return hasattr(model, "peft_config")


def merged_state(model: Any) -> Iterator[tuple[str, torch.Tensor]]:
    """All weights by name as they would be after merging; of a model without adapters, its weights."""
    weights = merged(model) if adapted(model) else iter(())
    for name, value in model.state_dict().items():
        if name.endswith(".base_layer.weight"):
            yield name.replace(".base_layer.", "."), next(weights)[2]
        elif ".lora_" not in name:
            yield name.replace(".base_layer.", "."), value


@contextmanager
def without_adapters(model: Any) -> Iterator[None]:
    """Inside the block the model computes as it did before it had adapters."""
    for _, layer in layers(model):
        layer.enable_adapters(False)
    try:
        yield
    finally:
        for _, layer in layers(model):
            layer.enable_adapters(True)


@torch.no_grad()
def merge(policy: Policy) -> None:
    """Add the adapters to the weights and take them out of the model, in place; all weights can be trained again."""
    for name, base, weight in merged(policy.model):
        base.weight.copy_(weight)
        policy.model.set_submodule(name, base)
    del policy.model.peft_config
    policy.model.requires_grad_(True)


@torch.no_grad()
def changed_share(model: Any) -> float:
    """Fraction of all weights that merging would change."""
    changed = sum(int((weight != base.weight).sum()) for _, base, weight in merged(model))
    return changed / sum(weight.numel() for weight in model.parameters() if not weight.requires_grad)


def layers(model: Any) -> list[tuple[str, Any]]:
    """The layers that have an adapter, by name."""
    from peft.tuners.lora import LoraLayer

    return [(name, layer) for name, layer in model.named_modules() if isinstance(layer, LoraLayer)]


def merged(model: Any) -> Iterator[tuple[str, torch.nn.Linear, torch.Tensor]]:
    """(name, layer without its adapter, its weight with the adapter added) of each adapted layer.

    What an adapter adds is often less than half the last bit of a bfloat16 weight. Rounded to nearest all of it would
    be lost, so it is rounded stochastically, each time by the same draws.
    """
    generators: dict[torch.device, torch.Generator] = {}
    for name, layer in layers(model):
        base = layer.get_base_layer()
        value = base.weight.float() + layer.get_delta_weight(ADAPTER)
        if value.device not in generators:
            generators[value.device] = torch.Generator(value.device).manual_seed(0)
        half = base.weight.dtype == torch.bfloat16
        yield name, base, round_stochastically(value, generators[value.device]) if half else value
