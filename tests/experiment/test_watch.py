"""A stage's process and the one that watches it: killed, stopped, hung, hung up, and out of money."""

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import datetime, timedelta

import psutil
import pytest

from reinforce_lite.budget import ledger as ledger_module
from reinforce_lite.budget.device_lock import lock_path, look
from reinforce_lite.budget.gate import StoppedByBudgetError
from reinforce_lite.budget.ledger import Ledger, attempts, ledger_path
from reinforce_lite.errors import UserError
from reinforce_lite.experiment import watch
from reinforce_lite.experiment.attempt import stage
from reinforce_lite.io import clock, interrupt
from reinforce_lite.io.interrupt import Interrupted, uninterrupted

START = (
    "import os, signal, sys, time; from pathlib import Path; from reinforce_lite import cli\n"
    "from reinforce_lite.config import Settings; from reinforce_lite.experiment import watch\n"
    "from reinforce_lite.experiment.attempt import stage; from reinforce_lite.io import clock, interrupt\n"
    "from reinforce_lite.io.interrupt import uninterrupted\n"
    "settings = Settings.model_validate_json(sys.argv[1]); watch.HEAR_SECONDS = watch.LATE_SECONDS = 0.5\n"
    "watch.LEAVE_SECONDS = 3.0; watch.LiveRun = lambda *given: type('Nowhere', (), {{'end': staticmethod(id)}})\n"
    "def body(account):\n    print(os.getpid(), flush=True)\n    {body}\n"
    "def run(arguments):\n"
    "    with stage(settings, 'train') as row: watch.work(settings, row, body, {usd}, touch_seconds=0.1)\n"
    "cli.stage = run; sys.exit(cli.main(['report', '--config', 'x']))"
)
HANG = "sum(range(10**12))"
"""As a call that does not come back from C: no thread of Python runs, no signal is heard."""


@contextmanager
def started(settings, body="time.sleep(600)", usd="1e9") -> Iterator[tuple[subprocess.Popen, psutil.Process]]:
    """A stage with its watch, and the process that does the work."""
    command = [sys.executable, "-c", START.format(body=body, usd=usd), settings.model_dump_json()]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) as parent:
        child = psutil.Process(int(parent.stdout.readline()))
        try:
            yield parent, child
        finally:
            for process in (parent, child):
                if process.poll() is None if process is parent else process.is_running():
                    process.kill()


class Nowhere:
    """In place of MLflow."""

    def __init__(self, *given):
        pass

    def end(self, closed):
        pass


@pytest.fixture(autouse=True)
def quick(monkeypatch):
    monkeypatch.setattr(watch, "LiveRun", Nowhere)
    for name in ("LATE_SECONDS", "HEAR_SECONDS"):
        monkeypatch.setattr(watch, name, 0.5)
    before = {number: signal.getsignal(number) for number in interrupt.NOTICES}
    yield
    assert before == {number: signal.getsignal(number) for number in interrupt.NOTICES}, "the handlers are back"


def last(settings):
    return attempts(ledger_path(settings))[-1]


def events(settings):
    return [json.loads(line) for line in ledger_path(settings).read_text().splitlines()]


def wait_until(condition):
    for _ in range(2000):
        if condition():
            return
        time.sleep(0.01)
    pytest.fail("it never happened")


def work(settings, body, usd=1e9, **options):
    with stage(settings, "train") as row:
        return watch.work(settings, row, body, usd, **options)


def gone_with(file):
    """Money without end until the body has written the file, then none."""
    return lambda: 0.0 if file.exists() else float("inf")


def a_second(settings):
    """US dollars."""
    return settings.hardware.usd_per_hour / 3600


def test_the_body_runs_in_another_process_and_its_result_comes_back(settings):
    assert work(settings, lambda account: (os.getpid(), account.attempt.stage)) != (os.getpid(), "train")
    assert last(settings).outcome == "finished"
    assert look(lock_path(ledger_path(settings))).held is False


