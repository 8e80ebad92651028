"""The ledger: sound, the same as when the report was made, and in step with Snakemake's clock."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from reinforce_lite.budget.books import Books
from reinforce_lite.budget.ledger import Attempt, look_up
from reinforce_lite.errors import UserError
from reinforce_lite.io.files import read_json
from reinforce_lite.report.summary import attempt_row, benchmark_seconds, ledger_sum
from reinforce_lite.report.verification.difference import ABSENT, Check, Difference, differing
from reinforce_lite.report.verification.experiment import Experiment
from reinforce_lite.stages import STAGES, Job, Layout, jobs

FILE = "ledger.jsonl"

TOLERANCE_SECONDS, TOLERANCE_SHARE = 5.0, 0.02
"""A job takes longer by Snakemake's clock than its attempt in the ledger: shell and container start before the process,
and Snakemake sees its end a moment later. Up to so much more, whichever is larger, is no difference."""
LAUNCHER_SECONDS = 30.0
"""The same for a training on several devices: the launcher that starts its processes imports torch first."""


@dataclass(frozen=True)
class Read:
    """The ledger of a finished experiment, read once.

    Attributes:
        experiment: which one.
        books: of the whole of it.
        everything: its attempts.
        known: those that the report was made of: what the ledger holds up to where it was read. In a ledger that was
            changed since, that place is no longer known; then they are those that the report has kept.
        present: its length and sum up to where the report has read it; None if the report recorded none.
    """

    experiment: Experiment
    books: Books
    everything: list[Attempt]
    known: list[Attempt]
    present: dict[str, Any] | None

    @classmethod
    def of(cls, experiment: Experiment) -> "Read":
        """Read it.

        Raises:
            UserError: it is absent though the report has read one.
        """
        path, recorded = experiment.folder / FILE, experiment.recorded("ledger")
        if recorded and recorded["bytes"] and not path.exists():
            raise UserError(f"{path} does not exist, though the report has read it", "restore it from a copy")
        everything = (books := Books(path)).attempts(look_up(books))
        present = None if recorded is None else ledger_sum(path, recorded["bytes"])
        known = everything
        if present != recorded:
            known = [attempt for attempt in everything if attempt.id in _kept(experiment)]
        elif recorded and path.exists() and path.stat().st_size != recorded["bytes"]:
            known = (then := Books(path, until=recorded["bytes"])).attempts(look_up(then))
        return cls(experiment, books, everything, known, present)

    def place(self, row: Mapping[str, Any]) -> str:
        """Where an attempt is opened, and what it is."""
        line = self.books.lines.get(row["id"])
        what = " ".join(str(row[key]) for key in ("stage", "model", "variant", "seed") if row[key] is not None)
        return f"{f'line {line}, ' if line else ''}attempt {row['id']} ({what})"


def _kept(experiment: Experiment) -> dict[str, dict[str, Any]]:
    """The attempts as the report has kept them, by id."""
    return {row["id"]: row for row in experiment.summary["cost"].get("attempts", [])}


def ledger(read: Read) -> Check:
    """Whether the ledger is sound, and the one that the report was made of."""
    check = Check("ledger")
    for finding in read.books.reader.findings:
        place, says = f"line {finding.line}" if finding.line else "", finding.says
        if finding.kind in ("torn", "headless"):  # a copy may lack the hidden file; the recorded sum covers the rows
            check.notes.append(f"{FILE}, {place}: {says}" if place else says)
        else:
            check.differences.append(Difference(FILE, place, "event", says, "a sound ledger"))
    if read.present is None:
        check.notes.append(f"{FILE}: no sum recorded; whether a line was changed since the report could not be checked")
    elif read.present != read.experiment.recorded("ledger"):
        check.differences += _changes(read, read.present)
    names = {attempt.id for attempt in read.known}
    for attempt in read.everything:
        if attempt.id not in names:
            place = read.place(attempt_row(attempt))
            check.differences.append(Difference(FILE, place, "attempt", "added after the report", ABSENT))
    check.looked_at = f"{len(read.everything)} attempts, ${sum(attempt.usd for attempt in read.everything):.4f}"
    return check


def _changes(read: Read, present: Mapping[str, Any]) -> list[Difference]:
    """Which attempts differ from those that the report has kept; if none does, the changed line is not known."""
    now, then = {attempt.id: attempt_row(attempt) for attempt in read.known}, _kept(read.experiment)
    differences: list[Difference] = []
    for name, row in {**then, **now}.items():
        # The ledger is what is stated here, and what it was when the report was made is what it should be.
        if name in now and name in then:
            differences += differing(FILE, read.place(row), now[name], then[name])
        else:
            sides = ("there" if name in side else ABSENT for side in (now, then))
            differences.append(Difference(FILE, read.place(row), "attempt", *sides))
    place, recorded = "an unknown line: no attempt differs", read.experiment.recorded("ledger")
    return differences or [Difference(FILE, place, "SHA-256", present["sha256"], recorded["sha256"])]


def clocks(read: Read) -> Check:
    """Every job's seconds in the ledger against Snakemake's benchmark of it, which another process has taken.

    Snakemake keeps the last job that succeeded, so one attempt of the job has to fit. It has to be no shorter than the
    job by more than the tolerance, after the time that the process has waited for the device, which is not paid.

    Raises:
        UserError: a benchmark is damaged.
    """
    check, compared, experiment = Check("clocks"), 0, read.experiment
    by_job: dict[Job, list[Attempt]] = {}
    for attempt in read.known:
        by_job.setdefault(attempt.job, []).append(attempt)
    launched = experiment.settings.hardware.taken_by("train") > 1
    layout = Layout(experiment.folder)
    for job in (Job("preflight"), *jobs(experiment.settings)):
        path = layout.benchmark(job)
        if not path.exists():
            continue
        compared, taken, name = compared + 1, benchmark_seconds(path), path.relative_to(experiment.folder)
        least = LAUNCHER_SECONDS if launched and STAGES[job.stage].all_devices else TOLERANCE_SECONDS
        own = by_job.get(job, [])
        own = [a for a in own if a.outcome in ("finished", "interrupted")] or own
        shortest = min((taken - a.seconds - max(0.0, a.clock - a.born) for a in own), default=0.0)
        if shortest > max(least, TOLERANCE_SHARE * taken):
            place, stated = read.place(attempt_row(own[-1])), own[-1].seconds
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
