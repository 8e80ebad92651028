"""Reading a ledger: every line is checked, and what no honest writer leaves is an error.

A writer may be killed, or the machine switched off, in the middle of a line. Such a *torn* line is an unfinished
beginning of an event. Whatever else is not as it was written may hide money that was spent.
"""

import fcntl
import json
import os
import re
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Annotated, BinaryIO, Literal

from pydantic import Field, TypeAdapter, ValidationError

from reinforce_lite.budget import chain
from reinforce_lite.budget.chain import Head
from reinforce_lite.budget.events import UNRECORDED, Close, Open, Row, Touch
from reinforce_lite.stages import STAGES

_EVENT: TypeAdapter[Open | Touch | Close] = TypeAdapter(Annotated[Open | Touch | Close, Field(discriminator="event")])

# Any beginning of a flat JSON object as pydantic writes it, and every event is one.
_STRING = r'"(?:[^"\\]|\\.)*"'
_NUMBER = r"-?[0-9][0-9.eE+-]*"
_PAIR = rf"{_STRING}:(?:{_STRING}|{_NUMBER}|true|false|null)"
_CUT_STRING = r'"(?:[^"\\]|\\.)*\\?'
_CUT_VALUE = rf"(?:{_STRING}|{_CUT_STRING}|-?|{_NUMBER}|tr?u?e?|fa?l?s?e?|nu?l?l?)"
_TORN = re.compile(rf"(?:\{{(?:{_PAIR},)*(?:{_CUT_STRING}|{_STRING}:?|{_STRING}:{_CUT_VALUE})?)?")


Kind = Literal["lost", "headless", "torn", "clock"]
"""Of a finding: money may be missing; it may be missing at the end, because the head is; a killed writer left a line
unfinished; a clock ran backwards."""


@dataclass(frozen=True)
class Finding:
    """What is wrong with a ledger.

    Attributes:
        line: its number, from 1; None if it is of the whole file.
        says: in words.
        kind: see `Kind`.
    """

    line: int | None
    says: str
    kind: Kind = "lost"

    @property
    def money(self) -> bool:
        """Whether money may be missing."""
        return self.kind in ("lost", "headless")

    def of(self, path: Path) -> str:
        """The finding as a sentence that names the place."""
        return self.says if self.line is None else f"{path}, line {self.line}: {self.says}"


