"""What an experiment would take on a GPU that is not here: rates computed from its data sheet, then the usual plan.

Preflight measures the same rates on the card that is rented, and plans with these.
"""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import cast

from reinforce_lite.budget import plan, roofline
from reinforce_lite.budget.cards import Card
from reinforce_lite.budget.forecast import (
    Evidence,
    Interval,
    Rates,
    carrying,
    forecast,
    pushed_per_question,
    rollout_batches,
    step_tokens,
)  # fmt: skip
from reinforce_lite.budget.plan import Entry, Plan
from reinforce_lite.budget.roofline import ANSWER, PROMPT, Roofline
from reinforce_lite.config import Settings, Training
from reinforce_lite.errors import UserError
from reinforce_lite.resources.memory import GIB, footprint
from reinforce_lite.resources.precision import evaluation_of, evaluation_place, training_of, training_place
from reinforce_lite.rollout.registry import Name, Place, decide
from reinforce_lite.stages import jobs

OPEN = 50.0
"""Seconds until vLLM is open and warm, its compile cache empty: 48.5 and 0.9, measured on the H200."""
PREFLIGHT = 135.0
"""Seconds of preflight for one model with vLLM, beside its weights: as measured for one of 135 million weights."""
PROCESS, HARNESS = 15.0, 10.0
"""Seconds until a process could begin, and until lm-eval could: assumed."""
DISK_GB_S, CHECKPOINT_GB_S, HUB_GB_S = 1.0, 0.5, 0.1
"""Weights from and to the disk; a checkpoint, whose SHA-256 is taken as well; weights from the hub: assumed."""


@dataclass(frozen=True)
class Role:
    """How one model is run on a card.

    Attributes:
        settings: the experiment with this model's engine decided.
        training: of the first variant, decided.
        rates: computed.
        cached: rows of mean length for which there are keys and values beside the training.
        lacking: why the card cannot hold the training; None if it can.
        beside_gib: what it needs of the CPU's memory.
        assumed: what is not known of its shape; None if all is.
    """

    settings: Settings
    training: Training
    rates: Rates
    cached: float
    lacking: str | None
    beside_gib: float
    assumed: str | None


@dataclass(frozen=True)
class Estimate:
    """An experiment on a card.

    Attributes:
        card: which.
        settings: the experiment on it, at its price.
        roles: by model.
        plan: the usual one; preflight counts as spent.
        preflight: device-seconds of it.
    """

    card: Card
    settings: Settings
    roles: Mapping[str, Role]
    plan: Plan
    preflight: float

    @property
    def seconds(self) -> Interval:
        """Device-seconds of all that is run, preflight included; of trainings, the steps that are expected to fit."""
        total, most = Interval.exactly(self.preflight), self.plan.steps or 0
        for entry in plan.pending(self.plan.entries):
            total += replace(entry.duration, steps=min(entry.duration.steps, most)).total
        return total

    @property
    def usd(self) -> Interval:
        """The same in US dollars."""
        return self.seconds * self.plan.usd_per_second

    @property
    def cut(self) -> int | None:
        """Steps at which the money is expected to end the trainings; None if they take all of theirs."""
        most = max((e.duration.steps for e in plan.pending(self.plan.entries, "train")), default=0)
        return None if self.plan.steps is None or self.plan.steps >= most else self.plan.steps

    @property
    def lacking(self) -> str | None:
        """Why the card cannot hold the trainings; None if it can."""
        return "; ".join(role.lacking for role in self.roles.values() if role.lacking) or None


def estimate(
    settings: Settings, card: Card, engine: Name | None = None, price: float | None = None, answer: float = ANSWER
) -> Estimate:
    """Plan an experiment on a card.

    Args:
        settings: the experiment; for the card that it names, its own price and memory are used.
        card: which.
        engine: what writes; None takes vLLM, which the CUDA installation has, where it fits beside the training.
        price: US dollars an hour; None takes the configuration's, and of another card the lowest that was seen.
        answer: tokens of an answer, on average.

    Raises:
        UserError: a model is not of bfloat16, or its size is not given.
    """
    hardware = settings.hardware
    if hardware.name != card.name:
        other = {"name": card.name, "memory_gib": card.memory_gib, "usd_per_hour": card.usd_per_hour[0]}
        hardware = hardware.model_copy(update={**other, "device": "cuda"})
    if price is not None:
        hardware = hardware.model_copy(update={"usd_per_hour": price})
    placed = settings.model_copy(update={"hardware": hardware})
    roles = {model: role(placed, model, card, engine, answer) for model in placed.models}
    entries = [
        Entry(job, "pending", forecast(roles[job.model].settings, job, roles[job.model].rates, Evidence()))
        for job in jobs(placed)
    ]
    downloads = sum(2 * (placed.policies[model].parameters or 0) / HUB_GB_S for model in placed.models)
    preflight = downloads + sum(PREFLIGHT + at.rates.load for at in roles.values())
    usd, budget = hardware.usd_per_hour / 3600, placed.budget
    return Estimate(
        card, placed, roles, plan.make(budget.limit_usd, preflight * usd, usd, entries, budget.min_steps), preflight
    )


