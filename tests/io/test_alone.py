"""A function in a process of its own: what it hands back, how it fails, and that it never outlives who asked."""

import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import psutil
import pytest

from reinforce_lite.errors import UserError
from reinforce_lite.io.alone import alone

Report = Callable[[object], None]


def add(report: Report, first: int, second: int) -> tuple[int, int]:
    report(first)
    report(second)
    return first + second, os.getpid()


def refuse(report: Report) -> None:
    raise UserError("policies.a.path: x does not exist", "correct it")


def fail(report: Report) -> None:
    raise ZeroDivisionError("of this kind")


def die(report: Report) -> None:
    os.kill(os.getpid(), signal.SIGKILL)


def go_on(report: Report, place: str) -> None:
    Path(place).write_text(str(os.getpid()))
    while True:
        report("still here")
        time.sleep(0.01)


def test_result_and_reports_come_from_another_process() -> None:
    heard: list[object] = []
    total, pid = alone(add, 2, 3, hear=heard.append)
    assert total == 5 and heard == [2, 3] and pid != os.getpid()


def test_a_users_error_stays_one() -> None:
    with pytest.raises(UserError, match="x does not exist\n  fix: correct it"):
        alone(refuse)


def test_any_other_error_comes_with_its_traceback() -> None:
    with pytest.raises(RuntimeError, match=r"(?s)fail failed in a process of its own.*ZeroDivisionError: of this kind"):
        alone(fail)


def test_a_death_is_no_silence() -> None:
    with pytest.raises(RuntimeError, match=r"die: its process has died \(exit code -9\)"):
        alone(die)


class EnoughError(Exception):
    """What the caller ends it with."""


def test_it_ends_when_the_caller_does_not_want_more(tmp_path: Path) -> None:
    def enough(told: object) -> None:
        raise EnoughError

    with pytest.raises(EnoughError):
        alone(go_on, str(tmp_path / "pid"), hear=enough)
    assert not psutil.pid_exists(int((tmp_path / "pid").read_text()))


@pytest.mark.survives("SIGKILL of a stage whose rehearsal runs in a process of its own")
def test_it_ends_with_a_caller_that_was_killed(tmp_path: Path) -> None:
    place = tmp_path / "pid"
    code = f"import test_alone; test_alone.alone(test_alone.go_on, {str(place)!r})"
    environment = {**os.environ, "PYTHONPATH": f"{Path(__file__).parent}{os.pathsep}{os.environ.get('PYTHONPATH', '')}"}
    caller = subprocess.Popen([sys.executable, "-c", code], env=environment)
    while not (place.exists() and place.read_text()):
        assert caller.poll() is None
        time.sleep(0.01)
    child = psutil.Process(int(place.read_text()))
    caller.kill()
    caller.wait()
    child.wait(timeout=10)
