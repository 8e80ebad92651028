"""Questions of the user's own, from files of JSON lines or from any dataset on the hub.

A row has a question and its answer, and perhaps a worked solution and an id. `task.grade` says how an answer is read.
"""

import random
import re
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

from reinforce_lite.errors import UserError
from reinforce_lite.io.code import Code
from reinforce_lite.tasks import (
    Dataset,
    Demonstration,
    Grade,
    Message,
    Problem,
    Remote,
    Task,
    answers,
    named,
    own,
    rows,
)
from reinforce_lite.tasks.hub import hub_split
from reinforce_lite.tasks.jsonl_options import PROMPTS, JsonlOptions, Split
from reinforce_lite.tasks.numbers import normalise
from reinforce_lite.tasks.numeric import NumericTask
from reinforce_lite.tasks.rows import Row

_LETTER = re.compile(r"[\W_]*([A-Za-z])[\W_]*")


class Jsonl(Task[JsonlOptions]):
    """Grades by the text in the answer tag, but for white space; `of` gives the kind that `task.grade` names."""

    options = JsonlOptions
    prompts: Mapping[str, Sequence[Message]] = PROMPTS["exact"]
    scores: tuple[str, ...] = ("correct", "format")

    def of(self, options: JsonlOptions) -> "Jsonl":
        """The task that reads answers as `task.grade` says, with the words of `task.vocabulary`."""
        task = _kind(options.grade)()
        task.vocabulary = named(options.vocabulary).vocabulary if options.vocabulary else ()
        if isinstance(task, OwnGrade):
            task.function = options.grade
        return task

    def gold(self, answer: str) -> str:
        """The answer of a row, spelled as `grade` reads it.

        Raises:
            ValueError: it is none.
        """
        return " ".join(answer.split())

    def grade(self, text: str, problem: Problem) -> Grade:
        """`format` if the last complete answer tag holds an answer, `correct` if that is the right one."""
        content = answers.last_answer(text)
        try:
            found = self.gold(content or "")
        except ValueError:
            found = ""
        return {"correct": bool(found) and found == problem.answer, "format": bool(found)}

    def build(self, options: JsonlOptions) -> Dataset:
        """Read, check and split the rows.

        Dev, and the test if there is none of its own, are cut from train by a shuffle with `task.seed`; all keep the
        order of the file. Demonstrations are the worked solutions of the first rows that train has left.

        Raises:
            UserError: a file or the dataset cannot be had, a row is bad, or there are too few.
        """
        train, test = self._rows(options)
        _check_sizes(options, train, test)
        shuffled = list(range(len(train)))
        random.Random(options.seed).shuffle(shuffled)
        held = options.dev_size if test is not None else options.dev_size + (options.test_size or 0)
        dev, cut, left = (
            [train[i] for i in sorted(some)]
            for some in (shuffled[: options.dev_size], shuffled[options.dev_size : held], shuffled[held:])
        )
        problems = [self._problem(row, options) for row in left]
        shown = [Demonstration(one.question, one.solution) for one in problems if one.solution is not None]
        if options.demonstrations > len(shown):
            few = f"train has {len(shown):,} with a `solution`; a start goes over them again and again"
            raise UserError(f"task.demonstrations: {options.demonstrations:,} are asked for, and {few}", "lower it")
        return Dataset(
            train=problems[: options.train_size],
            dev=[Problem(row.id, row.question, self.gold(row.answer)) for row in dev],
            test=[
                Problem(row.id, row.question, self.gold(row.answer))
                for row in (cut if test is None else test)[: options.test_size]
            ],
            demonstrations=shown[: options.demonstrations],
            source=_source(options) | self.made_of(options),
        )

    def _rows(self, options: JsonlOptions) -> tuple[list[Row], list[Row] | None]:
        """The rows of train and of the test, checked; None for a test that is cut from train."""
        if options.repo is not None:
            train = _of_hub(options, "train")
            test = _of_hub(options, "test") if options.splits.get("test", "test") else None
        else:
            if options.test is not None and options.test == options.train:
                raise UserError(
                    f"task.test: {options.test} is the file of task.train, whose questions are learnt from",
                    "take task.test out and set task.test_size: so many questions are cut from train for the test",
                )
            train = rows.read(Path(str(options.train)), "task.train", "train", options.columns)
            test = rows.read(options.test, "task.test", "test", options.columns) if options.test else None
        every = [*train, *(test or [])]
        rows.check_distinct(every)
        for row in every:
            self._check(row, options)
        return train, test

    def _check(self, row: Row, options: JsonlOptions) -> None:
        """See that an answer can be graded, that a solution gives it, and that models from scratch know the words."""
        try:
            problem = self._problem(row, options)
        except ValueError as error:
            fix = f"mend it, or set task.grade to what the answers are ({', '.join(GRADES)})"
            raise UserError(f"{row.where}: the answer is {error}", fix) from error
        text = problem.solution or _tag(row.answer)
        if not own.is_own(options.grade) and not self.grade(text, problem)["correct"]:
            wrong = f"the last <answer> of the solution is not the answer {row.answer[:60]!r}"
            if problem.solution is None:
                wrong = f"the answer {row.answer[:60]!r} could not be read from an answer tag"
            raise UserError(f"{row.where}: {wrong}", "mend the row; a solution without a tag is given one")
        known = set(self.vocabulary)
        for word in f"{row.question} {row.answer} {problem.solution or ''}".split():
            if known and word not in known:
                raise UserError(
                    f"{row.where}: {word!r} is no word of {options.vocabulary}, and models from scratch know no other",
                    "write it in those words with spaces between them, or leave task.vocabulary out and take a policy "
                    "with weights",
                )

    def _problem(self, row: Row, options: JsonlOptions) -> Problem:
        """A problem of train; a solution without a complete answer tag gets one with the answer."""
        solution = row.solution
        if solution is not None and answers.last_answer(solution) is None and not own.is_own(options.grade):
            solution = f"{solution} {_tag(row.answer)}"
        return Problem(row.id, row.question, self.gold(row.answer), solution)

    def preflight(self, options: JsonlOptions) -> str:
        """Check every row of local files; those of the hub are checked once they are here.

        Raises:
            UserError: naming file and line, or the key.
        """
        if options.repo is not None:
            return f"questions of {options.repo}, {options.grade}"
        data = self.build(options)
        return f"{len(data.train):,} questions of {options.train} and {len(data.test):,} of the test, {options.grade}"

    def test_problems(self, options: JsonlOptions) -> int | None:
        """How many problems the test split will have."""
        if options.test_size is not None or options.test is None:
            return options.test_size
        try:
            return sum(bool(line.strip()) for line in rows.content(options.test, "task.test").split(b"\n"))
        except UserError:  # it is needed no more once the data are prepared
            return None

    def remote(self, options: JsonlOptions) -> Remote | None:
        """The dataset on the hub, if there are no files."""
        return Remote(options.repo, str(options.revision), "task.train and task.test") if options.repo else None

    def grade_for(self, answers: Iterable[str]) -> str:
        """`numeric` or `choice` if all answers can be read so, else `exact`."""
        every = list(answers)
        for name in ("numeric", "choice"):
            try:
                for answer in every:
                    GRADES[name]().gold(answer)
            except ValueError:
                continue
            return name
        return "exact"

    def made_of(self, options: JsonlOptions) -> dict[str, str]:
        """The SHA-256 of the files."""
        files = {"train": options.train, "test": options.test}
        return {f"{key}, sha256": rows.sha256(path, f"task.{key}") for key, path in files.items() if path is not None}


