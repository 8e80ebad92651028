"""How an experiment stands: what is done, what that took, and the plan for the rest."""

import fcntl
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, replace
from datetime import UTC, datetime
from statistics import fmean
from typing import Any

from reinforce_lite.budget import decision, plan
from reinforce_lite.budget.costs import spent_usd
from reinforce_lite.budget.forecast import Evidence, Rates, Trained, forecast, plain
from reinforce_lite.budget.ledger import Attempt, attempts, ledger_path
from reinforce_lite.budget.plan import Entry, Plan, State
from reinforce_lite.config import Settings
from reinforce_lite.io.files import read_json, read_jsonl, write_json
from reinforce_lite.stages import STAGES, Job, Layout, jobs


def state(settings: Settings, job: Job) -> State:
    """Whether a job is done, still to be run, or not to be run under this budget.

    What was cut short under another budget will be run again, and so will the evaluation of a policy that is still to
    be trained, though the results of both are still there.
    """
    layout, path = Layout.of(settings), Layout.of(settings).path(job)
    if STAGES[job.stage].per == "run":
        for earlier in (job.of(need.partition(".")[0]) for need in STAGES[job.stage].needs.values()):
            if STAGES[earlier.stage].per == "run" and (before := state(settings, earlier)) != "done":
                return before
    if not path.exists():
        return "pending"
    decided = decision.read(layout.decision(job))
    if decided is not None and decided.unfinished and not decided.holds(settings):
        return "pending"
    return "not run" if "not_run" in read_json(path) else "done"


def survey(settings: Settings, rates: Mapping[str, Rates], spent: float | None = None) -> Plan:
    """Plan what is left of the experiment, from all that is known by now.

    Args:
        settings: the experiment.
        rates: what was rehearsed, by model.
        spent: US dollars spent so far, if that is better known than from the ledger.

    Raises:
        UserError: the ledger is corrupt.
    """
    ledger = attempts(ledger_path(settings))
    known, begun = evidence(settings, ledger), set(_by_job(ledger))
    beside = {attempt.job: attempt.seconds * attempt.count for attempt in ledger if attempt.outcome == "running"}
    entries = []
    for job in jobs(settings):
        standing = state(settings, job)
        duration = forecast(settings, job, rates[job.model], known)
        left = plan.nothing_left() if standing == "done" else plan.left(duration, _steps_done(settings, job))
        if job in beside and standing == "pending":
            left = plan.passed(left, job, beside[job])
        entries.append(Entry(job, standing, left, begun=job in begun))
    price = settings.hardware.usd_per_hour
    made = plan.make(
        settings.budget.limit_usd,
        spent_usd(ledger) if spent is None else spent,
        price / 3600,
        entries,
        settings.budget.min_steps,
    )
    return replace(made, paid_at=sorted({attempt.usd_per_hour for attempt in ledger if attempt.seconds} - {price}))


def evidence(settings: Settings, ledger: list[Attempt]) -> Evidence:
    """What finished stages took and wrote."""
    layout = Layout.of(settings)
    every, own = jobs(settings), _by_job(ledger)
    seconds = {
        job: taken
        for job in every
        if job.stage in ("evaluate_baseline", "evaluate_trained")
        and (taken := _seconds(settings, job, own)) is not None
    }
    lengths, trained = {}, {}
    for model in settings.models:
        path = layout.path(Job("evaluate_baseline", model), "outcomes")
        items = read_jsonl(path) if path.exists() else []
        if items:
            lengths[model] = (fmean(item["length"] for item in items), float(max(item["length"] for item in items)))
        runs = [job for job in every if job.stage == "train" and job.model == model]
        likes = [_trained(settings, run, own) for run in runs if plain(settings.variant(str(run.variant)))]
        known = [like for like in likes if like is not None]
        if known:
            trained[model] = Trained(
                fmean(one.around for one in known), fmean(one.step_per_completion for one in known)
            )
    return Evidence(seconds, lengths, trained)


