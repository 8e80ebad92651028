"""Two jobs at once: each takes one of two devices, and money and time are told of both."""

import contextlib
import os
import subprocess
import sys
import threading
from collections.abc import Iterator
from dataclasses import astuple
from datetime import UTC, datetime
from pathlib import Path

import pytest
from test_budget import span
from test_gate import Purse
from test_gate import run as take_steps

from ledger_lines import HARDWARE
from reinforce_lite.budget import costs, device_lock, devices, gate, plan, status
from reinforce_lite.budget.books import Attempt
from reinforce_lite.budget.events import Touch
from reinforce_lite.budget.forecast import Duration, Interval
from reinforce_lite.budget.gate import Allowance, Gate, LedgerMeter
from reinforce_lite.budget.ledger import Ledger, attempts, ledger_path
from reinforce_lite.budget.outlook import Outlook, Pace, in_all
from reinforce_lite.budget.plan import Entry
from reinforce_lite.config import Settings, validate
from reinforce_lite.experiment import watch
from reinforce_lite.experiment.attempt import stage
from reinforce_lite.io import bars, clock
from reinforce_lite.stages import Job

pytestmark = pytest.mark.timeout(60)  # who does not wait, waits for ever for its input

CODE = """
import os, sys; from pathlib import Path; from reinforce_lite.config import Settings
from reinforce_lite.experiment.attempt import AdoptedError, stage
settings = Settings.model_validate_json(sys.argv[1]); name, model = sys.argv[2:]
done = settings.results / '-'.join((settings.experiment, name, model))
with stage(settings, name, model=model, finished=done.exists):
    print('runs', flush=True); sys.stdin.readline(); done.touch()
print('left', flush=True)
"""
SURE = Interval.exactly
TRAIN, TRAINED = Job("train", "m", "v", 0), Job("evaluate_trained", "n", "v", 0)


@pytest.fixture
def two(settings: Settings) -> Settings:
    """The small experiment on two cores, side by side."""
    return settings.model_copy(
        update={"hardware": settings.hardware.model_copy(update={"count": 2, "side_by_side": True})}
    )


@contextlib.contextmanager
def job(settings: Settings, name: str, model: str) -> Iterator[subprocess.Popen[str]]:
    command = [sys.executable, "-u", "-c", CODE, settings.model_dump_json(), name, model]
    pipes = dict.fromkeys(("stdin", "stdout", "stderr"), subprocess.PIPE)
    with subprocess.Popen(command, text=True, **pipes) as started:  # type: ignore[call-overload]
        try:
            yield started
        finally:
            started.kill()


@contextlib.contextmanager
def running(settings: Settings, name: str, model: str) -> Iterator[subprocess.Popen[str]]:
    with job(settings, name, model) as started:
        assert started.stdout.readline() == "runs\n"
        yield started


def rows(settings: Settings) -> list[Attempt]:
    return attempts(ledger_path(settings))


def test_two_run_at_once_and_a_third_waits_and_says_for_whom(two: Settings) -> None:
    with running(two, "train", "a") as first, running(two, "train", "b"), job(two, "evaluate", "c") as third:
        said = third.stderr.readline()
        assert said.startswith("evaluate c: waiting for the device, held by train a of small (process "), said
        assert [(row.outcome, row.count) for row in rows(two)] == [("running", 1)] * 2
        first.communicate("go\n")
        assert third.stdout.readline() == "runs\n"
    assert [row.model for row in rows(two)] == ["a", "b", "c"]
    assert [row.outcome for row in rows(two)] == ["finished", "killed", "killed"]


def test_the_same_job_is_not_beside_itself(two: Settings) -> None:
    """As after a Snakemake that was killed and started again, while its jobs went on."""
    with running(two, "train", "a") as orphan, job(two, "train", "a") as again:
        assert f"held by train a of small (process {orphan.pid}" in again.stderr.readline()
        orphan.communicate("go\n")
        assert again.wait(timeout=60) == 0 and again.stdout.read() == ""
        assert f"train: already done by process {orphan.pid}, adopted" in again.stderr.read()
    assert [row.outcome for row in rows(two)] == ["finished"]


def test_the_same_job_starts_again_where_the_one_before_was_killed(two: Settings) -> None:
    with running(two, "train", "b"), running(two, "train", "a") as orphan, job(two, "train", "a") as again:
        assert "waiting" in again.stderr.readline()
        orphan.kill()
        assert again.stdout.readline() == "runs\n"
        assert [row.outcome for row in rows(two)] == ["running", "killed", "running"]


def test_preflight_takes_both_and_pays_for_both(two: Settings) -> None:
    with running(two, "preflight", "") as first, job(two, "train", "a") as second:
        assert "held by preflight of small" in second.stderr.readline()
        first.communicate("go\n")
        assert second.stdout.readline() == "runs\n"
        with job(two, "preflight", "") as again:
            assert "held by train a of small" in again.stderr.readline()
    assert [row.count for row in rows(two)] == [2, 1]


