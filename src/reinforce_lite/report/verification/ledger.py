"""The ledger: sound, the same as when the report was made, and in step with Snakemake's clock."""

import shutil
from collections.abc import Mapping, Sequence
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from reinforce_lite.budget import device_lock, events
from reinforce_lite.budget.events import Open, torn_lines
from reinforce_lite.budget.events import check as problems_of
from reinforce_lite.budget.ledger import Attempt, attempts
from reinforce_lite.errors import UserError
from reinforce_lite.io.files import read_json
from reinforce_lite.report.summary import attempt_row, benchmark_seconds, ledger_sum
from reinforce_lite.report.verification.derive import Experiment
from reinforce_lite.report.verification.difference import ABSENT, Check, Difference, differing
from reinforce_lite.stages import STAGES, Job, Layout, jobs

FILE = "ledger.jsonl"

TOLERANCE_SECONDS, TOLERANCE_SHARE = 5.0, 0.02
"""A job takes longer by Snakemake's clock than its attempt in the ledger: shell and container start before the process,
and Snakemake sees its end a moment later. Up to so much more, whichever is larger, is no difference."""
LAUNCHER_SECONDS = 30.0
"""The same for a training on several devices: the launcher that starts its processes imports torch first."""


def reported(experiment: Experiment) -> list[Attempt]:
    """The attempts that the report was made of: what the ledger holds up to where it was read.

    In a ledger that was changed since, that place is no longer known; then they are those that the report has kept.

    Raises:
        UserError: the ledger is absent though the report has read one, or a line is corrupt.
    """
    path, recorded = experiment.folder / FILE, experiment.recorded("ledger")
    if recorded is None:
        return attempts(path)
    if recorded["bytes"] and not path.exists():
        raise UserError(f"{path} does not exist, though the report has read it", "restore it from a copy")
    if _is_changed(experiment):
        kept = _kept(experiment)
        return [attempt for attempt in attempts(path) if attempt.id in kept]
    if not path.exists() or path.stat().st_size == recorded["bytes"]:
        return attempts(path)
    with TemporaryDirectory() as temporary:
        copy = Path(temporary, FILE)
        copy.write_bytes(path.read_bytes()[: recorded["bytes"]])
        lock = device_lock.lock_path(path)
        if lock.exists():  # it may keep an event for which the ledger had no room
            shutil.copyfile(lock, device_lock.lock_path(copy))
        return attempts(copy)


def _kept(experiment: Experiment) -> dict[str, dict[str, Any]]:
    """The attempts as the report has kept them, by id."""
    return {row["id"]: row for row in experiment.summary["cost"].get("attempts", [])}


def _is_changed(experiment: Experiment) -> bool:
    """Whether lines that the report was made of are not what they were; False if it recorded no sum."""
    recorded = experiment.recorded("ledger")
    return recorded is not None and ledger_sum(experiment.folder / FILE, recorded["bytes"]) != recorded


def ledger(experiment: Experiment, known: Sequence[Attempt]) -> Check:
    """Whether the ledger is sound, and the one that the report was made of; `known` is what `reported` returns."""
    path, check = experiment.folder / FILE, Check("ledger")
    torn = tuple(f"line {number}: " for number in torn_lines(path))
    for problem in problems_of(path):
        place_and_problem = problem.removeprefix(f"{path}, ")
        place, _, says = place_and_problem.partition(": ")
        if place_and_problem.startswith(torn):
            check.notes.append(f"{FILE}, {place_and_problem}")
        else:
            check.differences.append(Difference(FILE, place, "event", says, "a sound ledger"))
    if experiment.recorded("ledger") is None:
        check.notes.append(f"{FILE}: no sum recorded; whether a line was changed since the report could not be checked")
    elif _is_changed(experiment):
        check.differences += _changes(experiment, known)
    everything, names = attempts(path), {attempt.id for attempt in known}
    for attempt in everything:
        if attempt.id not in names:
            place = _place(path, attempt_row(attempt))
            check.differences.append(Difference(FILE, place, "attempt", "added after the report", ABSENT))
    check.looked_at = f"{len(everything)} attempts, ${sum(attempt.usd for attempt in everything):.4f}"
    return check


