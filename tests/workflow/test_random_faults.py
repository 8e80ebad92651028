"""Killed and stopped at random, the same command comes to the same end, and the ledger knows all of it."""

import hashlib
import random
import subprocess
from collections.abc import Callable
from pathlib import Path
from typing import Any

import psutil
import pytest
from dag_runner import Workflow, copy_workflow
from disturbance import Blow, Watch, disturb
from test_dag import without_times

from reinforce_lite.budget import ledger
from reinforce_lite.budget.reader import check
from reinforce_lite.config import load
from reinforce_lite.io.files import read_json, read_jsonl
from reinforce_lite.stages import jobs

TOUCH_SECONDS = 15.0
"""How often a stage gives a sign of life (`touch_seconds` in experiment/attempt.py)."""
MARGIN_SECONDS = 1.0
"""What the watch and the ledger may differ by for a process that nobody disturbed."""


def outcome(workflow: Workflow) -> dict[str, Any]:
    """All that must not depend on what happened on the way."""
    folder = workflow.results()
    weights = {str(path.relative_to(folder)): path for path in folder.rglob("weights/*.safetensors")}
    return {
        "weights": {name: hashlib.sha256(path.read_bytes()).hexdigest() for name, path in weights.items()},
        "metrics": {
            str(path.relative_to(folder)): [without_times(row) for row in read_jsonl(path)]
            for path in folder.rglob("metrics.jsonl")
        },
        "models": read_json(folder / "summary.json")["models"],
    }


def whole_lines(path: Path) -> bytes:
    """The ledger as far as it is written in whole lines."""
    written = path.read_bytes() if path.exists() else b""
    return written[: written.rfind(b"\n") + 1]


class Disturbed:
    """One copy of the workflow, and all that is done to it until it is finished."""

    def __init__(self, workflow: Workflow) -> None:
        self.workflow, self.watch = workflow, Watch(workflow)
        self.blows: list[Blow] = []
        self._known = b""
        self._lost_lines = 0

    def strike(self, moments: random.Random) -> bool:
        """Disturb it once; False if it was finished before."""
        blow = disturb(self.workflow, moments)
        self._look_at_ledger()
        if blow is not None:
            self.blows.append(blow)
        return blow is not None

    def finish(self) -> subprocess.CompletedProcess[str]:
        """The same command once more, undisturbed."""
        done = self.workflow.run()
        psutil.wait_procs(self.watch.running(), timeout=60)
        self._look_at_ledger()
        return done

    def _look_at_ledger(self) -> None:
        """What was written once must stay."""
        now = whole_lines(self.workflow.results() / "ledger.jsonl")
        if not now.startswith(self._known):
            self._lost_lines += len(set(self._known.splitlines()) - set(now.splitlines()))
        self._known = now

    def lost_rows(self) -> int:
        """Lines that were there and have gone, and jobs that left no finished attempt."""
        config = load([self.workflow.results() / "config.json"])
        made = [attempt for attempt in self.attempts() if attempt.outcome == "finished"]
        done = {(attempt.stage, attempt.model, attempt.variant, attempt.seed) for attempt in made}
        wanted = {("preflight", None, None, None), *((j.stage, j.model, j.variant, j.seed) for j in jobs(config))}
        return self._lost_lines + len(wanted - done)

    def attempts(self) -> list[ledger.Attempt]:
        return ledger.attempts(self.workflow.results() / "ledger.jsonl")

    def unsound(self) -> list[str]:
        """What `ledger --check` would say, torn lines left out: a kill may tear one."""
        return [problem for problem in check(self.workflow.results() / "ledger.jsonl") if "torn" not in problem]


def assert_survived(run: Disturbed, undisturbed: dict[str, Any], tell: Callable[[str, object], None]) -> None:
    """Bring it to its end, tell what is to be told, and look at all of it."""
    done, kills = run.finish(), sum(blow.signal == "SIGKILL" for blow in run.blows)
    tell("kills", kills)
    tell("sigterms", len(run.blows) - kills)
    tell("blows", [f"{blow.signal} {blow.victim} {blow.command}" for blow in run.blows])
    assert done.returncode == 0, done.stdout[-3000:]
    tell("continued", 1)
    found = outcome(run.workflow)
    tell("weights_equal", found["weights"] == undisturbed["weights"])
    lost, attempts = run.lost_rows(), run.attempts()
    tell("lost_rows", lost)
    spent = sum(attempt.usd for attempt in attempts)
    limit = load([run.workflow.results() / "config.json"]).budget.limit_usd
    tell("overspend_usd", max(0.0, spent - limit))
    inside, outside = sum(attempt.seconds for attempt in attempts), run.watch.device_seconds()
    tell("ledger_seconds", round(inside, 3))
    tell("watched_seconds", round(outside, 3))
    assert found == undisturbed
    assert lost == 0 and run.unsound() == []
    assert abs(inside - outside) <= kills * TOUCH_SECONDS + len(attempts) * MARGIN_SECONDS
    assert all(attempt.outcome != "running" for attempt in attempts)
    assert sum(attempt.outcome in ("killed", "interrupted", "failed") for attempt in attempts) <= len(run.blows)


@pytest.mark.slow
@pytest.mark.timeout(1800)
@pytest.mark.survives("SIGKILL and SIGTERM at random moments, of the job, of Snakemake, of both")
@pytest.mark.parametrize(
    ("seed", "strokes"), [(0, 8), *(pytest.param(seed, 28, marks=pytest.mark.faults) for seed in (1, 2, 3, 4))]
)
def test_killed_and_stopped_at_random(
    finished: Workflow, tmp_path: Path, record_property: Callable[[str, object], None], seed: int, strokes: int
) -> None:
    moments, undisturbed = random.Random(seed), outcome(finished)
    number = 0
    while strokes > 0:
        run = Disturbed(copy_workflow(tmp_path / str(number)))
        with run.watch:
            while strokes > 0 and run.strike(moments):
                strokes -= 1
            record_property("runs", 1)
            assert_survived(run, undisturbed, record_property)
        number += 1
