"""The training loop of Reinforce-Lite: sample a group, score it, estimate, push, record, repeat."""

import itertools
import random
from collections.abc import Callable, Iterator, Mapping
from dataclasses import asdict, dataclass
from typing import Any

import torch

from reinforce_lite.config import Training
from reinforce_lite.io.interrupt import Interrupted, limit_taken
from reinforce_lite.learning import drift, parallel
from reinforce_lite.learning.batching import Sample
from reinforce_lite.learning.checks import Skipped, check_engine, check_processes
from reinforce_lite.learning.critic import Critic
from reinforce_lite.learning.estimators import Estimator, estimator
from reinforce_lite.learning.experience import Experience, ask, rollout, score
from reinforce_lite.learning.metrics import Clock, completion_rows, step_metrics
from reinforce_lite.learning.objectives import anchored
from reinforce_lite.learning.progress import Keeper, steps_bar
from reinforce_lite.learning.update import UpdateResult, descend, gradient
from reinforce_lite.optim import lora
from reinforce_lite.optim.optimizer import learning_rate, optimizer_for, set_learning_rate
from reinforce_lite.policy import Policy
from reinforce_lite.policy.logprobs import check_head
from reinforce_lite.rollout import Engine
from reinforce_lite.rollout.registry import kept_open, opened
from reinforce_lite.tasks import Problem, Task

Stop = Callable[[int], str | None]
"""Asked once a step, with the number of completed steps; a reason ends the training."""


@dataclass(frozen=True)
class Step:
    """What one step leaves behind: its metrics, and its completions with reward and advantage."""

    metrics: dict[str, Any]
    completions: list[dict[str, Any]]


def train(
    policy: Policy,
    problems: list[Problem],
    task: Task[Any],
    prompt: str,
    settings: Training,
    seed: int,
    on_step: Callable[[Step], Mapping[str, str] | None] = lambda step: None,
    *,
    stop: Stop = lambda completed: None,
    progress: Keeper | None = None,
    engine: Engine | None = None,
) -> str | None:
    """Train the policy in place for `settings.steps` steps, or what is left of them if `progress` has kept some.

    Args:
        policy: the start policy, from which drift is measured, also when a training is resumed.
        problems: the questions of train.
        task: it puts them to the policy, and grades the completions.
        prompt: name of the prompt.
        settings: the algorithm.
        seed: all randomness derives from it and the step.
        on_step: called after each step that is taken here and now; the progress bar shows what it returns.
        stop: ends the training early.
        progress: keeps completed steps; by default they are lost with the process.
        engine: one that is open already; by default one is opened for this training.

    Returns:
        The reason of an early end, else None.

    Raises:
        UserError: too many steps in a row were not finite, the engine does not sample from the policy, `progress`
            holds another training, or there are more processes than questions.
    """
    check_processes(settings)
    learner, progress = Learner.of(policy, task, prompt, settings, seed), progress or Keeper()
    needs = settings.engine, policy, settings.rollout_batch, settings.max_new_tokens, settings.kv_cache_gib
    with progress.resumed(learner.kept, learner.optimizer) as completed, kept_open(engine, opened(*needs)) as writer:
        reason, skipped = stop(completed) if completed else None, Skipped(settings.max_skipped, progress.rows())
        questions = question_stream(problems, settings.shuffle, seed, first=completed * settings.questions_per_step)
        try:
            for number in (bar := steps_bar(completed, settings.steps)):
                if reason is not None:
                    break
                picked = list(itertools.islice(questions, settings.questions_per_step))
                step, reason = learner.step(number, picked, writer, progress, stop)
                more = on_step(step) or {}
                skipped.count(step.metrics)
                shown = {name: f"{step.metrics[name]:.3g}" for name in ("reward_mean", "length_mean")}
                bar.set_postfix({**shown, **more}, refresh=False)
        except Interrupted:
            done = len(progress.rows())
            if parallel.processes() > 1 or not done or not limit_taken():
                raise
            reason = stop(done)  # the money is spent: what was learned by then is the result
            if reason is None and done < settings.steps:
                raise
    if settings.weights == "lora":
        lora.merge(policy)
    policy.model.eval()
    return reason


