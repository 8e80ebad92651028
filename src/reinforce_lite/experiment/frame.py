"""The frame around a stage: it asks the budget, opens the ledger, runs the body, and records why one did not run."""

import os
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import datetime, timedelta
from functools import partial
from importlib import import_module
from typing import Any

from reinforce_lite.budget import decision, gate, status
from reinforce_lite.budget.gate import Gate, LedgerMeter, StoppedByBudgetError
from reinforce_lite.budget.outlook import Outlook, Pace
from reinforce_lite.budget.plan import Plan, dollars, enough
from reinforce_lite.config import Settings
from reinforce_lite.errors import UserError
from reinforce_lite.experiment import resume, watch
from reinforce_lite.experiment.attempt import Account, AdoptedError, stage
from reinforce_lite.experiment.checks import require_preflight
from reinforce_lite.experiment.run import Run
from reinforce_lite.io import bars, imports
from reinforce_lite.io.files import check_folder, read_json, write_json, write_jsonl
from reinforce_lite.io.instructions import take_common
from reinforce_lite.policy.size import sized
from reinforce_lite.report.manifest import seal
from reinforce_lite.resources import keys
from reinforce_lite.stages import STAGES, Job, Layout


@dataclass(frozen=True)
class Paid:
    """What a stage on the device works with: its attempt in the ledger, and the gate that it asks after each step.

    Attributes:
        account: of the attempt.
        gate: whether there is money for the next step.
        pace: what the whole experiment costs, and when it ends.
    """

    account: Account
    gate: Gate
    pace: Pace

    def show(self, done: int, of: int, **metrics: float | None) -> dict[str, str]:
        """After so many of its steps: let MLflow show the whole experiment's figures.

        Returns:
            What the progress bar shows of them.
        """
        now = self.pace.after(done, of)
        figures = {"cost_usd": now.spent_usd, "expected_usd": now.expected_usd, "hours_left": now.all_seconds / 3600}
        self.account.live.show({**figures, "stage_step": done, "stage_steps": of, **metrics})
        end = datetime.now() + timedelta(seconds=now.all_seconds)
        return {"usd": f"{dollars(now.spent_usd)} of {dollars(now.expected_usd)}", "all_ends": f"{end:%a %H:%M}"}


def execute(settings: Settings, job: Job, round: int | None = None, **options: Any) -> None:
    """Run a stage; its body is the function `run` of the module that has its command's name.

    Args:
        settings: the experiment.
        job: the stage, and whose.
        round: how often the workflow has given the job another budget; None by hand.
        options: of the command, for the body.

    Raises:
        UserError: preflight has not passed for these settings, or as the body does.
    """
    row = STAGES[job.stage]
    check_folder(settings.folder)
    if settings.hardware.cpu_instructions == "common":
        take_common()
    settings = sized(settings) if row.device else settings
    if settings.hardware.jobs_at_once > 1:
        bars.in_lines(str(job))
    run = Run(settings, job)
    body = partial(import_module, f"reinforce_lite.experiment.{row.command or row.name}")
    if row.name == "preflight":
        body().run(run, round)
        seal(settings.folder)
    elif not row.device:
        body().run(run, **options)
        seal(settings.folder)
    elif row.all_devices and int(os.environ.get("RANK", "0")):
        body().follow(run)
    else:
        require_preflight(settings)

        def work(paid: Paid) -> None:
            with _leading():
                with imports.quick():  # torch too, on rented time if at all
                    module = body()
                    imports.models()
                module.run(run, paid)

        try:
            budgeted(settings, job, round, work)
        except (NotRunError, AdoptedError):
            with _leading():
                raise


@contextmanager
def _leading() -> Iterator[None]:
    """The first of several processes lets the others go if it leaves early."""
    if int(os.environ.get("WORLD_SIZE", "1")) == 1:
        yield
        return
    from reinforce_lite.learning import parallel

    with parallel.leading():
        yield


class NotRunError(SystemExit):
    """The budget has no room for the stage, and its outputs say so; uncaught, it ends the program with exit code 0."""

    def __init__(self, reason: str) -> None:
        super().__init__(0)
        self.reason = reason


