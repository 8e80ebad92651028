"""A training that is told to leave: how long it is, when it has begun, and what must be there when it has left."""

import json
import time
from collections.abc import Callable
from datetime import datetime
from pathlib import Path

from test_dag import without_times

from reinforce_lite.budget import ledger
from reinforce_lite.io.files import read_jsonl
from reinforce_lite.io.journal import Journal
from reinforce_lite.learning import checkpoint

STEPS = 150
LONG = ("--config", f"training={json.dumps({'steps': STEPS})}")
"""Long enough to be still going on when somebody says stop."""
RUN = "train/tiny-llama/leave_one_out/seed0"


def steps_taken(results: Path) -> int:
    return len(Journal(results / "checkpoints" / RUN / "steps.jsonl").rows())


def wait_for_steps(results: Path, ended: Callable[[], bool], steps: int = 3) -> None:
    """Until the training has taken so many steps."""
    until = time.monotonic() + 300
    while steps_taken(results) < steps:
        assert not ended(), "it ended before its training had begun"
        assert time.monotonic() < until, "its training never began"
        time.sleep(0.05)


def assert_left_in_order(
    results: Path, told: datetime, tell: Callable[[str, object], None], before: tuple[str, ...] = ()
) -> None:
    """The last completed step is in a checkpoint, and the ledger says who left and when."""
    training = [attempt for attempt in ledger.attempts(results / "ledger.jsonl") if attempt.stage == "train"]
    assert [attempt.outcome for attempt in training] == [*before, "interrupted"]
    tell("seconds_to_leave", round((training[-1].ended - told).total_seconds(), 3))
    newest = checkpoint.found(results / "checkpoints" / RUN)[0]
    assert 3 <= checkpoint.read(newest).step == steps_taken(results) < STEPS


def assert_continued(results: Path, output: str, before: tuple[str, ...] = ()) -> None:
    """No step is missing, and none was taken twice."""
    assert "continuing after" in output, output[-3000:]
    rows = [without_times(row) for row in read_jsonl(results / RUN / "metrics.jsonl")]
    assert [row["step"] for row in rows] == list(range(STEPS))
    training = [attempt for attempt in ledger.attempts(results / "ledger.jsonl") if attempt.stage == "train"]
    assert [attempt.outcome for attempt in training] == [*before, "interrupted", "finished"]
