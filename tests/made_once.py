"""Folders that many tests look at, in several processes, and that are made once."""

import fcntl
import shutil
from collections.abc import Callable
from pathlib import Path


def made_once(shared: Path, name: str, make: Callable[[Path], None]) -> Path:
    """The folder `name`, which `make` fills for the first test that asks. The others wait, and must not change it."""
    folder, done = shared / name, shared / f"{name}.done"
    with (shared / f"{name}.lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        if not done.exists():
            shutil.rmtree(folder, ignore_errors=True)  # of a call that failed
            folder.mkdir()
            make(folder)
            done.touch()
    return folder