@pytest.mark.parametrize("problem", [UserError("a", "b"), StoppedByBudgetError("s"), Interrupted("t"), SystemExit(3)])
def test_what_a_stage_says_is_said_by_the_parent(settings, problem):
    def fail(account):
        raise problem

    with pytest.raises(type(problem)) as raised:
        work(settings, fail)
    assert vars(raised.value) == vars(problem) and raised.value.args == problem.args
    assert raised.value.__cause__ is None
    assert last(settings).error == f"{type(problem).__name__}: {problem}"
    assert last(settings).outcome == ("interrupted" if type(problem).__name__[0] == "I" else last(settings).outcome)


def test_of_any_other_exception_the_trace_and_the_name_are_told(settings):
    def own(account):
        import decimal

        decimal.Decimal("x")

    with pytest.raises(RuntimeError, match="ConversionSyntax") as raised:
        work(settings, own)
    assert "test_watch.py" in str(raised.value.__cause__) and "decimal.Decimal" in str(raised.value.__cause__)
    assert last(settings).error.startswith("InvalidOperation: ") and last(settings).outcome == "failed"
    with pytest.raises(ZeroDivisionError):
        work(settings, lambda account: 1 / 0)


def test_it_gives_signs_of_life_and_stops_at_the_end(settings):
    def go_on(account):
        wait_until(lambda: len(events(settings)) >= 4)

    work(settings, go_on, touch_seconds=0.01)
    names = [event["event"] for event in events(settings)]
    assert names[0] == "open" and names[-1] == "close" and set(names[1:-1]) == {"touch"}


def test_a_touch_that_fails_stops_nothing(settings, monkeypatch, capsys):
    tried = []

    def touch(self, attempt_id):
        tried.append(attempt_id)
        if len(tried) < 3:
            raise UserError("the disk is full")

    monkeypatch.setattr(Ledger, "touch", touch)
    work(settings, lambda account: time.sleep(1.5), touch_seconds=0.01)
    assert len(tried) >= 4 and capsys.readouterr().err.count("the disk is full") == 1
    assert last(settings).outcome == "finished"


@pytest.mark.parametrize(
    "body",
    [
        pytest.param(HANG, id="step"),
        pytest.param("signal.signal(signal.SIGUSR1, signal.SIG_IGN); time.sleep(600)", id="load"),
        pytest.param(
            "import socket; ours, theirs = socket.socketpair()\n    try: ours.recv(1)\n"
            "    except BaseException: ours.recv(1)", id="download",
        ),
        pytest.param("os.kill(os.getpid(), signal.SIGSTOP)", id="stopped"),
        pytest.param("os.fork(); " + HANG, id="with a worker"),
    ],
)  # fmt: skip
@pytest.mark.survives("a step, a load or a download that hangs")
def test_what_hangs_is_ended_when_its_money_is_spent(settings, body):
    usd = "(clock.steady_seconds() - row.attempt.clock + 1) * settings.hardware.usd_per_hour / 3600"
    with started(settings, body, usd) as (parent, child):
        began = clock.steady_seconds()
        _, said = parent.communicate(timeout=60)
        took = clock.steady_seconds() - began
        assert not child.is_running() and not [p for p in psutil.process_iter() if group_of(p) == child.pid]
    assert last(settings).outcome == "interrupted" and "stopped by budget from outside" in last(settings).error, said
    assert 1 < took < 30
    assert last(settings).clock + last(settings).seconds == pytest.approx(clock.steady_seconds(), abs=5)


def group_of(process):
    try:
        return os.getpgid(process.pid) if process.status() != psutil.STATUS_ZOMBIE else None
    except (psutil.Error, ProcessLookupError):
        return None


@pytest.mark.survives("a limit that is reached inside a step")
def test_who_hears_of_the_limit_may_still_keep_what_it_has(settings, tmp_path):
    def keep(account):
        try:
            (tmp_path / "begun").touch()
            time.sleep(600)
        except Interrupted:
            with uninterrupted():
                time.sleep(1.5)  # longer than who has not heard
                (tmp_path / "checkpoint").touch()
            raise

    with pytest.raises(StoppedByBudgetError, match="what it has kept is there"):
        work(settings, keep, gone_with(tmp_path / "begun"), touch_seconds=0.1)
    assert (tmp_path / "checkpoint").exists() and last(settings).outcome == "interrupted"


