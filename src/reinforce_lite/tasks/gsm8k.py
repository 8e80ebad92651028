"""GSM8K (Cobbe et al. 2021, arXiv:2110.14168; MIT): 7,473 train and 1,319 test problems, verified before they are used.

They come from a local folder with the original files or from the hub at a pinned revision. Either way the questions and
answers must be exactly those of the original files, so that two experiments are about the same problems.
"""

import hashlib
import json
import random
import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from reinforce_lite.errors import UserError
from reinforce_lite.settings import TaskSettings
from reinforce_lite.tasks import Dataset, Demonstration, Problem
from reinforce_lite.tasks.answers import normalise

ORIGINAL = "https://github.com/openai/grade-school-math (grade_school_math/data)"

ARTICLE_TRACE = "test-1190"
"""The question of the article's "aha" trace: a nurses' station and its bandages."""


@dataclass(frozen=True)
class Original:
    """What identifies one original file: its number of rows, its SHA-256 and the `content_digest` of its rows."""

    count: int
    sha256: str
    content: str


ORIGINALS = {
    "train": Original(
        7473,
        "17f347dc51477c50d4efb83959dbb7c56297aba886e5544ee2aaed3024813465",
        "c7350ae9ceccc3d62389e709bca3360da91260683bf3d9bbf8778c0386fc95fa",
    ),
    "test": Original(
        1319,
        "3730d312f6e3440559ace48831e51066acaca737f6eabec99bccb9e4b3c39d14",
        "4e5512f7375377feb45da254f295ff7fe6b5e72594ce075b1c12f7417ed52668",
    ),
}


@dataclass(frozen=True)
class Row:
    """One row as it was published; `raw_answer` is what stands after `####`, commas and all."""

    question: str
    solution: str
    raw_answer: str


def build(settings: TaskSettings) -> Dataset:
    """Load, verify and split the problems.

    Dev is cut from train by a shuffle with `task.seed`; both keep the order of the file. Demonstrations are the worked
    solutions of the first problems that train has left after that cut, whether or not `train_size` keeps them.

    Raises:
        UserError: the source is absent or not the original data, a row is bad, or more is asked for than there is.
    """
    check_sizes(settings)
    train_rows, test_rows = (_load(settings, split) for split in ("train", "test"))
    dev_indices, train_indices = split_indices(len(train_rows), settings.dev_size, settings.seed)
    train = [_solved(_problem("train", i, train_rows[i]), train_rows[i]) for i in train_indices[: settings.train_size]]
    dev = [_problem("train", i, train_rows[i]) for i in dev_indices]
    test = [_problem("test", i, row) for i, row in enumerate(test_rows[: settings.test_size])]
    demonstrations = [demonstration(train_rows[i]) for i in train_indices[: settings.demonstrations]]
    return Dataset(train, dev, test, demonstrations, _source(settings))


def check_source(settings: TaskSettings) -> None:
    """Check what needs no network, before anything is spent: the sizes, and the local files if they are used.

    Raises:
        UserError: as `build`.
    """
    check_sizes(settings)
    if settings.path is not None:
        for split in ORIGINALS:
            _verified_bytes(settings.path, split)


def check_sizes(settings: TaskSettings) -> None:
    """Check that the data hold as many problems as are asked for.

    Raises:
        UserError: naming the key that asks for too many.
    """
    left = ORIGINALS["train"].count - settings.dev_size
    for key, asked, available in (
        ("dev_size", settings.dev_size, ORIGINALS["train"].count - 1),
        ("train_size", settings.train_size, left),
        ("demonstrations", settings.demonstrations, left),
        ("test_size", settings.test_size, ORIGINALS["test"].count),
    ):
        if asked is not None and asked > available:
            raise UserError(f"task.{key}: {asked} problems are asked for, GSM8K has {available}", f"lower task.{key}")


def content_digest(rows: Iterable[tuple[str, str]]) -> str:
    """SHA-256 over (question, answer) pairs in order, whatever file format they came in.

    Each pair is hashed as one line of JSON, a list of two strings in UTF-8.
    """
    digest = hashlib.sha256()
    for question, answer in rows:
        digest.update(json.dumps([question, answer], ensure_ascii=False).encode() + b"\n")
    return digest.hexdigest()


def split_indices(count: int, dev_size: int, seed: int) -> tuple[list[int], list[int]]:
    """File positions of dev and of what train has left, both ascending."""
    shuffled = list(range(count))
    random.Random(seed).shuffle(shuffled)
    return sorted(shuffled[:dev_size]), sorted(shuffled[dev_size:])


