"""The training loop of Reinforce-Lite, as the article tells it: sample a group, score it, push, repeat."""

import itertools
import random
from collections.abc import Callable, Iterator
from dataclasses import asdict, dataclass
from typing import Any

from reinforce_lite.errors import UserError
from reinforce_lite.learning import drift, parallel
from reinforce_lite.learning.batching import Sample
from reinforce_lite.learning.estimators import estimator
from reinforce_lite.learning.experience import Experience, ask, rollout, score
from reinforce_lite.learning.metrics import Clock, completion_rows, step_metrics
from reinforce_lite.learning.update import anchored, check_engine, descend, gradient
from reinforce_lite.policy import Policy, lora
from reinforce_lite.policy.logprobs import check_head
from reinforce_lite.policy.optimizer import learning_rate, optimizer_for, set_learning_rate
from reinforce_lite.policy.progress import InMemory, Keeper, steps_bar
from reinforce_lite.rollout import Engine
from reinforce_lite.rollout.choose import kept_open, opened
from reinforce_lite.settings import Training
from reinforce_lite.tasks import Problem, Task


@dataclass(frozen=True)
class Step:
    """What one step leaves behind: its metrics, and its completions with reward and advantage."""

    metrics: dict[str, Any]
    completions: list[dict[str, Any]]


def never(completed: int) -> str | None:
    """The rule that ends no training early."""
    return None


def train(
    policy: Policy,
    problems: list[Problem],
    task: Task[Any],
    prompt: str,
    settings: Training,
    seed: int,
    on_step: Callable[[Step], None] = lambda step: None,
    *,
    stop: Callable[[int], str | None] = never,
    progress: Keeper | None = None,
    engine: Engine | None = None,
) -> str | None:
    """Train the policy in place for `settings.steps` steps, or what is left of them if `progress` has kept some.

    Args:
        policy: the start policy, from which drift is measured, also when a training goes on.
        problems: the questions of train.
        task: it puts them to the policy, and grades the completions.
        prompt: name of the prompt.
        settings: the algorithm.
        seed: all randomness derives from it and the step.
        on_step: called after each step that is taken here and now.
        stop: asked once a step, with the number of completed steps; a reason ends the training.
        progress: keeps finished steps; by default they go with the process.
        engine: one that is open already; by default one is opened for this training.

    Returns:
        The reason of an early end, else None.

    Raises:
        UserError: too many steps in a row were not finite, the engine does not sample from the policy, `progress`
            holds another training, or there are more processes than questions.
    """
    check(settings)
    prepare(policy, settings, seed)
    start, progress = drift.snapshot(policy), progress or InMemory()
    optimizer = optimizer_for(policy.model, settings, seed)
    estimate = estimator(settings.estimator, settings.scale_by_std)
    denominator = estimate.denominator(settings.questions_per_step, settings.group_size)
    needs = settings.engine, policy, settings.rollout_batch, settings.max_new_tokens, settings.kv_cache_gib
    with progress.resumed(policy, optimizer) as completed, kept_open(engine, opened(*needs)) as writer:
        reason, skipped = stop(completed) if completed else None, Skipped(settings.max_skipped, progress.rows())
        questions = question_stream(problems, settings.shuffle, seed, first=completed * settings.questions_per_step)
        for step in (bar := steps_bar(completed, settings.steps)):
            if reason is not None:
                break
            clock = Clock()
            picked = list(itertools.islice(questions, settings.questions_per_step))
            asked = parallel.share(ask(picked, seed, step))
            groups_PG = rollout(policy, writer, asked, task, prompt, settings)
            clock.lap("rollout")

            parts = parallel.gather([score(policy, asked, groups_PG, task, settings)])
            experience = Experience.joined(parts).weighted(estimate)
            clock.lap("reward")

            rate = learning_rate(settings.learning_rate, settings.schedule, step, settings.steps)
            set_learning_rate(optimizer, rate)
            policy.model.train()
            samples = anchored(policy, start, experience.samples(settings), settings)
            result = gradient(policy, samples, denominator, settings)
            check_engine(policy, result, settings)
            with progress.step():  # the weights move and the step is told, or neither
                descend(optimizer, result)
                for _ in range(settings.passes - 1):  # PPO learns from the same completions again
                    result = gradient(policy, samples, denominator, settings)
                    descend(optimizer, result)
                clock.lap("update")

                reason = stop(step + 1)
                due = (step + 1) % settings.kl_every == 0 or step + 1 == settings.steps or reason is not None
                moved = measure_drift(policy, start, experience, settings) if due else NOT_MEASURED
                clock.lap("drift")

                metrics = {"step": step, **step_metrics(experience, result, clock), "learning_rate": rate, **moved}
                metrics["seconds_checkpoint"] = progress.seconds
                done = Step(metrics, completion_rows(experience, step))
                progress.record(asdict(done))
            on_step(done)
            skipped.count(done.metrics)
            bar.set_postfix({name: f"{metrics[name]:.3g}" for name in ("reward_mean", "length_mean")}, refresh=False)
    if settings.weights == "lora":
        lora.merge(policy)
    policy.model.eval()
    return reason


def check(settings: Training) -> None:
    """Every process needs a question.

    Raises:
        UserError: there are too few.
    """
    if parallel.processes() > settings.questions_per_step:
        raise UserError(
            f"{parallel.processes()} processes share {settings.questions_per_step} questions a step",
            "raise training.questions_per_step or lower hardware.count",
        )


def prepare(policy: Policy, settings: Training, seed: int) -> None:
    """Make the policy ready to learn, with adapters if they are what is trained."""
    check_head(policy)
    if settings.weights == "lora":
        lora.adapt(policy, settings.lora, seed)
    if settings.gradient_checkpointing:
        policy.model.gradient_checkpointing_enable(gradient_checkpointing_kwargs={"use_reentrant": False})


class Skipped:
    """Counts the steps in a row that were not finite, and ends the training when there are too many.

    Args:
        limit: so many are too many.
        rows: the steps that are completed already, as they were recorded.
    """

    def __init__(self, limit: int, rows: list[dict[str, Any]]) -> None:
        self._limit, self._count = limit, 0
        for row in rows:
            self.count(row["metrics"])

    def count(self, metrics: dict[str, Any]) -> None:
        """Count one more step.

        Raises:
            UserError: it is one too many.
        """
        self._count = self._count + 1 if metrics["skipped"] else 0
        if self._count >= self._limit:
            raise UserError(
                f"step {metrics['step']}: loss or gradient was not finite, {self._count} times in a row",
                "lower training.learning_rate; the last checkpoint is kept, and its weights are finite",
            )


def question_stream(problems: list[Problem], shuffle: bool, seed: int, first: int = 0) -> Iterator[Problem]:
    """The problems from the `first` one on, epoch after epoch, each epoch in its own order if they are shuffled."""
    for epoch in itertools.count(first // len(problems)):
        order = list(problems)
        if shuffle:
            random.Random(f"{seed}/epoch/{epoch}").shuffle(order)
        yield from order[first % len(problems) :]
        first = 0


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