def test_who_finishes_after_the_limit_has_finished(settings, tmp_path):
    def finish(account):
        interrupt.finishing()
        (tmp_path / "begun").touch()
        time.sleep(2)
        return "made"

    assert work(settings, finish, gone_with(tmp_path / "begun"), touch_seconds=0.1) == "made"
    assert last(settings).outcome == "finished"


def test_what_costs_nothing_has_no_end(settings):
    free = settings.model_copy(update={"hardware": settings.hardware.model_copy(update={"usd_per_hour": 0.0})})
    assert watch.affordable(free, 0.0) == float("inf")


@pytest.mark.survives("SIGKILL of the process that does the work alone")
def test_a_killed_child_ends_the_row_and_is_named(settings):
    with started(settings) as (parent, child):
        child.kill()
        _, said = parent.communicate(timeout=60)
    assert parent.returncode == 2 and "was killed by SIGKILL" in said and "Traceback" not in said
    assert last(settings).outcome == "failed" and "SIGKILL" in last(settings).error


@pytest.mark.survives("a crash of the process that does the work")
def test_a_crash_is_named(settings):
    with started(settings, "os.abort()") as (parent, _):
        assert "SIGABRT" in parent.communicate(timeout=60)[1]
    with started(settings, "os._exit(7)") as (parent, _):
        assert "ended with exit code 7" in parent.communicate(timeout=60)[1]


@pytest.mark.survives("SIGKILL of the watching process alone")
@pytest.mark.parametrize("body", ["time.sleep(600)", HANG])
def test_a_killed_parent_takes_its_child_along(settings, body):
    with started(settings, body) as (parent, child):
        wait_until(lambda: len(events(settings)) >= 3)
        before = clock.steady_seconds()
        parent.kill()
        parent.wait()
        psutil.wait_procs([child], timeout=10)
        assert not child.is_running()
    wait_until(lambda: last(settings).outcome == "killed")
    assert last(settings).clock + last(settings).seconds == pytest.approx(before, abs=5.0)


@pytest.mark.survives("SIGTERM, SIGINT or SIGHUP of the watching process")
@pytest.mark.parametrize("number", interrupt.NOTICES)
def test_a_notice_is_passed_on(settings, number):
    body = "with uninterrupted(): print('begun', flush=True); time.sleep(1); print('kept', flush=True)\n"
    with started(settings, f"{body}    time.sleep(600)") as (parent, _):
        assert parent.stdout.readline() == "begun\n"
        for _ in range(2):
            parent.send_signal(number)
        out, said = parent.communicate(timeout=60)
    assert (parent.returncode, out) == (75, "kept\n")
    assert said.endswith("reinforce-lite report: interrupted; the same command continues\n")
    assert last(settings).outcome == "interrupted" and last(settings).error.startswith("Interrupted: ")


@pytest.mark.survives("SIGHUP of a terminal's whole process group")
def test_a_closed_terminal_ends_in_order(settings):
    ours, theirs = os.openpty()
    command = [sys.executable, "-c", START.format(body=HUNG_UP, usd="1e9"), settings.model_dump_json()]
    parent = subprocess.Popen(
        [sys.executable, "-c", LEAD, *command], stdin=theirs, stdout=theirs, stderr=theirs, start_new_session=True
    )
    os.close(theirs)
    kept = settings.results / "kept"  # as a training's checkpoint
    wait_until(lambda: ledger_path(settings).exists() and len(events(settings)) >= 2)
    os.close(ours)
    assert parent.wait(timeout=60) == 75
    assert kept.exists() and last(settings).outcome == "interrupted"


LEAD = "import fcntl, os, sys, termios; fcntl.ioctl(0, termios.TIOCSCTTY, 0); os.execv(sys.argv[1], sys.argv[1:])"
"""Take the terminal as the session's own, whose end is a SIGHUP."""
HUNG_UP = (
    "try:\n        while True: print('step', flush=True); time.sleep(0.01)\n"
    "    except BaseException:\n        interrupt.quiet(); print('leaving', flush=True)\n"
    "        (settings.results / 'kept').touch(); raise"
)


