"""Preflight's look at the folders: results, caches and temporary files find room, and may be written."""

import os
import shutil
import tempfile
from pathlib import Path

from reinforce_lite.config import PolicySettings, Settings
from reinforce_lite.errors import UserError
from reinforce_lite.experiment.fits import trainings
from reinforce_lite.io.files import check_folder
from reinforce_lite.policy import hub
from reinforce_lite.resources.memory import GIB, footprint, weights_gib
from reinforce_lite.stages import STAGES, Layout, jobs

TEMPORARY = 2**20
"""Bytes that have to find room among the temporary files."""


def disk(settings: Settings) -> str:
    """Results and downloads fit on the disk, or on the two disks they go to.

    Raises:
        UserError: one of them has too little room, or cannot be written.
    """
    chosen = [settings.policies[name] for name in settings.models]
    runs = sum(settings.variant(name).steps > 0 for name, _ in settings.runs)  # else no weights are written
    results = 1 + sum(weights_gib(policy) * (runs + (policy.start is not None)) for policy in chosen)
    # Of a training that runs, three checkpoints while the third is written; of the one before none is left.
    checkpoint = max(footprint(policy, training).checkpoint for _, policy, training in trainings(settings))
    results += 3 * settings.hardware.jobs_at_once * checkpoint
    downloads = sum(
        max(0.0, weights_gib(policy) - hub.bytes_here(policy) / GIB) for policy in chosen if to_download(policy)
    )
    needs = {existing(settings.results): results}
    if downloads:
        cache = existing(hub.cache())
        same = next((place for place in needs if place.stat().st_dev == cache.stat().st_dev), cache)
        needs[same] = needs.get(same, 0) + downloads
    said = []
    for place, needed in needs.items():
        free = shutil.disk_usage(place).free / GIB
        if free < needed:
            raise UserError(
                f"{place} has {free:.1f} GiB free, and about {needed:.1f} are needed", "free some disk space"
            )
        _check_writable(place)
        said.append(f"{_seen(place)}: about {needed:.1f} GiB needed, {free:.0f} free")
    return "; ".join(said)


def _check_writable(place: Path) -> None:
    if not os.access(place, os.W_OK | os.X_OK):
        raise UserError(
            f"{place} cannot be written by user {os.getuid()}", "run as its owner, or make the folder writable"
        )


def to_download(policy: PolicySettings) -> bool:
    """Whether weights have to be fetched from the hub first."""
    return hub.uses_hub(policy) and not hub.is_here(policy)


def _seen(place: Path) -> Path:
    """A folder as it is seen from the working directory, if it lies there: records may be read on other machines."""
    return place.relative_to(Path.cwd()) if place.is_relative_to(Path.cwd()) else place


def existing(path: Path) -> Path:
    """The path, or the nearest folder above it that there is."""
    path = path.absolute()
    return next(place for place in (path, *path.parents) if place.exists())


def check_stages(settings: Settings) -> None:
    """See that every stage can write where it will, before anything is spent.

    Raises:
        UserError: a folder cannot be written.
    """
    layout = Layout.of(settings)
    for job in jobs(settings, device=False):
        wanted = [layout.folder(job), layout.decision(job).parent, layout.benchmark(job).parent]
        wanted += [layout.resume(job)] if STAGES[job.stage].resume else []
        for folder in wanted:
            place = existing(folder)
            try:
                with tempfile.TemporaryFile(dir=place):
                    pass
            except OSError as error:
                raise UserError(
                    f"{place}, where {job} will write, cannot be written: {error.strerror}",
                    "make it a folder that this user can write, with room on its disk",
                ) from error


def folders(settings: Settings) -> str:
    """Results have a folder to go to, and temporary files find room.

    Raises:
        UserError: naming the folder, or the variable.
    """
    check_folder(settings.folder)
    for place in (settings.results, settings.folder):
        _check_writable(existing(place))
    try:
        Path.home()
    except RuntimeError as error:
        raise UserError(
            f"HOME is not set, and user {os.getuid()} has no home folder", "export HOME=<a folder that may be written>"
        ) from error
    try:
        with tempfile.TemporaryFile() as handle:
            handle.write(bytes(TEMPORARY))
            handle.flush()
    except OSError as error:
        where = os.environ.get("TMPDIR") or "neither TMPDIR nor /tmp"
        raise UserError(
            f"temporary files find no room ({where}): {error.strerror}", "export TMPDIR=<a folder with room>"
        ) from error
    return f"{_seen(settings.folder.absolute())}; temporary files"
