"""How an experiment stands at this moment, read from its results folder: what runs, how far it is, what it costs.

Nothing is written, and no process is asked. Files that grow are read once, and then only what was added.
"""

import json
from collections import deque
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from datetime import UTC, datetime
from statistics import fmean
from typing import Any, Literal

from reinforce_lite.budget import decision, device_lock
from reinforce_lite.budget.books import Attempt, Books
from reinforce_lite.budget.costs import spent_usd
from reinforce_lite.budget.gate import RECENT
from reinforce_lite.budget.ledger import look_up
from reinforce_lite.budget.outlook import Outlook
from reinforce_lite.budget.status import state
from reinforce_lite.config import Settings
from reinforce_lite.io.files import read_json
from reinforce_lite.stages import EVALUATE_AGAIN, EVALUATION, STAGES, Job, Layout, jobs

Word = Literal["not started", "running", "stopped", "refused", "finished"]

WORKFLOW_LOCK = ".workflow.lock"
"""Held by the Snakemake that works on these results; it holds who that is, and the command line."""
LAST = ("report", "crate")
METRICS = '{"metrics": '
"""How a training's row begins."""


@dataclass
class Steps:
    """How far a job is.

    Attributes:
        of: all of its steps.
        unit: what they are called.
        curve: what the values are; None if a step has none.
        done: those that are kept.
        values: of the steps; None where one is no number.
        seconds: of the last ones.
    """

    of: int
    unit: str = "step"
    curve: str | None = None
    done: int = 0
    values: list[float | None] = field(default_factory=list)
    seconds: deque[float] = field(default_factory=lambda: deque(maxlen=RECENT))


@dataclass(frozen=True)
class Standing:
    """How an experiment stands. Sums are US dollars, times seconds.

    Attributes:
        state: in a word.
        job: the one that runs, of several the first, or that was interrupted; None between two.
        steps: of it; None if it has none, or has not begun.
        beside: the other jobs that run, with their steps.
        spent_usd: by every attempt, the one that runs up to now.
        device_hours: by every attempt that has ended.
        expected_usd: what all of it is expected to cost; None before there is a plan.
        stage_seconds: until the job's end; None if none runs.
        all_seconds: until the end of the last job on the device; None if nothing runs, or there is no plan.
        checkpoint: steps that the last one holds, and its age; None without any.
        states: of every job on the device.
        reason: why the budget has refused one or cut it short; None if it has not.
        last: the last attempt; None if there is none.
    """

    state: Word
    job: Job | None
    steps: Steps | None
    spent_usd: float
    device_hours: float
    expected_usd: float | None
    stage_seconds: float | None
    all_seconds: float | None
    checkpoint: tuple[int, float] | None
    states: Sequence[str]
    reason: str | None
    last: Attempt | None
    beside: Sequence[tuple[Job, Steps | None]] = ()


