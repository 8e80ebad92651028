"""What one step learns from: groups of completions, their rewards, their advantages.

Everything random derives from (seed, step), so a step can be repeated by itself.
"""

import random
from dataclasses import dataclass

import torch

from reinforce_lite.learning.batching import Sample, samples_with_gradient
from reinforce_lite.learning.estimators import estimator
from reinforce_lite.policy import Policy
from reinforce_lite.rollout import Completion, Engine, Sampling
from reinforce_lite.settings import Training
from reinforce_lite.tasks import Problem
from reinforce_lite.tasks.prompts import messages
from reinforce_lite.tasks.rewards import reward


@dataclass(frozen=True)
class Experience:
    """The completions of one step, by problem (P) and member of its group (G)."""

    problems: list[Problem]
    groups_PG: list[list[Completion]]
    texts_PG: list[list[str]]
    rewards_PG: list[list[float]]
    advantages_PG: list[list[float]]

    @property
    def samples(self) -> list[Sample]:
        """The completions that carry a gradient."""
        return samples_with_gradient(self.groups_PG, self.advantages_PG)

    @property
    def completions(self) -> list[Completion]:
        """All completions, group after group."""
        return [completion for group in self.groups_PG for completion in group]


def rollout(
    policy: Policy, engine: Engine, problems: list[Problem], prompt: str, settings: Training, seed: int, step: int
) -> list[list[Completion]]:
    """A group of completions for every problem."""
    prompts = [policy.prompt_ids(messages(prompt, problem.question)) for problem in problems]
    sampling = Sampling(settings.temperature, settings.top_p, settings.max_new_tokens)
    generator = torch.Generator(policy.device).manual_seed(random.Random(f"{seed}/rollout/{step}").getrandbits(62))
    return engine(prompts, settings.group_size, sampling, generator)


def score(
    policy: Policy, problems: list[Problem], groups_PG: list[list[Completion]], settings: Training, seed: int, step: int
) -> Experience:
    """Give every completion its reward (+1 or -1) and its advantage."""
    coin = random.Random(f"{seed}/reward/{step}")
    texts_PG = [[policy.text(completion.token_ids) for completion in group] for group in groups_PG]
    rewards_PG = [
        [reward(settings.reward, text, problem.answer, rng=coin) for text in texts]
        for problem, texts in zip(problems, texts_PG, strict=True)
    ]
    estimate = estimator(settings.estimator, settings.scale_by_std)
    advantages_PG = estimate(torch.tensor(rewards_PG)).tolist()
    # A group with equal rewards teaches nothing; rounding must not make it look as if it did.
    for group, (rewards, advantages) in enumerate(zip(rewards_PG, advantages_PG, strict=True)):
        if max(rewards) == min(rewards):
            advantages_PG[group] = [0.0] * len(advantages)
    return Experience(problems, groups_PG, texts_PG, rewards_PG, advantages_PG)
