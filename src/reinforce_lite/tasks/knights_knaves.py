"""Knights and knaves: who tells the truth, and who lies? Generated with a single solution each, or read from a folder.

`english` puzzles are those of mem-kk (arXiv:2410.23123), on which Logic-RL (arXiv:2502.14768) trains; `words` is a form
for tiny policies, with demonstrations that teach to go through the cases and leave the habit of answering at once.
"""

import json
import random
from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import Field

from reinforce_lite.errors import UserError
from reinforce_lite.tasks import Dataset, Demonstration, Grade, Options, Problem, Task
from reinforce_lite.tasks import knights_answers as answers
from reinforce_lite.tasks.answers import NO_TAG, last_answer
from reinforce_lite.tasks.habit import HABIT_HASTY, SKILL_HASTY, is_hasty
from reinforce_lite.tasks.knights_demonstrations import Style, demonstrate, listed
from reinforce_lite.tasks.knights_puzzles import (
    COMMON_NAMES,
    KNIGHT_KNAVE,
    OPERATORS,
    TRIES,
    Perturbation,
    Puzzle,
    Statement,
    make_puzzle,
    perturb,
)
from reinforce_lite.tasks.knights_text import MOST_PEOPLE, Form, read, write
from reinforce_lite.tasks.numeric import dialogue

TAGGED = (
    "{question}\n\n"
    "Think step by step. Then write down who is what, one person a line, between <answer> and </answer>, for example\n"
    "<answer>(1) Zoey is a knight\n(2) Owen is a knave</answer>"
)
# Logic-RL's prompt, word for word: examples/data_preprocess/kk.py of Unakar/Logic-RL (Apache-2.0).
LOGIC_RL_SYSTEM = (
    "You are a helpful assistant. The assistant first thinks about the reasoning process in the mind and then provides "
    "the user with the answer. The reasoning process and answer are enclosed within <think> </think> and<answer> "
    "</answer> tags, respectively, i.e., <think> reasoning process here </think><answer> answer here </answer>.  Now "
    "the user asks you to solve a logical reasoning problem. After thinking, when you finally reach a conclusion, "
    "clearly state the identity of each character within <answer> </answer> tags. i.e., <answer> (1) Zoey is a knight\n"
    "(2) ... </answer>.\n"
)
LOGIC_RL_PREFILL = "<think>"
PROMPTS = {
    "tagged": dialogue(TAGGED),
    "logic_rl": [
        {"role": "system", "content": LOGIC_RL_SYSTEM},
        *dialogue("{question}", LOGIC_RL_PREFILL),
    ],
    "bare": dialogue("{question}"),
}

SHORT_NAMES = ("ann", "ben", "cat", "dan", "eva", "fay", "gus", "hal")
JOINING: dict[Form, tuple[str, ...]] = {"english": OPERATORS, "words": ("and", "or")}
VOCABULARY = (
    *SHORT_NAMES, *KNIGHT_KNAVE, *JOINING["words"], "says", ".", "case", "true", "false", "ok", "bad", "<answer>",
    "</answer>",
)  # fmt: skip

People = Annotated[list[Annotated[int, Field(ge=2, le=MOST_PEOPLE)]], Field(min_length=1)]


class KnightsOptions(Options):
    """Which puzzles."""

    form: Form = Field("english", description="`english`, or `words` of which each is one token, for tiny policies.")
    people: People = Field(
        [3, 4, 5, 6, 7], description="People of a puzzle, 2 to 8, in train and dev; as many of each."
    )
    test_people: People = Field([2, 3, 4, 5, 6, 7, 8], description="The same of test.")
    demonstration_people: People | None = Field(None, description="The same of the demonstrations; null: as `people`.")
    order: Literal["mixed", "curriculum"] = Field(
        "mixed",
        description="Order of train. `curriculum`: from the fewest people to the most, where `training.shuffle` is "
        "false; give `train_size` as many puzzles as the training takes. A variant with `training.shuffle: true` mixes "
        "the same puzzles.",
    )
    path: Path | None = Field(
        None,
        description="Folder with train.jsonl and test.jsonl, used instead of the generator; each line an object with "
        "the text `quiz` as mem-kk writes it and, to be checked, its `solution_text_format`.",
    )


