"""A task outside of the package: letters are put into order. A configuration names this file; nothing else knows it."""

import itertools
import random
from operator import eq

from pydantic import Field

from reinforce_lite.tasks import Dataset, Demonstration, Grade, Options, Problem, Task

LETTERS = "abcdefgh"
PROMPTS = {"plain": [{"role": "user", "content": "sort {question}"}]}


class SortingOptions(Options):
    letters: int = Field(4, ge=2, le=8, description="Letters of a question.")


class Sorting(Task[SortingOptions]):
    options = SortingOptions
    prompts = PROMPTS
    scores = ("correct", "placed")
    vocabulary = (*LETTERS, "sort", "<answer>", "</answer>")

    def build(self, options: SortingOptions) -> Dataset:
        questions = [" ".join(letters) for letters in itertools.permutations(LETTERS, options.letters)]
        random.Random(options.seed).shuffle(questions)
        drawn = iter(questions)

        def split(name: str, size: int) -> list[Problem]:
            some = [(f"{name}-{i}", next(drawn)) for i in range(size)]
            return [Problem(id, question, ordered(question), solution(question)) for id, question in some]

        train, dev = split("train", options.train_size), split("dev", options.dev_size)
        test = split("test", options.test_size)
        shown = [
            Demonstration(question, solution(question)) for question in itertools.islice(drawn, options.demonstrations)
        ]
        return Dataset(train, dev, test, shown, {"letters": options.letters})

    def grade(self, text: str, problem: Problem) -> Grade:
        gold, answer = problem.answer.split(), text.partition("<answer>")[2].partition("</answer>")[0].split()
        return {"correct": answer == gold, "placed": sum(map(eq, answer, gold)) / len(gold)}


def ordered(question: str) -> str:
    return " ".join(sorted(question.split()))


def solution(question: str) -> str:
    return f"<answer> {ordered(question)} </answer>"


TASK = Sorting()
