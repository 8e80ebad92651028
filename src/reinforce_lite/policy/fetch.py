"""Bring a policy here: the hub's snapshot at its pinned revision, a local file, or a tiny model from nothing."""

from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from reinforce_lite.config import PolicySettings
from reinforce_lite.errors import UserError
from reinforce_lite.policy import Policy, load, scratch

WEIGHT_FILES = ["*.safetensors", "*.json", "*.model", "*.txt", "*.jinja"]


def download(settings: PolicySettings) -> None:
    """Fetch the hub's snapshot into the cache (HF_HOME), unless it is there.

    Raises:
        UserError: the repository is gated or unknown, or the hub cannot be reached.
    """
    from huggingface_hub import snapshot_download
    from huggingface_hub.errors import GatedRepoError, HfHubHTTPError, LocalEntryNotFoundError

    name = f"{settings.repo}@{settings.revision}"
    try:
        snapshot_download(str(settings.repo), revision=settings.revision, allow_patterns=WEIGHT_FILES)
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


def materialise(settings: PolicySettings, vocabulary: Sequence[str], seed: int, device: str) -> Policy:
    """Load (or build, over the vocabulary of the task) the policy as configured, before any supervised start.

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
    from transformers import AutoTokenizer

    if settings.from_scratch is not None:
        return scratch.word_tokenizer(vocabulary)
    path = settings.path
    name, source = (str(settings.repo), {"revision": settings.revision}) if path is None else load.source_of(path)
    try:
        return AutoTokenizer.from_pretrained(name, **source)
    except (OSError, ValueError) as error:
        raise UserError(
            f"cannot load the tokenizer of {path or settings.repo}: {str(error).splitlines()[0]}",
            "check policies.<name>, and the network if it is on the hub",
        ) from error


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
