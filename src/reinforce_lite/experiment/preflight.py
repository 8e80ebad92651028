"""The stage before anything is spent: check, rehearse a few steps, plan what the rest costs, refuse what cannot fit."""

import hashlib
import json
import sys
from typing import Any

from reinforce_lite.budget import decision, status
from reinforce_lite.budget.costs import spent_usd
from reinforce_lite.budget.gate import Allowance, Gate, LedgerMeter, StoppedByBudgetError
from reinforce_lite.budget.ledger import attempts, ledger_path
from reinforce_lite.budget.outlook import in_all
from reinforce_lite.budget.plan import dollars, refused, table
from reinforce_lite.config import Settings
from reinforce_lite.errors import UserError
from reinforce_lite.experiment import checks, places, watch
from reinforce_lite.experiment.attempt import Account, stage
from reinforce_lite.experiment.run import Run
from reinforce_lite.experiment.tracking import open_experiment
from reinforce_lite.io import clock, imports
from reinforce_lite.io.files import write_json
from reinforce_lite.io.provenance import environment
from reinforce_lite.policy.size import sized
from reinforce_lite.resources.keys import as_keyed
from reinforce_lite.resources.precision import evaluation_of, training_of

METHOD = 3
"""Counts the changes in how rates are measured, so that no plan is made from rates of an older method."""

LOOK_SECONDS = 600.0
"""The checks take seconds, but for tokenizers and data that they download."""

DECIDED = {"protocol", "claims"}
"""Sections of the configuration that are decided before any test question is read."""


def run(run: Run, round: int | None) -> None:
    """Check everything before anything is spent, then rehearse a few steps and plan what the rest may cost."""
    began = clock.steady_seconds()
    try:
        settings, passed = watch.apart(lambda: _look(run.settings), LOOK_SECONDS)
    except StoppedByBudgetError as cut:
        with stage(run.settings, "preflight"):
            raise UserError(f"the checks took more than {LOOK_SECONDS:.0f} s", "check network and disk") from cut
    plan = plan_experiment(settings, clock.steady_seconds() - began)
    result = {"checks": passed, "checked": checks.digest(settings), "environment": environment(), "plan": plan}
    result["decided"] = settings.model_dump(mode="json", include=DECIDED)
    write_json(run.path(), result)
    reason = plan["refused"]
    decision.write(run.layout.decision(run.job), settings, round, reason, "not run" if reason else None)
    if reason:
        print(reason, file=sys.stderr)


def _look(settings: Settings) -> tuple[Settings, list[dict[str, Any]]]:
    """The settings with the size of every policy, and the checks."""
    settings = sized(settings, ask_hub=True)
    passed = checks.preflight(settings)
    for check in passed:
        print(f"{check['name']:>9}: {check['detail']}", file=sys.stderr)
    return settings, passed


def plan_experiment(settings: Settings, elsewhere: float = 0.0) -> dict[str, Any]:
    """Rehearse unless that has been done for these settings, plan the experiment, print the plan and keep it.

    Args:
        settings: the experiment.
        elsewhere: seconds of this process that no other stage will need.

    Returns:
        limit_usd, enough_usd, steps, refused: see `Plan`; the two in the middle are None if the rehearsal was cut.

    Raises:
        UserError: weights or data cannot be had, or the ledger is corrupt.
    """
    limit, spent = settings.budget.limit_usd, spent_usd(attempts(ledger_path(settings)))
    if spent >= limit:
        return _unknown(limit, f"not run: {dollars(spent)} are spent and budget.limit_usd is {limit:g}; raise it")
    places.check_stages(settings)
    began = clock.steady_seconds()
    watch.apart(lambda: open_experiment(settings) and None)  # makes the database, which no other stage has to do
    elsewhere += clock.steady_seconds() - began
    try:
        with stage(settings, "preflight") as row:
            return watch.work(settings, row, lambda account: _plan(settings, account, elsewhere), limit - spent)
    except StoppedByBudgetError as cut:
        return _cut(limit, spent_usd(attempts(ledger_path(settings))), cut)


def _plan(settings: Settings, account: Account, elsewhere: float) -> dict[str, Any]:
    with imports.quick():
        from reinforce_lite.experiment.rehearsal import rehearse
        from reinforce_lite.policy.load import prepare_torch

    prepare_torch(settings.hardware)
    meter, limit = LedgerMeter(settings, account.attempt), settings.budget.limit_usd
    rates = status.load_rates(settings, rehearsed(settings))
    if rates is None:
        to_download = lambda name: places.to_download(settings.policies[name])  # noqa: E731
        try:
            rates = rehearse(settings, to_download, elsewhere, Gate(Allowance(limit, 0.0), meter, 1))
        except StoppedByBudgetError as cut:
            return _cut(limit, meter.spent(), cut)
        status.keep_rates(settings, rehearsed(settings), rates)
    plan = status.survey(settings, rates, meter.spent())
    status.keep_plan(settings, "preflight", plan)
    said = in_all(status.described(plan), settings.hardware)
    print(table(plan), said, sep="\n", file=sys.stderr)
    return {"limit_usd": limit, "enough_usd": plan.enough_usd, "steps": plan.steps, "refused": refused(plan)}


def _cut(limit_usd: float, spent: float, cut: StoppedByBudgetError) -> dict[str, Any]:
    return _unknown(
        limit_usd,
        f"not run: the rehearsal, which measures what the rest costs, was {cut}; {dollars(spent)} of "
        f"{dollars(limit_usd)} are spent. What would be enough is not known before it has been paid: "
        "raise budget.limit_usd",
    )


def _unknown(limit_usd: float, refused: str) -> dict[str, Any]:
    """Refused, and nobody knows what would be enough."""
    return {"limit_usd": limit_usd, "enough_usd": None, "steps": None, "refused": refused}


def rehearsed(settings: Settings) -> str:
    """A digest of everything that the measured rates depend on; the number of steps is not among it."""
    kept = {"hardware": {"device", "name", "memory_gib", "cpu_threads"}, "task": True, "models": True}
    depends = settings.model_dump(mode="json", include=kept)  # type: ignore[arg-type]
    depends["policies"] = [settings.policies[model].model_dump(mode="json") for model in settings.models]
    first = settings.variants[0]
    decided = [(training_of(settings, model, first), evaluation_of(settings, model)) for model in settings.models]
    depends["engines"] = [
        (training.engine, training.rollout_batch, evaluation.engine, evaluation.size)
        for training, evaluation in decided
    ]
    training = settings.variant(first)
    unrelated = {"steps", "learning_rate", "schedule", "max_skipped", "engine", "rollout_batch", "sampler_gap_limit"}
    depends["training"] = as_keyed(training, unrelated)
    if settings.hardware.cpu_instructions != "native":
        depends["cpu_instructions"] = settings.hardware.cpu_instructions
    depends["evaluation"] = settings.evaluation.max_new_tokens
    depends["method"] = METHOD
    return hashlib.sha256(json.dumps(depends, sort_keys=True).encode()).hexdigest()
