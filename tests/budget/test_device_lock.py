"""Real processes fight for the device."""

import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path

import pytest

from reinforce_lite.budget import device_lock, devices
from reinforce_lite.budget.device_lock import hold, lock_path, look
from reinforce_lite.budget.events import Touch
from reinforce_lite.errors import UserError

START = (
    "import os, signal, subprocess, sys, time; from pathlib import Path\n"
    "from reinforce_lite.budget.device_lock import hold\n"
)
HOLD = (
    "with hold(Path(sys.argv[1]), 'first', 'train'):\n"
    "    {before}\n"
    "    print('held', flush=True); sys.stdin.readline()\n"
)


@contextmanager
def process(path: Path, code: str) -> Iterator[subprocess.Popen]:
    command = [sys.executable, "-u", "-c", START + code, str(path)]
    pipes = dict.fromkeys(("stdin", "stdout", "stderr"), subprocess.PIPE)
    with subprocess.Popen(command, text=True, **pipes) as started:
        try:
            yield started
        finally:
            started.kill()


@contextmanager
def holder(path: Path, before: str = "pass") -> Iterator[subprocess.Popen]:
    with process(path, HOLD.format(before=before)) as started:
        assert started.stdout.readline() == "held\n"
        yield started


@pytest.fixture
def path(tmp_path):
    return lock_path(tmp_path / "made" / "ledger.jsonl")


def test_nobody_holds_a_new_lock(path):
    assert look(path) is None
    with hold(path, "a", "train") as lock:
        assert not lock.waited and lock.before is None
        state = look(path)
        assert state.held and (state.holder.attempt, state.holder.stage, state.holder.pid) == (
            "a",
            "train",
            os.getpid(),
        )
    assert not look(path).held and look(path).holder.attempt == "a"


def test_a_process_waits_and_says_once_for_whom(path, capsys):
    with holder(path) as first:
        threading.Timer(0.5, first.stdin.close).start()
        with hold(path, "second", "evaluate") as lock:
            assert lock.waited and lock.before.pid == first.pid and lock.before.attempt == "first"
            assert look(path).holder.attempt == "second"
    (line,) = capsys.readouterr().err.splitlines()
    assert line.startswith(f"evaluate: waiting for the device, held by train of made (process {first.pid} on ")


def test_a_waiting_process_says_so_again_every_minute(monkeypatch, capsys):
    now = 1000.0
    monkeypatch.setattr(device_lock.time, "monotonic", lambda: now)
    tell = device_lock._Teller("train")
    for now in (1000.0, 1059.0, 1060.5, 1119.0, 1121.0):  # noqa: B007
        tell(None)
    assert capsys.readouterr().err.splitlines() == [
        "train: waiting for the device, held by another process",
        "train: still waiting for the device, held by another process",
        "train: still waiting for the device, held by another process",
    ]


@pytest.mark.parametrize(
    "child",
    [
        "if not os.fork(): print(os.getpid(), file=sys.stderr); time.sleep(60); os._exit(0)",
        "print(subprocess.Popen(['sleep', '60'], close_fds=False).pid, file=sys.stderr)",
    ],
    ids=["fork", "exec"],
)
def test_a_child_that_outlives_its_killed_parent_holds_nothing(path, child):
    with holder(path, child) as first:
        worker = int(first.stderr.readline())
        try:
            assert look(path).held
            os.kill(first.pid, signal.SIGKILL)
            first.wait()
            os.kill(worker, 0)  # it is still there
            assert not look(path).held
            with hold(path, "next", "train") as lock:
                assert not lock.waited
        finally:
            os.kill(worker, signal.SIGKILL)


