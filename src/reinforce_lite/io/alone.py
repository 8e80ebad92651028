"""A function in a process of its own, for what works only once in a process (vLLM on a GPU).

The process ends with its parent, however that ends: it must not keep a device that nobody pays for.
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


def alone(function: Callable[..., Result], *arguments: Any, hear: Report = lambda report: None) -> Result:
    """Call `function(report, *arguments)` in a new process, and return its result.

    Args:
        function: of a module's top level; its first argument passes a report to `hear` and waits for the answer.
        arguments: pickled, as the result is.
        hear: called here with each report; what it raises ends the process.

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
                kind, content = ours.recv()
            except EOFError:
                child.join()
                raise RuntimeError(f"{function.__name__}: its process has died (exit code {child.exitcode})") from None
            if kind == "result":
                result: Result = content
                return result
            if kind == "refused":
                raise UserError(*content)
            if kind == "failed":
                raise RuntimeError(f"{function.__name__} failed in a process of its own:\n{content}")
            hear(content)
            ours.send(None)
    finally:
        child.kill()  # it has ended, or its parent wants no more of it
        child.join()
        held.close()
        ours.close()


def _run(channel: Connection, life: Connection, function: Callable[..., Any], arguments: tuple[Any, ...]) -> None:
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C reaches the parent too, which ends this process
    threading.Thread(target=_end_with_parent, args=(life,), daemon=True).start()

    def report(content: Any) -> None:
        channel.send(("report", content))
        channel.recv()

    try:
        message = ("result", function(report, *arguments))
    except UserError as error:
        message = ("refused", (error.problem, error.fix))
    except Exception:
        message = ("failed", traceback.format_exc())
    channel.send(message)


def _end_with_parent(life: Connection) -> None:
    """The kernel closes the parent's end of the pipe when the parent is gone."""
    try:
        life.recv()
    except (EOFError, OSError):
        os._exit(1)
