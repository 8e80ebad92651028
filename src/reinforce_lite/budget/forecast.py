"""How long the stages will take, in device-seconds, from what a rehearsal measured and from what has been run since.

Every forecast is an interval. Two things are not known before a run: how long completions will be, and how fast the
machine will be while others use it too. What has been run is better known, and replaces what was measured.
"""

import math
from collections.abc import Mapping
from dataclasses import dataclass, field, replace

from reinforce_lite.config import Evaluation, Settings, Start, Training
from reinforce_lite.resources.precision import evaluation_of, evaluation_of_job, training_of
from reinforce_lite.stages import EVALUATE_AGAIN, STAGES, Job


@dataclass(frozen=True)
class Interval:
    """A forecast: nothing less than `low` and nothing more than `high` would surprise; `expected` lies between."""

    low: float
    expected: float
    high: float

    @classmethod
    def exactly(cls, value: float) -> "Interval":
        """What is known."""
        return cls(value, value, value)

    def __add__(self, other: "Interval") -> "Interval":
        """The ends add up too: what makes one stage slow makes the next one slow."""
        return Interval(self.low + other.low, self.expected + other.expected, self.high + other.high)

    def __mul__(self, factor: "float | Interval") -> "Interval":
        """Scale by a number, or end by end."""
        by = factor if isinstance(factor, Interval) else Interval.exactly(factor)
        return Interval(self.low * by.low, self.expected * by.expected, self.high * by.high)

    def at_most(self, limit: float) -> "Interval":
        """None of the ends beyond a limit."""
        return Interval(min(self.low, limit), min(self.expected, limit), min(self.high, limit))


ZERO = Interval.exactly(0.0)
SPEED = Interval(0.8, 1.0, 1.3)
"""A step at another time, against the measured one: a rented machine is not always equally fast."""
AGAIN = Interval(0.7, 1.0, 1.5)
"""A stage that has been run before: training changes how long the completions are."""
MEAN_LENGTH = Interval(0.25, 0.5, 1.0)
"""Mean length of completions as a share of the limit, while nothing is known about the policy's."""
LONGEST_LENGTH = Interval(0.5, 1.0, 1.0)
"""The same for the longest of those decoded side by side: the batch is not done before it is."""
CARRYING = Interval(0.4, 0.8, 1.0)
"""Share of the groups that carry a gradient, their ten rewards not being equal: 0.40 of them at an accuracy of 0.95,
0.89 at 0.8, nearly all at 0.5 (1 - p^10 - (1 - p)^10)."""
CARRYING_CONTROLS = {"random": Interval(1.0, 1.0, 1.0), "format": Interval(0.0, 0.3, 1.0)}
"""The same for a coin, and for a reward that a policy earns by a format it may well have already."""
TEST_PROBLEMS = 1319
"""As many as GSM8K has, for a task that says how many only when its data are prepared."""
Lengths = tuple[float, float]
"""(mean, longest) tokens of a completion."""


@dataclass(frozen=True)
class Rates:
    """What a rehearsal of one policy measured, in seconds unless it says otherwise.

    Attributes:
        process: from the creation of a process until it could begin.
        harness: what evaluation needs beside that to begin.
        load: to bring the weights to the device; to save them takes about as long.
        engine: to open what writes completions; seconds with vLLM, nothing with `generate`.
        warm_up: what a first step costs beyond the later ones.
        start_step: one step of the supervised start; None if the policy has none.
        rollout_position: one more token in every row of a rollout batch.
        update_token: reward and update for each token that carries a gradient, as `step_tokens` counts.
        drift_token: the measurement of drift for each token of a step.
        evaluation_position: one more token in every row of an evaluation batch.
        prompt_tokens: tokens of a prompt, on average.
        lengths: (mean, longest) tokens of a completion, of a demonstration if the policy is yet to have its start;
            None if the completions were cut.
    """

    process: float
    harness: float
    load: float
    warm_up: float
    start_step: float | None
    rollout_position: float
    update_token: float
    drift_token: float
    evaluation_position: float
    prompt_tokens: float
    lengths: Lengths | None = None
    engine: float = 0.0


