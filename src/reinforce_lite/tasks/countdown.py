"""Countdown, TinyZero's task: make a number from three or four others with + - * / and parentheses, each used once.

Puzzles are generated, each of them solvable, or come from the original's dataset or from a file. An answer is computed
exactly (`expressions`); what the original paid for it is the score `tinyzero`, and how often a text gives up an attempt
for another is `rejected_attempts`.
"""

from typing import NamedTuple

from reinforce_lite.tasks import Dataset, Grade, Problem, Remote, Task, tinyzero
from reinforce_lite.tasks.answers import NO_TAG, last_answer
from reinforce_lite.tasks.attempts import rejected
from reinforce_lite.tasks.countdown_data import file_puzzles, generated, listed, remote
from reinforce_lite.tasks.countdown_options import LARGEST, ORIGINAL_TEST, CountdownOptions, check_options
from reinforce_lite.tasks.expressions import Expression, UnreadableError, sides
from reinforce_lite.tasks.numeric import dialogue
from reinforce_lite.tasks.puzzles import OPERATORS, Puzzle

EXAMPLE = "<answer>(1 + 2) / 3</answer>"
TAGGED = (
    "{question}\n\n"
    "Use each number exactly once, with + - * / and parentheses. Reason step by step: try, compute, and try again if "
    f"it is not the target. Then write the expression alone between <answer> and </answer>, for example {EXAMPLE}"
)
_ASKED = "{question}" + tinyzero.TASK
PROMPTS = {
    "tagged": dialogue(TAGGED),
    "tinyzero": [
        {"role": "system", "content": tinyzero.CONVERSATION},
        *dialogue(_ASKED, tinyzero.PREFILL),
    ],
    "tinyzero_instruct": [
        {"role": "system", "content": tinyzero.INSTRUCT},
        *dialogue(_ASKED, tinyzero.PREFILL),
    ],
    "bare": dialogue("{question}"),
}
VOCABULARY = (
    "make", "from", *OPERATORS, "(", ")", "=", ";", "no", "yes", "<answer>", "</answer>", *map(str, range(LARGEST + 1)),
)  # fmt: skip


class Judgement(NamedTuple):
    """What an answer is: each verdict needs the one before it. The reason says what it fails by; None for nothing."""

    format: bool
    valid: bool
    correct: bool
    reason: str | None


class Countdown(Task[CountdownOptions]):
    """Generated puzzles, or rows of a dataset."""

    options = CountdownOptions
    prompts = PROMPTS
    scores = ("correct", "valid_expression", "format", "tinyzero", "rejected_attempts")
    vocabulary = VOCABULARY

    def build(self, options: CountdownOptions) -> Dataset:
        """Draw or load the puzzles; no multiset of numbers with a target stands in two splits.

        Of a dataset, train and dev are the first `first_test` rows and the test the rows behind them, unshuffled;
        what stands twice is left out of train. Demonstrations are about puzzles of train.

        Raises:
            UserError: as `preflight`; or the data cannot be had, a row is bad, or there are too few puzzles.
        """
        self.preflight(options)
        return listed(options) if options.path or options.repo else generated(options)

    def grade(self, text: str, problem: Problem) -> Grade:
        """Three verdicts, what the original pays, and the attempts that were given up for another.

        `format` holds if the last complete answer tag has an expression, `valid_expression` if that has a value and
        takes each number exactly once, `correct` if the value is the target, exactly. What stands behind an `=` has to
        have the same value.

        Raises:
            ValueError: the problem's answer is no puzzle.
        """
        puzzle = Puzzle.read(problem.answer)
        judged = judge(text, puzzle)
        return {
            "correct": judged.correct,
            "valid_expression": judged.valid,
            "format": judged.format,
            "tinyzero": tinyzero.reward(text, puzzle.numbers, puzzle.target),
            "rejected_attempts": float(rejected(text, puzzle)),
        }

    def kind(self, problem: Problem) -> str:
        """How many numbers it has, and how long the largest one is.

        Raises:
            ValueError: the problem's answer is no puzzle.
        """
        numbers = Puzzle.read(problem.answer).numbers
        return f"{len(numbers)} numbers up to {10 ** len(str(max(numbers))) - 1:,}"

    def unread(self, text: str) -> str | None:
        """Why the last complete answer tag holds no expression; None if it holds one."""
        found = _read(text)
        return found if isinstance(found, str) else None

    def preflight(self, options: CountdownOptions) -> str:
        """Check the options, and the file if there is one.

        Raises:
            UserError: naming the key that is absent or does not fit the others, or the file.
        """
        check_options(options)
        if options.path is not None:
            return f"{len(file_puzzles(options.path)):,} puzzles of {options.path}"
        pinned = self.remote(options)
        return f"Countdown from {pinned.repo}" if pinned else "Countdown is generated"

    def test_problems(self, options: CountdownOptions) -> int | None:
        """How many problems the test split will have."""
        if options.path or options.repo:
            return options.test_size or (ORIGINAL_TEST if not options.path else None)
        return options.test_size and options.test_size + options.outside_size

    def remote(self, options: CountdownOptions) -> Remote | None:
        """The dataset on the hub, unless there is a file, or puzzles are generated.

        Raises:
            UserError: its revision is not pinned.
        """
        return remote(options) if options.repo and not options.path else None


TASK = Countdown()


def judge(text: str, puzzle: Puzzle) -> Judgement:
    """Read the last complete answer tag of a text, and compute what it holds; total, and linear in the text."""
    found = _read(text)
    if isinstance(found, str):
        return Judgement(False, False, False, found)
    if found[0].size != len(puzzle.numbers) or sorted(map(abs, found[0].numbers)) != sorted(puzzle.numbers):
        return Judgement(True, False, False, "not each number of the puzzle exactly once")
    try:
        if any(side.size > len(puzzle.numbers) for side in found):
            raise UnreadableError("more numbers behind `=` than in the puzzle")
        value, *stated = (side.value() for side in found)
    except UnreadableError as error:
        return Judgement(True, False, False, str(error))
    if any(other != value for other in stated):
        return Judgement(True, False, False, "another result behind `=` than its own")
    correct = value == puzzle.target
    return Judgement(True, True, correct, None if correct else f"it makes {value}, not {puzzle.target}")


def _read(text: str) -> list[Expression] | str:
    """The sides of the answer, or why it has none."""
    content = last_answer(text)
    if content is None:
        return NO_TAG
    try:
        return sides(content)
    except UnreadableError as error:
        return str(error)
