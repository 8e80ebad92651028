"""Reinforce-Lite in thirty lines: a tiny random policy learns to answer with the number of the question.

No workflow and no download, seconds on a CPU: python examples/train.py
"""

import torch

from reinforce_lite.config import Scratch, Training
from reinforce_lite.learning.batching import samples_with_gradient
from reinforce_lite.learning.estimators import estimator
from reinforce_lite.learning.update import descend, gradient
from reinforce_lite.optim.optimizer import adamw
from reinforce_lite.policy import scratch
from reinforce_lite.rollout import Sampling
from reinforce_lite.rollout.generate import GenerateEngine

NUMBERS = ("3", "5", "8", "9")
VOCABULARY = ("tom", "has", "apples", ".", "how", "many", "now", "?", *map(str, range(10)))
SETTINGS = Training(steps=60, questions_per_step=4, group_size=32, max_new_tokens=3, learning_rate=3e-3)


def reward(text: str, number: str) -> float:
    """+1 if the first word is the number, else -1."""
    return 1.0 if text.split()[:1] == [number] else -1.0


def train() -> list[float]:
    """Train the policy, and return the mean reward of each step."""
    policy = scratch.build(Scratch(architecture="llama", hidden_size=64, layers=2), VOCABULARY, seed=0, device="cpu")
    engine = GenerateEngine(policy, rows_at_once=128)
    optimizer = adamw(policy.model, learning_rate=SETTINGS.learning_rate)
    estimate = estimator(SETTINGS.estimator)
    sampling = Sampling(SETTINGS.temperature, SETTINGS.top_p, SETTINGS.max_new_tokens)
    questions = [[{"role": "user", "content": f"tom has {n} apples . how many apples now ?"}] for n in NUMBERS]
    prompts = [policy.prompt_ids(question) for question in questions]
    history = []
    for step in range(SETTINGS.steps):
        groups_PG = engine(prompts, SETTINGS.group_size, sampling, seeds=[step * 100 + place for place in range(4)])
        answers = zip(groups_PG, NUMBERS, strict=True)
        rewards_PG = torch.tensor([[reward(policy.text(c.token_ids), n) for c in group] for group, n in answers])
        samples = samples_with_gradient(groups_PG, estimate(rewards_PG).tolist())
        result = gradient(policy, samples, estimate.denominator(*rewards_PG.shape), SETTINGS)
        descend(optimizer, result)
        history.append(rewards_PG.mean().item())
    return history


if __name__ == "__main__":
    rewards = train()
    print(f"mean reward: {sum(rewards[:5]) / 5:+.2f} in the first five steps, {sum(rewards[-5:]) / 5:+.2f} in the last")
