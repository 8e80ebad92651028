"""A request to leave (SIGTERM from a scheduler, Ctrl-C from a person), as an exception that loses nothing."""

import signal
from collections.abc import Iterator
from contextlib import contextmanager
from types import FrameType

EXIT_CODE = 75
"""EX_TEMPFAIL of sysexits.h: nothing is wrong, the same command resumes."""


class Interrupted(BaseException):
    """The process shall leave. No Exception, so that no handler of failures swallows it."""


_requested = False
_depth = 0


def install() -> None:
    """From now on the first SIGTERM or SIGINT raises Interrupted in the main thread; to be called there.

    Schedulers send theirs twice, and the second must not disturb the leaving.
    """
    global _requested
    _requested = False
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, _request)


def ignore() -> None:
    """Ignore both signals from now on: another process receives them too, and ends this one."""
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, signal.SIG_IGN)


def _request(number: int, frame: FrameType | None) -> None:
    global _requested
    if _requested:
        return
    _requested = True
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
    if _requested and not _depth:
        raise Interrupted("put off until now")
