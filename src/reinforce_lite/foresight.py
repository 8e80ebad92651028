"""What the experiment will cost, foreseen at preflight: rehearse, plan, and refuse what cannot fit."""

import hashlib
import json
import sys
import time
from collections.abc import Callable
from typing import Any

from reinforce_lite.accounting import standing
from reinforce_lite.accounting.budget import spent_usd
from reinforce_lite.accounting.gate import Allowance, Gate, LedgerMeter, StoppedByBudgetError
from reinforce_lite.accounting.ledger import attempts, ledger_path
from reinforce_lite.accounting.plan import dollars, refused, table
from reinforce_lite.accounting.stage import Stage, stage
from reinforce_lite.accounting.tracking import open_experiment
from reinforce_lite.precision import evaluation_of, training_of
from reinforce_lite.settings import Settings

METHOD = 3
"""Counts what has changed in how rates are measured, so that rates of an older method are not planned with."""


def foresee(settings: Settings, to_download: Callable[[str], bool]) -> dict[str, Any]:
    """Rehearse unless that has been done for these settings, plan the experiment, print the plan and keep it.

    Args:
        settings: the experiment.
        to_download: whether a model's weights are not here yet.

    Returns:
        limit_usd, enough_usd, steps, refused: see `Plan`; the two in the middle are None if the rehearsal was cut.

    Raises:
        UserError: weights or data cannot be had, or the ledger is corrupt.
    """
    limit, spent = settings.budget.limit_usd, spent_usd(attempts(ledger_path(settings)))
    if spent >= limit:
        return _unknown(limit, f"not run: {dollars(spent)} are spent and budget.limit_usd is {limit:g}; raise it")
    began = time.monotonic()
    open_experiment(settings)  # makes the database the first time, which no other stage has to do
    elsewhere = time.monotonic() - began
    with stage(settings, "preflight") as account:
        return _plan(settings, account, to_download, elsewhere)


def _plan(settings: Settings, account: Stage, to_download: Callable[[str], bool], elsewhere: float) -> dict[str, Any]:
    from reinforce_lite.policy.load import prepare_torch
    from reinforce_lite.rehearsal import rehearse

    prepare_torch(settings.hardware)
    meter, limit = LedgerMeter(settings, account.attempt), settings.budget.limit_usd
    rates = standing.load_rates(settings, rehearsed(settings))
    if rates is None:
        try:
            rates = rehearse(settings, to_download, elsewhere, Gate(Allowance(limit, 0.0), meter, 1))
        except StoppedByBudgetError as cut:
            told = (
                f"not run: the rehearsal, which tells what the rest costs, was {cut}; {dollars(meter.spent())} of "
                f"{dollars(limit)} are spent. What would be enough is not known before it has been paid: "
                "raise budget.limit_usd"
            )
            return _unknown(limit, told)
        standing.keep_rates(settings, rehearsed(settings), rates)
    plan = standing.survey(settings, rates, meter.spent())
    standing.keep_plan(settings, "preflight", plan)
    print(table(plan), file=sys.stderr)
    return {"limit_usd": limit, "enough_usd": plan.enough_usd, "steps": plan.steps, "refused": refused(plan)}


def _unknown(limit_usd: float, refused: str) -> dict[str, Any]:
    """Refused, and nobody knows what would be enough."""
    return {"limit_usd": limit_usd, "enough_usd": None, "steps": None, "refused": refused}


def rehearsed(settings: Settings) -> str:
    """A name for everything that what was measured depends on; the number of steps is not among it."""
    kept = {"hardware": {"device", "name", "memory_gib", "cpu_threads"}, "task": True, "models": True}
    said = settings.model_dump(mode="json", include=kept)  # type: ignore[arg-type]
    said["policies"] = [settings.policies[model].model_dump(mode="json") for model in settings.models]
    first = settings.variants[0]
    decided = [(training_of(settings, model, first), evaluation_of(settings, model)) for model in settings.models]
    said["engines"] = [
        (training.engine, training.rollout_batch, evaluation.engine, evaluation.size)
        for training, evaluation in decided
    ]
    training = settings.variant(first)
    unrelated = {"steps", "learning_rate", "schedule", "max_skipped", "engine", "rollout_batch", "sampler_gap_limit"}
    said["training"] = training.model_dump(mode="json", exclude=unrelated)
    said["evaluation"] = settings.evaluation.max_new_tokens
    said["method"] = METHOD
    return hashlib.sha256(json.dumps(said, sort_keys=True).encode()).hexdigest()