@dataclass(frozen=True)
class Trained:
    """What a training that has been run took: seconds before and after its steps, and of one step a completion."""

    around: float
    step_per_completion: float


@dataclass(frozen=True)
class Evidence:
    """What has been run.

    Attributes:
        seconds: what a finished evaluation took, by job.
        lengths: of the completions in a model's baseline.
        trained: what a model's trainings took, on average.
    """

    seconds: Mapping[Job, float] = field(default_factory=dict)
    lengths: Mapping[str, Lengths] = field(default_factory=dict)
    trained: Mapping[str, Trained] = field(default_factory=dict)


@dataclass(frozen=True)
class Duration:
    """A forecast in device-seconds of `around` + steps x `step`; evaluations are not divided into steps.

    Attributes:
        around: before the first step and after the last one.
        step: one step.
        steps: how many.
        after: the part of `around` that comes after the last step.
    """

    around: Interval
    step: Interval = ZERO
    steps: int = 0
    after: Interval = ZERO

    @property
    def total(self) -> Interval:
        """All of it."""
        return self.around + self.step * self.steps


def forecast(settings: Settings, job: Job, rates: Rates, evidence: Evidence) -> Duration:
    """How long a job takes from beginning to end, in device-seconds (seconds times rented devices)."""
    devices = settings.hardware.taken_by(job.stage)
    if job.stage == "fetch_policy":
        one = fetching(rates, settings.policies[job.model].start)
    elif job.stage == "train":
        training = training_of(settings, job.model, str(job.variant))
        lengths = sampled_lengths(evidence.lengths.get(job.model), rates.lengths)
        one = training_seconds(rates, training, lengths, evidence.trained.get(job.model))
        if training.same_cost_as is not None:  # it ends when it has cost as much
            other = forecast(settings, replace(job, variant=training.same_cost_as), rates, evidence)
            seconds = other.total.expected / devices - one.around.expected
            fitting = math.ceil(seconds / max(one.step.expected, 1e-9))
            one = replace(one, steps=min(one.steps, max(0, fitting)))
    elif job.stage == EVALUATE_AGAIN:
        evaluation = evaluation_of_job(settings, job)
        lengths = evidence.lengths.get(job.model, rates.lengths)
        one = Duration(evaluation_seconds(rates, evaluation, settings.test_problems or TEST_PROBLEMS, lengths))
    elif not STAGES[job.stage].evaluates:
        one = Duration(SPEED * rates.process)
    elif likes := [seconds for other, seconds in evidence.seconds.items() if other.model == job.model]:
        one = Duration(AGAIN * (sum(likes) / len(likes)))
    else:
        problems = settings.test_problems or TEST_PROBLEMS
        one = Duration(evaluation_seconds(rates, evaluation_of(settings, job.model), problems, rates.lengths))
    return Duration(one.around * devices, one.step * devices, one.steps, one.after * devices)


def fetching(rates: Rates, start: Start | None) -> Duration:
    """A policy that is only loaded, or that is given its supervised start and saved."""
    if start is None or rates.start_step is None:
        return Duration(SPEED * (rates.process + rates.load))
    around = rates.process + 2 * rates.load + rates.warm_up
    return Duration(SPEED * around, SPEED * rates.start_step, start.steps, SPEED * rates.load)


def training_seconds(rates: Rates, training: Training, lengths: Lengths | None, seen: Trained | None) -> Duration:
    """A training: by those of the same model that have been run, if its steps are like theirs, else by the rehearsal.

    Args:
        rates: what was rehearsed.
        training: its settings, decided.
        lengths: of the completions, as far as they are known.
        seen: what trainings of the same model took; None if none has been run.
    """
    if training.steps == 0:  # not even the weights are loaded
        return Duration(SPEED * rates.process)
    if seen is not None and plain(training):
        completions = training.questions_per_step * training.group_size
        around, after = seen.around, min(rates.load, seen.around)
        step = AGAIN * (seen.step_per_completion * completions)
    else:
        around, after = rates.process + rates.engine + 2 * rates.load + rates.warm_up, rates.load
        step = SPEED * _rehearsed_step(rates, training, lengths)
    return Duration(SPEED * around, step, training.steps, SPEED * after)