def test_another_experiment_on_the_whole_machine_waits_for_both(two: Settings, settings: Settings) -> None:
    whole = settings.model_copy(update={"experiment": "other"})
    with running(two, "train", "a") as first, running(two, "train", "b") as second, job(whole, "train", "c") as third:
        assert "held by train a of small" in third.stderr.readline()
        first.communicate("go\n")
        second.communicate("go\n")
        assert third.stdout.readline() == "runs\n"


def test_what_the_ledger_had_no_room_for_is_kept_of_each(two: Settings) -> None:
    path = device_lock.lock_path(ledger_path(two))
    with running(two, "train", "b"):
        with device_lock.hold(path, "x", "train a", places=2, one=True) as lock:
            assert lock.place == 1
            Ledger(ledger_path(two)).open("train", two.hardware, model="a", attempt_id="x", since=lock.since)
            alive = Touch(id="x", time=datetime.now(UTC), clock=clock.steady_seconds() + 100, boot=clock.boot_id())
            lock.keep(alive)
        assert [(row.outcome, row.seconds >= 100) for row in rows(two)] == [("running", False), ("killed", True)]
        with running(two, "train", "c"):
            state = device_lock.look(device_lock.all_paths(path)[1])
            assert state is not None and state.holder is not None and state.holder.unwritten is None
            assert '"event":"touch","id":"x"' in ledger_path(two).read_text()
    assert rows(two)[1].seconds >= 100


def test_one_gpu_is_seen_of_those_that_there_are(two: Settings, monkeypatch: pytest.MonkeyPatch) -> None:
    hardware = two.hardware.model_copy(update={"device": "cuda"})
    for visible, place, seen in (("3, 5", 1, "5"), ("", 1, "1"), ("7", 1, "7")):
        monkeypatch.setenv("CUDA_VISIBLE_DEVICES", visible)
        devices.show_only(hardware, place)
        assert os.environ["CUDA_VISIBLE_DEVICES"] == seen
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "3, 5")
    devices.show_only(two.hardware, 1)
    assert os.environ["CUDA_VISIBLE_DEVICES"] == "3, 5"


def test_older_keys_and_digests_know_nothing_of_it(settings: Settings, two: Settings) -> None:
    assert "side_by_side" not in settings.hardware.model_dump() and "side_by_side" not in settings.model_dump_json()
    assert validate(two.model_dump(mode="json")).hardware == two.hardware
    assert (two.hardware.taken_by("train"), two.hardware.taken_by("preflight"), two.hardware.jobs_at_once) == (1, 2, 2)
    whole = two.hardware.model_copy(update={"side_by_side": False})
    assert (whole.taken_by("train"), whole.taken_by("preflight"), whole.jobs_at_once) == (2, 2, 1)


def test_a_device_that_waits_beside_a_job_is_idle(two: Settings) -> None:
    # Two at once for 50 s, then one alone for 50 s, nothing for 20 s, then both devices by one job.
    spans = [span(0, 100), span(0, 50), Attempt(**{**vars(span(120, 10)), "count": 2})]
    assert costs.idle_seconds(spans, 2) == pytest.approx(50 + 2 * 20)
    assert costs.idle_seconds(spans) == pytest.approx(20) and costs.clock_seconds(spans) == pytest.approx(110)
    idle = costs.idle_cost(two.hardware, spans)
    assert idle["idle_hours"] == pytest.approx(90 / 3600)
    assert idle["idle_usd"] == pytest.approx(90 / 3600 * two.hardware.usd_per_hour)


@pytest.fixture
def beside(two: Settings, monkeypatch: pytest.MonkeyPatch) -> tuple[Settings, Attempt, Attempt]:
    """Attempts at two jobs that run at once."""
    ledger = Ledger(ledger_path(two))
    began = clock.steady_seconds()
    names = [ledger.open(one.stage, two.hardware, **one.run, since=began) for one in (TRAIN, TRAINED)]
    now = clock.steady_seconds() + 3600.0
    monkeypatch.setattr(clock, "steady_seconds", lambda: now)
    first, second = (ledger.attempt(name) for name in names)
    return two, first, second


def test_the_meter_counts_what_runs_beside_up_to_now(beside: tuple[Settings, Attempt, Attempt]) -> None:
    settings, first, _ = beside
    price, meter = settings.hardware.usd_per_hour, LedgerMeter(settings, first)
    assert meter.own() == pytest.approx(price, rel=0.05) and meter.spent() == pytest.approx(2 * price, rel=0.05)


