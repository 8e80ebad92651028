import contextlib
import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from typing import Any

import pytest

from reinforce_lite.io import interrupt
from reinforce_lite.io.interrupt import LIMIT, NOTICES, Interrupted, uninterrupted


@pytest.fixture(autouse=True)
def installed() -> Iterator[None]:
    before = {number: signal.getsignal(number) for number in (*NOTICES, LIMIT)}
    interrupt.install(LIMIT)
    yield
    interrupt.install()  # forgets that it was asked
    for number, handler in before.items():
        signal.signal(number, handler)


def tell(number: int = signal.SIGTERM) -> None:
    os.kill(os.getpid(), number)


@pytest.mark.parametrize("number", NOTICES)
def test_a_signal_is_an_exception_that_except_exception_does_not_catch(number: int) -> None:
    with pytest.raises(Interrupted, match=signal.Signals(number).name):
        try:
            tell(number)
        except Exception:
            pytest.fail("swallowed")


def test_the_import_system_is_not_interrupted_between_a_lock_and_its_release() -> None:
    """A random SIGTERM met the callback of a module's lock, which then was kept, and the process hung at its end."""
    code = "def inside(): os.kill(os.getpid(), 15); done.append('whole')"
    names: dict[str, Any] = {"os": os, "done": []}
    exec(compile(code, "<frozen importlib._bootstrap>", "exec"), names)
    with pytest.raises(Interrupted, match="SIGTERM"):
        names["inside"]()
        time.sleep(10)
    assert names["done"] == ["whole"]


def test_the_second_signal_does_not_disturb_the_leaving() -> None:
    with pytest.raises(Interrupted):
        tell()
    tell()
    tell(signal.SIGINT)


def test_it_waits_for_the_end_of_the_outermost_block() -> None:
    done = []
    with pytest.raises(Interrupted), uninterrupted():
        with uninterrupted():
            tell()
            done.append("inner")
        done.append("outer")
    assert done == ["inner", "outer"]


def test_an_error_of_the_block_goes_first() -> None:
    with pytest.raises(ValueError, match="mine"), uninterrupted():
        tell()
        raise ValueError("mine")


def test_what_a_library_has_swallowed_is_raised_at_the_next_block() -> None:
    with contextlib.suppress(BaseException):
        tell()
    with pytest.raises(Interrupted), uninterrupted():
        pass


def test_without_a_signal_nothing_is_raised() -> None:
    with uninterrupted(), uninterrupted():
        pass


def test_the_limit_is_settled_once_it_is_taken() -> None:
    with pytest.raises(Interrupted):
        tell(LIMIT)
    assert interrupt.limit_taken()
    tell(LIMIT)  # no more: the process makes the results of what was paid for
    with uninterrupted():
        pass
    with pytest.raises(Interrupted):
        tell()
    assert not interrupt.limit_taken(), "that was a scheduler"


def test_the_limit_does_not_disturb_what_is_finishing() -> None:
    interrupt.finishing()
    tell(LIMIT)


def test_nohup_stays_in_force() -> None:
    signal.signal(signal.SIGHUP, signal.SIG_IGN)
    interrupt.install()
    tell(signal.SIGHUP)


def test_output_to_a_closed_terminal_goes_nowhere() -> None:
    code = (
        "import os, signal, sys; from reinforce_lite import cli\n"
        "cli.named = lambda paths: (sys.stdin.readline(), os.kill(os.getpid(), signal.SIGHUP))\n"
        "code = cli.main(['report', '--config', 'x']); print('more', flush=True); os._exit(code)"
    )
    ours, theirs = os.openpty()
    started = subprocess.Popen([sys.executable, "-c", code], stdin=subprocess.PIPE, stdout=theirs, stderr=theirs)
    os.close(theirs)
    os.close(ours)
    started.communicate(b"go\n", timeout=60)
    assert started.returncode == 75


def test_the_command_says_that_it_can_be_repeated() -> None:
    code = (
        "import os, signal, sys\nfrom reinforce_lite import cli\n"
        "cli.named = lambda paths: os.kill(os.getpid(), signal.SIGTERM)\n"
        "sys.exit(cli.main(['report', '--config', 'x']))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert (done.returncode, done.stderr) == (75, "reinforce-lite report: interrupted; the same command continues\n")
