import json
import os
import signal
import socket
import subprocess
import sys
import time
from datetime import UTC, date, datetime, timedelta

import psutil
import pytest
from hypothesis import given
from hypothesis import strategies as st

from ledger_lines import HARDWARE, NOON, OPEN, at, close, opened, touch, write
from reinforce_lite.budget.costs import idle_seconds
from reinforce_lite.budget.ledger import Ledger, attempts
from reinforce_lite.budget.reader import check, torn_lines
from reinforce_lite.io import clock


@pytest.fixture
def path(tmp_path):
    return tmp_path / "made" / "ledger.jsonl"


def test_one_hour_at_79_cents_costs_79_cents(tmp_path):
    (attempt,) = attempts(write(tmp_path / "l", opened(), close(3595)))  # 5 s were used before the line was written
    assert attempt.started == NOON - timedelta(seconds=5)
    assert attempt.ended == NOON + timedelta(seconds=3595)
    assert (attempt.seconds, attempt.device_hours, attempt.usd) == (3600, 1.0, 0.79)
    assert (attempt.stage, attempt.model, attempt.variant, attempt.seed) == ("train", "llama", None, 0)
    assert (attempt.device, attempt.price_source, attempt.price_date) == ("L40S", "a shop", date(2026, 5, 1))
    assert attempt.outcome == "finished"


def test_two_devices_for_half_an_hour_are_one_device_hour(tmp_path):
    (attempt,) = attempts(write(tmp_path / "l", opened(count=2, age=0.0), close(1800)))
    assert (attempt.seconds, attempt.device_hours, attempt.usd) == (1800, 1.0, 0.79)


def test_without_a_file_nothing_was_spent(path):
    assert attempts(path) == [] and check(path) == [] and torn_lines(path) == []


def test_what_is_written_is_what_is_read(path):
    ledger = Ledger(path)
    first = ledger.open("train", HARDWARE, model="phi", variant="random", seed=3)
    ledger.touch(first)
    closed = ledger.close(first, "failed", 'ValueError: "quoted"\nand é, \u2028 and }')
    assert attempts(path) == [closed]
    assert (closed.model, closed.variant, closed.seed, closed.count) == ("phi", "random", 3, 2)
    assert closed.outcome == "failed" and closed.error == 'ValueError: "quoted"\nand é, \u2028 and }'
    assert path.read_bytes().count(b"\n") == 3
    assert check(path) == [] and torn_lines(path) == []


def test_an_attempt_starts_when_its_process_started(path):
    code = (
        "import sys, time, psutil; before = psutil.Process().create_time(); time.sleep(0.5)\n"
        "from pathlib import Path; from reinforce_lite.config import Hardware\n"
        "from reinforce_lite.budget.ledger import Ledger\n"
        "ledger = Ledger(Path(sys.argv[1]))\n"
        "hardware = Hardware.model_validate_json(sys.argv[2])\n"
        "for name in 'ab': ledger.close(ledger.open(name, hardware), 'finished')\n"
        "print(before)"
    )
    command = [sys.executable, "-c", code, str(path), HARDWARE.model_dump_json()]
    created = float(subprocess.run(command, capture_output=True, text=True, check=True).stdout)
    first, second = attempts(path)
    assert first.seconds >= 0.5
    assert abs(first.started.timestamp() - created) < 1.5  # psutil's boot time is in whole seconds
    assert second.started >= first.ended - timedelta(milliseconds=100)  # the first one's time is not paid for twice


def test_this_process_is_running_until_it_closes(path):
    ledger = Ledger(path)
    attempt_id = ledger.open("train", HARDWARE)
    assert [a.outcome for a in attempts(path)] == ["running"] == [ledger.attempt(attempt_id).outcome]
    ledger.close(attempt_id, "finished")
    assert [a.outcome for a in attempts(path)] == ["finished"]


def test_an_interrupted_attempt_is_told_from_a_failed_one(path):
    ledger = Ledger(path)
    closed = ledger.close(ledger.open("train", HARDWARE), "interrupted", "Interrupted: SIGTERM")
    assert attempts(path) == [closed] and closed.outcome == "interrupted"


def test_time_spent_waiting_for_the_device_is_not_paid(path):
    ledger = Ledger(path)
    closed = ledger.close(ledger.open("train", HARDWARE, since=clock.steady_seconds()), "finished")
    assert closed.seconds < clock.age_seconds(psutil.Process()) - 0.1


def test_closing_an_attempt_of_somebody_else_is_a_mistake(path):
    attempt_id = Ledger(path).open("train", HARDWARE)
    with pytest.raises(KeyError):
        Ledger(path).close(attempt_id, "finished")


