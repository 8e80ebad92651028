"""Bring a policy here: the hub's snapshot at its pinned revision, a local file, or a tiny model from nothing."""

from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from reinforce_lite.config import PolicySettings
from reinforce_lite.errors import UserError
from reinforce_lite.policy import Policy, files, hub, load, scratch


def download(settings: PolicySettings) -> None:
    """Fetch the hub's snapshot into the cache (HF_HOME), unless it is there.

    Raises:
        UserError: the repository is gated or unknown, the hub cannot be reached, or a file is not whole.
    """
    from huggingface_hub import snapshot_download
    from huggingface_hub.errors import GatedRepoError, HfHubHTTPError, LocalEntryNotFoundError

    name = f"{settings.repo}@{settings.revision}"
    try:
        snapshot_download(str(settings.repo), revision=settings.revision, allow_patterns=hub.READ)
    except GatedRepoError as error:
        raise UserError(
            f"{name} is gated and this token may not read it",
            f"accept the licence at the model's page for {settings.repo} and set HF_TOKEN",
        ) from error
    except (HfHubHTTPError, LocalEntryNotFoundError, OSError) as error:
        raise UserError(
            f"cannot download {name}: {str(error).splitlines()[0]}",
            "check the network, or set policies.<name>.path to a local folder",
        ) from error
    files.weights(hub.snapshot(settings))  # without a network the client takes what is there for all there is


def materialise(settings: PolicySettings, vocabulary: Sequence[str] = (), seed: int = 0, device: str = "cpu") -> Policy:
    """Load (or build, over the vocabulary of the task) the policy as configured, before any supervised start.

    Args:
        settings: what to load; from the hub it is downloaded, unless it is there.
        vocabulary: all words of a policy from scratch.
        seed: of the weights of a policy from scratch.
        device: "cpu" or "cuda", as torch names it.

    Raises:
        UserError: the weights cannot be loaded.
    """
    if settings.from_scratch is not None:
        return scratch.build(settings.from_scratch, vocabulary, seed, device)
    if settings.path is not None:
        return load.local(settings.path, settings, device)
    download(settings)
    return load.pretrained(str(settings.repo), settings, device, revision=settings.revision, local_files_only=True)


def tokenizer(settings: PolicySettings, vocabulary: Sequence[str]) -> Any:
    """The tokenizer alone, with its chat template; from the hub if it is not here yet.

    `vocabulary` is that of the task, for a model from scratch.

    Raises:
        UserError: it cannot be loaded.
    """
    if settings.from_scratch is not None:
        return scratch.word_tokenizer(vocabulary)
    name, source = _source(settings)
    return load.tokenizer(name, **source)


def config(settings: PolicySettings) -> Any:
    """The policy's own configuration (config.json, or a GGUF file's metadata), with the architecture in it known.

    Raises:
        UserError: it cannot be loaded, or is of no causal language model that transformers has the code of.
    """
    name, source = _source(settings)
    return load.config(name, **source)


def named_ends(settings: PolicySettings, config: Any) -> Any:
    """What the files name as end of a sequence: one id, some, or None; a model says so itself once it is loaded."""
    from transformers import GenerationConfig

    name, source = _source(settings)
    try:
        return GenerationConfig.from_pretrained(name, revision=source.get("revision", "main")).eos_token_id
    except OSError:  # there is no such file
        return GenerationConfig.from_model_config(config).eos_token_id


def _source(settings: PolicySettings) -> tuple[str, dict[str, str]]:
    if settings.path is not None:
        return load.source_of(settings.path)
    return str(settings.repo), {"revision": str(settings.revision)}


def weights_source(settings: PolicySettings) -> dict[str, Any]:
    """How policy.json points to weights that stay where they are."""
    if settings.path is not None:
        return {"path": str(Path(settings.path).absolute())}
    return {"repo": settings.repo, "revision": settings.revision}


def describe(policy: Policy, settings: PolicySettings) -> dict[str, Any]:
    """What the report says of a policy: source, architecture, size, precision, stop ids."""
    dtypes = Counter(str(weight.dtype).removeprefix("torch.") for weight in policy.model.parameters())
    return {
        "source": "from scratch" if settings.from_scratch else str(settings.path or settings.repo),
        "revision": settings.revision if settings.path is None else None,
        "architecture": type(policy.model).__name__,
        "parameters": sum(weight.numel() for weight in policy.model.parameters()),
        "dtype": dtypes.most_common(1)[0][0],
        "stop_ids": sorted(policy.stop_ids),
        "pad_id": policy.pad_id,
    }