@dataclass(frozen=True)
class Learner:
    """A policy in training, and what all of its steps need.

    Attributes:
        start: the weights before the first step.
        critic: what PPO's baseline comes from; None for a baseline that comes from rewards.
    """

    policy: Policy
    task: Task[Any]
    prompt: str
    settings: Training
    seed: int
    start: drift.Weights
    optimizer: torch.optim.Optimizer
    estimate: Estimator
    critic: Critic | None

    @classmethod
    def of(cls, policy: Policy, task: Task[Any], prompt: str, settings: Training, seed: int) -> "Learner":
        """Prepare a policy to learn."""
        prepare(policy, settings, seed)
        start, optimizer = drift.snapshot(policy), optimizer_for(policy.model, settings, seed)
        estimate = estimator(settings.estimator, settings.scale_by_std)
        critic = Critic.of(policy, settings, optimizer)
        return cls(policy, task, prompt, settings, seed, start, optimizer, estimate, critic)

    @property
    def kept(self) -> Policy:
        """All weights that a checkpoint holds."""
        return self.policy if self.critic is None else self.critic.beside(self.policy)

    def step(
        self, number: int, problems: list[Problem], engine: Engine, progress: Keeper, stop: Stop
    ) -> tuple[Step, str | None]:
        """Take one step; what it leaves behind, and the reason if it is the last one."""
        policy, settings, clock = self.policy, self.settings, Clock()
        questions = parallel.share(ask(problems, self.seed, number))
        groups_PG = rollout(policy, engine, questions, self.task, self.prompt, settings)
        clock.lap("rollout")

        scored = parallel.gather([score(policy, questions, groups_PG, self.task, settings)])
        experience = Experience.joined(scored).weighted(self.estimate)
        clock.lap("reward")

        policy.model.train()
        if self.critic is None:
            samples = experience.samples(settings)
        else:
            experience, samples = self.critic.judged(experience)
        samples = anchored(policy, self.start, samples, settings)
        result = self.gradient_of(samples)
        check_engine(policy, result, settings)
        with progress.step():  # the weights move and the step is recorded, or neither
            rate = learning_rate(settings.learning_rate, settings.schedule, number, settings.steps)
            set_learning_rate(self.optimizer, rate)
            descend(self.optimizer, result)
            for _ in range(settings.passes - 1):  # PPO learns from the same completions again
                result = self.gradient_of(samples)
                descend(self.optimizer, result)
            clock.lap("update")

            reason = stop(number + 1)
            moved = self.drifted(experience, number, last=reason is not None)
            clock.lap("drift")

            metrics = {"step": number, **step_metrics(experience, result, clock), "learning_rate": rate, **moved}
            step = Step({**metrics, "seconds_checkpoint": progress.seconds}, completion_rows(experience, number))
            progress.record(asdict(step))
        return step, reason

    def gradient_of(self, samples: list[Sample]) -> UpdateResult:
        """The gradient of the samples of one step, over all completions that may carry one."""
        normaliser = self.estimate.denominator(self.settings.questions_per_step, self.settings.group_size)
        result = gradient(self.policy, samples, normaliser, self.settings)
        return result if self.critic is None else self.critic.gradient(samples, result)

    def drifted(self, experience: Experience, number: int, last: bool) -> dict[str, float | None]:
        """Every `kl_every` steps, share of weights changed since the start, and KL to the start in nats a token."""
        settings = self.settings
        if not (last or (number + 1) % settings.kl_every == 0 or number + 1 == settings.steps):
            return {"weights_changed": None, "kl_to_start": None}
        self.policy.model.eval()
        samples = [Sample(completion, 0.0) for completion in experience.completions]
        sizes = settings.micro_batch_tokens, settings.logprob_chunk_tokens
        return {
            "weights_changed": drift.changed_share(self.policy, self.start),
            "kl_to_start": drift.kl_to_start(self.policy, self.start, samples, *sizes),
        }


def prepare(policy: Policy, settings: Training, seed: int) -> None:
    """Make the policy ready to learn, with adapters if they are what is trained."""
    check_head(policy)
    if settings.weights == "lora":
        lora.adapt(policy, settings.lora, seed)
    if settings.gradient_checkpointing:
        policy.model.gradient_checkpointing_enable(gradient_checkpointing_kwargs={"use_reentrant": False})


def question_stream(problems: list[Problem], shuffle: bool, seed: int, first: int = 0) -> Iterator[Problem]:
    """The problems from the `first` one on, epoch after epoch, each epoch in its own order if they are shuffled."""
    for epoch in itertools.count(first // len(problems)):
        order = list(problems)
        if shuffle:
            random.Random(f"{seed}/epoch/{epoch}").shuffle(order)
        yield from order[first % len(problems) :]
        first = 0
