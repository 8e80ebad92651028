"""How large a policy is whose configuration does not say it: counted in its files, without loading them."""

from reinforce_lite.config import Scratch, Settings
from reinforce_lite.errors import UserError
from reinforce_lite.policy import files, hub
from reinforce_lite.tasks import task_of

SPECIAL = ("<pad>", "<bos>", "<eos>", "<unk>", "<reply>")
"""Words that a model from scratch has beside those of its task."""


def sized(settings: Settings, ask_hub: bool = False) -> Settings:
    """The settings, each policy without `parameters` counted: in its files, or else, with `ask_hub`, as the hub says.

    What cannot be counted stays unknown; preflight says why.

    Raises:
        UserError: the hub has to be asked, and cannot be.
    """
    unknown = [name for name in settings.models if settings.policies[name].billions is None]
    counted = {name: settings.policies[name].counted(_count(settings, name, ask_hub)) for name in unknown}
    return settings.model_copy(update={"policies": {**settings.policies, **counted}}) if unknown else settings


def _count(settings: Settings, name: str, ask_hub: bool) -> int:
    policy = settings.policies[name]
    if policy.from_scratch is not None:
        return scratch_weights(policy.from_scratch, len(SPECIAL) + len(task_of(settings.task).vocabulary))
    try:
        return files.weights(hub.snapshot(policy) if policy.path is None else policy.path)
    except UserError:
        if not ask_hub or policy.path is not None:
            return 0
    try:
        return hub.weights(policy)
    except UserError as error:
        key = f"policies.{name}.parameters"
        raise UserError(f"{key} is not set, and {error.problem}", f"{error.fix}, or set {key}, in billions") from error


def scratch_weights(settings: Scratch, words: int) -> int:
    """How many weights a model from scratch has over so many words.

    >>> scratch_weights(Scratch(architecture="llama"), 100)
    865920
    """
    width, head = settings.hidden_size, settings.hidden_size // settings.heads
    attention = 2 * width * width + 2 * width * settings.key_value_heads * head
    layer = attention + 3 * width * settings.intermediate_size + 2 * width
    embeddings = 1 if settings.architecture == "llama" else 2  # phi3 has a head of its own
    return embeddings * words * width + settings.layers * layer + width
