"""What a task is: problems, prompts, a grade, and a section of the configuration. Nothing here knows about models.

A task is one file with a module-level `TASK`, and one line in `REGISTRY`. A file outside of the package needs no line:
its path is the name of the task (`task: {name: my_task.py}`).
"""

import hashlib
import random
import re
from abc import ABC, abstractmethod
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from importlib import import_module
from pathlib import Path
from typing import Annotated, Any, Generic, NamedTuple, TypeVar

from pydantic import AfterValidator, BaseModel, ConfigDict, Field, ValidationInfo, field_validator

from reinforce_lite.errors import UserError
from reinforce_lite.io.code import Code, code

REGISTRY = {
    "countdown": "reinforce_lite.tasks.countdown",
    "gsm8k": "reinforce_lite.tasks.gsm8k",
    "jsonl": "reinforce_lite.tasks.jsonl",
    "knights_knaves": "reinforce_lite.tasks.knights_knaves",
    "word_world": "reinforce_lite.tasks.word_world",
}
"""The tasks of the package: name and module."""
QUESTIONS = "jsonl"
"""The task that reads files of the user's own questions."""
WORDS = "word_world"
"""The task whose words models from scratch learn first."""

Message = dict[str, str]
"""A chat message: `role` and `content`."""

Grade = dict[str, bool | float]
"""The scores of a completion by name. A verdict is a bool; `correct`, the verdict that evaluations count, is one."""

Reward = str | dict[str, float]
"""The name of a score, or weights of several."""


@dataclass(frozen=True)
class Problem:
    """A question with its gold answer.

    Attributes:
        id: stable name within the dataset, e.g. `test-17`.
        question: the text a policy reads.
        answer: the gold answer as the task's `grade` reads it, e.g. a plain decimal such as `-1080`.
        solution: a worked completion with the answer in its tag, of problems that may be learnt from; else None.
    """

    id: str
    question: str
    answer: str
    solution: str | None = None


@dataclass(frozen=True)
class Demonstration:
    """A worked completion to a question, for the supervised start."""

    question: str
    completion: str


@dataclass(frozen=True)
class Dataset:
    """The splits of a task, disjoint by question, and where they came from."""

    train: list[Problem]
    dev: list[Problem]
    test: list[Problem]
    demonstrations: list[Demonstration]
    source: dict[str, Any]


COMMIT = "^[0-9a-f]{40}$"


def _is_commit(revision: str) -> str:
    if not re.fullmatch(COMMIT, revision):
        raise ValueError(
            f"{revision} is no commit (40 digits of 0-9a-f); a branch or a tag may move. The hub's page of the model or"
            ' the data names the commits (History), and so does: python -c "import huggingface_hub as h; '
            f"print(h.HfApi().repo_info('REPO', revision='{revision}', repo_type='model').sha)\" (repo_type='dataset' "
            "for data)"
        )
    return revision


Commit = Annotated[str, AfterValidator(_is_commit), Field(json_schema_extra={"pattern": COMMIT})]
"""A revision that cannot move."""


class Remote(NamedTuple):
    """A dataset on the hub at a pinned revision, and the key that names a local copy instead."""

    repo: str
    revision: str
    instead: str


class Options(BaseModel):
    """The section `task` of the configuration. These keys are common to all tasks; a task's own class adds others."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    name: str = Field(description="A task of the package, or the path of a Python file that defines a `TASK`.")
    prompt: str = Field(
        "tagged",
        validate_default=True,
        description="One of the task's prompts. If answers are numbers, `tagged` asks for a tag, `released` is the "
        "published code's, `bare` adds nothing, and `one_shot` shows `tagged` a worked example first; `one_shot_bare`, "
        "of the word world, shows it `bare`. Countdown has `tagged`, `bare`, and its original's `tinyzero` and "
        "`tinyzero_instruct`.",
    )
    train_size: int | None = Field(
        None, ge=1, description="Problems in train; null takes all that are left after the dev split."
    )
    dev_size: int = Field(ge=0, description="Problems cut from train for every choice that is not the final test.")
    test_size: int | None = Field(None, ge=1, description="Problems in test; null takes all there are.")
    demonstrations: int = Field(
        0, ge=0, description="Worked demonstrations to write for a supervised start; 0 for none."
    )
    seed: int = Field(0, ge=0, description="Seed of what is generated, and of the dev split.")

    @field_validator("name")
    @classmethod
    def _is_a_task(cls, name: str) -> str:
        try:
            named(name)
        except UserError as error:
            raise ValueError(error.problem) from error
        return name

    @field_validator("prompt")
    @classmethod
    def _is_a_prompt(cls, prompt: str, info: ValidationInfo) -> str:
        if "name" in info.data and prompt not in (known := named(info.data["name"]).prompts):
            raise ValueError(f"{info.data['name']} has the prompts {', '.join(known)}")
        return prompt

    def __reduce__(self) -> tuple[Any, ...]:
        """Another process has to load a task's file before it knows the class of its options."""
        return read_options, (self.model_dump(),)