def test_what_an_evaluation_spends_of_its_reserve_is_not_counted_twice(
    beside: tuple[Settings, Attempt, Attempt], monkeypatch: pytest.MonkeyPatch
) -> None:
    settings, first, _ = beside
    price = settings.hardware.usd_per_hour
    meter = LedgerMeter(settings, first, {TRAINED: 1.5 * price})
    before, now = meter.others(), clock.steady_seconds()
    for hours, more in ((1, 0.0), (3, 1.5)):
        monkeypatch.setattr(clock, "steady_seconds", lambda hours=hours: now + 3600 * hours)
        assert meter.others() - before == pytest.approx(more * price)
    made = plan.make(9.0, 1.0, price / 3600, [Entry(TRAIN, "pending", Duration(SURE(3600)))], 1)
    assert (
        gate.most_usd(made, Job("fetch_policy", "m"), 3.0) == 6.0 == gate.most_usd(made, Job("fetch_policy", "m")) - 2
    )


def test_no_step_is_begun_for_which_two_jobs_have_no_money() -> None:
    """Each asks for itself and both go on: the sum stays under the limit."""
    mine, other = Purse(), Purse()
    first, second = (Gate(Allowance(10, 0, at_once=2), purse, 99) for purse in (mine, other))
    first.begin(99)
    second.begin(99)
    for done in range(1, 99):
        mine.mine += 1.0
        mine.before = other.mine
        stopped = first.stop(done)
        other.mine += 1.0
        other.before = mine.mine
        if second.stop(done) and stopped:
            break
    assert mine.mine + other.mine <= 10
    assert take_steps(Gate(Allowance(10, 0), alone := Purse(), 99), alone, [1.0] * 99) and alone.mine == 10


def test_a_stage_that_hangs_is_ended_by_what_others_have_spent_too(two: Settings) -> None:
    left, touched = [100.0], threading.Event()

    def most() -> float:
        left[0] -= 100.0 * touched.is_set()
        touched.set()
        return left[0]

    with pytest.raises(gate.StoppedByBudgetError), stage(two, "train", model="a") as row:
        watch.work(two, row, lambda account: threading.Event().wait(60), most, touch_seconds=0.1)


def test_of_what_runs_beside_only_the_rest_is_planned() -> None:
    evaluation = Duration(Interval(80, 100, 130), after=SURE(5))
    assert astuple(plan.passed(evaluation, TRAINED, 90.0).total) == (5, 10, 40)
    training = Duration(SURE(20), SURE(1), 30, after=SURE(5))
    assert astuple(plan.passed(training, TRAIN, 90.0).total) == (35, 35, 35)  # its steps are known


HALF = HARDWARE.model_copy(update={"usd_per_hour": 36.0, "side_by_side": True})  # a cent a second of one


def planned() -> dict:
    entries = [Entry(one, "pending", Duration(SURE(seconds))) for one, seconds in ((TRAIN, 600), (TRAINED, 200))]
    return status.described(plan.make(100.0, 1.0, 0.01, entries, 1))


def test_dollars_are_of_the_sum_and_hours_of_two_at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    outlook = Outlook.of(planned(), HALF, TRAIN)
    assert (outlook.own_seconds, outlook.others_seconds, outlook.usd(800)) == (600, 200, pytest.approx(8))
    assert outlook.until_end(600) == 600 and outlook.until_end(100) == 150
    assert in_all(planned(), HALF) == "cost: the plan expects $9.00 in all, of $100.00, and 0.11 hours for the rest"
    now, purse = [1000.0], Purse(before=1.0)
    monkeypatch.setattr(clock, "steady_seconds", lambda: now[0])
    pace = Pace(outlook, purse, began=1000.0)
    now[0], purse.mine, purse.before = 1100.0, 1.0, 2.0  # 100 s of each
    after = pace.after(1, 100)
    assert (after.stage_seconds, after.all_seconds) == (500, 500)
    assert after.expected_usd == pytest.approx(3 + 5 + 1) and after.spent_usd == 3


def test_lines_name_their_job(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    monkeypatch.setattr(bars, "_job", "train tiny-phi leave_one_out seed0")
    bar = bars.bar(range(3), "train", "step", total=3)
    for _ in bar:
        bar.set_postfix({"reward_mean": "0.5"}, refresh=False)
    said = capsys.readouterr().err
    assert "\r" not in said and said.endswith("\n")
    assert all(line.startswith("train tiny-phi leave_one_out seed0: ") for line in said.splitlines())
    assert "3/3 step" in said.splitlines()[-1] and said.splitlines()[-1].endswith("reward_mean=0.5")
    assert list(bars.bar([1], "greedy", "batch")) == [1]
    assert capsys.readouterr().err.startswith("train tiny-phi leave_one_out seed0, greedy: ")


def test_the_folder_of_the_locks_is_made(tmp_path: Path) -> None:
    path = tmp_path / "made" / ".device.lock"
    with device_lock.hold(path, "a", "train", places=2, one=True) as lock:
        assert lock.place == 0 and not lock.waited and path.exists()