def role(settings: Settings, model: str, card: Card, engine: Name | None, answer: float) -> Role:
    """How a model is run on the card that is the hardware of `settings`."""
    policy, first = settings.policies[model], settings.variants[0]
    if policy.dtype != "bfloat16" or policy.parameters is None:
        raise UserError(
            f"policies.{model}: only a model in bfloat16 whose `parameters` are given can be estimated",
            "take preflight's forecast instead: it measures a few steps on the device",
        )
    chosen = _with_engine(settings, engine or "vllm")
    training = training_of(chosen, model, first)
    place = replace(training_place(policy, training, settings.hardware), vllm=True)
    if engine is None and decide("auto", place) != "vllm":
        chosen = _with_engine(settings, "generate")
        training = training_of(chosen, model, first)
    weights = 1e9 * policy.parameters
    kib, known = roofline.cache_kib(policy.repo, weights)
    at = Roofline(card, weights, kib)
    cached = _rows_cached(place, training.engine, kib, answer)
    rates = rates_of(chosen, model, training, at, cached, answer)
    needed, there = footprint(policy, training).device, settings.hardware.memory_gib
    lacking = f"{model} needs {needed:.0f} of {there:g} GiB ({training.weights})" if needed > 0.95 * there else None
    assumed = [] if known else [f"{model}: {kib:.0f} KiB of keys and values a token"]
    if weights < 1e9:
        assumed.append("so small a model waits for launches, which are not counted")
    return Role(chosen, training, rates, cached, lacking, footprint(policy, training).cpu, "; ".join(assumed) or None)


def _with_engine(settings: Settings, engine: Name) -> Settings:
    parts = {key: getattr(settings, key).model_copy(update={"engine": engine}) for key in ("training", "evaluation")}
    return settings.model_copy(update=parts)


def _rows_cached(place: Place, engine: str, kib: float, answer: float) -> float:
    """Rows of mean length for which there are keys and values beside what is there already."""
    return max(1.0, (place.cache_gib(cast(Name, engine)) or 0.0) * GIB / (1024 * kib * (PROMPT + answer)))


def rates_of(settings: Settings, model: str, training: Training, at: Roofline, cached: float, answer: float) -> Rates:
    """What a rehearsal would measure, computed.

    Args:
        settings: the experiment with the model's engine decided.
        model: which.
        training: of the first variant, decided.
        at: the model on the card.
        cached: rows of mean length for which there are keys and values beside the training.
        answer: tokens of an answer, on average.
    """
    lengths = min(answer, training.max_new_tokens), float(training.max_new_tokens)
    questions, group = training.questions_per_step, training.completions_per_question
    at_once = min(training.rows, cached)
    rollout = at.writing(training.engine, questions * group, at_once, questions, lengths, PROMPT)
    mean = Interval.exactly(lengths[0])
    tokens = step_tokens(training, PROMPT, mean, group).expected
    pushed = (step_tokens(training, PROMPT, mean, pushed_per_question(training)) * carrying(training)).expected
    update = at.update_token(training.gradient_checkpointing) + at.optimiser(training.weights) / pushed
    # Every step waits a little for the checkpoints.
    saving = footprint(settings.policies[model], training).checkpoint * GIB / 1e9 / CHECKPOINT_GB_S
    slower = 1 + saving / settings.checkpoint.every_seconds
    return Rates(
        process=PROCESS,
        engine=OPEN if training.engine == "vllm" else 0.0,
        harness=HARNESS,
        load=2e-9 * at.weights / DISK_GB_S,
        warm_up=0.0,
        start_step=None,
        # The forecast multiplies with batches times the mean of the mean and the longest length.
        rollout_position=slower * rollout / (rollout_batches(training) * (sum(lengths) / 2)),
        update_token=slower * update,
        drift_token=slower * at.drift(tokens) / tokens,
        evaluation_position=_evaluation_position(settings, model, at, answer),
        prompt_tokens=PROMPT,
        lengths=lengths,
    )


def _evaluation_position(settings: Settings, model: str, at: Roofline, answer: float) -> float:
    """Seconds of an evaluation batch, divided by the longest length, with which the forecast multiplies."""
    evaluation, place = evaluation_of(settings, model), evaluation_place(settings, model)
    rows, longest = evaluation.size, float(evaluation.max_new_tokens)
    at_once = min(rows, _rows_cached(place, evaluation.engine, at.kib, answer))
    return at.writing(evaluation.engine, rows, at_once, rows, (min(answer, longest), longest), PROMPT) / longest


def assumptions() -> str:
    """What else the figures rest on, for people."""
    return (
        f"Measured there too: {OPEN:.0f} s to open vLLM in each stage, and {PREFLIGHT:.0f} s of preflight, with a "
        f"smaller model. Assumed: {PROCESS:.0f} s a process; disk {DISK_GB_S:g} GB/s, checkpoints "
        f"{CHECKPOINT_GB_S:g}, the hub {HUB_GB_S:g}; prompts of {PROMPT:.0f} tokens"
    )
