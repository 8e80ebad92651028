"""The frame around a stage that the budget may refuse, or cut: either there is a result, or a record of why not."""

import sys
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from reinforce_lite import handover, keys
from reinforce_lite.accounting import gate, standing, verdict
from reinforce_lite.accounting.forecast import Job
from reinforce_lite.accounting.gate import Gate, LedgerMeter, StoppedByBudgetError
from reinforce_lite.accounting.plan import Plan, enough
from reinforce_lite.accounting.stage import Stage, stage
from reinforce_lite.errors import UserError
from reinforce_lite.files import read_json, write_json, write_jsonl
from reinforce_lite.layout import Layout
from reinforce_lite.settings import Settings


class NotRunError(SystemExit):
    """The budget has no room for the stage, and its outputs say so; uncaught, it ends the program with exit code 0."""

    def __init__(self, reason: str) -> None:
        super().__init__(0)
        self.reason = reason


@contextmanager
def budgeted(settings: Settings, job: Job, round: int | None) -> Iterator[tuple[Stage, Gate]]:
    """Run the block as a stage of the ledger if the budget lets it; see `accounting.stage.stage` for the frame.

    A block that raises `StoppedByBudgetError` has no result; the same is recorded as if it had not been started, and
    the error goes no further.

    Args:
        settings: the experiment.
        job: what the block does.
        round: the workflow's count of budgets; None by hand.

    Yields:
        (the stage, a gate to be asked after each step).

    Raises:
        NotRunError: the block may not run; its outputs are written.
        AdoptedError: a process that was waited for has made the very results.
        UserError: the ledger is corrupt or cannot be written, or nothing was rehearsed.
    """
    plans: list[Plan] = []

    def admit() -> None:
        """Raise NotRunError if the budget, or what comes before this job, has no room for it."""
        reason = _handed_on(settings, job)
        if reason is None:
            handover.forget_others(settings, job)  # steps that will be taken again are not left out of the plan
            plans.append(_plan(settings, job))
            refused = gate.refusal(plans[0], job, settings.budget.min_steps)
            reason = refused and f"{refused}; {enough(plans[0])}"
        if reason is not None:
            record(settings, job, reason, round)
            raise NotRunError(reason)

    run: dict[str, Any] = {"model": job.model, "variant": job.variant, "seed": job.seed}
    try:
        with stage(settings, job.stage, **run, finished=lambda: keys.made(settings, job), admit=admit) as account:
            plan, meter = plans[0], LedgerMeter(settings, account.attempt)
            asked = Gate(gate.allowance(plan, job), meter, plan.entry(job).duration.steps)
            handover.forget_inputs(settings, job)
            yield account, asked
    except StoppedByBudgetError as cut:
        record(settings, job, f"not finished: {job} was {cut}; {enough(_plan(settings, job))}", round)
        return
    place = standing.verdict_file(Layout.of(settings), job)
    verdict.write(place, settings, round, asked.reason, "stopped" if asked.reason else None)


def _plan(settings: Settings, job: Job) -> Plan:
    """The plan as it looks now, kept in plan.json."""
    rates = standing.load_rates(settings)
    if rates is None or not rates.keys() >= set(settings.models):
        raise UserError(
            f"{Layout.of(settings).plan} holds no rehearsal of every policy", "run the rule preflight again"
        )
    plan = standing.survey(settings, rates)
    standing.keep_plan(settings, str(job), plan)
    return plan


def _handed_on(settings: Settings, job: Job) -> str | None:
    """The reason why something before this job was not run under this budget."""
    layout = Layout.of(settings)
    told = read_json(layout.preflight).get("plan", {}).get("refused")
    if told is not None:
        return str(told)
    like = settings.variant(job.variant).same_cost_as if job.variant else None
    before = {
        "fetch_policy": [],
        "evaluate_baseline": [Job("fetch_policy", job.model)],
        "train": [
            Job("fetch_policy", job.model),
            Job("evaluate_baseline", job.model),
            *([Job("train", job.model, like, job.seed)] if like else []),
        ],
        "evaluate_trained": [Job("train", job.model, job.variant, job.seed)],
    }[job.stage]
    for earlier in before:
        if standing.state(settings, earlier) == "not run":
            return str(read_json(standing.result_file(layout, earlier))["not_run"])
    return None


def record(settings: Settings, job: Job, reason: str, round: int | None) -> None:
    """Write the outputs of a job that has no result, and its verdict."""
    layout = Layout.of(settings)
    place = standing.result_file(layout, job)
    told: dict[str, Any] = {"model": job.model, "variant": job.variant, "seed": job.seed, "not_run": reason}
    if job.stage == "train":
        write_jsonl(place.with_name("metrics.jsonl"), [])
        write_jsonl(place.with_name("completions.jsonl"), [])
        write_json(place.with_name("policy.json"), told)
        told |= {"steps": 0, "steps_planned": settings.variant(str(job.variant)).steps, "stopped": None}
    elif job.stage != "fetch_policy":
        write_jsonl(place.with_name("items.jsonl"), [])
        place.with_name("samples.jsonl").unlink(missing_ok=True)
    write_json(place, told)
    verdict.write(standing.verdict_file(layout, job), settings, round, reason, "not run")
    print(f"{job}: {reason}", file=sys.stderr, flush=True)
