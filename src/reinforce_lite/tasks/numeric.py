"""What tasks share whose answer is a number: prompts that ask for it in a tag, and a grade that reads it there."""

from collections.abc import Mapping, Sequence

from reinforce_lite.tasks import Grade, Message, OptionsT, Problem, Task, answers, article

TAGGED_EXAMPLE = "<answer>42</answer>"
TAGGED = (
    "{question}\n\n"
    "Reason step by step. Then write the final number alone, without units or words, between <answer> and </answer>, "
    f"for example {TAGGED_EXAMPLE}"
)

# The three texts of the released code, word for word: qflow/data_processor.py of Raj-08/Q-Flow (MIT, (c) 2024 Raj).
RELEASED_SYSTEM = (
    "You are a helpful assistant. You first thinks about the reasoning process in the mind "
    "and then provides the user with the answer."
)
RELEASED_SUFFIX = (
    "\nShow your work in <think> </think> tags and return the final numerical answer in <answer> </answer> tags."
)
RELEASED_PREFILL = "Let me solve this step by step.\n<think>"

# A worked example of our own, of no data set, for the prompt that shows the format instead of asking for it.
EXAMPLE_QUESTION = "A baker makes 4 trays of 6 rolls and sells 15 of them. How many rolls are left?"
EXAMPLE_REPLY = "4 trays of 6 rolls are 4 * 6 = 24 rolls. 24 - 15 = 9 of them are left. <answer>9</answer>"


def dialogue(*contents: str) -> list[Message]:
    """Messages of user and assistant by turns."""
    return [{"role": ("user", "assistant")[turn % 2], "content": text} for turn, text in enumerate(contents)]


PROMPTS = {
    "tagged": dialogue(TAGGED),
    "released": [
        {"role": "system", "content": RELEASED_SYSTEM},
        *dialogue("{question}" + RELEASED_SUFFIX, RELEASED_PREFILL),
    ],
    "bare": dialogue("{question}"),
    "one_shot": dialogue(TAGGED.replace("{question}", EXAMPLE_QUESTION), EXAMPLE_REPLY, TAGGED),
}


class NumericTask(Task[OptionsT]):
    """A task whose gold answers are plain decimals."""

    prompts: Mapping[str, Sequence[Message]] = PROMPTS
    scores: tuple[str, ...] = ("correct", "flexible", "format", "published", "released")

    def unread(self, text: str) -> str | None:
        """Why the last complete answer tag holds no number; None if it holds one."""
        return answers.read(text).reason

    def under_read(self, text: str, answer: str) -> bool:
        """Whether an answer without tag or box has the gold one in its last sentence, but not as its last number."""
        return answers.under_read(text, answer)

    def grade(self, text: str, problem: Problem) -> Grade:
        """Five verdicts: by the strict and the flexible reading, by the format alone, by the article's two parsers.

        `format` holds if the last complete answer tag has a number, whichever it is. The published code compared with
        GSM8K's raw strings; against the normalised answer, `published` and `released` can be earned on answers with
        thousands commas too (79 of train), but never on negative ones.

        Raises:
            ValueError: the gold answer is no number.
        """
        reading, gold = answers.read(text), problem.answer
        loose = answers.flexible(text) if reading.reason == answers.NO_TAG else reading.value
        return {
            "correct": answers.is_correct(reading.value, gold),
            "flexible": answers.is_correct(loose, gold),
            "format": reading.value is not None,
            "published": article.published_is_correct(text, gold),
            "released": article.released_is_correct(text, gold),
        }