def budgeted(settings: Settings, job: Job, round: int | None, body: Callable[[Paid], None]) -> None:
    """Run a body as a stage of the ledger if the budget lets it; `experiment.watch` runs it in a process of its own.

    A body that raises `StoppedByBudgetError`, or had to be ended from outside, has no result; the same is recorded as
    if it had not been started, and the error goes no further.

    Raises:
        NotRunError: the body may not run; its outputs are written.
        AdoptedError: a process that was waited for has made the very results.
        UserError: the ledger is corrupt or cannot be written, or nothing was rehearsed; or as the body does.
    """
    plans: list[Plan] = []
    at_once = settings.hardware.jobs_at_once

    def admit() -> None:
        """Raise NotRunError if the budget, or what comes before this job, has no room for it."""
        reason = not_run_before(settings, job)
        if reason is None:
            # Steps that will be taken again are not left out of the plan. Whether they will be, torch may have to say.
            watch.apart(lambda: resume.drop_other_key(settings, job))
            plans.append(_plan(settings, job))
            refused = gate.refusal(plans[0], job, settings.budget.min_steps)
            reason = refused and f"{refused}; {enough(plans[0])}"
        if reason is not None:
            record_not_run(settings, job, reason, round)
            raise NotRunError(reason)

    def run(account: Account) -> str | None:
        """Run the body with its gate; the gate's reason if it has stopped it."""
        plan, meter = plans[0], LedgerMeter(settings, account.attempt, plans[0].reserves(job))
        left = plan.entry(job).duration
        usual = plan.usd_per_second * left.step.expected or None
        asked = Gate(gate.allowance(plan, job, at_once), meter, left.steps, usual=usual)
        outlook = Outlook.of(status.described(plan), settings.hardware, job)
        if at_once > 1:  # what is spent of the reserve is shown too
            meter = LedgerMeter(settings, account.attempt)
        body(Paid(account, asked, Pace(outlook, meter, account.attempt.clock)))
        return asked.reason

    try:
        done = lambda: keys.is_done(settings, job)  # noqa: E731
        with stage(settings, job.stage, **job.run, finished=done, admit=admit) as row:
            resume.drop_read(settings, job)
            beside = LedgerMeter(settings, row.attempt, plans[0].reserves(job)) if at_once > 1 else None
            most_usd = lambda: gate.most_usd(plans[0], job, beside.others() if beside else None)  # noqa: E731
            unfinished = watch.work(settings, row, run, most_usd)
    except StoppedByBudgetError as cut:
        reason = f"not finished: {job} was {cut}; {enough(_plan(settings, job))}"
        record_not_run(settings, job, reason, round)
        return
    place = Layout.of(settings).decision(job)
    decision.write(place, settings, round, unfinished, "stopped" if unfinished else None)


def _plan(settings: Settings, job: Job) -> Plan:
    """The plan as it looks now, kept in plan.json."""
    rates = status.load_rates(settings)
    if rates is None or not rates.keys() >= set(settings.models):
        raise UserError(
            f"{Layout.of(settings).plan} holds no rehearsal of every policy", "run the rule preflight again"
        )
    plan = status.survey(settings, rates)
    status.keep_plan(settings, str(job), plan)
    return plan


def not_run_before(settings: Settings, job: Job) -> str | None:
    """The reason why a job that comes before this one was not run under this budget; None if all were."""
    layout = Layout.of(settings)
    refused = read_json(layout.preflight).get("plan", {}).get("refused")
    if refused is not None:
        return str(refused)
    for earlier in job.before(settings):
        if status.state(settings, earlier) == "not run":
            return str(read_json(layout.path(earlier))["not_run"])
    return None


def record_not_run(settings: Settings, job: Job, reason: str, round: int | None) -> None:
    """Write the outputs of a job that has no result, and the budget's decision; the record of the job comes last."""
    layout, row = Layout.of(settings), STAGES[job.stage]
    content: dict[str, Any] = {**job.run, "not_run": reason}
    for name in (*row.outputs, *row.extras):
        path = layout.path(job, name)
        if name in row.extras:
            path.unlink(missing_ok=True) if path.suffix == ".jsonl" else None
        elif path.suffix == ".jsonl":
            write_jsonl(path, [])
        elif name != row.record:
            write_json(path, content)
    if job.stage == "train":
        content |= {"steps": 0, "steps_planned": settings.variant(str(job.variant)).steps, "stopped": None}
    write_json(layout.path(job), content)
    decision.write(layout.decision(job), settings, round, reason, "not run")
    print(f"{job}: {reason}", file=sys.stderr, flush=True)
