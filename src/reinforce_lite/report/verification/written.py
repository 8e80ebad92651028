"""What the report wrote, summary.json and report.html, against the same made anew from the files beneath."""

import json
import re
from collections.abc import Iterator, Sequence
from importlib.metadata import version as version_of
from itertools import zip_longest
from typing import Any

from reinforce_lite import __version__
from reinforce_lite.accounting.ledger import Attempt
from reinforce_lite.accounting.provenance import origin, sha256_file
from reinforce_lite.errors import UserError
from reinforce_lite.files import read_json
from reinforce_lite.layout import Layout
from reinforce_lite.report.build import PAGE, TRACES, audit_of, more_of, summary_of
from reinforce_lite.report.page import page_of
from reinforce_lite.report.verification.difference import ABSENT, Check, Difference, differing, differing_sums
from reinforce_lite.report.verification.experiment import Experiment

SUMMARY = "summary.json"
LINES = 3
"""So many lines of the page that differ are told, the first ones."""
AROUND = 40
"""Characters before and after the place where a line differs."""

_OF_THE_REPORT = ("made_with", "ledger", "files")  # in provenance; looked at by other checks
_SINCE = {"cost": ("attempts", "reconciliation"), "provenance": _OF_THE_REPORT}  # summaries made before lack them


def files(experiment: Experiment) -> Check:
    """The records that the report was made of, against the sums that it kept of them.

    Raises:
        UserError: one of them does not exist.
    """
    check, recorded = Check("files"), experiment.recorded("files")
    if recorded is None:
        check.notes.append(
            "no sums recorded by the report; seconds and checkpoints of the records could not be checked"
        )
    sums = {name: found for name, found in (recorded or {}).items() if name != PAGE}
    check.differences += differing_sums(experiment.folder, experiment.folder, sums)
    check.looked_at = f"{len(sums)} records, by their SHA-256"
    return check


def derived_summary(
    experiment: Experiment, comparisons: Sequence[dict[str, Any]], known: Sequence[Attempt]
) -> dict[str, Any]:
    """The summary made anew. MLflow's seconds are those that it kept: MLflow is not asked.

    Args:
        experiment: which one.
        comparisons: as they follow from the items.
        known: the attempts that the report was made of.

    Raises:
        UserError: an input is absent or damaged.
    """
    kept = experiment.summary["cost"].get("reconciliation")
    seconds = None if kept is None else {row["stage"]: row["mlflow"] for row in kept if row["mlflow"] is not None}
    settings, folder = experiment.settings, experiment.folder
    try:
        more = more_of(settings, folder)
    except UserError:  # the checks of comparisons and samples say which answers do not pair
        more = {}
    return summary_of(settings, folder, comparisons, more, known, seconds)


def summary(experiment: Experiment, derived: dict[str, Any]) -> Check:
    """summary.json, key by key, against the same made anew."""
    check, stated = Check("summary"), _comparable(experiment.summary)
    made = _comparable(json.loads(json.dumps(derived)))  # as a file has it: lists for tuples
    lacking = [(part, key) for part, keys in _SINCE.items() for key in keys if key not in experiment.summary[part]]
    names = ", ".join(".".join(pair) for pair in lacking)
    if len(lacking) == sum(map(len, _SINCE.values())):
        check.notes.append(f"{SUMMARY}: made before {names} were recorded")
        made["cost"] = {key: value for key, value in made["cost"].items() if ("cost", key) not in lacking}
    elif lacking:
        check.differences.append(Difference(SUMMARY, "", names, ABSENT, "recorded with the others"))
    other, found = _other_maker(experiment), list(differing(SUMMARY, "", stated, made))
    unknown = [one.key for one in found if other and one.stated is ABSENT]
    if unknown:
        check.notes.append(f"{SUMMARY}: {other}; it does not know {', '.join(unknown)}")
    check.differences += [one for one in found if one.key not in unknown]
    if any(row["mlflow"] is not None for row in made["cost"].get("reconciliation", [])):
        check.notes.append("MLflow's seconds could not be derived: they are what MLflow said when the report was made")
    check.looked_at = f"{_numbers(made):,} numbers"
    return check