def test_a_forked_child_that_leaves_the_block_does_not_give_the_lock_away(path):
    with holder(path, "if not os.fork(): sys.exit()\n    os.wait()"):
        assert look(path).held


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT, signal.SIGHUP])
@pytest.mark.survives("SIGTERM, SIGINT or SIGHUP while a stage waits for the device")
def test_a_signal_ends_a_waiting_process_at_once(path, number):
    code = (
        "from reinforce_lite import cli\n"
        "def wait(path):\n    with hold(Path(sys.argv[1]), 'b', 'train'): print('ran')\n"
        "cli.named = wait; sys.exit(cli.main(['report', '--config', 'x']))"
    )
    with holder(path), process(path, code) as second:
        assert "waiting" in second.stderr.readline()
        second.send_signal(number)
        assert second.wait(timeout=60) == 75
        assert second.stdout.read() == ""
        assert second.stderr.read() == "reinforce-lite report: interrupted; the same command continues\n"


HOLD_NAMED = (
    "with hold(Path(sys.argv[1]), 'first', 'train', {names}):\n    print('held', flush=True); sys.stdin.readline()\n"
)


@contextmanager
def holder_of(names, path) -> Iterator[subprocess.Popen]:
    with process(path, HOLD_NAMED.format(names=names)) as started:
        assert started.stdout.readline() == "held\n"
        yield started


@pytest.fixture
def name(tmp_path):
    return f"cuda:{tmp_path.name}"


@pytest.mark.survives("two experiments on one device")
def test_another_experiment_on_the_same_device_waits_and_says_for_whom(path, tmp_path, name, capsys):
    with holder_of([name], path) as first:
        threading.Timer(0.5, first.stdin.close).start()
        with hold(lock_path(tmp_path / "other" / "ledger.jsonl"), "b", "evaluate", ["cuda:00", name]) as lock:
            assert first.wait(timeout=60) == 0
            assert lock.waited and lock.before is None
    (line,) = capsys.readouterr().err.splitlines()
    assert line == f"evaluate: waiting for the device, held by train of made (process {first.pid})"


def test_another_device_is_free(path, tmp_path, name):
    with holder_of([name], path), hold(tmp_path / "x", "b", "train", [f"{name}1", name[:-1]]) as lock:
        assert not lock.waited


@pytest.mark.survives("the lock file deleted")
def test_who_has_the_device_keeps_it_when_the_file_is_deleted(path, name):
    with holder_of([name], path) as first:
        path.unlink()
        threading.Timer(0.5, first.stdin.close).start()
        with hold(path, "b", "evaluate", [name]) as lock:
            assert first.wait(timeout=60) == 0 and lock.waited and lock.adopts


def test_the_device_is_free_when_its_holder_was_killed(path, name):
    with holder_of([name], path) as first:
        first.kill()
        first.wait()
        with hold(path, "b", "evaluate", [name]) as lock:
            assert not lock.waited


def test_a_wait_for_another_experiment_makes_no_results_of_this_one(path, tmp_path, name):
    with hold(path, "before", "train"):
        pass
    with holder_of([name], tmp_path / "other") as first:
        threading.Timer(0.5, first.stdin.close).start()
        with hold(path, "b", "train", [name]) as lock:
            assert lock.waited and not lock.adopts and lock.before.attempt == "before"


def test_a_process_that_is_forked_to_share_the_device_keeps_it(path, name):
    child = "with device_lock.shared(): pid = os.fork()\n    if not pid: time.sleep(60); os._exit(0)\n"
    code = (
        "from reinforce_lite.budget import device_lock\n"
        f"with hold(Path(sys.argv[1]), 'first', 'train', [{name!r}]):\n    {child}"
        "    print(pid, flush=True); sys.stdin.readline()\n"
    )
    with process(path, code) as first:
        worker = int(first.stdout.readline())
        first.kill()
        first.wait()
        assert look(path).held
        threading.Timer(0.3, os.kill, (worker, signal.SIGKILL)).start()
        with hold(path, "b", "train", [name]) as lock:
            assert lock.waited


