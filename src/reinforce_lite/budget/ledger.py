"""The ledger: every second of rented device time, in an append-only file of JSON lines.

Three events are written: `open` when a process starts to use the device, `touch` every few seconds while it does,
`close` when it stops. Together they make an attempt. A process that is killed writes no `close`; its attempt ends at
its last `touch`, so at most one touch interval is lost. A line is never changed or removed; a chain through all of them
shows if one was (see `chain`). A line torn by a killed writer stays in the file, and is skipped with a warning.

An attempt runs if its process holds the device (see `device_lock`). Without a lock file, as older versions left it, an
attempt is judged by pid and birth on the same host, and by silence elsewhere.
"""

import socket
import sys
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path
from typing import Any
from uuid import uuid4

import psutil

from reinforce_lite.budget import chain, device_lock, events
from reinforce_lite.budget.books import Attempt as Attempt
from reinforce_lite.budget.books import Books, Unclosed, between
from reinforce_lite.budget.books import Ending as Ending
from reinforce_lite.budget.books import Outcome as Outcome
from reinforce_lite.budget.device_lock import LockState
from reinforce_lite.budget.events import Close, Open, Row, Touch
from reinforce_lite.budget.reader import Reader, findings
from reinforce_lite.config import Hardware, Settings
from reinforce_lite.errors import UserError
from reinforce_lite.io import clock
from reinforce_lite.stages import Layout

SILENCE_SECONDS = 60.0
"""A process of another host can't be looked up: without a sign of life for so long it counts as killed."""

_billed_until = float("-inf")  # steady seconds at this process's last close, where its next attempt starts


class Ledger:
    """Writer of one ledger file; safe to use from several processes and threads at once."""

    def __init__(self, path: Path, spare: Callable[[Touch | Close | None], None] | None = None) -> None:
        """`spare` keeps the last event that the file had no room for, which is an error without it.

        It gets None when there is room again.
        """
        self.path = path
        self._spare, self._spared = spare, False
        self._opened: dict[str, Open] = {}
        self._last: Row | None = None

    def open(
        self,
        stage: str,
        hardware: Hardware,
        *,
        model: str | None = None,
        variant: str | None = None,
        seed: int | None = None,
        attempt_id: str | None = None,
        since: float | None = None,
    ) -> str:
        """Start an attempt of this process and return its id.

        It starts at the creation of the process, because the device is rented while libraries are imported too. A
        second attempt of the same process starts where the one before was closed.

        Args:
            stage: what the process does.
            hardware: the device and its price.
            model: of a stage that has one.
            variant: of a stage that has one.
            seed: of a stage that has one.
            attempt_id: a new name; None makes one.
            since: steady seconds at which the wait for the device was over; None if there was none.

        Raises:
            UserError: the file cannot be written.
        """
        now, birth = _now(), clock.steady_seconds() - clock.age_seconds(psutil.Process())
        opened = Open(
            id=attempt_id or uuid4().hex,
            **now,
            stage=stage,
            model=model,
            variant=variant,
            seed=seed,
            **_here(hardware, stage),
            age=max(0.0, now["clock"] - max(birth, _billed_until, since or 0.0)),
        )
        self._last = events.append(self.path, opened)
        self._opened[opened.id] = opened
        return opened.id

    def touch(self, attempt_id: str) -> None:
        """Record that an attempt still uses the device.

        Raises:
            UserError: the file cannot be written.
        """
        self._append(Touch(id=attempt_id, **_now()))

    def close(self, attempt_id: str, outcome: Ending, error: str | None = None) -> Attempt:
        """End an attempt that this object opened; returns it as `attempts` will read it.

        Raises:
            UserError: the file cannot be written.
            KeyError: this object did not open the attempt.
        """
        global _billed_until
        opened = self._opened[attempt_id]
        closed = Close(id=attempt_id, **_now(), outcome=outcome, error=error)
        self._append(closed)
        _billed_until = closed.clock
        return Unclosed(opened, closed, max(0.0, between(opened, closed))).attempt("killed")

    def attempt(self, attempt_id: str) -> Attempt:
        """An attempt as it was when this object opened it.

        Raises:
            KeyError: this object did not open the attempt.
        """
        return Unclosed(self._opened[attempt_id], self._opened[attempt_id]).attempt("running")

    def _append(self, event: Touch | Close) -> None:
        try:
            self._last = events.append(self.path, event, after=self._last)
        except UserError as problem:
            if self._spare is None:
                raise
            self._spare(event)
            if not self._spared:
                print(f"warning: {problem}\n  until then the attempt's end is kept beside it", file=sys.stderr)
            self._spared = True
        else:
            if self._spared and self._spare is not None:
                self._spare(None)
            self._spared = False


