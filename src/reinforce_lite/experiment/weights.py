"""Preflight's look at the policies: every file is here or can be had, and is whole."""

import os
import shutil

from reinforce_lite.config import Settings
from reinforce_lite.errors import UserError
from reinforce_lite.experiment.estimate import HUB_GB_S
from reinforce_lite.experiment.places import existing
from reinforce_lite.policy import files, hub
from reinforce_lite.tasks import task_of


def policies(settings: Settings) -> str:
    """Local weights exist and are whole, gated ones come with a token.

    Raises:
        UserError: naming the key, and the file.
    """
    for name in settings.models:
        policy = settings.policies[name]
        if policy.path is not None:
            if not policy.path.exists():
                raise UserError(
                    f"policies.{name}.path: {policy.path} does not exist", "correct it, or remove it to use the hub"
                )
            try:
                files.weights(policy.path)
            except UserError as error:
                raise UserError(f"policies.{name}.path: {error.problem}", error.fix) from error
        elif policy.gated and not _token():
            raise UserError(
                f"{policy.repo} is gated and no token is set",
                "accept its licence on the hub, then export HF_TOKEN=<your token>",
            )
    return ", ".join(settings.models)


def _token() -> str | None:
    from huggingface_hub import get_token

    return os.environ.get("HF_TOKEN") or get_token()


def downloads(settings: Settings) -> str:
    """Every file of the pinned revisions is in the cache, or the hub has it and there is room for it.

    Raises:
        UserError: the hub cannot be reached and something is lacking, or the disk is too small.
    """
    said = []
    for name in settings.models:
        if hub.uses_hub(policy := settings.policies[name]):
            lacks = hub.lacking(policy, f"policies.{name}.path")
            said.append(f"{policy.repo}: {_to_come(lacks, settings) if lacks else 'all files are here'}")
    dataset = task_of(settings.task).remote(settings.task)
    if dataset and not _has_readme(dataset.repo, dataset.revision):
        try:
            hub.ask(dataset.repo, dataset.revision, "dataset")
        except UserError as error:
            raise UserError(error.problem, f"{error.fix}, or set {dataset.instead}") from error
        said.append(f"reached for {dataset.repo}")
    return "; ".join(said) or "not needed"


def _to_come(lacks: dict[str, int], settings: Settings) -> str:
    """What is to be downloaded, in files, bytes, time and money."""
    gigabytes, place = sum(lacks.values()) / 1e9, existing(hub.cache())
    free = shutil.disk_usage(place).free / 1e9
    if free < gigabytes:
        raise UserError(
            f"{place} has {free:.1f} GB free, and {gigabytes:.1f} GB are to be downloaded", "free some disk space"
        )
    seconds = gigabytes / HUB_GB_S
    usd = seconds / 3600 * settings.hardware.usd_per_hour
    return f"{len(lacks)} files of {gigabytes:.2f} GB to download, about {seconds:.0f} s (${usd:.2f})"


def _has_readme(repo: str, revision: str) -> bool:
    """Whether the dataset has been downloaded; the check of the data reads it."""
    from huggingface_hub import try_to_load_from_cache

    return isinstance(try_to_load_from_cache(repo, "README.md", revision=revision, repo_type="dataset"), str)