class KnightsAndKnaves(Task[KnightsOptions]):
    """The puzzles as a task; demonstrations come in the order in which they are meant to be learnt."""

    options = KnightsOptions
    prompts = PROMPTS
    scores = (
        "correct", "format", "no_answer", "hedged", "stranger", "missing", "unreadable", "repeated_tag", "language",
        "cases_tried", "rejected_attempts", "logic_rl_format", "logic_rl_answer", "logic_rl",
    )  # fmt: skip
    vocabulary = VOCABULARY

    def build(self, options: KnightsOptions) -> Dataset:
        """Generate or load the splits: no statements of one stand in another, whatever the names.

        Raises:
            UserError: as `preflight`; there are not as many different puzzles; or a puzzle of the folder cannot be read
                or has not exactly one solution.
        """
        if options.path:
            return _from_folder(options, options.path)
        self.preflight(options)
        return _generated(options)

    def grade(self, text: str, problem: Problem) -> Grade:
        """The verdicts and scores of a completion.

        `correct` and `format` are our reading of the last complete answer tag: the right role, or any, for each person.
        Five verdicts say why there is none: `no_answer` (no complete tag), `hedged` (a person has two), `stranger`
        (somebody who is not there has one), `missing` (a person has none), `unreadable` (other words in between).
        `repeated_tag`: a tag stands more than once. `language`: share of the thinking's words in Latin letters.
        `cases_tried` and `rejected_attempts`: assumptions, and those of them that the text rejects and the puzzle too.
        `logic_rl` is Logic-RL's reward: `logic_rl_format` (1 or -1) + `logic_rl_answer` (2, -1.5 or -2).

        Raises:
            ValueError: the problem is no puzzle.
        """
        gold = answers.gold_roles(problem.answer)
        answer, tried = answers.read_answer(text.lower(), gold), answers.cases(text, read(problem.question))
        for_format, for_answer = answers.logic_rl(text, gold)
        return {
            "correct": answer.roles == gold,
            "format": answer.roles is not None,
            **{reason: answer.reason == reason for reason in answers.REASONS},
            "repeated_tag": any(text.count(tag) > 1 for tag in answers.TAGS),
            "language": answers.language(text),
            "cases_tried": float(tried.tried),
            "rejected_attempts": float(tried.rejected),
            "logic_rl_format": for_format,
            "logic_rl_answer": for_answer,
            "logic_rl": for_format + for_answer,
        }

    def kind(self, problem: Problem) -> str:
        """How many people it has.

        Raises:
            ValueError: the problem's answer names no roles.
        """
        return f"{len(answers.gold_roles(problem.answer))} people"

    def perturbed(self, problem: Problem, rng: random.Random) -> Problem | None:
        """The problem with another statement, or another leaf of one, and another single solution.

        Raises:
            ValueError: as the function of this name.
        """
        kinds: list[Perturbation] = rng.sample(["statement", "leaf"], 2)
        return next(filter(None, (perturbed(problem, kind, rng) for kind in kinds)), None)

    def unread(self, text: str) -> str | None:
        """That there is no complete answer tag; what else may be wrong depends on the puzzle."""
        return None if last_answer(text) is not None else NO_TAG

    def preflight(self, options: KnightsOptions) -> str:
        """Every split needs a size, or a file of puzzles with one solution each.

        Raises:
            UserError: naming the key, or file and line.
        """
        if options.path:
            _from_folder(options, options.path)
            return f"puzzles from {options.path}"
        if options.train_size is None or options.test_size is None:
            raise UserError("task.train_size and task.test_size: generated puzzles have no end", "set both")
        return "the puzzles are generated"


TASK = KnightsAndKnaves()


def perturbed(problem: Problem, kind: Perturbation, rng: random.Random) -> Problem | None:
    """The problem with its puzzle changed in one respect, for the question whether a policy has learnt it by heart.

    Returns:
        None if the puzzle has no such change; the tiny form has no other names, order or words for the roles.

    Raises:
        ValueError: the problem is no puzzle, or has not exactly one solution.
    """
    form: Form = "english" if problem.question.startswith("A very") else "words"
    if form == "words" and kind not in ("statement", "leaf"):
        return None
    puzzle = perturb(read(problem.question), kind, rng, JOINING[form])
    return None if puzzle is None else _problem(f"{problem.id}-{kind}", puzzle, write(puzzle, form))


def _problem(id: str, puzzle: Puzzle, question: str, solution: str | None = None) -> Problem:
    return Problem(id, question, listed(puzzle, puzzle.only_solution()), solution)


Asked = tuple[str, Puzzle]
"""A puzzle and its text."""


