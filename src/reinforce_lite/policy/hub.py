"""What of a policy on the hub is in the cache, and what is still to be downloaded."""

from pathlib import Path
from typing import Any

from reinforce_lite.config import PolicySettings
from reinforce_lite.errors import UserError
from reinforce_lite.policy import files

READ = ["*.safetensors", "*.json", "*.model", "*.txt", "*.jinja"]
"""The files of a repository that a policy is made of."""
SECONDS = 20.0
"""The hub is waited for so long."""


def uses_hub(policy: PolicySettings) -> bool:
    """Whether its weights come from the hub."""
    return policy.repo is not None and policy.path is None


def cache() -> Path:
    """Where all that is downloaded lies."""
    from huggingface_hub import constants

    return Path(constants.HF_HUB_CACHE)


def snapshot(policy: PolicySettings) -> Path:
    """Where the files of its pinned revision lie, once they are here."""
    from huggingface_hub.file_download import repo_folder_name

    folder = repo_folder_name(repo_id=str(policy.repo), repo_type="model")
    return cache() / folder / "snapshots" / str(policy.revision)


def is_here(policy: PolicySettings) -> bool:
    """Whether the cache holds all that the files there say they need: what can be known without the network."""
    try:
        files.weights(snapshot(policy))
    except UserError:
        return False
    return True


def bytes_here(policy: PolicySettings) -> int:
    """Bytes of its files that are in the cache."""
    return sum(path.stat().st_size for path in snapshot(policy).rglob("*") if path.is_file())


def lacking(policy: PolicySettings, instead: str) -> dict[str, int]:
    """The files that have to be downloaded, and their bytes.

    Without an answer by the hub, what is in the cache counts.

    Raises:
        UserError: the hub does not answer, and the cache lacks something; `instead` is the key to use without a hub.
    """
    try:
        listed = _listed(policy)
    except UserError as silent:
        try:
            files.weights(snapshot(policy))
        except UserError as lacks:
            raise UserError(
                f"{silent.problem}. In the cache: {lacks.problem}", f"{silent.fix}, or set {instead}"
            ) from silent
        return {}
    here = {name: (snapshot(policy) / name) for name in listed}
    return {
        name: size for name, size in listed.items() if not here[name].is_file() or here[name].stat().st_size != size
    }


def _listed(policy: PolicySettings) -> dict[str, int]:
    """Every file of the pinned revision that a policy is made of, and its bytes."""
    from huggingface_hub.utils._paths import filter_repo_objects

    info = ask(str(policy.repo), str(policy.revision), "model")
    sizes = {file.rfilename: int(file.size or 0) for file in info.siblings or []}
    return {name: sizes[name] for name in filter_repo_objects(sizes, allow_patterns=READ)}


def weights(policy: PolicySettings) -> int:
    """How many weights the hub says it has; 0 if it does not say.

    Raises:
        UserError: as `ask`.
    """
    return int(getattr(ask(str(policy.repo), str(policy.revision), "model").safetensors, "total", 0))


def ask(repo: str, revision: str, kind: str) -> Any:
    """What the hub knows of a repository ("model" or "dataset") at a pinned revision, the sizes of its files included.

    Raises:
        UserError: it is gated for this token, unknown, or cannot be reached.
    """
    from huggingface_hub import HfApi
    from huggingface_hub.errors import GatedRepoError

    try:
        return HfApi().repo_info(repo, revision=revision, repo_type=kind, files_metadata=True, timeout=SECONDS)
    except GatedRepoError as error:
        raise UserError(f"{repo} is gated and this token may not read it", "accept its licence on the hub") from error
    except Exception as error:  # whatever the client raises, the user can do the same about it
        reason = str(error).splitlines()[0] if str(error) else type(error).__name__
        raise UserError(f"cannot reach {repo}@{revision}: {reason}", "check the network") from error
