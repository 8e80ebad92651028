"""GSM8K (Cobbe et al. 2021, arXiv:2110.14168; MIT): 7,473 train and 1,319 test problems, verified before they are used.

They come from a local folder with the original files or from the hub at a pinned revision. Either way the questions and
answers must be exactly those of the original files, so that two experiments are about the same problems.
"""

import hashlib
import json
import random
import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from pydantic import Field

from reinforce_lite.errors import UserError
from reinforce_lite.tasks import Dataset, Demonstration, Options, Problem, Remote
from reinforce_lite.tasks.answers import normalise
from reinforce_lite.tasks.numeric import NumericTask

ORIGINAL = "https://github.com/openai/grade-school-math (grade_school_math/data)"


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


class Gsm8kOptions(Options):
    """Where the files come from."""

    repo: str = Field("openai/gsm8k", description="Dataset on the hub.")
    revision: str = Field("e53f048856ff4f594e959d75785d2c2d37b678ee", description="Pinned revision of that dataset.")
    path: Path | None = Field(
        None, description="Folder with the original train.jsonl and test.jsonl, used instead of the hub."
    )


class Gsm8k(NumericTask[Gsm8kOptions]):
    """GSM8K, or the first problems of it."""

    options = Gsm8kOptions
    article_question = "test-1190"  # a nurses' station and its bandages
    harness_task = "gsm8k_cot_llama"

    def build(self, options: Gsm8kOptions) -> Dataset:
        """Load, verify and split the problems.

        Dev is cut from train by a shuffle with `task.seed`; both keep the order of the file. Demonstrations are the
        worked solutions of the first problems that train has left after that cut, whether or not `train_size` keeps
        them.

        Raises:
            UserError: the source is absent or not the original data, a row is bad, or there are too few problems.
        """
        check_sizes(options)
        train_rows, test_rows = (_load(options, split) for split in ("train", "test"))
        dev_indices, train_indices = split_indices(len(train_rows), options.dev_size, options.seed)
        solutions = {i: demonstration(train_rows[i]) for i in train_indices}
        train = [
            _problem("train", i, train_rows[i], solutions[i].completion) for i in train_indices[: options.train_size]
        ]
        dev = [_problem("train", i, train_rows[i]) for i in dev_indices]
        test = [_problem("test", i, row) for i, row in enumerate(test_rows[: options.test_size])]
        demonstrations = [solutions[i] for i in train_indices[: options.demonstrations]]
        return Dataset(train, dev, test, demonstrations, _source(options))

    def preflight(self, options: Gsm8kOptions) -> str:
        """Check the sizes, and the local files if they are used.

        Raises:
            UserError: as `build`.
        """
        check_sizes(options)
        if options.path is not None:
            for split in ORIGINALS:
                _verified_bytes(options.path, split)
        return f"GSM8K from {options.path or options.repo}"

    def test_problems(self, options: Gsm8kOptions) -> int:
        """How many problems the test split will have."""
        return options.test_size or ORIGINALS["test"].count

    def remote(self, options: Gsm8kOptions) -> Remote | None:
        """The dataset on the hub, unless there are local files."""
        return None if options.path else Remote(options.repo, options.revision, "task.path")


TASK = Gsm8k()


def check_sizes(options: Gsm8kOptions) -> None:
    """Check that the data hold as many problems as are asked for.

    Raises:
        UserError: naming the key that asks for too many.
    """
    left = ORIGINALS["train"].count - options.dev_size
    for key, size, available in (
        ("dev_size", options.dev_size, ORIGINALS["train"].count - 1),
        ("train_size", options.train_size, left),
        ("demonstrations", options.demonstrations, left),
        ("test_size", options.test_size, ORIGINALS["test"].count),
    ):
        if size is not None and size > available:
            raise UserError(f"task.{key}: {size} problems are asked for, GSM8K has {available}", f"lower task.{key}")


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


def _load(options: Gsm8kOptions, split: str) -> list[Row]:
    return _hub_rows(options, split) if options.path is None else read_rows(options.path, split)


def _problem(split: str, position: int, row: Row, solution: str | None = None) -> Problem:
    return Problem(f"{split}-{position}", row.question, normalise(row.raw_answer), solution)


def _source(options: Gsm8kOptions) -> dict[str, Any]:
    place = {"path": str(options.path)} if options.path else {"repo": options.repo, "revision": options.revision}
    return {"dataset": "gsm8k", **place, "content": {split: original.content for split, original in ORIGINALS.items()}}


def _verified_bytes(folder: Path, split: str) -> bytes:
    """Content of an original file whose SHA-256 is right."""
    path = folder / f"{split}.jsonl"
    fix = f"set task.path to a folder with train.jsonl and test.jsonl of {ORIGINAL}"
    try:
        content = path.read_bytes()
    except OSError as error:
        raise UserError(f"task.path: cannot read {path}: {error.strerror}", fix) from error
    digest = hashlib.sha256(content).hexdigest()
    if digest != ORIGINALS[split].sha256:
        raise UserError(f"{path} is not the original file: its SHA-256 is {digest}", fix)
    return content


def _hub_rows(options: Gsm8kOptions, split: str) -> list[Row]:
    """The rows of one split from the hub, verified by count and content."""
    where = f"{options.repo} at {options.revision}"
    try:
        import datasets

        values: Sequence[Any] = list(datasets.load_dataset(options.repo, "main", revision=options.revision)[split])
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
