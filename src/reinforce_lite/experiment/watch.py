"""A stage in a process of its own, and the process beside it that counts the seconds and ends what nobody else stops.

The command forks before it has loaded anything that is heavy, has threads or knows the device. The child does the work.
The parent keeps lock and row: it gives the signs of life, passes signals on, ends the child when the money is spent,
and closes the row by what really passed, however the child has ended. If the parent is killed the child dies with it.
"""

import ctypes
import math
import mmap
import os
import pickle
import signal
import sys
import threading
import time
import traceback
from collections.abc import Callable
from contextlib import suppress
from multiprocessing import Pipe
from multiprocessing.connection import Connection
from types import FrameType
from typing import Any, NoReturn, TypeVar

import psutil

from reinforce_lite.budget import device_lock
from reinforce_lite.budget.gate import StoppedByBudgetError
from reinforce_lite.budget.ledger import Attempt
from reinforce_lite.config import Settings
from reinforce_lite.errors import UserError
from reinforce_lite.experiment.attempt import Account, Row
from reinforce_lite.experiment.tracking import LiveRun
from reinforce_lite.io import clock, interrupt
from reinforce_lite.io.interrupt import Interrupted

Result = TypeVar("Result")

TOUCH_SECONDS = 15.0
"""Between two signs of life."""
LATE_SECONDS = 5.0
"""How long after the money is spent a stage is told to stop: a step that is a little late is no hang."""
HEAR_SECONDS = 10.0
"""How long after that it is killed if nothing shows that it has heard."""
LEAVE_SECONDS = 120.0
"""How long it may take to leave, once it has heard: to write a checkpoint, or the results of the steps it has taken."""
POLL_SECONDS = 0.2


def work(
    settings: Settings,
    row: Row,
    body: Callable[[Account], Result],
    most_usd: float | Callable[[], float] = math.inf,
    touch_seconds: float = TOUCH_SECONDS,
) -> Result:
    """Run the body of a stage in a child process, with its run in MLflow.

    Args:
        settings: the experiment.
        row: of the stage in the ledger; the child ends when it is closed.
        body: what it returns is pickled.
        most_usd: what the attempt may cost; a function is asked again at each sign of life.
        touch_seconds: between two signs of life.

    Raises:
        StoppedByBudgetError: it has cost more.
        UserError: the child was killed; or as the body does, whose other exceptions are raised here too.
    """
    lives: list[LiveRun] = []

    def begin() -> Result:
        threading.Thread(target=_look_after, args=(parent, row.touch, touch_seconds), daemon=True).start()
        lives.append(LiveRun(settings, row.attempt))
        return body(Account(row.attempt, lives[0]))

    parent = os.getpid()

    def end(closed: Attempt | None) -> None:
        if lives and closed is not None:
            lives[0].end(closed)

    def until() -> float:
        usd = most_usd if isinstance(most_usd, float | int) else most_usd()
        return row.attempt.clock + affordable(settings, usd, row.attempt.stage)

    child = Child(begin, end)
    row.tell = child.leave
    return child.result(until, row.touch, touch_seconds)


def affordable(settings: Settings, usd: float, stage: str = "") -> float:
    """Seconds for which a stage's devices can be rented for so many US dollars; without end if they cost nothing."""
    usd_per_second = settings.hardware.usd_per_hour * settings.hardware.taken_by(stage) / 3600
    return usd / usd_per_second if usd_per_second else math.inf


def apart(function: Callable[[], Result], seconds: float = math.inf) -> Result:
    """Call a function in a child process before a stage's own is forked, which must find nothing loaded.

    Raises:
        StoppedByBudgetError: it has taken longer than the seconds.
        UserError: as for `work`.
    """
    child = Child(function)
    try:
        end = clock.steady_seconds() + seconds
        return child.result(lambda: end)
    finally:
        child.leave(None)