OptionsT = TypeVar("OptionsT", bound=Options)


class Task(ABC, Generic[OptionsT]):
    """One kind of problem.

    Attributes:
        options: its section of the configuration.
        prompts: its prompts by name; in their messages `{question}` stands for the question. If the last message is the
            assistant's, the policy continues it.
        scores: names of all scores of a grade.
        vocabulary: the words of the task, for models from scratch; empty if they are not limited.
        article_question: id of the question of the article's "aha" trace.
        harness_task: lm-eval's own task for the same questions, for `evaluation.cross_check`.
    """

    options: type[Options] = Options
    prompts: Mapping[str, Sequence[Message]]
    scores: tuple[str, ...]
    vocabulary: tuple[str, ...] = ()
    article_question: str | None = None
    harness_task: str | None = None

    def of(self, options: OptionsT) -> "Task[OptionsT]":
        """The task as options make it: itself, unless they decide what it grades by or which words it has."""
        return self

    @abstractmethod
    def build(self, options: OptionsT) -> Dataset:
        """Load or generate the problems; no question stands in two splits.

        Raises:
            UserError: the data cannot be had, or there are fewer than the options ask for.
        """

    @abstractmethod
    def grade(self, text: str, problem: Problem) -> Grade:
        """Score a completion; total, whatever a policy may write.

        Only `question` and `answer` of the problem may be read: result files hold no more of it.
        """

    def messages(self, prompt: str, question: str) -> list[Message]:
        """The chat messages that put a question to a policy; braces and tags in it are kept as they are.

        Raises:
            UserError: the task has no prompt of this name.
        """
        if prompt not in self.prompts:
            raise UserError(f"the prompt '{prompt}' is unknown", f"use one of {', '.join(self.prompts)}")
        return [{**m, "content": m["content"].replace("{question}", question, 1)} for m in self.prompts[prompt]]

    def kind(self, problem: Problem) -> str | None:
        """What kind of problem it is, such as `4 people`, for accuracies by kind; None if the task has no kinds.

        As in `grade`, only `question` and `answer` may be read.

        Raises:
            ValueError: it is no problem of the task.
        """
        return None

    def perturbed(self, problem: Problem, rng: random.Random) -> Problem | None:
        """The problem with something in it changed, so that its answer is another one, for `evaluation.memorisation`.

        Whoever has learnt the problem by heart gets the answer wrong. As in `grade`, only `question` and `answer` may
        be read. None if the problem, or the task, has no such change.

        Raises:
            ValueError: it is no problem of the task.
        """
        return None

    def unread(self, text: str) -> str | None:
        """Why a completion names no answer; None if it names one, or if the task gives no reasons."""
        return None

    def under_read(self, text: str, answer: str) -> bool | None:
        """Whether the flexible reading misses a gold answer that ends a completion; None if the task has no such rule.

        Raises:
            ValueError: the gold answer is none of the task.
        """
        return None

    def preflight(self, options: OptionsT) -> str:
        """Check what needs no network, before anything is spent; the result says in a few words what was checked.

        Raises:
            UserError: as `build`.
        """
        return f"{options.name} has nothing to check"

    def test_problems(self, options: OptionsT) -> int | None:
        """How many problems the test split will have; None if that is known only when it is built."""
        return options.test_size

    def remote(self, options: OptionsT) -> Remote | None:
        """What has to be downloaded; None for nothing."""
        return None

    def grader(self) -> Code | None:
        """The file of the user's own that grades, of a task that is no such file itself; None if there is none.

        Raises:
            UserError: it cannot be loaded.
        """
        return None

    def grade_for(self, answers: Iterable[str]) -> str | None:
        """The value of `task.grade` by which all of these answers can be read; None if the task has no such key."""
        return None

    def made_of(self, options: OptionsT) -> dict[str, str]:
        """The SHA-256 of each file of the user's that `build` reads, as the source of its dataset has them.

        Raises:
            UserError: one cannot be read.
        """
        return {}