def _seconds(settings: Settings, job: Job, ledger: Mapping[Job, Sequence[Attempt]]) -> float | None:
    """Seconds of a job that was done in one attempt; None of any other: who goes on takes only what was left."""
    own = ledger.get(job, ())
    whole = len(own) == 1 and own[0].outcome == "finished" and state(settings, job) == "done"
    return own[0].seconds if whole else None


def _by_job(ledger: Iterable[Attempt]) -> dict[Job, list[Attempt]]:
    """The attempts of every job."""
    found: dict[Job, list[Attempt]] = {}
    for attempt in ledger:
        found.setdefault(attempt.job, []).append(attempt)
    return found


def _trained(settings: Settings, job: Job, ledger: Mapping[Job, Sequence[Attempt]]) -> Trained | None:
    """What a training took that was done in one attempt."""
    seconds = _seconds(settings, job, ledger)
    path = Layout.of(settings).path(job, "metrics")
    rows = read_jsonl(path) if seconds is not None and path.exists() else []
    if seconds is None or not rows:
        return None
    stepping = sum(value for row in rows for key, value in row.items() if key.startswith("seconds_"))
    training = settings.variant(str(job.variant))
    completions = len(rows) * training.questions_per_step * training.completions_per_question
    return Trained(max(0.0, seconds - stepping), stepping / completions)


def _steps_done(settings: Settings, job: Job) -> int:
    """Steps that are not taken again: of a training that was killed, or stopped by its budget, those it has kept."""
    if job.stage != "train":
        return 0
    folder = Layout.of(settings).resume(job)
    return max((int(path.name.removeprefix("step-")) for path in folder.glob("step-*")), default=0)


def load_rates(settings: Settings, digest: str | None = None) -> dict[str, Rates] | None:
    """What was rehearsed for this experiment; None if nothing was, or (with a digest) if other settings were."""
    path = Layout.of(settings).plan
    rehearsal = read_json(path).get("rehearsal") if path.exists() else None
    if rehearsal is None or digest not in (None, rehearsal["of"]):
        return None
    return {model: _rates(found) for model, found in rehearsal["policies"].items()}


def _rates(found: dict[str, Any]) -> Rates:
    lengths = found["lengths"]
    return Rates(**{**found, "lengths": None if lengths is None else (lengths[0], lengths[1])})


def keep_rates(settings: Settings, digest: str, rates: Mapping[str, Rates]) -> None:
    """Keep what was rehearsed under the settings with this digest."""
    rehearsal = {"of": digest, "policies": {model: asdict(found) for model, found in rates.items()}}
    _change(settings, lambda content: {**content, "rehearsal": rehearsal})


def keep_plan(settings: Settings, by: str, made: Plan) -> None:
    """Add a plan to results/<experiment>/plan.json; the ones before stay."""
    told = {"time": datetime.now(UTC).isoformat(timespec="seconds"), "by": by, **described(made)}
    _change(settings, lambda content: {**content, "plans": [*content.get("plans", []), told]})


def described(made: Plan) -> dict[str, Any]:
    """A plan as JSON can hold it. Units: US dollars, device-seconds."""
    rows = []
    for entry in made.entries:
        seconds = entry.duration.total
        rows.append(
            {
                **asdict(entry.job),
                "state": entry.state,
                "device_seconds": asdict(seconds),
                "usd": asdict(seconds * made.usd_per_second),
                "steps": entry.duration.steps,
                "share_usd": made.shares_usd.get(entry.job),
            }
        )
    figures = ("limit_usd", "spent_usd", "reserve_usd", "others_usd", "enough_usd", "steps", "refused")
    told = {key: getattr(made, key) for key in figures}
    listed = {key: list(getattr(made, key)) for key in ("seeds", "given_up", "paid_at")}
    return {**told, **listed, "usd_per_hour": made.usd_per_second * 3600, "jobs": rows}


def _change(settings: Settings, change: Any) -> None:
    """Change plan.json under a lock: two stages may plan at the same time."""
    path = Layout.of(settings).plan
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.with_name(".plan.lock").open("a") as handle:
        fcntl.flock(handle, fcntl.LOCK_EX)
        write_json(path, change(read_json(path) if path.exists() else {}))