def ledger_path(settings: Settings) -> Path:
    """Where the ledger of an experiment is."""
    return Layout.of(settings).ledger


def attempts(path: Path) -> list[Attempt]:
    """Read the ledger; no file means that nothing was spent yet, unless there are results.

    Returns:
        The attempts in the order in which they were opened.

    Raises:
        UserError: money may be missing (the message names the line).
    """
    books = Books(path)
    running = look_up(books)
    books.require_sound()
    return books.attempts(running)


def first_attempt(path: Path) -> str | None:
    """The id of the first attempt of a ledger, by which a ledger is known; None if there is none yet."""
    return next((event.id for _, event in Reader(path).events()), None)


def look_up(books: Books) -> set[str]:
    """Bring books up to date, with the last sign of life that is kept beside the ledger; returns who runs, by id."""
    books.update()
    if not books.unclosed:
        return set()
    looked = map(device_lock.look, device_lock.all_paths(device_lock.lock_path(books.path)))
    states = [state for state in looked if state is not None]
    running = _running(states, books.unclosed)
    books.update()  # a process that has gone since closed its attempt before
    for unwritten in (state.holder.unwritten for state in states if state.holder):
        if unwritten and unwritten.id in books.unclosed:
            books.unclosed[unwritten.id].add(unwritten)
    return running


def settle(path: Path, event: Touch | Close | None) -> None:
    """Write the event that an earlier process had no room for, unless it is there.

    Raises:
        UserError: there is still no room, the ledger lacks the attempt, or it is not sound.
    """
    if event is None:
        return
    books = Books(path)
    books.update()
    accepted = books.reader.accepted
    if event.id not in books.lines and (accepted is None or accepted < event.time):
        raise UserError(
            f"the ledger {path} lacks attempt {event.id}, whose last sign of life of {event.time} is kept beside it",
            chain.FIX,
        )
    known = books.unclosed.get(event.id)
    if known and (isinstance(event, Close) or between(known.opened, event) > known.elapsed):
        events.append(path, event)


def accept_loss(path: Path, hardware: Hardware, usd: float) -> None:
    """Go on with a ledger that lacks rows: take what is there as it is, and write down what the rows have cost.

    The cost becomes an attempt of its own, `unrecorded`, which has failed. A new chain begins with it.

    Args:
        path: of the ledger.
        hardware: the device and its price, for so long as it must have been used.
        usd: what the lost rows have cost, US dollars.

    Raises:
        UserError: the amount is negative or cannot have been spent at this price, or the file cannot be written.
    """
    price = hardware.usd_per_hour * hardware.taken_by(events.UNRECORDED) / 3600
    if not 0 <= usd < float("inf") or (usd and not price):
        raise UserError(f"--accept-loss {usd:g} is no sum that {hardware.name} can have cost", "give US dollars")
    found = [one.of(path) for one in findings(path) if one.kind in ("lost", "headless")] or [
        "nothing is seen to be missing"
    ]
    who: dict[str, Any] = {"stage": events.UNRECORDED, "model": None, "variant": None, "seed": None}
    at = {"id": uuid4().hex, **_now()}  # of both events, so that the sum is the very one
    opened = Open(**at, **who, **_here(hardware, events.UNRECORDED), age=usd / price if usd else 0.0)
    events.append(path, opened, anew=True)
    more = f" (and {len(found) - 1} more)" if len(found) > 1 else ""
    events.append(path, Close(**at, outcome="failed", error=f"accepted: {found[0]}{more}"))


def _here(hardware: Hardware, stage: str) -> dict[str, Any]:
    """What an attempt of this process at a stage says of its device and of itself."""
    process = psutil.Process()
    price = hardware.model_dump(include={"usd_per_hour", "price_source", "price_date"})
    price["count"] = hardware.taken_by(stage)
    me = {"host": socket.gethostname(), "pid": process.pid, "born": clock.born_seconds(process)}
    return {"device": hardware.name, **price, **me}


def _running(states: list[LockState], unclosed: dict[str, Unclosed]) -> set[str]:
    """Ids of the attempts whose process still runs."""
    if states:
        return {state.holder.attempt for state in states if state.held and state.holder}
    return {name for name, known in unclosed.items() if _lives(known.opened, known.last)}


def _now() -> dict[str, Any]:
    return {"time": datetime.now(UTC), "clock": clock.steady_seconds(), "boot": clock.boot_id()}


def _lives(opened: Open, last: Open | Touch | Close) -> bool:
    if opened.host != socket.gethostname():
        return abs((datetime.now(UTC) - last.time).total_seconds()) < SILENCE_SECONDS
    return opened.boot == clock.boot_id() and clock.is_alive(opened.pid, opened.born)