@pytest.mark.parametrize(
    ("variables", "hardware", "expected"),
    [
        ({}, {"device": "cpu", "count": 1}, ["cpu", "cpu/1", "cpu/2"]),  # every core: nobody else has one
        ({}, {"device": "cpu", "count": 4, "side_by_side": True}, ["cpu", "cpu/1", "cpu/2", "cpu/3"]),
        ({}, {"device": "cuda", "count": 2}, ["cuda:0", "cuda:1"]),
        ({"CUDA_VISIBLE_DEVICES": "3, 1,2"}, {"device": "cuda", "count": 2}, ["cuda:1", "cuda:3"]),
        ({"REINFORCE_LITE_DEVICE": "cpu:1"}, {"device": "cpu", "count": 1}, ["cpu:1", "cpu:1/1", "cpu:1/2"]),
        ({"REINFORCE_LITE_DEVICE": "b, a,b"}, {"device": "cuda", "count": 1}, ["a", "b"]),
        ({"REINFORCE_LITE_DEVICE": "a"}, {"device": "cuda", "count": 2, "side_by_side": True}, ["a", "a/1"]),
    ],
)
def test_names_of_devices(settings, variables, hardware, expected, monkeypatch):
    for variable in ("CUDA_VISIBLE_DEVICES", "REINFORCE_LITE_DEVICE"):
        monkeypatch.delenv(variable, raising=False)
    for variable, value in variables.items():
        monkeypatch.setenv(variable, value)
    monkeypatch.setattr(devices.os, "cpu_count", lambda: 3)
    assert devices.names(settings.hardware.model_copy(update=hardware)) == expected


def test_who_only_looks_makes_nobody_wait(path):
    with hold(path, "a", "train"):
        pass
    code = "import fcntl; f = open(sys.argv[1]); fcntl.flock(f, fcntl.LOCK_SH); print(1, flush=True); time.sleep(0.5)"
    with process(path, code) as looking:
        looking.stdout.readline()
        with hold(path, "b", "train") as lock:
            assert not lock.waited


def test_many_processes_have_it_one_after_the_other(path):
    code = (
        "with hold(Path(sys.argv[1]), str(os.getpid()), 'train'):\n"
        "    inside = Path(sys.argv[1]).with_name('inside'); inside.touch(exist_ok=False)\n"
        "    time.sleep(0.05); inside.unlink()"
    )
    command = [sys.executable, "-c", START + code, str(path)]
    everybody = [subprocess.Popen(command, stderr=subprocess.DEVNULL) for _ in range(5)]
    assert [one.wait() for one in everybody] == [0] * 5


def test_a_stage_inside_a_stage_would_wait_for_itself(path):
    with hold(path, "a", "train"), pytest.raises(RuntimeError, match="inside"), hold(path, "b", "train"):
        pytest.fail("it has the lock twice")


@pytest.mark.parametrize("record", [b"", b"   ", b'{"attempt": "a', b"\xff\0", b"[]"])
def test_a_record_that_nobody_can_read_stops_nobody(path, record):
    path.parent.mkdir()
    path.write_bytes(record)
    assert look(path) == device_lock.LockState(held=False, holder=None)
    with hold(path, "a", "train") as lock:
        assert lock.before is None and look(path).holder.attempt == "a"


def test_a_deleted_lock_is_made_anew_by_who_waited(path):
    with holder(path) as first:
        got = []

        def second():
            with hold(path, "b", "train"):
                got.append(look(path))

        thread = threading.Thread(target=second)
        thread.start()
        time.sleep(0.3)
        path.unlink()
        first.stdin.close()
        thread.join()
    assert got[0].held and got[0].holder.attempt == "b"


def test_an_event_is_kept_until_it_is_taken(path):
    event = Touch(id="a", time=datetime.now(UTC), clock=1.5, boot="b")
    with hold(path, "a", "train") as lock:
        lock.keep(event)
        size = path.stat().st_size
    with hold(path, "b", "train") as lock:
        assert lock.holder.unwritten == event and look(path).holder.unwritten == event
        lock.keep(None)
    assert look(path).holder.unwritten is None and path.stat().st_size == size


def test_a_folder_in_the_way_is_told(path):
    path.mkdir(parents=True)
    with pytest.raises(UserError, match="cannot lock the device"), hold(path, "a", "train"):
        pytest.fail("it has the lock")
