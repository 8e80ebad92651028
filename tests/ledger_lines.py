"""Lines of a ledger, as a writer that started at noon would have written them."""

import json
from datetime import UTC, date, datetime, timedelta

from reinforce_lite.config import Hardware

HARDWARE = Hardware(
    device="cuda",
    name="L40S",
    count=2,
    memory_gib=48,
    usd_per_hour=0.79,
    price_source="a shop",
    price_date=date(2026, 5, 1),
)
NOON = datetime(2026, 5, 1, 12, tzinfo=UTC)
OPEN = {
    "event": "open", "id": "a", "boot": "b1", "stage": "train", "model": "llama", "variant": None, "seed": 0,
    "device": "L40S", "count": 1, "usd_per_hour": 0.79, "price_source": "a shop", "price_date": "2026-05-01",
    "host": "elsewhere", "pid": 7, "born": 95.0, "age": 5.0,
}  # fmt: skip


def at(seconds, wall=None, **event):
    """An event so many steady seconds after noon; `wall` is what the wall clock says."""
    shown = NOON + timedelta(seconds=seconds if wall is None else wall)
    return {"boot": "b1", "time": shown.isoformat(), "clock": 100.0 + seconds, **event}


def opened(**other):
    return at(0, **{**OPEN, **other})


def touch(seconds, **other):
    return at(seconds, event="touch", **{"id": "a", **other})


def close(seconds, **other):
    return at(seconds, event="close", **{"id": "a", "outcome": "finished", "error": None, **other})


def write(path, *lines):
    path.write_text("".join((line if isinstance(line, str) else json.dumps(line)) + "\n" for line in lines))
    return path
