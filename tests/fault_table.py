"""The table of faults: a test marked `survives("what happens")` says that something is survived.

`--faults-json FILE` writes the table, with the sums of what the tests have recorded (`record_property`).
"""

import json
import platform
import sys
from collections import defaultdict
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import psutil
import pytest

from reinforce_lite import __version__

TABLE = pytest.StashKey["Table"]()
MARK = "survives"


class Table:
    """Collects the outcomes of the marked tests."""

    def __init__(self) -> None:
        self.tried: dict[str, dict[str, str]] = defaultdict(dict)
        self.recorded: dict[str, list[Any]] = defaultdict(list)

    def pytest_runtest_logreport(self, report: pytest.TestReport) -> None:
        """Take a report, of a worker too, if its test says what is survived."""
        for name, fault in report.user_properties:
            if name == MARK:
                self.add(fault, report)

    def add(self, fault: str, report: pytest.TestReport) -> None:
        """Take the outcome of a test: of its three phases the first that failed, or the call."""
        if report.when == "call" or report.outcome != "passed":
            outcome = "skipped" if report.skipped else "survived" if report.passed else "lost"
            known = self.tried[fault].get(report.nodeid)
            self.tried[fault][report.nodeid] = "lost" if "lost" in (known, outcome) else outcome
        if report.when == "call":
            for name, value in report.user_properties:
                self.recorded[name].append(value)

    def rows(self) -> list[dict[str, Any]]:
        """One row a fault: how many tests tried it, and how many of them survived, lost, or were skipped."""
        return [
            {"fault": fault, "tests": len(tests), **{how: list(tests.values()).count(how) for how in OUTCOMES}}
            for fault, tests in sorted(self.tried.items())
        ]

    def summary(self) -> dict[str, Any]:
        """The sums over all runs that were disturbed, and the rows."""
        seen, equal = self.recorded, self.recorded["weights_equal"]
        return {
            "date": datetime.now(UTC).isoformat(timespec="seconds"),
            "command": " ".join(["pytest", *sys.argv[1:]]),
            "machine": f"{psutil.cpu_count()} cores, {platform.machine()}, Python {platform.python_version()}",
            "version": __version__,
            "runs": sum(seen["runs"]),
            "kills": sum(seen["kills"]),
            "sigterms": sum(seen["sigterms"]),
            "continued": sum(seen["continued"]),
            "weights_equal": bool(equal) and all(equal),
            "lost_rows": sum(seen["lost_rows"]),
            "overspend_usd": max(seen["overspend_usd"], default=None),
            "seconds_to_leave": max(seen["seconds_to_leave"], default=None),
            "ledger_seconds": round(sum(seen["ledger_seconds"]), 1),
            "watched_seconds": round(sum(seen["watched_seconds"]), 1),
            "blows": _counted(blow for blows in seen["blows"] for blow in blows),
            "faults": self.rows(),
        }


OUTCOMES = ("survived", "lost", "skipped")


def _counted(words: Any) -> dict[str, int]:
    counts: dict[str, int] = defaultdict(int)
    for word in words:
        counts[word] += 1
    return dict(sorted(counts.items()))


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption("--faults-json", type=Path, metavar="FILE", help="write the table of faults here")


def pytest_configure(config: pytest.Config) -> None:
    config.stash[TABLE] = Table()
    config.pluginmanager.register(config.stash[TABLE])


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(item: pytest.Item) -> Any:
    report = yield
    report.user_properties += [(MARK, mark.args[0]) for mark in item.iter_markers(MARK)]
    return report


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter, config: pytest.Config) -> None:
    table = config.stash[TABLE]
    path = config.getoption("--faults-json")
    if path is None or not table.tried:
        return
    terminalreporter.section("faults")
    for row in table.rows():
        counts = "  ".join(f"{how} {row[how]}" for how in OUTCOMES if row[how])
        terminalreporter.write_line(f"{row['fault']:<88} {counts}")
    path.write_text(json.dumps(table.summary(), indent=2) + "\n")
    terminalreporter.write_line(f"written to {path}")