@pytest.mark.survives("SIGKILL of a stage")
def test_a_killed_process_is_paid_for_until_its_last_touch(path):
    code = (
        "import sys, time; from pathlib import Path; from reinforce_lite.config import Hardware\n"
        "from reinforce_lite.budget.ledger import Ledger\n"
        "ledger = Ledger(Path(sys.argv[1]))\n"
        "attempt = ledger.open('train', Hardware.model_validate_json(sys.argv[2]))\n"
        "while True:\n"
        "    ledger.touch(attempt); print(flush=True); time.sleep(0.1)\n"
    )
    command = [sys.executable, "-c", code, str(path), HARDWARE.model_dump_json()]
    with subprocess.Popen(command, stdout=subprocess.PIPE) as process:
        for _ in range(3):
            process.stdout.readline()
        (attempt,) = attempts(path)
        assert attempt.outcome == "running"
        os.kill(process.pid, signal.SIGKILL)
        process.wait()
    last = json.loads(path.read_text().splitlines()[-1])
    (attempt,) = attempts(path)
    assert attempt.outcome == "killed" and last["event"] == "touch"
    assert attempt.ended.timestamp() == pytest.approx(datetime.fromisoformat(last["time"]).timestamp(), abs=0.05)


@pytest.mark.parametrize(
    ("changes", "outcome"),
    [
        ({}, "running"),
        ({"born": 1.0}, "killed"),  # the pid is another process's now
        ({"boot": "before"}, "killed"),  # the machine was started again since
    ],
)
def test_a_process_is_known_by_boot_pid_and_birth(tmp_path, changes, outcome):
    me = psutil.Process()
    mine = {"host": socket.gethostname(), "pid": me.pid, "born": clock.born_seconds(me), "boot": clock.boot_id()}
    (attempt,) = attempts(write(tmp_path / "l", opened(**{**mine, **changes})))
    assert attempt.outcome == outcome


@pytest.mark.parametrize(("silent", "outcome"), [(5, "running"), (500, "killed")])
def test_a_process_of_another_host_is_judged_by_its_silence(tmp_path, silent, outcome):
    recently = (datetime.now(UTC) - timedelta(seconds=silent)).isoformat()
    (attempt,) = attempts(write(tmp_path / "l", opened(), {**touch(60), "time": recently}))
    assert attempt.outcome == outcome


@pytest.mark.survives("the clock set back")
def test_setting_the_wall_clock_back_changes_no_duration(tmp_path):
    lines = opened(age=0.0), touch(10, wall=-7190), close(20, wall=-7180)
    (attempt,) = attempts(write(tmp_path / "l", *lines))
    assert attempt.seconds == 20 and attempt.ended > attempt.started


@pytest.mark.survives("the clock set back")
def test_setting_the_wall_clock_back_keeps_the_order_of_attempts(tmp_path):
    second = at(30, wall=-3600, **{**OPEN, "id": "b", "age": 0.0}), at(40, wall=-3590, event="close", id="b")
    second[1].update(outcome="finished", error=None)
    path = write(tmp_path / "l", opened(age=0.0), close(20), *second)
    first, last = attempts(path)
    assert (first.id, last.id) == ("a", "b") and last.started < first.started  # what the wall clock said
    assert (first.seconds, last.seconds) == (20, 10) and last.clock - first.clock == 30
    assert idle_seconds([first, last]) == 10 and check(path) == []


def test_after_a_reboot_only_the_wall_clock_is_left(tmp_path):
    later = {"boot": "b2", "clock": 3.0}
    (attempt,) = attempts(write(tmp_path / "l", opened(age=0.0), {**touch(30), **later}))
    assert attempt.seconds == 30
    (attempt,) = attempts(write(tmp_path / "l", opened(age=0.0), {**touch(-30), **later}))
    assert attempt.seconds == 0


@given(
    st.lists(
        st.tuples(
            st.sampled_from(["touch", "close"]), st.floats(-1e6, 1e6), st.floats(-1e6, 1e6), st.sampled_from("bc")
        ),
        max_size=8,
    ),
    st.floats(0, 1e6),
)
def test_no_history_costs_less_than_nothing_or_less_than_its_beginning(tmp_path_factory, history, age):
    path = tmp_path_factory.getbasetemp() / "history.jsonl"
    kinds = [kind for kind, *_ in history]
    history = history[: kinds.index("close") + 1] if "close" in kinds else history
    make = {"touch": touch, "close": close}
    lines = [{**make[kind](steady, wall=wall), "boot": boot} for kind, steady, wall, boot in history]
    (attempt,) = attempts(write(path, {**opened(age=age), "boot": "b"}, *lines))
    ends = [age + (steady if boot == "b" else wall) for _, steady, wall, boot in history]
    assert attempt.seconds == pytest.approx(max([age, *ends]), abs=1e-5)
    assert attempt.usd >= 0
    assert attempt.outcome == ("finished" if "close" in kinds else "killed")


@given(st.permutations([opened(), touch(3), opened(id="z"), close(9), touch(4, id="z"), close(8, id="z")]))
def test_attempts_do_not_depend_on_how_processes_interleave(tmp_path_factory, lines):
    path = tmp_path_factory.getbasetemp() / "mixed.jsonl"
    order = {"open": 0, "touch": 1, "close": 2}
    lines = sorted(lines, key=lambda line: order[line["event"]])  # within an attempt the order is the writer's
    found = {attempt.id: attempt for attempt in attempts(write(path, *lines))}
    assert {key: value.seconds for key, value in found.items()} == {"a": 14, "z": 13}


def test_the_steady_clock_agrees_with_waiting():
    before = clock.steady_seconds()
    time.sleep(0.02)
    assert clock.steady_seconds() - before >= 0.02
    assert clock.age_seconds(psutil.Process()) > 0