def _dataset(options: KnightsOptions, splits: dict[str, list[Asked]], shown: list[Asked], source: Any) -> Dataset:
    """The splits, with worked solutions in train, and demonstrations of what is shown."""
    rng = random.Random(f"{options.seed}/demonstrations")

    def worked(puzzle: Puzzle, style: Style) -> str:
        text = demonstrate(puzzle, style, options.form)
        return text.replace("<answer>", "</think><answer>", 1) if options.prompt == "logic_rl" else text

    def problems(name: str) -> list[Problem]:
        solved = name == "train"
        return [
            _problem(f"{name}-{i}-{len(p.names)}people", p, text, worked(p, "careful") if solved else None)
            for i, (text, p) in enumerate(splits[name])
        ]

    train = problems("train")
    if options.order == "curriculum":
        train.sort(key=lambda problem: problem.answer.count("\n"))
    styles: list[Style] = ["hasty" if is_hasty(i, len(shown), rng) else "careful" for i in range(len(shown))]
    demonstrations = [Demonstration(text, worked(p, style)) for (text, p), style in zip(shown, styles, strict=True)]
    source = {**source, "order": options.order, "hasty": [SKILL_HASTY, HABIT_HASTY]}
    return Dataset(train, problems("dev"), problems("test"), demonstrations, source)


def _generated(options: KnightsOptions) -> Dataset:
    rng, taken = random.Random(options.seed), set[tuple[Statement, ...]]()
    sizes = {"test": options.test_size or 0, "dev": options.dev_size, "train": options.train_size or 0}
    splits: dict[str, list[Asked]] = {}
    for name, size in sizes.items():
        people = options.test_people if name == "test" else options.people
        counts = [people[i % len(people)] for i in range(size)]
        rng.shuffle(counts)
        splits[name] = []
        for count in counts:
            puzzle = _another(options.form, count, rng, taken)
            taken.add(puzzle.statements)
            splits[name].append((write(puzzle, options.form), puzzle))
    people = options.demonstration_people or options.people
    some = (_another(options.form, rng.choice(people), rng, taken) for _ in range(options.demonstrations))
    shown = [(write(puzzle, options.form), puzzle) for puzzle in some]
    keys = ("form", "seed", "people", "test_people", "demonstration_people")
    return _dataset(options, splits, shown, {"generator": "knights and knaves", **options.model_dump(include={*keys})})


def _another(form: Form, people: int, rng: random.Random, taken: set[tuple[Statement, ...]]) -> Puzzle:
    """A puzzle whose statements are not taken; demonstrations may repeat each other's."""
    for _ in range(TRIES):
        names = rng.sample(COMMON_NAMES, people) if form == "english" else SHORT_NAMES[:people]
        puzzle = make_puzzle(rng, names, JOINING[form])
        if puzzle.statements not in taken:
            return puzzle
    there = sum(len(statements) == people for statements in taken)
    raise UserError(
        f"task: there are hardly more than {there} different puzzles of {people} people",
        f"lower task.train_size, task.dev_size or task.test_size, or leave {people} out of task.people and of "
        "task.test_people",
    )


def _from_folder(options: KnightsOptions, folder: Path) -> Dataset:
    train, test = (_read_file(folder / f"{split}.jsonl") for split in ("train", "test"))
    if options.dev_size + max(options.train_size or 1, options.demonstrations) > len(train):
        raise UserError(
            f"{folder / 'train.jsonl'} has {len(train)} puzzles, which are too few",
            "lower task.dev_size, task.train_size or task.demonstrations",
        )
    order = list(range(len(train)))
    random.Random(options.seed).shuffle(order)
    dev, left = ([train[i] for i in sorted(part)] for part in (order[: options.dev_size], order[options.dev_size :]))
    splits = {"train": left[: options.train_size], "dev": dev, "test": test[: options.test_size]}
    return _dataset(options, splits, left[: options.demonstrations], {"path": str(folder)})


def _read_file(path: Path) -> list[Asked]:
    """The puzzles of a file, each with exactly one solution."""
    try:
        lines = path.read_bytes().splitlines()
    except OSError as error:
        problem = f"task.path: cannot read {path}: {error.strerror}"
        raise UserError(problem, "name a folder with train.jsonl and test.jsonl") from error
    asked = []
    for number, line in enumerate(lines, 1):
        try:
            row = json.loads(line)
            if not isinstance(row, dict) or not isinstance(row.get("quiz"), str):
                raise ValueError("it is no object with a text `quiz`")
            puzzle = read(row["quiz"])
            solution = listed(puzzle, puzzle.only_solution())
            if row.get("solution_text_format", solution) != solution:
                raise ValueError(f"its solution_text_format is not its solution, {solution!r}")
        except (ValueError, RecursionError) as error:  # bad JSON is one of these
            raise UserError(f"{path}, line {number}: {error}", "correct the line, or take it out") from error
        asked.append((row["quiz"], puzzle))
    return asked
