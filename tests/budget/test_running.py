"""Which attempts run, and who waits: stages in processes of their own, some of them killed."""

import contextlib
import json
import os
import signal
import socket
import subprocess
import sys
from datetime import timedelta

import psutil
import pytest

from ledger_lines import opened, write
from reinforce_lite.budget import device_lock
from reinforce_lite.budget.device_lock import hold, lock_path
from reinforce_lite.budget.ledger import Ledger, attempts, ledger_path
from reinforce_lite.experiment.attempt import AdoptedError, stage
from reinforce_lite.io import clock

STAGE = (
    "import os, sys, time; from pathlib import Path; from reinforce_lite.config import Settings\n"
    "from reinforce_lite.experiment.attempt import stage\n"
    "settings = Settings.model_validate_json(sys.argv[1])\n"
)
HOLD = "with stage(settings, 'train'): print('runs', flush=True); sys.stdin.readline(); done.touch()"


def start(settings, code):
    code = f"{STAGE}done = settings.results / 'done'\n{code}"
    command = [sys.executable, "-c", code, settings.model_dump_json()]
    pipes = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE, "stderr": subprocess.PIPE}
    return subprocess.Popen(command, text=True, **pipes)


def start_running(settings):
    process = start(settings, HOLD)
    assert process.stdout.readline() == "runs\n"
    return process


def outcomes(settings):
    return [attempt.outcome for attempt in attempts(ledger_path(settings))]


def test_an_attempt_runs_until_its_process_is_killed(settings):
    with start_running(settings) as process:
        assert outcomes(settings) == ["running"]
        process.kill()
        process.wait()
    assert outcomes(settings) == ["killed"]
    with stage(settings, "train"):
        assert outcomes(settings) == ["killed", "running"]
    assert outcomes(settings) == ["killed", "finished"]


@pytest.mark.parametrize(
    ("held_by", "lines", "expected"),
    [
        ("a", {}, "running"),  # in a container: another host's name, a pid of another namespace, silent for years
        ("z", {}, "killed"),
        (None, {}, "killed"),
        (None, {"mine": True}, "killed"),  # a pid that lives here says nothing once there are locks
    ],
)
def test_the_lock_says_who_runs_not_the_pid(tmp_path, held_by, lines, expected):
    path = tmp_path / "ledger.jsonl"
    me = psutil.Process()
    mine = {"host": socket.gethostname(), "pid": me.pid, "born": clock.born_seconds(me), "boot": clock.boot_id()}
    write(path, opened(**(mine if lines else {})))
    with hold(lock_path(path), held_by or "a", "train"):
        found = [attempt.outcome for attempt in attempts(path)]
    if held_by is None:
        found = [attempt.outcome for attempt in attempts(path)]
    assert found == [expected]


def test_a_process_that_ends_while_it_is_looked_up_was_not_killed(settings, monkeypatch):
    path = ledger_path(settings)
    ledger = Ledger(path)
    attempt_id = ledger.open("train", settings.hardware)

    def look(lock):
        ledger.close(attempt_id, "finished")
        return device_lock.LockState(held=False, holder=None)

    monkeypatch.setattr(device_lock, "look", look)
    assert [attempt.outcome for attempt in attempts(path)] == ["finished"]


def test_without_a_lock_file_the_process_is_looked_up(tmp_path):
    me = psutil.Process()
    mine = {"host": socket.gethostname(), "pid": me.pid, "born": clock.born_seconds(me), "boot": clock.boot_id()}
    path = write(tmp_path / "ledger.jsonl", opened(**mine), opened(id="z", host=socket.gethostname(), boot="before"))
    assert [attempt.outcome for attempt in attempts(path)] == ["running", "killed"]


def test_a_waiting_stage_is_not_paid_for_its_wait(settings, capsys):
    with start_running(settings) as first:
        second = start(settings, "with stage(settings, 'evaluate'): print(os.getpid(), flush=True)")
        assert f"process {first.pid}" in second.stderr.readline()
        first.communicate("go\n")
    assert second.communicate()[0] == f"{second.pid}\n"
    one, two = attempts(ledger_path(settings))
    assert (one.outcome, two.outcome) == ("finished", "finished")
    assert two.clock >= one.clock + one.seconds - 0.01, "the wait is not spend"


def test_stages_that_start_at_once_use_the_device_one_after_the_other(settings):
    together = [start(settings, "with stage(settings, 'train'): time.sleep(0.1)") for _ in range(4)]
    assert [process.communicate() and process.returncode for process in together] == [0] * 4
    lines = [json.loads(line) for line in ledger_path(settings).read_text().splitlines()]
    assert [line["event"] for line in lines] == ["open", "close"] * 4


def test_results_made_by_the_process_waited_for_are_adopted(settings):
    code = "with stage(settings, 'train', finished=done.exists): print('ran')"
    with start_running(settings) as first:
        second = start(settings, f"{code}\nprint('after')")
        second.stderr.readline()
        first.communicate("go\n")
    out, err = second.communicate()
    assert second.returncode == 0 and out == ""
    assert f"train: already done by process {first.pid}, adopted" in err
    assert len(attempts(ledger_path(settings))) == 1


def test_results_are_made_if_the_process_waited_for_was_killed(settings):
    code = "with stage(settings, 'train', finished=done.exists): print('ran')"
    with start_running(settings) as first:
        second = start(settings, code)
        second.stderr.readline()
        os.kill(first.pid, signal.SIGKILL)
        first.wait()
    assert second.communicate()[0] == "ran\n"
    assert outcomes(settings) == ["killed", "finished"]


def test_results_that_were_there_before_are_made_again_without_a_wait(settings):
    ran = []
    with stage(settings, "train", finished=lambda: pytest.fail("it was asked")):
        ran.append(True)
    assert ran == [True]


def test_adoption_can_be_caught(settings, monkeypatch):
    class Waited:
        waited, adopts, before = True, True, None

    monkeypatch.setattr(device_lock, "hold", lambda *arguments: contextlib.nullcontext(Waited))
    with pytest.raises(AdoptedError) as caught, stage(settings, "train", finished=lambda: True):
        pytest.fail("the block ran")
    assert caught.value.code == 0 and caught.value.note == "train: already done by another process, adopted"


def test_a_waiting_stage_leaves_no_row_when_it_is_ended(settings):
    with start_running(settings) as first:
        second = start(settings, "with stage(settings, 'evaluate'): print('ran')")
        second.stderr.readline()
        second.terminate()
        assert second.wait() == -signal.SIGTERM
        first.communicate("go\n")
    (attempt,) = attempts(ledger_path(settings))
    assert attempt.stage == "train" and attempt.seconds > 0 and attempt.ended - attempt.started > timedelta(0)
