"""Being told to leave (SIGTERM from a scheduler, Ctrl-C from a person), as an exception that loses nothing."""

import signal
from collections.abc import Iterator
from contextlib import contextmanager
from types import FrameType

EXIT_CODE = 75
"""EX_TEMPFAIL of sysexits.h: nothing is wrong, the same command continues."""


class Interrupted(BaseException):
    """The process was told to leave. No Exception, so that nobody takes it for a failure and goes on."""


_asked = False
_depth = 0


def install() -> None:
    """From now on SIGTERM and SIGINT raise Interrupted in the main thread; to be called there.

    Only the first signal does: schedulers send theirs twice, and the second must not disturb the leaving.
    """
    global _asked
    _asked = False
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, _told)


def ignore() -> None:
    """From now on neither signal is heard: somebody else hears it too, and ends this process."""
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, signal.SIG_IGN)


def _told(number: int, frame: FrameType | None) -> None:
    global _asked
    if _asked:
        return
    _asked = True
    if not _depth:
        raise Interrupted(signal.Signals(number).name)


@contextmanager
def uninterrupted() -> Iterator[None]:
    """Put Interrupted off until the block (the outermost one) has ended; an error of the block goes first.

    It is raised here too if some library has swallowed it before.

    Raises:
        Interrupted: a signal came.
    """
    global _depth
    _depth += 1
    try:
        yield
    finally:
        _depth -= 1
    if _asked and not _depth:
        raise Interrupted("put off until now")