def _rehearsed_step(rates: Rates, training: Training, lengths: Lengths | None) -> Interval:
    """Seconds of a step: rollout by positions, the rest by tokens."""
    mean, longest = expected_lengths(training.max_new_tokens, lengths)
    tokens = step_tokens(training, rates.prompt_tokens, mean, training.completions_per_question)
    pushed = step_tokens(training, rates.prompt_tokens, mean, pushed_per_question(training)) * carrying(training)
    step = pushed * (updates(training) * rates.update_token) + tokens * (rates.drift_token / training.kl_every)
    # Drift is two forward passes over a step's tokens; a KL's reference takes one, so do a critic's values, and so does
    # PPO's old policy where the sampler's log-probabilities are those of another distribution.
    recomputed = training.ratio_clip is not None and (training.temperature != 1 or training.top_p != 1)
    step += tokens * (rates.drift_token / 2 * (recomputed + (training.kl_coefficient > 0) + training.networks - 1))
    if training.estimator != "supervised":
        # Rows that have ended leave the batch, so that positions beyond the mean cost less than the ones before it.
        step += (mean + longest) * (0.5 * rollout_batches(training) * rates.rollout_position)
    return step


def updates(training: Training) -> int:
    """Forward and backward passes of a network over all that carries a gradient in one step."""
    return training.passes * training.networks


def rollout_batches(training: Training) -> int:
    """Batches in which the completions of one step are decoded, whole groups in each."""
    return math.ceil(training.questions_per_step / max(1, training.rows // training.group_size))


def step_tokens(training: Training, prompt_tokens: float, mean: Interval, completions: int) -> Interval:
    """Tokens of a step that the network computes, each prompt once for its group where its keys and values are kept.

    Args:
        training: its settings.
        prompt_tokens: of one prompt, on average.
        mean: tokens of one completion.
        completions: of one question.
    """
    prompts = completions if training.gradient_checkpointing else 1
    return (mean * completions + Interval.exactly(prompts * prompt_tokens)) * training.questions_per_step


def pushed_per_question(training: Training) -> int:
    """Completions of a question that its rewards give a gradient to; the article's estimator takes the first alone."""
    return 1 if training.estimator == "as_published" else training.completions_per_question


def carrying(training: Training) -> Interval:
    """Share of the questions that carry a gradient."""
    if training.estimator in ("supervised", "reinforce_pp", "critic") or training.regularised:
        return Interval.exactly(1.0)
    return CARRYING_CONTROLS.get(str(training.reward), CARRYING)


def plain(training: Training) -> bool:
    """Whether a step is one rollout and one pass, as in the trainings that others are forecast by."""
    another = training.estimator in ("supervised", "critic")
    return not another and training.ratio_clip is None and not training.regularised


def evaluation_seconds(rates: Rates, evaluation: Evaluation, problems: int, lengths: Lengths | None) -> Interval:
    """An evaluation by what was rehearsed, with all answers beside the test; a cross-check counts as a second one."""
    _, longest = expected_lengths(evaluation.max_new_tokens, lengths)
    batches = math.ceil(problems / evaluation.size) * (2 if evaluation.cross_check else 1)
    batches += evaluation.sampled_batches(problems) + evaluation.memorisation_batches
    decoding = longest * (batches * rates.evaluation_position)
    return SPEED * (decoding + Interval.exactly(rates.process + rates.engine + rates.harness + rates.load))


def sampled_lengths(greedy: Lengths | None, rehearsed: Lengths | None) -> Lengths | None:
    """The longer of what the baseline and the rehearsal saw: sampling also writes what the greedy policy does not."""
    if greedy is None or rehearsed is None:
        return greedy or rehearsed
    return max(greedy[0], rehearsed[0]), max(greedy[1], rehearsed[1])


def expected_lengths(limit: int, lengths: Lengths | None) -> tuple[Interval, Interval]:
    """(mean, longest) tokens of a completion: near those that were seen, or shares of the limit."""
    if lengths is None:
        return MEAN_LENGTH * limit, LONGEST_LENGTH * limit
    mean, longest = (AGAIN * length for length in lengths)
    return mean.at_most(limit), longest.at_most(limit)