@pytest.mark.survives("SIGSTOP of a stage for a while, then SIGCONT")
@pytest.mark.parametrize("who", ["child", "parent", "both"])
def test_seconds_of_a_stopped_stage_are_counted_and_nobody_takes_its_device(settings, who):
    body = "sys.stdin.readline()"
    command = [sys.executable, "-c", START.format(body=body, usd="1e9"), settings.model_dump_json()]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as parent:
        child = psutil.Process(int(parent.stdout.readline()))
        stopped = [child] * (who != "parent") + [psutil.Process(parent.pid)] * (who != "child")
        for process in stopped:
            process.suspend()
        time.sleep(2)
        assert look(lock_path(ledger_path(settings))).held and last(settings).outcome == "running"
        if who != "both":
            assert last(settings).seconds > 1, "the other one gives the signs of life"
        for process in stopped:
            process.resume()
        parent.communicate("go\n", timeout=60)
    assert parent.returncode == 0 and last(settings).outcome == "finished" and last(settings).seconds > 2


@pytest.mark.survives("SIGSTOP of a stage, then SIGKILL")
def test_of_a_stopped_watch_that_is_killed_the_seconds_are_known(settings):
    with started(settings) as (parent, child):
        wait_until(lambda: len(events(settings)) >= 2)
        before = last(settings).seconds
        os.kill(parent.pid, signal.SIGSTOP)
        time.sleep(2)
        parent.kill()
        parent.wait()
        psutil.wait_procs([child], timeout=10)
    wait_until(lambda: last(settings).outcome == "killed")
    assert last(settings).seconds > before + 1.5


@pytest.mark.survives("the clock set forward and back inside a stage")
def test_a_clock_that_jumps_changes_no_second(settings, monkeypatch):
    class Jumping(datetime):
        turns = 0

        @classmethod
        def now(cls, tz=None):
            cls.turns += 1
            return datetime.now(tz) + timedelta(days=(-1) ** cls.turns * cls.turns)

    monkeypatch.setattr(ledger_module, "datetime", Jumping)
    began = clock.steady_seconds()
    work(settings, lambda account: time.sleep(1.2), 3600 * a_second(settings), touch_seconds=0.1)
    elapsed = clock.steady_seconds() - began
    assert Jumping.turns > 5 and last(settings).outcome == "finished"
    opened = events(settings)[0]
    assert last(settings).seconds - opened["age"] == pytest.approx(elapsed, abs=1.0)


def test_a_function_apart_leaves_nothing_loaded_here(settings):
    def load():
        sys.modules["loaded_there"] = sys
        return os.getpid()

    assert watch.apart(load) != os.getpid() and "loaded_there" not in sys.modules
    with pytest.raises(UserError, match="no"):
        watch.apart(refuse)
    with pytest.raises(StoppedByBudgetError):
        watch.apart(lambda: time.sleep(600), 0.0)
    assert not ledger_path(settings).exists()


def refuse():
    raise UserError("no")


def test_the_age_of_a_stage_is_that_of_its_watch():
    born = clock.age_seconds(psutil.Process())
    assert watch.apart(lambda: clock.age_seconds(clock.first_process())) >= born


@pytest.mark.parametrize("experiment", ["small", "another"])
@pytest.mark.survives("the lock file deleted, and two experiments on one device")
def test_no_second_stage_starts(settings, experiment):
    with started(settings) as (parent, _):
        lock_path(ledger_path(settings)).unlink()
        other = settings.model_copy(update={"experiment": experiment})
        command = [sys.executable, "-c", START.format(body="pass", usd="1e9"), other.model_dump_json()]
        with subprocess.Popen(command, stderr=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as second:
            assert f"held by train of small (process {parent.pid})" in second.stderr.readline()
            assert second.poll() is None and len(attempts(ledger_path(settings))) == 1
            second.kill()
    assert not ledger_path(other).exists() or experiment == "small"
