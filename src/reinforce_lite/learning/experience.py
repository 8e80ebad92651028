"""What one step learns from: groups of completions, their rewards, their advantages.

Everything random derives from (seed, step, place of the question), so a step can be repeated by itself.
"""

from dataclasses import dataclass, field, fields, replace
from typing import Any

import torch

from reinforce_lite.config import Training
from reinforce_lite.errors import UserError
from reinforce_lite.learning.batching import Sample, samples_with_gradient
from reinforce_lite.learning.curves import coin, question_seed
from reinforce_lite.learning.estimators import Estimator
from reinforce_lite.learning.supervised import completion_ids, preferred_stop
from reinforce_lite.policy import Policy
from reinforce_lite.rollout import Completion, Engine, Sampling
from reinforce_lite.tasks import Problem, Task, verdicts
from reinforce_lite.tasks.own import earned


@dataclass(frozen=True)
class Experience:
    """The completions of one step, by problem (P) and member of its group (G).

    A process scores its part of a step; the advantages are those of the whole, which an estimator may look at. Parts
    of a reward are those that a function of the user's own names.
    """

    problems: list[Problem]
    groups_PG: list[list[Completion]]
    texts_PG: list[list[str]]
    rewards_PG: list[list[float]]
    correct_PG: list[list[bool]]
    advantages_PG: list[list[float]] = field(default_factory=list)
    parts_PG: list[list[dict[str, float]]] = field(default_factory=list)

    @classmethod
    def joined(cls, parts: "list[Experience]") -> "Experience":
        """One experience of several, their problems in order."""
        return cls(*([one for part in parts for one in getattr(part, each.name)] for each in fields(cls)))

    def weighted(self, estimate: Estimator) -> "Experience":
        """The same with its advantages."""
        return replace(self, advantages_PG=estimate(torch.tensor(self.rewards_PG)).tolist())

    def samples(self, settings: Training) -> list[Sample]:
        """The completions that carry a gradient; with a KL or an entropy in the loss, every one does."""
        if settings.regularised:
            weights = [advantage for group in self.advantages_PG for advantage in group]
            return [Sample(*pair) for pair in zip(self.completions, weights, strict=True)]
        return samples_with_gradient(self.groups_PG, self.advantages_PG)

    @property
    def completions(self) -> list[Completion]:
        """All completions, group after group."""
        return [completion for group in self.groups_PG for completion in group]


@dataclass(frozen=True)
class Question:
    """A problem in its place in a step; all that is random about it derives from the seed."""

    problem: Problem
    seed: int


def ask(problems: list[Problem], seed: int, step: int) -> list[Question]:
    """The questions of a step. Each has a seed of its own, so that it does not matter who takes which of them."""
    return [Question(problem, question_seed(seed, step, place)) for place, problem in enumerate(problems)]


def rollout(
    policy: Policy, engine: Engine, questions: list[Question], task: Task[Any], prompt: str, settings: Training
) -> list[list[Completion]]:
    """A group of completions for every question; for supervised training, its worked solution.

    Raises:
        UserError: a worked solution is asked for, and there is none.
    """
    if settings.estimator == "supervised":
        return [[recite(policy, question.problem, task, prompt)] for question in questions]
    prompts = [policy.prompt_ids(task.messages(prompt, question.problem.question)) for question in questions]
    sampling = Sampling(settings.temperature, settings.top_p, settings.max_new_tokens)
    return engine(prompts, settings.group_size, sampling, [question.seed for question in questions])


def recite(policy: Policy, problem: Problem, task: Task[Any], prompt: str) -> Completion:
    """The worked solution as if the policy had written it, and been certain of every token.

    Raises:
        UserError: the problem has none.
    """
    if problem.solution is None:
        raise UserError(f"{problem.id} has no worked solution to learn from", "prepare the dataset again")
    solution = [*completion_ids(policy, problem.solution), preferred_stop(policy)]
    prompt_ids = policy.prompt_ids(task.messages(prompt, problem.question))
    return Completion(prompt_ids, solution, [0.0] * len(solution), "stop")


def score(
    policy: Policy, questions: list[Question], groups_PG: list[list[Completion]], task: Task[Any], settings: Training
) -> Experience:
    """Grade every completion and give it its reward."""
    problems = [question.problem for question in questions]
    texts_PG = [[policy.text(completion.token_ids) for completion in group] for group in groups_PG]
    grades_PG = [[task.grade(t, problem) for t in texts] for problem, texts in zip(problems, texts_PG, strict=True)]
    paid_PG = []
    for question, grades, texts in zip(questions, grades_PG, texts_PG, strict=True):
        tossed, graded = coin(question.seed), zip(grades, texts, strict=True)
        paid_PG.append([earned(settings.reward, grade, tossed, text, question.problem) for grade, text in graded])
    rewards_PG = [[reward for reward, _ in paid] for paid in paid_PG]
    parts_PG = [[parts for _, parts in paid] for paid in paid_PG]
    correct_PG = [[verdicts(grade)["strict"] for grade in grades] for grades in grades_PG]
    return Experience(problems, groups_PG, texts_PG, rewards_PG, correct_PG, parts_PG=parts_PG)