class Child:
    """A forked process that calls a function, tells what came of it, and ends when it is told to.

    Args:
        function: called in the child.
        last: called there at last, with what `leave` was given.
    """

    def __init__(self, function: Callable[[], Any], last: Callable[[Any], Any] = lambda given: None) -> None:
        self._channel, theirs = Pipe()
        self._heard = mmap.mmap(-1, 1)  # both processes see it
        self._told: int | None = None  # which signal was passed on
        self._status: int | None = None
        before, parent = signal.pthread_sigmask(signal.SIG_BLOCK, interrupt.NOTICES), os.getpid()
        for stream in (sys.stdout, sys.stderr):
            with suppress(OSError):
                stream.flush()  # or the child would write it again
        with device_lock.shared():
            self.pid = os.fork()
        if not self.pid:
            self._channel.close()
            _run(parent, before, theirs, self._heard, function, last)
        theirs.close()
        self._handlers = {number: signal.getsignal(number) for number in interrupt.NOTICES}
        interrupt.handle(self._pass_on)
        signal.pthread_sigmask(signal.SIG_SETMASK, before)

    def result(
        self, until: Callable[[], float], touch: Callable[[], None] = lambda: None, touch_seconds: float = TOUCH_SECONDS
    ) -> Any:
        """What the function returns; its exception is raised.

        Args:
            until: steady seconds at which it has spent what it may, as it looks now.
            touch: called every `touch_seconds`.
            touch_seconds: between two calls.
        """
        touched, noticed, end = clock.steady_seconds(), math.inf, until()
        while not (ended := self._ended()) and not self._channel.poll(POLL_SECONDS):
            now = clock.steady_seconds()
            if now - touched >= touch_seconds:
                touched = now
                touch()
                with suppress(OSError, UserError):  # it counts on with what it knew
                    end = until()
            if now >= end + LATE_SECONDS and noticed > now:
                noticed = now
                self._send(interrupt.LIMIT)
            if now >= noticed + (LEAVE_SECONDS if self._heard[0] else HEAR_SECONDS):
                self._kill()
                raise Interrupted("it did not end") if self._told else _over("and had to be killed")
        message = None
        with suppress(EOFError, OSError):
            if not ended or self._channel.poll():
                message = self._channel.recv()
        if message is None:
            self._died()
        if message[0] == "result":
            return message[1]
        problem, where = _unpacked(*message[1])
        if isinstance(problem, Interrupted) and self._told is None and noticed < math.inf:
            raise _over("what it has kept is there")
        raise problem from where

    def leave(self, given: Any) -> None:
        """Let the child do its last, and end; the signals come to this process again."""
        with suppress(OSError):
            self._channel.send(given)
        if not self._ended_by(LEAVE_SECONDS):
            self._kill()
        for number, handler in self._handlers.items():
            signal.signal(number, handler)

    def _pass_on(self, number: int, frame: FrameType | None) -> None:
        interrupt.quiet()
        if self._told is None:
            self._told = number
            self._send(number)

    def _send(self, number: int) -> None:
        if self._status is None:
            os.kill(self.pid, number)

    def _ended(self) -> bool:
        if self._status is None:
            pid, status = os.waitpid(self.pid, os.WNOHANG)
            self._status = status if pid else None
        return self._status is not None

    def _ended_by(self, seconds: float) -> bool:
        until = time.monotonic() + seconds
        while not self._ended() and time.monotonic() < until:
            time.sleep(POLL_SECONDS / 20)
        return self._ended()

    def _kill(self) -> None:
        """End the child, if it has not ended, and whatever it has started."""
        with suppress(ProcessLookupError, PermissionError):
            os.killpg(self.pid, signal.SIGKILL)
        self._ended_by(HEAR_SECONDS)  # one that hangs in the kernel keeps the device, and the lock

    def _died(self) -> NoReturn:
        self._ended_by(HEAR_SECONDS)
        self._kill()
        code = os.waitstatus_to_exitcode(self._status or 0)
        how = f"was killed by {signal.Signals(-code).name}" if code < 0 else f"ended with exit code {code}"
        raise UserError(
            f"the process that did the work {how}",
            "see dmesg: the kernel kills what needs more memory than there is; the same command continues",
        )


class _TraceError(Exception):
    """Where an exception was raised in the child."""


def _over(how: str) -> StoppedByBudgetError:
    return StoppedByBudgetError(f"stopped by budget from outside: it went on after its money was spent, {how}")


def _run(
    parent: int,
    mask: set[int | signal.Signals],
    channel: Connection,
    heard: mmap.mmap,
    function: Callable[[], Any],
    last: Callable[[Any], Any],
) -> NoReturn:
    """The life of the child."""
    try:
        os.setpgid(0, 0)  # with all that it will start
        if sys.platform == "linux":
            ctypes.CDLL(None).prctl(1, signal.SIGKILL)  # PR_SET_PDEATHSIG
        if os.getppid() != parent:
            os._exit(1)
        interrupt.install(interrupt.LIMIT, heard=lambda: heard.__setitem__(0, 1))
        message: tuple[str, Any]
        try:
            signal.pthread_sigmask(signal.SIG_SETMASK, mask)
            message = ("result", function())
            interrupt.handle(signal.SIG_IGN, interrupt.LIMIT)
        except BaseException as problem:
            interrupt.handle(signal.SIG_IGN, interrupt.LIMIT)
            gone = isinstance(problem, OSError) and interrupt.quiet()
            message = ("raised", _packed(Interrupted(f"output is gone: {problem}") if gone else problem))
        channel.send(message)
        with suppress(EOFError):
            last(channel.recv())
        for stream in (sys.stdout, sys.stderr):
            with suppress(OSError):
                stream.flush()
        os._exit(0)
    except BaseException:
        traceback.print_exc()
    finally:
        os._exit(1)


def _packed(problem: BaseException) -> tuple[BaseException | tuple[str, str], str]:
    """An exception for the parent, and the trace of one that nobody expects; of a library's, which the parent has not
    loaded, name and text.
    """
    known = isinstance(problem, UserError | Interrupted | StoppedByBudgetError | SystemExit)
    if known or type(problem).__module__ == "builtins":
        with suppress(Exception):
            pickle.loads(pickle.dumps(problem))
            return problem, "" if known else traceback.format_exc()
    return (type(problem).__name__, str(problem)), traceback.format_exc()


def _unpacked(packed: BaseException | tuple[str, str], where: str) -> tuple[BaseException, _TraceError | None]:
    problem = packed if isinstance(packed, BaseException) else type(packed[0], (RuntimeError,), {})(packed[1])
    return problem, _TraceError(where) if where else None


def _look_after(parent: int, touch: Callable[[], None], seconds: float) -> None:
    """In the child: give the signs of life while the parent is stopped, and end if it has gone."""
    while os.getppid() == parent:
        time.sleep(seconds)
        with suppress(psutil.Error):
            if psutil.Process(parent).status() == psutil.STATUS_STOPPED:
                touch()
    os._exit(1)
