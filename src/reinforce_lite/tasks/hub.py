"""A split of a dataset on the hub, at a pinned revision."""

from typing import Any

from reinforce_lite.errors import UserError
from reinforce_lite.tasks import Remote


def hub_split(remote: Remote, split: str, fix: str, *config: str) -> Any:
    """Load one split by the hub's client.

    Args:
        remote: the dataset.
        split: its name.
        fix: what else a user can do if it cannot be had.
        config: name of the dataset's configuration, if it has several.

    Raises:
        UserError: it cannot be loaded.
    """
    try:
        import datasets

        return datasets.load_dataset(remote.repo, *config, revision=remote.revision)[split]
    except Exception as error:  # the hub's client raises errors of several libraries that share no base class
        problem = str(error).partition("\n")[0] or type(error).__name__
        raise UserError(
            f"cannot load {remote.repo} at {remote.revision}: {problem}",
            f"check the network, task.repo and task.revision, or {fix}",
        ) from error
