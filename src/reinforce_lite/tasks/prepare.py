"""The folder of a prepared task: its splits as JSON lines, and a manifest that vouches for them."""

import hashlib
from dataclasses import asdict
from pathlib import Path
from typing import Any

from reinforce_lite.errors import UserError
from reinforce_lite.io.files import read_json, read_jsonl, write_json, write_jsonl
from reinforce_lite.tasks import Dataset, Demonstration, Options, Problem, own_sums, task_of

SPLITS = ("train", "dev", "test")
DEMONSTRATIONS = "demonstrations"
MANIFEST = "manifest.json"
AGAIN = "delete the folder and run `prepare` again"
OTHER = "choose another task.seed, or take one of the two out of the data"


def prepare(options: Options, folder: Path) -> dict[str, Any]:
    """Build the task's dataset and write it to `folder`; the manifest comes last, so a folder that has one is complete.

    Returns:
        The manifest: `counts` of problems, `sha256` of each file, `source` of the data, `settings` of the task.

    Raises:
        UserError: the data cannot be had, are not what they should be, or cannot be written.
    """
    dataset = task_of(options).build(options)
    check(dataset)
    (folder / MANIFEST).unlink(missing_ok=True)  # a run killed halfway must not leave an old manifest with new files
    parts = {name: [asdict(item) for item in getattr(dataset, name)] for name in (*SPLITS, DEMONSTRATIONS)}
    for name, rows in parts.items():
        write_jsonl(_file(folder, name), rows)
    manifest = {
        "counts": {name: len(rows) for name, rows in parts.items()},
        "sha256": {_file(folder, name).name: _sha256(_file(folder, name)) for name in parts},
        "source": {**dataset.source, **own_sums(options)},
        "settings": options.model_dump(mode="json"),
    }
    if (grader := task_of(options).grader()) is not None:
        grader.copy(folder)  # whoever verifies the results asks it again
    write_json(folder / MANIFEST, manifest)
    return manifest


def load_split(folder: Path, split: str) -> list[Problem]:
    """The problems of `train`, `dev` or `test`, in the order in which they were written.

    Raises:
        UserError: there is no such split, or its file is absent or not the one of the manifest.
    """
    if split not in SPLITS:
        raise UserError(f"{folder} has no split '{split}'", f"use one of {', '.join(SPLITS)}")
    return [Problem(**row) for row in _verified_rows(folder, split)]


def load_demonstrations(folder: Path) -> list[Demonstration]:
    """The demonstrations, in the order in which they were written; empty if none were asked for.

    Raises:
        UserError: the file is absent or not the one of the manifest.
    """
    return [Demonstration(**row) for row in _verified_rows(folder, DEMONSTRATIONS)]


def load_manifest(folder: Path) -> dict[str, Any]:
    """The manifest, as `prepare` returned it.

    Raises:
        UserError: it is absent (the folder is incomplete) or is no manifest.
    """
    manifest = read_json(folder / MANIFEST)
    if not isinstance(manifest, dict) or not isinstance(manifest.get("sha256"), dict):
        raise UserError(f"{folder / MANIFEST} is no manifest of a prepared task", AGAIN)
    return manifest


def _file(folder: Path, name: str) -> Path:
    return folder / f"{name}.jsonl"


def _sha256(path: Path) -> str:
    return hashlib.sha256(path.read_bytes()).hexdigest()


def _verified_rows(folder: Path, name: str) -> list[dict[str, Any]]:
    path = _file(folder, name)
    expected = load_manifest(folder)["sha256"].get(path.name)
    if not path.exists():
        raise UserError(f"{path} does not exist, though {MANIFEST} does", AGAIN)
    if _sha256(path) != expected:
        raise UserError(f"{path} was changed after it was written: its SHA-256 is not the one in {MANIFEST}", AGAIN)
    return read_jsonl(path)


def check(dataset: Dataset) -> None:
    """See that there is something to learn from and to be tested on, and that a test is one: nothing stands twice.

    Raises:
        UserError: a split is empty, an id stands twice, or a question in two splits would let training see the test.
    """
    seen: dict[str, str] = {}
    asked: dict[str, str] = {}
    for split in SPLITS:
        problems: list[Problem] = getattr(dataset, split)
        if not problems and split != "dev":
            raise UserError(f"the split {split} is empty", f"set task.{split}_size, or mend the data of the task")
        for problem in problems:
            if problem.id in asked:
                raise UserError(
                    f"the id {problem.id} stands twice: for {_start(asked[problem.id])} and {_start(problem.question)}",
                    "give each problem of train, dev and test an id of its own",
                )
            if problem.question in seen:
                raise UserError(f"{problem.id} asks the same question as {seen[problem.question]}", OTHER)
            seen[problem.question], asked[problem.id] = problem.id, problem.question
    held_out = {problem.question for problem in (*dataset.dev, *dataset.test)}
    for item in dataset.demonstrations:
        if item.question in held_out:
            raise UserError(f"a demonstration asks the question of {seen[item.question]}, which is held out", OTHER)


def _start(question: str) -> str:
    return repr(question[:60])