class Number(NumericTask[JsonlOptions], Jsonl):
    """Reads a number, as for GSM8K."""

    def gold(self, answer: str) -> str:
        """The one spelling of a number."""
        return normalise(answer)


class Choice(Jsonl):
    """Reads a letter alone, in either case; brackets, stops and stars around it do not count."""

    prompts = PROMPTS["choice"]

    def gold(self, answer: str) -> str:
        """A capital letter."""
        letter = _LETTER.fullmatch(answer)
        if letter is None:
            raise ValueError(f"not a letter: {answer[:50]!r}")
        return letter[1].upper()


class OwnGrade(Jsonl):
    """Asks a function of the user's own."""

    scores = ("correct", "score")
    function = ""

    def gold(self, answer: str) -> str:
        """As the row has it: the function reads it."""
        return answer

    def grade(self, text: str, problem: Problem) -> Grade:
        """What the function says.

        Raises:
            UserError: it raises an error, or gives no scores.
        """
        return own.graded(self.function, text, problem)

    def grader(self) -> Code:
        """The file of the function."""
        return own.file_of(self.function)


GRADES: dict[str, type[Jsonl]] = {"numeric": Number, "exact": Jsonl, "choice": Choice}
"""By the value of `task.grade`; any other one is a function of the user's own."""

TASK = Number()


def _kind(grade: str) -> type[Jsonl]:
    return GRADES.get(grade, OwnGrade)


def _tag(answer: str) -> str:
    return f"<answer> {answer} </answer>"


def _of_hub(options: JsonlOptions, split: Split) -> list[Row]:
    name = options.splits.get(split) or split
    remote = Remote(str(options.repo), str(options.revision), "task.train and task.test")
    subset = [options.subset] if options.subset else []
    place = f"{options.repo} at {options.revision}, {name}, row"
    loaded = hub_split(remote, name, "set task.train and task.test to files of your own", *subset)
    return [
        rows.row_of(value, f"{place} {number}", f"{split}-{number}", options.columns)
        for number, value in enumerate(loaded, 1)
    ]


def _source(options: JsonlOptions) -> dict[str, Any]:
    if options.repo is not None:
        return {"repo": options.repo, "revision": options.revision}
    return {key: str(path) for key, path in (("train", options.train), ("test", options.test)) if path is not None}


def _check_sizes(options: JsonlOptions, train: Sequence[Row], test: Sequence[Row] | None) -> None:
    """See that there are as many rows as the options ask for.

    Raises:
        UserError: naming the key that asks for too many.
    """
    place, cut = options.repo or options.train, 0
    if test is None:
        if options.test_size is None:
            raise UserError(
                "task.test_size: the test is cut from train, and nothing says how many questions of it",
                "set task.test_size, or task.test to a file of its own",
            )
        cut = options.test_size
    left = len(train) - options.dev_size - cut
    for key, size, available in (
        ("dev_size", options.dev_size, len(train) - cut - 1),
        ("train_size", options.train_size, left),
        ("test_size", options.test_size, len(train) - 1 if test is None else len(test)),
    ):
        if size is not None and size > max(0, available):
            few = f"{place} has {max(0, available):,} left for it ({len(train):,} rows in train)"
            raise UserError(
                f"task.{key}: {size:,} are asked for, and {few}", f"lower task.{key}, or write more questions"
            )
