"""The training loop of Reinforce-Lite, as the article tells it: sample a group, score it, push, repeat."""

import itertools
import math
import random
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from statistics import fmean, pstdev
from typing import Any

import torch
from tqdm import tqdm

from reinforce_lite.learning import drift
from reinforce_lite.learning.batching import Sample, samples_with_gradient
from reinforce_lite.learning.estimators import estimator, normaliser
from reinforce_lite.learning.update import UpdateResult, update
from reinforce_lite.policy import Policy
from reinforce_lite.policy.logprobs import check_head
from reinforce_lite.policy.optimizer import adamw, learning_rate, set_learning_rate
from reinforce_lite.rollout import Completion, Sampling
from reinforce_lite.rollout.generate import GenerateEngine
from reinforce_lite.settings import Training
from reinforce_lite.tasks import Problem
from reinforce_lite.tasks.answers import is_correct, strict
from reinforce_lite.tasks.prompts import messages
from reinforce_lite.tasks.rewards import reward

Metrics = dict[str, Any]


@dataclass(frozen=True)
class Step:
    """What one step leaves behind: its metrics, and its completions with reward and advantage."""

    metrics: Metrics
    completions: list[dict[str, Any]]


def train(
    policy: Policy,
    problems: list[Problem],
    prompt: str,
    settings: Training,
    seed: int,
    on_step: Callable[[Step], None] = lambda step: None,
) -> None:
    """Train the policy in place for `settings.steps` steps, and call `on_step` after each.

    Everything random in a step derives from (seed, step), so a step can be repeated by itself.
    """
    check_head(policy)
    if settings.gradient_checkpointing:
        policy.model.gradient_checkpointing_enable(gradient_checkpointing_kwargs={"use_reentrant": False})
    start = drift.snapshot(policy)
    engine = GenerateEngine(policy, settings.rollout_batch)
    optimizer = adamw(policy.model, learning_rate=settings.learning_rate, weight_decay=settings.weight_decay)
    questions = question_stream(problems, settings.shuffle, seed)
    bar = tqdm(range(settings.steps), desc="train", unit="step", mininterval=2)
    for step in bar:
        picked = list(itertools.islice(questions, settings.questions_per_step))
        clock = Clock()

        groups = rollout(policy, engine, picked, prompt, settings, seed, step)
        clock.lap("rollout")
        rewards = score(policy, picked, groups, settings, seed, step)
        advantages = estimator(settings.estimator, settings.scale_by_std)(torch.tensor(rewards)).tolist()
        # A group with equal rewards teaches nothing; rounding must not make it look as if it did.
        advantages = [a if max(r) > min(r) else [0.0] * len(a) for a, r in zip(advantages, rewards, strict=True)]
        samples = samples_with_gradient(groups, advantages)
        clock.lap("reward")
        policy.model.train()
        denominator = normaliser(settings.estimator, len(picked), settings.group_size)
        rate = learning_rate(settings.learning_rate, settings.schedule, step, settings.steps)
        set_learning_rate(optimizer, rate)
        result = update(policy, optimizer, samples, denominator, settings)
        clock.lap("update")

        measured = None
        if (step + 1) % settings.kl_every == 0 or step + 1 == settings.steps:
            measured = measure_drift(policy, start, groups, settings)
            clock.lap("drift")
        metrics = {
            "step": step,
            **step_metrics(policy, picked, groups, rewards, result, clock),
            "learning_rate": rate,
            "weights_changed": measured[0] if measured else None,
            "kl_to_start": measured[1] if measured else None,
        }
        on_step(Step(metrics, completion_rows(policy, picked, groups, rewards, advantages, step)))
        bar.set_postfix(reward=f"{metrics['reward_mean']:+.2f}", length=f"{metrics['length_mean']:.0f}", refresh=False)
    policy.model.eval()


class Clock:
    """Seconds since the last lap, by name; waits for the GPU so that a phase is charged what it used."""

    def __init__(self) -> None:
        self.seconds: dict[str, float] = {}
        self._last = time.perf_counter()

    def lap(self, name: str) -> None:
        """End a phase."""
        if torch.cuda.is_available():
            torch.cuda.synchronize()
        now = time.perf_counter()
        self.seconds[name] = now - self._last
        self._last = now


