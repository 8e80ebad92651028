"""Problems, their prompts, their parsers, their rewards. Nothing here knows about models."""

from dataclasses import dataclass
from typing import Any


@dataclass(frozen=True)
class Problem:
    """A question with its gold answer.

    Attributes:
        id: stable name within the dataset, e.g. `test-17`.
        question: the text a policy reads.
        answer: the gold answer, normalised: a plain decimal such as `-1080` or `2.5`.
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