ALIASES = {"strict": "correct"}
"""Other names of scores."""


def verdicts(grade: Grade) -> dict[str, bool]:
    """The two verdicts of result files: `strict` is `correct`; so is `flexible` for a task without a second reading.

    Raises:
        UserError: `correct` is no verdict; partial credit must not count as a right answer.
    """
    if grade["correct"] not in (False, True):
        raise UserError(
            f"a grade's `correct` is {grade['correct']}", "make it True or False; give credit by another score"
        )
    return {"strict": bool(grade["correct"]), "flexible": bool(grade.get("flexible", grade["correct"]))}


def reward(chosen: Reward, grade: Grade, coin: random.Random) -> float:
    """What a completion earns.

    Args:
        chosen: a value of `training.reward`. By its name a verdict pays +1 or -1, and any other score pays itself. Of
            weights, the weighted sum of the scores is paid; a verdict counts 1 or 0 there. `random`, a control, ignores
            the completion and tosses a fair coin.
        grade: the scores of the completion.
        coin: only `random` uses it, and exactly once.

    >>> grade, coin = {"correct": True, "format": False, "brevity": 0.25}, random.Random(0)
    >>> [reward(chosen, grade, coin) for chosen in ("strict", "format", "brevity", {"correct": 2.0, "brevity": -1.0})]
    [1.0, -1.0, 0.25, 1.75]
    """
    if chosen == "random":
        return 1.0 if coin.random() < 0.5 else -1.0
    if isinstance(chosen, str):
        score = grade[ALIASES.get(chosen, chosen)]
        return float(score) if not isinstance(score, bool) else 1.0 if score else -1.0
    return sum((weight * grade[ALIASES.get(name, name)] for name, weight in chosen.items()), 0.0)


def named(name: str) -> Task[Any]:
    """The task of this name, or of the Python file at this path.

    Raises:
        UserError: there is none, or the file cannot be used.
    """
    if name in REGISTRY:
        task: Task[Any] = import_module(REGISTRY[name]).TASK
        return task
    if name.endswith(".py"):
        return _from_file(Path(name).absolute())
    known = ", ".join(REGISTRY)
    raise UserError(f"'{name}' is not one of {known}, and no path of a Python file", "correct task.name")


@cache
def _from_file(path: Path) -> Task[Any]:
    task: Any = getattr(code(path).module, "TASK", None)
    if not isinstance(task, Task):
        raise UserError(f"{path} defines no TASK", "define one: TASK = <a subclass of Task>()")
    return task


def task_of(options: Options) -> Task[Any]:
    """The task that a section of the configuration names, as its options make it.

    Raises:
        UserError: as `named`.
    """
    return named(options.name).of(options)


def read_options(section: Any) -> Options:
    """The section `task` of the configuration, checked by the task that it names.

    Raises:
        pydantic.ValidationError: a key is unknown, is not used by this task, is absent or has a bad value.
    """
    if isinstance(section, Options):
        return section
    try:
        kind: type[Options] = named(str(section["name"])).options
    except (KeyError, TypeError, UserError):
        kind = Options  # it says what is wrong with the name
    return kind.model_validate(section)


def own_sums(options: Options) -> dict[str, str]:
    """The SHA-256 of the user's own code in a task, on which all results depend: its file, or its grade's."""
    if options.name not in REGISTRY:
        return {"task file, sha256": hashlib.sha256(Path(options.name).read_bytes()).hexdigest()}
    grader = task_of(options).grader()
    return {f"{grader.path.name}, sha256": grader.sha256} if grader else {}


def json_schema() -> dict[str, Any]:
    """The JSON schema of the section `task`, by the name of the task; a file's own keys are not known here."""
    schemas = {rf"^{name}$": named(name).options.model_json_schema() for name in REGISTRY}
    for name, schema in zip(REGISTRY, schemas.values(), strict=True):
        schema["properties"]["prompt"]["enum"] = list(named(name).prompts)
    schemas[r"\.py$"] = {**Options.model_json_schema(), "additionalProperties": True}
    named_like = [({"required": ["name"], "properties": {"name": {"pattern": p}}}, s) for p, s in schemas.items()]
    return {
        "type": "object",
        "required": ["name"],
        "properties": {"name": {"type": "string", "pattern": "|".join(schemas)}},
        "allOf": [{"if": condition, "then": schema} for condition, schema in named_like],
    }
