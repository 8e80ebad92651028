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

from pydantic import Field

from reinforce_lite.errors import UserError
from reinforce_lite.tasks import Commit, Dataset, Demonstration, Options, Problem, Remote
from reinforce_lite.tasks.hub import hub_split
from reinforce_lite.tasks.numbers import normalise
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


class Gsm8kOptions(Options):
    """Where the files come from."""

    repo: str = Field("openai/gsm8k", description="Dataset on the hub.")
    revision: Commit = Field("e53f048856ff4f594e959d75785d2c2d37b678ee", description="Pinned revision of that dataset.")
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
        self.preflight(options)
        load = _from_hub if options.path is None else _from_files
        train, test = (load(options, split) for split in ("train", "test"))
        shuffled = list(range(len(train)))
        random.Random(options.seed).shuffle(shuffled)
        left = [train[i] for i in sorted(shuffled[options.dev_size :])]
        place = {"path": str(options.path)} if options.path else {"repo": options.repo, "revision": options.revision}
        content = {split: original.content for split, original in ORIGINALS.items()}
        return Dataset(
            train=left[: options.train_size],
            dev=[replace(train[i], solution=None) for i in sorted(shuffled[: options.dev_size])],
            test=[replace(problem, solution=None) for problem in test[: options.test_size]],
            demonstrations=[Demonstration(p.question, str(p.solution)) for p in left[: options.demonstrations]],
            source={"dataset": "gsm8k", **place, "content": content},
        )

    def preflight(self, options: Gsm8kOptions) -> str:
        """Check that the data hold as many problems as the options ask for, and the local files if they are used.

        Raises:
            UserError: naming the key that asks for too many, or the file.
        """
        left = ORIGINALS["train"].count - options.dev_size
        for key, size, available in (
            ("dev_size", options.dev_size, ORIGINALS["train"].count - 1),
            ("train_size", options.train_size, left),
            ("demonstrations", options.demonstrations, left),
            ("test_size", options.test_size, ORIGINALS["test"].count),
        ):
            if size is not None and size > available:
                problem = f"task.{key}: {size} problems are asked for, GSM8K has {available}"
                raise UserError(problem, f"lower task.{key}")
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


def content_digest(rows: Iterable[tuple[str, str]]) -> str:
    """SHA-256 over (question, answer) pairs in order, whatever file format they came in.

    Each pair is hashed as one line of JSON, a list of two strings in UTF-8.
    """
    digest = hashlib.sha256()
    for question, answer in rows:
        digest.update(json.dumps([question, answer], ensure_ascii=False).encode() + b"\n")
    return digest.hexdigest()


def parse_row(value: Any, id: str, where: str) -> Problem:
    r"""Check one row and take its answer apart.

    Args:
        value: an object with the texts `question` and `answer`, the latter ending in a line `#### N`.
        id: of the problem.
        where: file and line, for the message.

    Returns:
        The problem; its solution is the published one without calculator annotations, with the answer in a tag.

    Raises:
        UserError: the row is anything else.

    >>> parse_row({"question": "6 + 1?", "answer": "It is 6+1=<<6+1=7>>7.\n#### 7"}, "test-0", "line 1").solution
    'It is 6+1=7.\n<answer>7</answer>'
    """
    fix = f"take the original file from {ORIGINAL}"
    if not isinstance(value, dict) or not all(isinstance(value.get(key), str) for key in ("question", "answer")):
        raise UserError(f"{where}: a row needs the texts `question` and `answer`", fix)
    solution, mark, raw_answer = value["answer"].rpartition("\n#### ")
    try:
        answer = normalise(raw_answer)
    except ValueError as error:
        raise UserError(f"{where}: the answer must end in a line `#### N` with a number ({error})", fix) from error
    if not mark:
        raise UserError(f"{where}: the answer has no line `#### N`", fix)
    worked = re.sub(r"<<[^<>\n]*>>", "", solution)
    return Problem(id, value["question"], answer, f"{worked}\n<answer>{raw_answer.strip()}</answer>")


def _from_files(options: Gsm8kOptions, split: str) -> list[Problem]:
    path, problems = Path(str(options.path)) / f"{split}.jsonl", []
    for position, line in enumerate(_verified_bytes(path.parent, split).splitlines()):
        where = f"{path}, line {position + 1}"
        try:
            value = json.loads(line)
        except ValueError as error:
            raise UserError(f"{where}: not valid JSON", f"take the original file from {ORIGINAL}") from error
        problems.append(parse_row(value, f"{split}-{position}", where))
    return problems


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


def _from_hub(options: Gsm8kOptions, split: str) -> list[Problem]:
    """The problems of one split, verified by count and content."""
    where, folder = f"{options.repo} at {options.revision}", f"set task.path to a folder with the files of {ORIGINAL}"
    values: Sequence[Any] = list(hub_split(Remote(options.repo, options.revision, "task.path"), split, folder, "main"))
    problems = [parse_row(v, f"{split}-{i}", f"{where}, {split}, row {i + 1}") for i, v in enumerate(values)]
    digest = content_digest((value["question"], value["answer"]) for value in values)
    if len(problems) != ORIGINALS[split].count or digest != ORIGINALS[split].content:
        raise UserError(
            f"{where} does not hold the original {split} split: {len(problems)} rows with digest {digest}",
            f"use the default task.repo and task.revision, or {folder}",
        )
    return problems
