"""Whether a ledger is sound: everything that an honest writer never leaves in it."""

from collections import defaultdict
from dataclasses import dataclass, field
from pathlib import Path

from reinforce_lite.accounting import events
from reinforce_lite.accounting.events import Close, Open, Touch
from reinforce_lite.errors import UserError


def torn_lines(path: Path) -> list[int]:
    """Numbers, from 1, of the lines that a killed writer left unfinished."""
    return [number for number, event in events.read(path) if event is None]


def check(path: Path) -> list[str]:
    """Look for corrupt and torn lines, and for events that cannot be.

    Clocks are compared within one attempt and one boot: different processes take the time before it is their turn to
    write.

    Returns:
        One sentence for each problem; none for a sound ledger.
    """
    problems: list[str] = []
    histories: dict[str, _History] = defaultdict(_History)
    for number, event in events.read(path):
        if isinstance(event, UserError):
            problems.append(event.problem)
            continue
        if event is None:
            wrong: str | None = "torn: its writer was killed, so an attempt may lack its last sign of life"
        else:
            wrong = histories[event.id].add(event)
        if wrong:
            problems.append(f"{path}, line {number}: {wrong}")
    return problems


@dataclass
class _History:
    """What the lines so far said of one attempt."""

    opened: bool = False
    closed: bool = False
    clocks: dict[str, float] = field(default_factory=dict)  # latest steady seconds by boot

    def add(self, event: Open | Touch | Close) -> str | None:
        """Take one more event; returns what is wrong with it, if anything is."""
        name = f"{event.event} of attempt {event.id}"
        last = self.clocks.get(event.boot, event.clock)
        self.clocks[event.boot] = max(last, event.clock)
        if isinstance(event, Open):
            again, self.opened = self.opened, True
            return f"attempt {event.id} is opened twice" if again else None
        if not self.opened:
            return f"{name}, which was never opened"
        if self.closed:
            return f"{name} after its close"
        self.closed = isinstance(event, Close)
        return f"{name}: the clock ran backwards by {last - event.clock:.3f} s" if event.clock < last else None