def _changes(experiment: Experiment, known: Sequence[Attempt]) -> list[Difference]:
    """Which attempts differ from those that the report has kept; if none does, the changed line is not known."""
    path, recorded = experiment.folder / FILE, experiment.recorded("ledger")
    now, then = {attempt.id: attempt_row(attempt) for attempt in known}, _kept(experiment)
    differences: list[Difference] = []
    for name, row in {**then, **now}.items():
        # The ledger is what is stated here, and what it was when the report was made is what it should be.
        if name in now and name in then:
            differences += differing(FILE, _place(path, row), now[name], then[name])
        else:
            sides = ("there" if name in side else ABSENT for side in (now, then))
            differences.append(Difference(FILE, _place(path, row), "attempt", *sides))
    place, present = "an unknown line: no attempt differs", ledger_sum(path, recorded["bytes"])
    return differences or [Difference(FILE, place, "SHA-256", present["sha256"], recorded["sha256"])]


def _place(path: Path, row: Mapping[str, Any]) -> str:
    """Where an attempt is opened, and what it is."""
    opened = (n for n, event in events.read(path) if isinstance(event, Open) and event.id == row["id"])
    what = " ".join(str(row[key]) for key in ("stage", "model", "variant", "seed") if row[key] is not None)
    return "".join(f"line {line}, " for line in list(opened)[:1]) + f"attempt {row['id']} ({what})"


def clocks(experiment: Experiment, known: Sequence[Attempt]) -> Check:
    """Every job's seconds in the ledger against Snakemake's benchmark of it, which another process has taken.

    Snakemake keeps the last job that succeeded, so one attempt of the job has to fit. It has to be no shorter than the
    job by more than the tolerance, after the time that the process has waited for the device, which is not paid.

    Args:
        experiment: which one.
        known: what `reported` returns.

    Raises:
        UserError: a benchmark is damaged.
    """
    check, compared, ledger_path = Check("clocks"), 0, experiment.folder / FILE
    opened = [event for _, event in events.read(ledger_path) if isinstance(event, Open)]
    waited = {event.id: max(0.0, event.clock - event.age - event.born) for event in opened}
    launched = experiment.settings.hardware.count > 1
    layout = Layout(experiment.folder)
    for job in (Job("preflight"), *jobs(experiment.settings)):
        path = layout.benchmark(job)
        if not path.exists():
            continue
        compared, taken, name = compared + 1, benchmark_seconds(path), path.relative_to(experiment.folder)
        least = LAUNCHER_SECONDS if launched and STAGES[job.stage].all_devices else TOLERANCE_SECONDS
        own = [a for a in known if a.job == job]
        own = [a for a in own if a.outcome in ("finished", "interrupted")] or own
        shortest = min((taken - a.seconds - waited.get(a.id, 0.0) for a in own), default=0.0)
        if shortest > max(least, TOLERANCE_SHARE * taken):
            place, stated = _place(ledger_path, attempt_row(own[-1])), own[-1].seconds
            check.differences.append(Difference(FILE, place, "seconds", stated, f"{taken:g} s by {name}"))
        elif not own and _spends(experiment, job):
            check.differences.append(Difference(FILE, str(job), "attempt", ABSENT, f"a job of {taken:g} s by {name}"))
    allowed = f"{TOLERANCE_SECONDS:g} s ({LAUNCHER_SECONDS:g} s with a launcher) or {TOLERANCE_SHARE:.0%}"
    check.looked_at = f"{compared} jobs by Snakemake's clock, which may be longer by {allowed}"
    if not compared:
        check.notes.append("benchmarks/: there are none; the ledger's seconds could not be set against another clock")
    return check


def _spends(experiment: Experiment, job: Job) -> bool:
    """Whether a job that ended well must have an attempt: not if the budget had no room for it."""
    return job.stage != "preflight" and "not_run" not in read_json(Layout(experiment.folder).path(job))