class Observer:
    """Looks at an experiment, again and again."""

    def __init__(self, settings: Settings) -> None:
        self._settings, self._layout = settings, Layout.of(settings)
        self._books = Books(self._layout.ledger)
        self._plan: tuple[tuple[int, int], Mapping[str, Any]] | None = None  # with the file's time and size
        self._followed: dict[Job, Follower] = {}

    def look(self) -> Standing:
        """How it stands now.

        Raises:
            UserError: the ledger lacks money, or a result is not JSON.
        """
        now = datetime.now(UTC)
        running = look_up(self._books)
        self._books.require_sound()
        attempts = self._books.attempts(running)
        runs = [attempt for attempt in attempts if attempt.id in running]
        last = attempts[-1] if attempts else None
        states = {job: state(self._settings, job) for job in jobs(self._settings)}
        at_work = [attempt.job for attempt in runs]
        if not runs and last and states.get(last.job) == "pending":
            at_work = [last.job]
        self._followed = {job: follower for job, follower in self._followed.items() if job in at_work}
        steps = {job: self._steps(job) for job in at_work}
        elapsed = [(now - attempt.started).total_seconds() for attempt in runs] or [0.0] * len(at_work)
        late = (
            max(0.0, since - attempt.seconds) * attempt.count * attempt.usd_per_hour / 3600
            for since, attempt in zip(elapsed, runs, strict=False)
        )
        spent = spent_usd(attempts) + sum(late)
        expected, own, every = self._expected(spent, dict(zip(at_work, elapsed, strict=True)), steps, states)
        job = at_work[0] if at_work else None
        working = bool(runs) or device_lock.held(self._layout.root / WORKFLOW_LOCK)
        refused = self._refused()
        return Standing(
            state=self._state(working, refused, states, attempts),
            job=job,
            steps=steps[job] if job else None,
            spent_usd=spent,
            device_hours=sum(attempt.device_hours for attempt in attempts),
            expected_usd=expected,
            stage_seconds=own if runs else None,
            all_seconds=every if working else None,
            checkpoint=self._checkpoint(job, steps[job], now) if job else None,
            states=list(states.values()),
            reason=refused or self._first_reason(states),
            last=last,
            beside=[(other, steps[other]) for other in at_work[1:]],
        )

    def _state(
        self, working: bool, refused: str | None, states: Mapping[Job, str], attempts: Sequence[Attempt]
    ) -> Word:
        if working:
            return "running"
        if refused:
            return "refused"
        ends = [self._layout.path(Job(name), file) for name in LAST for file in STAGES[name].outputs]
        if "pending" not in states.values() and all(path.exists() for path in ends):
            return "finished"
        return "stopped" if attempts else "not started"

    def _expected(
        self, spent: float, elapsed: Mapping[Job, float], steps: Mapping[Job, Steps | None], states: Mapping[Job, str]
    ) -> tuple[float | None, float | None, float | None]:
        """US dollars that all of it is expected to cost, and seconds until the end of the first job and of all jobs."""
        plans = self._read_plan().get("plans")
        if not plans:
            return None, None, None
        ended = [one for one, how in states.items() if how != "pending"]
        left = []
        for job in elapsed:
            outlook, done = Outlook.of(plans[-1], self._settings.hardware, job), steps[job]
            took = fmean(done.seconds) if done and done.seconds else None
            # The last plan was made when the last of them began: for an earlier one it has what was left then.
            left.append(outlook.own_left(min(elapsed.values()), done.of - done.done if done else 0, took))
        outlook = Outlook.of(plans[-1], self._settings.hardware, None, [*ended, *elapsed])
        every, longest = sum(left) + outlook.others_seconds, max(left, default=0.0)
        return spent + outlook.usd(every), left[0] if left else 0.0, outlook.until_end(longest, every - longest)

    def _read_plan(self) -> Mapping[str, Any]:
        """plan.json, read once for every change of it: it has a plan for every attempt."""
        path = self._layout.plan
        if not path.exists():
            return {}
        now = path.stat()
        if self._plan is None or self._plan[0] != (now.st_mtime_ns, now.st_size):
            self._plan = (now.st_mtime_ns, now.st_size), read_json(path)
        return self._plan[1]

    def _refused(self) -> str | None:
        """Why preflight lets nothing start, as long as it would again."""
        decided = decision.read(self._layout.decision(Job("preflight")))
        return decided.unfinished if decided and decided.unfinished and decided.holds(self._settings) else None

    def _first_reason(self, states: Mapping[Job, str]) -> str | None:
        """The first reason why a job is not run, or has fewer steps than were asked for."""
        for job, how in states.items():
            decided = decision.read(self._layout.decision(job)) if how != "pending" else None
            if decided is not None and decided.unfinished:
                return f"{job}: {decided.unfinished.removeprefix('not run: ')}"
        return None

    def _steps(self, job: Job) -> Steps | None:
        if job not in self._followed or self._followed[job].cut():
            self._followed[job] = Follower(self._settings, job)
        return self._followed[job].read()

    def _checkpoint(self, job: Job, steps: Steps | None, now: datetime) -> tuple[int, float] | None:
        """Steps that are kept whatever happens, and seconds since they were."""
        if steps is None:
            return None
        folder = self._layout.resume(job)
        if steps.unit == "answer":  # every batch is kept
            kept = [(steps.done, path.stat().st_mtime) for path in folder.glob("*.jsonl") if steps.done]
        else:
            kept = [(int(path.name.removeprefix("step-")), path.stat().st_mtime) for path in folder.glob("step-*")]
        step, at = max(kept, default=(0, 0.0))
        return (step, now.timestamp() - at) if kept else None


class Follower:
    """Reads the steps of a job from its journals; each line once."""

    def __init__(self, settings: Settings, job: Job) -> None:
        self._job, self._ends = job, {}
        self._steps = _planned(settings, job)
        folder = Layout.of(settings).resume(job)
        if self._steps is not None:
            answers = ("completions.jsonl", *EVALUATION["extras"].values())
            names = answers if self._steps.unit == "answer" else ("steps.jsonl",)
            self._ends = dict.fromkeys((folder / name for name in names), 0)

    def cut(self) -> bool:
        """Whether a journal has lost lines: the steps after the checkpoint are taken again."""
        return any(path.exists() and path.stat().st_size < end for path, end in self._ends.items())

    def read(self) -> Steps | None:
        """The steps so far; None if the job has none."""
        for path, end in self._ends.items():
            with suppress(FileNotFoundError), path.open("rb") as handle:
                handle.seek(end)
                for line in handle:
                    if not line.endswith(b"\n"):
                        break  # it is being written
                    self._ends[path] += len(line)
                    with suppress(ValueError):  # a flipped bit, which the stage will find
                        self._take(line.partition(b" ")[2].decode())
        return self._steps

    def _take(self, text: str) -> None:
        steps = self._steps
        assert steps is not None
        if steps.unit == "answer":
            row = json.loads(text)
            if many := len(row.get("completions", ())):
                steps.done += many
                steps.seconds.append(row["seconds"] / many)
            return
        # The completions that follow are a thousand times as long.
        row = json.JSONDecoder().raw_decode(text, len(METRICS) if text.startswith(METRICS) else 0)[0]
        seconds = [value for name, value in row.items() if name.startswith("seconds_")]
        value = row.get("reward_mean", row.get("loss"))
        steps.values.append(value)
        steps.done += 1
        if self._job.stage == "train":
            steps.seconds.append(sum(seconds))


def _planned(settings: Settings, job: Job) -> Steps | None:
    """The steps that a job has, before the first one."""
    if job.stage == "train":
        return Steps(settings.variant(str(job.variant)).steps, curve="reward")
    if job.stage == "fetch_policy":
        start = settings.policies[job.model].start
        return Steps(start.steps, curve="loss") if start else None
    if not STAGES[job.stage].evaluates:
        return None
    data = Layout.of(settings).data / STAGES["prepare_dataset"].outputs["test"]
    known = settings.test_problems
    count = known if known is not None or not data.exists() else data.read_bytes().count(b"\n")
    problems = min(count or 0, settings.evaluation.limit or count or 0)
    evaluation = settings.evaluation.again() if job.stage == EVALUATE_AGAIN else settings.evaluation
    sampled = evaluation.samples * min(problems, evaluation.samples_limit or problems)
    return Steps(problems + sampled + 2 * evaluation.memorisation, "answer")