def parse_row(value: Any, where: str) -> Row:
    """Check one row and take its answer apart.

    Args:
        value: an object with the texts `question` and `answer`, the latter ending in a line `#### N`.
        where: file and line, for the message.

    Raises:
        UserError: the row is anything else.
    """
    fix = f"take the original file from {ORIGINAL}"
    if not isinstance(value, dict) or not all(isinstance(value.get(key), str) for key in ("question", "answer")):
        raise UserError(f"{where}: a row needs the texts `question` and `answer`", fix)
    solution, mark, raw_answer = value["answer"].rpartition("\n#### ")
    try:
        normalise(raw_answer)
    except ValueError as error:
        raise UserError(f"{where}: the answer must end in a line `#### N` with a number ({error})", fix) from error
    if not mark:
        raise UserError(f"{where}: the answer has no line `#### N`", fix)
    return Row(value["question"], solution, raw_answer.strip())


def demonstration(row: Row) -> Demonstration:
    r"""GSM8K's worked solution without calculator annotations, its answer in a tag.

    >>> demonstration(Row("6 + 1?", "It is 6+1=<<6+1=7>>7.", "7")).completion
    'It is 6+1=7.\n<answer>7</answer>'
    """
    solution = re.sub(r"<<[^<>\n]*>>", "", row.solution)
    return Demonstration(row.question, f"{solution}\n<answer>{row.raw_answer}</answer>")


def read_rows(folder: Path, split: str) -> list[Row]:
    """The rows of an original file, in order.

    Raises:
        UserError: the file is absent, is not the original one, or a line is no valid row.
    """
    path = folder / f"{split}.jsonl"
    rows = []
    for number, line in enumerate(_verified_bytes(folder, split).splitlines(), 1):
        where = f"{path}, line {number}"
        try:
            value = json.loads(line)
        except ValueError as error:
            raise UserError(f"{where}: not valid JSON", f"take the original file from {ORIGINAL}") from error
        rows.append(parse_row(value, where))
    return rows


def _load(settings: TaskSettings, split: str) -> list[Row]:
    return _hub_rows(settings, split) if settings.path is None else read_rows(settings.path, split)


def _problem(split: str, position: int, row: Row) -> Problem:
    return Problem(f"{split}-{position}", row.question, normalise(row.raw_answer))


def _solved(problem: Problem, row: Row) -> Problem:
    return replace(problem, solution=demonstration(row).completion)


def _source(settings: TaskSettings) -> dict[str, Any]:
    place = {"path": str(settings.path)} if settings.path else {"repo": settings.repo, "revision": settings.revision}
    return {"dataset": "gsm8k", **place, "content": {split: original.content for split, original in ORIGINALS.items()}}


def _verified_bytes(folder: Path, split: str) -> bytes:
    """Content of an original file whose SHA-256 is right."""
    path = folder / f"{split}.jsonl"
    fix = f"set task.path to a folder with train.jsonl and test.jsonl of {ORIGINAL}"
    try:
        content = path.read_bytes()
    except OSError as error:
        raise UserError(f"task.path: cannot read {path}: {error.strerror}", fix) from error
    found = hashlib.sha256(content).hexdigest()
    if found != ORIGINALS[split].sha256:
        raise UserError(f"{path} is not the original file: its SHA-256 is {found}", fix)
    return content


def _hub_rows(settings: TaskSettings, split: str) -> list[Row]:
    """The rows of one split from the hub, verified by count and content."""
    where = f"{settings.repo} at {settings.revision}"
    try:
        import datasets

        values: Sequence[Any] = list(datasets.load_dataset(settings.repo, "main", revision=settings.revision)[split])
    except Exception as error:  # the hub's client raises errors of several libraries that share no base class
        problem = str(error).partition("\n")[0] or type(error).__name__
        fix = (
            f"check the network, task.repo and task.revision, or set task.path to a folder with the files of {ORIGINAL}"
        )
        raise UserError(f"cannot load {where}: {problem}", fix) from error
    rows = [parse_row(value, f"{where}, {split}, row {number}") for number, value in enumerate(values, 1)]
    original = ORIGINALS[split]
    digest = content_digest((value["question"], value["answer"]) for value in values)
    if len(rows) != original.count or digest != original.content:
        raise UserError(
            f"{where} does not hold the original {split} split: {len(rows)} rows with digest {digest}",
            f"use the default task.repo and task.revision, or set task.path to a folder with the files of {ORIGINAL}",
        )
    return rows
