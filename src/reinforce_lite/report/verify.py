"""Derive every number of a report again from the per-item files, and say what differs.

Each layer is held against the one beneath: outcomes against completions, evaluations and comparisons against outcomes,
curves against sampled completions, dollars against the ledger, and summary.json and report.html against all of them.
What cannot be derived is held against the SHA-256 that was recorded when it was written. So whoever changes a file is
found, as long as not every file that follows from it, sums included, is made anew too.
"""

from pathlib import Path
from typing import Any

from reinforce_lite.report.verification import evaluations, experiment, ledger, samples, trainings, written
from reinforce_lite.report.verification.difference import Check
from reinforce_lite.report.verification.experiment import Experiment


def verify(folder: Path) -> list[Check]:
    """Look at every layer of a finished experiment.

    Neither MLflow nor any path outside the folder is read, so it may be a copy, on another machine.

    Args:
        folder: results/<experiment>.

    Returns:
        One check a layer, from the data to the page.

    Raises:
        UserError: a file is absent or cannot be read.
    """
    looked = Experiment.read(folder)
    every, known = evaluations.load(looked), ledger.reported(looked)
    compared, derived = evaluations.comparisons(looked, every)
    anew = written.derived_summary(looked, derived, known)
    checks = [
        experiment.data(looked),
        evaluations.items(looked, every),
        evaluations.evaluations(looked, every),
        samples.samples(looked, every),
        compared,
        trainings.trainings(looked),
        ledger.ledger(looked, known),
        ledger.clocks(looked, known),
        written.files(looked),
        written.summary(looked, anew),
    ]
    checks.append(written.claims(looked, anew, known, sound=agree(checks)))
    return [*checks, written.page(looked, anew, known, sound=agree(checks))]


def as_text(checks: list[Check]) -> str:
    """One line a check, and under it one line a difference and a note."""
    lines = []
    for check in checks:
        count = len(check.differences)
        found = "agree" if not count else f"{count} difference{'s' if count > 1 else ''}"
        lines.append(f"{check.name:>11}: {check.looked_at}: {found}")
        lines += [f"{'':>13}{difference}" for difference in check.differences]
        lines += [f"{'':>13}note: {note}" for note in check.notes]
    return "\n".join(lines)


def as_json(checks: list[Check]) -> dict[str, Any]:
    """The same for machines: `agree`, and each check with its differences and notes."""
    told = [{**vars(check), "differences": [vars(difference) for difference in check.differences]} for check in checks]
    return {"agree": agree(checks), "checks": told}


def agree(checks: list[Check]) -> bool:
    """Whether nothing differs."""
    return not any(check.differences for check in checks)
