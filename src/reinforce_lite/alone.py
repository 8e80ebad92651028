"""A function in a process of its own, for what works only once in a process (vLLM on a GPU).

The process ends with the one that started it, however that ends: it must not go on using a device that nobody pays for.
"""

import multiprocessing
import os
import signal
import threading
import traceback
from collections.abc import Callable
from multiprocessing.connection import Connection
from typing import Any, TypeVar

from reinforce_lite.errors import UserError

Result = TypeVar("Result")
Report = Callable[[Any], None]


def alone(function: Callable[..., Result], *arguments: Any, hear: Report = lambda told: None) -> Result:
    """Call `function(report, *arguments)` in a new process, and return its result.

    Args:
        function: of a module's top level; the first argument it gets reports to `hear` and waits for its answer.
        arguments: what it gets besides; they and the result are pickled.
        hear: called here with all that is reported; what it raises ends the process.

    Raises:
        UserError: as the function has raised it.
        RuntimeError: the function has raised something else, or the process has died.
    """
    # Not by fork: a process that has used a GPU cannot be copied.
    context = multiprocessing.get_context("spawn")
    ours, theirs = context.Pipe()
    life, held = context.Pipe(duplex=False)
    child = context.Process(target=_run, args=(theirs, life, function, arguments))
    child.start()
    theirs.close()
    life.close()
    try:
        while True:
            try:
                kind, told = ours.recv()
            except EOFError:
                child.join()
                raise RuntimeError(f"{function.__name__}: its process has died (exit code {child.exitcode})") from None
            if kind == "result":
                result: Result = told
                return result
            if kind == "refused":
                raise UserError(*told)
            if kind == "failed":
                raise RuntimeError(f"{function.__name__} failed in a process of its own:\n{told}")
            hear(told)
            ours.send(None)
    finally:
        child.kill()  # at its end, or because somebody here does not want more of it
        child.join()
        held.close()
        ours.close()


def _run(channel: Connection, life: Connection, function: Callable[..., Any], arguments: tuple[Any, ...]) -> None:
    """What the new process does."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C is told to the process that waits, which ends this one
    threading.Thread(target=_end_with_parent, args=(life,), daemon=True).start()

    def report(told: Any) -> None:
        channel.send(("told", told))
        channel.recv()

    try:
        message = ("result", function(report, *arguments))
    except UserError as error:
        message = ("refused", (error.problem, error.fix))
    except Exception:
        message = ("failed", traceback.format_exc())
    channel.send(message)


def _end_with_parent(life: Connection) -> None:
    """Wait for the other end of the pipe to be closed, which the kernel does when its process is gone."""
    try:
        life.recv()
    except (EOFError, OSError):
        os._exit(1)
