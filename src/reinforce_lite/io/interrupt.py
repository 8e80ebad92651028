"""A request to leave, as an exception that loses nothing.

SIGTERM comes from a scheduler, SIGINT (Ctrl-C) from a person, SIGHUP from a terminal that closes, and SIGUSR1 from the
process that watches a stage, when the stage has spent what it may (experiment/watch.py).
"""

import os
import select
import signal
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from types import FrameType

EXIT_CODE = 75
"""EX_TEMPFAIL of sysexits.h: nothing is wrong, the same command resumes."""
NOTICES = (signal.SIGTERM, signal.SIGINT, signal.SIGHUP)
LIMIT = signal.SIGUSR1
IMPORTING = "<frozen importlib"
"""Where the import system's code is from. An exception between its taking a lock and its `try` would leave every import
of another thread waiting for ever (Python 3.11), so a signal that comes there is sent again."""
AGAIN_SECONDS = 0.02
"""After which it is sent again."""


class Interrupted(BaseException):
    """The process shall leave. No Exception, so that no handler of failures swallows it."""


_requested: int | None = None
_finishing = False
_gone = False
_depth = 0
_heard: Callable[[], None] | None = None


def install(*more: signal.Signals, heard: Callable[[], None] | None = None) -> None:
    """From now on the first of the notices, or of `more`, raises Interrupted in the main thread; to be called there.

    Schedulers send theirs twice, and the second must not disturb the leaving. SIGHUP stays ignored if it is (nohup).
    `heard` is called with each signal.
    """
    global _requested, _finishing, _heard
    _requested, _finishing, _heard = None, False, heard
    handle(_request, *more)


def handle(handler: Callable[[int, FrameType | None], None] | signal.Handlers, *more: signal.Signals) -> None:
    """Let a handler have the notices, and `more`."""
    for number in (*NOTICES, *more):
        if number != signal.SIGHUP or signal.getsignal(number) != signal.SIG_IGN:
            signal.signal(number, handler)


def ignore() -> None:
    """Ignore the notices from now on: another process receives them too, and ends this one."""
    handle(signal.SIG_IGN)


def finishing() -> None:
    """What is left is short, and makes the result of what was paid for: SIGUSR1 does not disturb it any more."""
    global _finishing
    _finishing = True


def limit_taken() -> bool:
    """Whether it was SIGUSR1 that raised Interrupted; if so, that is settled, and the process is `finishing`."""
    global _requested
    if _requested != LIMIT:
        return False
    _requested = None
    finishing()
    return True


def quiet() -> bool:
    """Send output nowhere that would go to a closed terminal or to a reader that has ended; whether there is such."""
    global _gone
    for descriptor in (1, 2):
        poll = select.poll()
        poll.register(descriptor, 0)
        if any(event & (select.POLLERR | select.POLLHUP) for _, event in poll.poll(0)):
            nowhere = os.open(os.devnull, os.O_WRONLY)
            os.dup2(nowhere, descriptor)
            os.close(nowhere)
            _gone = True
    return _gone


def _request(number: int, frame: FrameType | None) -> None:
    global _requested
    if _heard is not None:
        _heard()
    if _requested is not None or (number == LIMIT and _finishing):
        return
    if frame is not None and frame.f_code.co_filename.startswith(IMPORTING):
        threading.Timer(AGAIN_SECONDS, os.kill, (os.getpid(), number)).start()
        return
    _requested = number
    quiet()
    if not _depth:
        raise Interrupted(signal.Signals(number).name)


@contextmanager
def uninterrupted() -> Iterator[None]:
    """Put Interrupted off until the outermost such block has ended; an error of the block goes first.

    It is raised here too if a library has swallowed it before.

    Raises:
        Interrupted: a signal came.
    """
    global _depth
    _depth += 1
    try:
        yield
    finally:
        _depth -= 1
    if _requested is not None and not _depth:
        raise Interrupted("put off until now")