def claims(experiment: Experiment, derived: dict[str, Any], known: Sequence[Attempt], sound: bool) -> Check:
    """verdicts.json and traces.json, key by key, against the same made anew.

    Args:
        experiment: which one.
        derived: what `derived_summary` returns.
        known: the attempts that the report was made of.
        sound: whether nothing beneath differs; else they would differ with it, and are not looked at.

    Raises:
        UserError: one of them does not exist, or what they were made of is damaged.
    """
    check = Check("claims", "verdicts.json and traces.json")
    if not sound:
        check.notes.append("not looked at, for what they follow from differs")
        return check
    audit = json.loads(json.dumps(audit_of(experiment.settings, experiment.folder, derived, known)))
    names = {"verdicts": Layout(experiment.folder).verdicts.name, "traces": TRACES}
    for part, name in names.items():
        stated = read_json(experiment.folder / name)
        for run in stated.get("runs", []):
            run.pop("within_question", None)  # made by an earlier version; nothing shows it any more
        check.differences += differing(name, "", stated, audit[part])
    count = len(audit["verdicts"]["claims"])
    check.looked_at = f"{count} verdicts, and the behaviours of {len(audit['traces']['runs'])} runs"
    return check


def _comparable(summary: dict[str, Any]) -> dict[str, Any]:
    """A summary without what the report recorded of itself: that is looked at by other checks."""
    provenance = {key: value for key, value in summary["provenance"].items() if key not in _OF_THE_REPORT}
    versions = {key: value for key, value in provenance.get("versions", {}).items() if key != "reinforce-lite"}
    return {**summary, "provenance": {**provenance, "versions": versions}}


def page(experiment: Experiment, derived: dict[str, Any], known: Sequence[Attempt], sound: bool) -> Check:
    """report.html against its recorded sum, and line by line against the page made anew.

    Another machine may draw the plots otherwise, and another version of this package the whole page; the recorded sum
    tells that from a page that was changed.

    Args:
        experiment: which one.
        derived: what `derived_summary` returns.
        known: the attempts that the report was made of.
        sound: whether nothing beneath the page differs; else the plots may show just that.

    Raises:
        UserError: report.html does not exist.
    """
    check, path = Check("page"), experiment.folder / PAGE
    if not path.exists():
        raise UserError(f"{path} does not exist", "run the rule report first")
    text = path.read_bytes().decode(errors="replace")  # not read_text(), which changes the ends of lines
    recorded = (experiment.recorded("files") or {}).get(PAGE)
    found = sha256_file(path)
    check.looked_at = f"{len(text.splitlines()):,} lines, made anew"
    if recorded is None:
        check.notes.append(f"{PAGE}: no sum recorded")
    elif found != recorded:
        check.differences.append(Difference(PAGE, "", "SHA-256", recorded, found))
    try:
        audit = audit_of(experiment.settings, experiment.folder, derived, known)
        anew = page_of(experiment.settings, experiment.folder, derived, known, audit)
    except UserError as problem:
        check.notes.append(f"{PAGE}: could not be made anew: {problem.problem}")
        return check
    if text == anew:
        return check
    if other := _other_maker(experiment):
        check.notes.append(f"{PAGE}: {other}, so its lines could not be compared")
    elif sound and found == recorded and _without_plots(text) == _without_plots(anew):
        check.notes.append(f"{PAGE}: its plots come out otherwise on this machine; the page is as it was written")
    else:
        check.differences += _lines(text, anew)
    return check


def _other_maker(experiment: Experiment) -> str | None:
    """In words, what made the page if that was another code than this one; None if it was this one."""
    made = experiment.recorded("made_with")
    version = experiment.summary["provenance"].get("versions", {}).get("reinforce-lite")
    if made is None or version != __version__:
        return f"made by reinforce-lite {version} of unknown commit; this is {__version__}"
    for what, then, now in (
        ("commit", made["git_commit"], origin()["git_commit"]),
        ("matplotlib", made["matplotlib"], version_of("matplotlib")),
    ):
        if then != now:
            return f"made by {what} {then or 'unknown'}; this is {now or 'unknown'}"
    return None


def _lines(stated: str, derived: str) -> Iterator[Difference]:
    """The first lines that differ, each around the first character that does."""
    told = 0
    pairs = zip_longest(stated.split("\n"), derived.split("\n"))
    for number, (left, right) in enumerate(pairs, 1):
        if left == right:
            continue
        told += 1
        if told > LINES:
            return
        at = next((i for i, (a, b) in enumerate(zip(left or "", right or "", strict=False)) if a != b), 0)
        around = slice(max(0, at - AROUND), at + AROUND)
        sides = (ABSENT if side is None else side[around] for side in (left, right))
        yield Difference(PAGE, f"line {number}", f"text at character {at + 1}", *sides)


def _without_plots(page: str) -> str:
    """The page without what is inside its SVG elements; what they show in words stays, as it stands in their tags."""
    return re.sub(r'(<svg role="img" aria-label="[^"]*").*?</svg>', r"\1", page, flags=re.DOTALL)


def _numbers(value: Any) -> int:
    if isinstance(value, dict | list):
        return sum(_numbers(part) for part in (value.values() if isinstance(value, dict) else value))
    return int(isinstance(value, int | float) and not isinstance(value, bool))