class Reader:
    """Reads a ledger line after line, and later only what was added.

    Attributes:
        findings: what is wrong with it so far; what somebody has accepted is not among it.
        accepted: when that was the last time.
    """

    def __init__(self, path: Path, until: int | None = None) -> None:
        """Of a ledger up to a length in bytes; None for all, and then its head has to agree."""
        self.path, self._until = path, until
        self.findings: list[Finding] = []
        self.accepted: datetime | None = None
        self._looked = False
        self._number, self._chain, self._last = 0, chain.Chain(), Row(0, b"")
        self._attempts: dict[str, dict[str, float] | None] = {}  # latest clock by boot; None once it is closed

    def events(self) -> Iterator[tuple[int, Open | Touch | Close]]:
        """The events that were added since the last call, with the numbers of their lines."""
        try:
            with self.path.open("rb") as handle:
                fcntl.flock(handle, fcntl.LOCK_SH)  # never half of a line that is being written
                size, known = os.fstat(handle.fileno()).st_size, chain.head(self.path)
                fcntl.flock(handle, fcntl.LOCK_UN)
                if self._last.stands(handle.fileno()):
                    yield from self._lines(handle, size if self._until is None else min(size, self._until), known)
                else:
                    self._find(chain.replaced(self.path).problem)
        except FileNotFoundError:
            self._check_end(0, chain.head(self.path), met=False)

    def _lines(self, handle: BinaryIO, size: int, known: Head | None) -> Iterator[tuple[int, Open | Touch | Close]]:
        end, last = handle.seek(self._last.end), self._last.line
        met = known is None or known.bytes <= end
        for line in handle if end < size else ():
            ends = line == b"\n" and last[-1:] not in (b"", b"\n")  # the line before, left open until now
            end, last = end + len(line), line
            if not ends:
                self._number += 1
                if (event := self._event(line.removesuffix(b"\n"))) is not None:
                    yield self._number, event
            if known is not None and end == known.bytes:
                met = known.chain == self._chain.last
            if end >= size:
                break
        self._last = Row(end, last)
        self._check_end(size, known, met)

    def _check_end(self, size: int, known: Head | None, met: bool) -> None:
        """Whether a ledger of this size is as long as it was; `met`: whether it has the row that the head knows."""
        if self._until is not None:
            return
        if known is not None and known.bytes and not met:
            self._find(chain.cut(self.path, known, size).problem)
        elif known is None and self._chain.last != chain.NONE:
            self._find(chain.headless(self.path).problem, "headless")
        elif not size:
            self._look_for_results()
        elif not self._looked and self.accepted is None:
            self._looked = True
            self._look_into_results()

    def _event(self, line: bytes) -> Open | Touch | Close | None:
        """The event of a line, if it counts."""
        older = self._chain.last == chain.NONE
        content, link = self._chain.add(line)
        if link == "broken":
            self._at("its chain does not fit: this line was changed, or one before it was changed, removed or added")
        elif link == "none" and not older and not (line.strip() and _is_torn(line)):
            self._at("it has no chain, and lines before it have one")
        elif link == "none" and not line.strip():
            return None
        try:
            event = _EVENT.validate_json(content)
        except ValidationError as problem:
            if link == "none" and (older or _is_torn(line)):
                self._unread(line, problem)
            return None
        if isinstance(event, Open) and event.stage == UNRECORDED and link in ("sound", "anew"):
            self.findings, self.accepted = [one for one in self.findings if not one.money], event.time
        return event if self._counts(event) else None

    def _unread(self, line: bytes, problem: ValidationError) -> None:
        if _is_torn(line):
            self._at("torn: its writer was killed, so an attempt may lack its last sign of life", "torn")
        else:
            first = problem.errors(include_url=False)[0]
            where = "".join(f"{part}: " for part in first["loc"])
            self._at(f"not a ledger event ({where}{first['msg']})")

    def _counts(self, event: Open | Touch | Close) -> bool:
        """Whether an event fits what the lines before say of its attempt.

        Clocks are compared within one attempt and one boot: different processes take the time before it is their turn
        to write.
        """
        clocks = self._attempts.get(event.id)
        if isinstance(event, Open):
            if event.id in self._attempts:
                self._at(f"attempt {event.id} is opened twice")
                return False
            self._attempts[event.id] = {event.boot: event.clock}
            return True
        if clocks is None:
            wrong = " after its close" if event.id in self._attempts else ", which was never opened"
            self._at(f"{event.event} of attempt {event.id}{wrong}")
            return False
        last = clocks.get(event.boot, event.clock)
        if event.clock < last:
            ran = f"the clock ran backwards by {last - event.clock:.3f} s"
            self._at(f"{event.event} of attempt {event.id}: {ran}", "clock")
        clocks[event.boot] = max(last, event.clock)
        if isinstance(event, Close):
            self._attempts[event.id] = None
        return True

    def _at(self, says: str, kind: Kind = "lost") -> None:
        self.findings.append(Finding(self._number, says, kind))

    def _find(self, says: str, kind: Kind = "lost") -> None:
        self.findings.append(Finding(None, says, kind))

    def _look_for_results(self) -> None:
        """Without a ledger nothing was spent, unless there is what only a paid stage writes."""
        for result in self._results():
            self._find(f"{self.path} does not exist or is empty, though {result} was paid for")
            return

    def _look_into_results(self) -> None:
        """Each paid result keeps the head of its time; an older ledger lacks that row, whatever its own head says."""
        for result in self._results():
            try:
                known = json.loads(result.read_bytes()).get("ledger", {})
                head = Head(int(known.get("bytes", 0)), str(known.get("chain", chain.NONE)))
            except (OSError, ValueError, AttributeError, TypeError, RecursionError):
                continue  # whoever needs the result says what is wrong with it
            if not chain.holds(self.path, head):
                self._find(f"{self.path} is an older copy, or was changed: it lacks a row that it had for {result}")
                return

    def _results(self) -> Iterator[Path]:
        """What only a paid stage writes."""
        paid = [stage for stage in STAGES.values() if stage.device]
        records = {stage.files[name] for stage in paid for name in (stage.record, stage.keyed) if name}
        for pattern in sorted(re.sub(r"\{\w+\}", "*", record) for record in records):
            yield from sorted(self.path.parent.glob(pattern))


def _is_torn(line: bytes) -> bool:
    # A machine that loses power may leave NUL bytes where the rest of the line was to be.
    return _TORN.fullmatch(line.rstrip(b"\0").decode(errors="replace")) is not None


def torn_lines(path: Path) -> list[int]:
    """Numbers, from 1, of the lines that a killed writer left unfinished."""
    return [one.line for one in findings(path) if one.kind == "torn" and one.line is not None]


def check(path: Path) -> list[str]:
    """Look for lines that an honest writer never leaves, and for those that are torn.

    Returns:
        One sentence for each problem; none for a sound ledger.
    """
    return [one.of(path) for one in findings(path)]


def findings(path: Path) -> list[Finding]:
    """What is wrong with a ledger."""
    reader = Reader(path)
    for _ in reader.events():
        pass
    return reader.findings