def question_stream(problems: list[Problem], shuffle: bool, seed: int) -> Iterator[Problem]:
    """The problems, epoch after epoch, each epoch in its own order if they are shuffled."""
    for epoch in itertools.count():
        order = list(problems)
        if shuffle:
            random.Random(f"{seed}/epoch/{epoch}").shuffle(order)
        yield from order


def rollout(
    policy: Policy,
    engine: GenerateEngine,
    problems: list[Problem],
    prompt: str,
    settings: Training,
    seed: int,
    step: int,
) -> list[list[Completion]]:
    """A group of completions for every problem."""
    prompts = [policy.prompt_ids(messages(prompt, problem.question)) for problem in problems]
    sampling = Sampling(settings.temperature, settings.top_p, settings.max_new_tokens)
    generator = torch.Generator(policy.device).manual_seed(random.Random(f"{seed}/rollout/{step}").getrandbits(62))
    return engine(prompts, settings.group_size, sampling, generator)


def score(
    policy: Policy, problems: list[Problem], groups: list[list[Completion]], settings: Training, seed: int, step: int
) -> list[list[float]]:
    """The reward of every completion, +1 or -1."""
    coin = random.Random(f"{seed}/reward/{step}")
    return [
        [reward(settings.reward, policy.text(completion.token_ids), problem.answer, rng=coin) for completion in group]
        for problem, group in zip(problems, groups, strict=True)
    ]


def measure_drift(
    policy: Policy, start: drift.Weights, groups: list[list[Completion]], settings: Training
) -> tuple[float, float]:
    """(share of weights changed, KL to the start policy in nats a token)."""
    samples = [Sample(completion, 0.0) for group in groups for completion in group]
    policy.model.eval()
    kl = drift.kl_to_start(policy, start, samples, settings.micro_batch_tokens, settings.logprob_chunk_tokens)
    return drift.changed_share(policy, start), kl


def step_metrics(
    policy: Policy,
    problems: list[Problem],
    groups: list[list[Completion]],
    rewards: list[list[float]],
    result: UpdateResult,
    clock: Clock,
) -> Metrics:
    """The numbers of one step. Shares are fractions, lengths tokens, times seconds."""
    flat = [completion for group in groups for completion in group]
    every_reward = [r for group in rewards for r in group]
    tokens = sum(len(completion.token_ids) for completion in flat)
    correct = [
        is_correct(strict(policy.text(completion.token_ids)), problem.answer)
        for problem, group in zip(problems, groups, strict=True)
        for completion in group
    ]
    seconds = {f"seconds_{name}": value for name, value in clock.seconds.items()}
    finite = {k: v for k, v in vars(result).items() if v is None or isinstance(v, bool) or math.isfinite(v)}
    return {
        "reward_mean": fmean(every_reward),
        "reward_std": pstdev(every_reward),
        "accuracy": fmean(correct),
        "length_mean": tokens / len(flat),
        "truncated": fmean(completion.finish_reason == "length" for completion in flat),
        "groups_dropped": fmean(max(group) == min(group) for group in rewards),
        **vars(replace(result)),
        **dict.fromkeys(vars(result).keys() - finite.keys()),
        "tokens": tokens,
        "tokens_per_second": tokens / sum(clock.seconds.values()),
        **seconds,
    }


def completion_rows(
    policy: Policy,
    problems: list[Problem],
    groups: list[list[Completion]],
    rewards: list[list[float]],
    advantages: list[list[float]],
    step: int,
) -> list[dict[str, Any]]:
    """One row a completion, for reading."""
    return [
        {
            "step": step,
            "question": problem.question,
            "answer": problem.answer,
            "completion": policy.text(completion.token_ids),
            "reward": r,
            "advantage": a,
            "length": len(completion.token_ids),
        }
        for problem, group, group_rewards, weights in zip(problems, groups, rewards, advantages, strict=True)
        for completion, r, a in zip(group, group_rewards, weights, strict=True)
    ]
