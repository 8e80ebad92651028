"""The training loop of Reinforce-Lite, as the article tells it: sample a group, score it, push, repeat."""

import itertools
import random
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

from tqdm import tqdm

from reinforce_lite.learning import drift
from reinforce_lite.learning.batching import Sample
from reinforce_lite.learning.estimators import normaliser
from reinforce_lite.learning.experience import Experience, rollout, score
from reinforce_lite.learning.metrics import Clock, completion_rows, step_metrics
from reinforce_lite.learning.update import update
from reinforce_lite.policy import Policy
from reinforce_lite.policy.logprobs import check_head
from reinforce_lite.policy.optimizer import adamw, learning_rate, set_learning_rate
from reinforce_lite.rollout.generate import GenerateEngine
from reinforce_lite.settings import Training
from reinforce_lite.tasks import Problem


@dataclass(frozen=True)
class Step:
    """What one step leaves behind: its metrics, and its completions with reward and advantage."""

    metrics: dict[str, Any]
    completions: list[dict[str, Any]]


def train(
    policy: Policy,
    problems: list[Problem],
    prompt: str,
    settings: Training,
    seed: int,
    on_step: Callable[[Step], None] = lambda step: None,
) -> None:
    """Train the policy in place for `settings.steps` steps, and call `on_step` after each."""
    check_head(policy)
    if settings.gradient_checkpointing:
        policy.model.gradient_checkpointing_enable(gradient_checkpointing_kwargs={"use_reentrant": False})
    start = drift.snapshot(policy)
    engine = GenerateEngine(policy, settings.rollout_batch)
    optimizer = adamw(policy.model, learning_rate=settings.learning_rate, weight_decay=settings.weight_decay)
    denominator = normaliser(settings.estimator, settings.questions_per_step, settings.group_size)
    questions = question_stream(problems, settings.shuffle, seed)
    bar = tqdm(range(settings.steps), desc="train", unit="step", mininterval=2)
    for step in bar:
        clock = Clock()
        picked = list(itertools.islice(questions, settings.questions_per_step))
        groups_PG = rollout(policy, engine, picked, prompt, settings, seed, step)
        clock.lap("rollout")

        experience = score(policy, picked, groups_PG, settings, seed, step)
        clock.lap("reward")

        rate = learning_rate(settings.learning_rate, settings.schedule, step, settings.steps)
        set_learning_rate(optimizer, rate)
        policy.model.train()
        result = update(policy, optimizer, experience.samples, denominator, settings)
        clock.lap("update")

        due = (step + 1) % settings.kl_every == 0 or step + 1 == settings.steps
        moved = measure_drift(policy, start, experience, settings) if due else NOT_MEASURED
        clock.lap("drift")

        metrics = {"step": step, **step_metrics(experience, result, clock), "learning_rate": rate, **moved}
        on_step(Step(metrics, completion_rows(experience, step)))
        bar.set_postfix(reward=f"{metrics['reward_mean']:+.2f}", length=f"{metrics['length_mean']:.0f}", refresh=False)
    policy.model.eval()


def question_stream(problems: list[Problem], shuffle: bool, seed: int) -> Iterator[Problem]:
    """The problems, epoch after epoch, each epoch in its own order if they are shuffled."""
    for epoch in itertools.count():
        order = list(problems)
        if shuffle:
            random.Random(f"{seed}/epoch/{epoch}").shuffle(order)
        yield from order


NOT_MEASURED: dict[str, float | None] = {"weights_changed": None, "kl_to_start": None}


def measure_drift(
    policy: Policy, start: drift.Weights, experience: Experience, settings: Training
) -> dict[str, float | None]:
    """Share of weights changed since the start, and KL to the start policy in nats a token."""
    samples = [Sample(completion, 0.0) for completion in experience.completions]
    policy.model.eval()
    return {
        "weights_changed": drift.changed_share(policy, start),
        "kl_to_start": drift.kl_to_start(
            policy, start, samples, settings.micro_batch_tokens, settings.logprob_chunk_tokens
        ),
    }
