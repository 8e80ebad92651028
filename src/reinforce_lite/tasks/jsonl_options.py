"""What the configuration says of questions of the user's own, and the prompts for each kind of answer."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Literal

from pydantic import Field, model_validator

from reinforce_lite.tasks import REGISTRY, Commit, Message, Options, named, numeric
from reinforce_lite.tasks.own import is_own
from reinforce_lite.tasks.rows import Column

Split = Literal["train", "test"]

_TAGGED = (
    "{question}\n\nReason step by step. Then write the WHAT alone, without further words, between <answer> and "
    "</answer>, for example <answer>EXAMPLE</answer>"
)


def _prompts(what: str, example: str) -> Mapping[str, Sequence[Message]]:
    tagged = _TAGGED.replace("WHAT", what).replace("EXAMPLE", example)
    return {"tagged": numeric.dialogue(tagged), "bare": numeric.PROMPTS["bare"]}


PROMPTS: dict[str, Mapping[str, Sequence[Message]]] = {
    "numeric": numeric.PROMPTS,
    "exact": _prompts("final answer", "Paris"),
    "choice": _prompts("letter of the right answer", "B"),
}
"""By the value of `task.grade`; a function of the user's own has those of `exact`."""


class JsonlOptions(Options):
    """Where the questions are, and how answers to them are graded."""

    train: Path | None = Field(
        None,
        description='File of JSON lines, `{"question": ..., "answer": ...}`, with `solution` (a worked completion) and '
        "`id` where there are some. The dev split is cut from it.",
    )
    test: Path | None = Field(
        None, description="The same for the test; null: `test_size` questions are cut from train, by `task.seed`."
    )
    repo: str | None = Field(None, description="Dataset on the hub, instead of files.")
    revision: Commit | None = Field(None, description="Pinned revision of that dataset; needed with `task.repo`.")
    subset: str | None = Field(None, description="Which configuration of that dataset, if it has several.")
    splits: dict[Split, str | None] = Field(
        {},
        description="What the splits are called there, if not `train` and `test`; `{test: null}` cuts "
        "the test from train.",
    )
    columns: dict[Column, str] = Field(
        {}, description="What the columns are called, if not `question`, `answer`, `solution` and `id`."
    )
    grade: str = Field(
        "numeric",
        description="How an answer is read: `numeric` (a number, as GSM8K's), `exact` (the text in the answer tag, but "
        "for white space), `choice` (a letter), or `my_reward.py:score`, a function of your own: 1 or more is correct, "
        "and of a dictionary its `correct`.",
    )
    vocabulary: str | None = Field(
        None, description="For models from scratch: the task of the package whose words the questions are written in."
    )

    @model_validator(mode="after")
    def _fits(self) -> "JsonlOptions":
        if (self.train is None) == (self.repo is None):
            raise ValueError("train, a file, or repo, a dataset on the hub, is needed, and not both")
        of_hub = ("revision", "subset", "splits") if self.repo is None else ("test",)
        for key in of_hub:
            if getattr(self, key):
                raise ValueError(f"{key}: it is not used with {'train' if self.repo is None else 'repo'}; take it out")
        if self.repo is not None and self.revision is None:
            raise ValueError(f"revision: {self.repo} is not pinned; set it to the commit that you have looked at")
        if self.grade not in PROMPTS and not is_own(self.grade):
            raise ValueError(f"grade: '{self.grade}' is not one of {', '.join(PROMPTS)}, and no my_reward.py:score")
        if self.prompt not in (known := PROMPTS.get(self.grade, PROMPTS["exact"])):
            raise ValueError(f"prompt: with grade: {self.grade} there are {', '.join(known)}")
        worded = [name for name in REGISTRY if name != self.name and named(name).vocabulary]
        if self.vocabulary is not None and self.vocabulary not in worded:
            raise ValueError(f"vocabulary: '{self.vocabulary}' is not one of {', '.join(worded)}")
        return self
