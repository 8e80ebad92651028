"""Derive every number of a report again from the per-item files, and say what differs.

All files that follow from the data, the completions and the ledger are made again in a temporary folder, by the
functions that made them (`verification.derive`, `build`), and compared with those that are there. What cannot be
derived is held against the SHA-256 that was recorded when it was written. So a changed file is detected, unless every
file that follows from it, sums included, was rewritten too.
"""

import filecmp
import json
import re
from collections import Counter
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from reinforce_lite.budget.ledger import Attempt
from reinforce_lite.errors import UserError
from reinforce_lite.io.files import read_json, read_jsonl
from reinforce_lite.io.shown import shown
from reinforce_lite.io.sums import Sums
from reinforce_lite.report.build import PAGE, SUMMARY, TRACES, VERDICTS, Report, report_of
from reinforce_lite.report.verification import ledger
from reinforce_lite.report.verification.derive import Derived
from reinforce_lite.report.verification.difference import (
    ABSENT,
    Check,
    Difference,
    differing,
    differing_rows,
    differing_sums,
    record_of,
    rows_of,
)
from reinforce_lite.report.verification.experiment import Experiment, without_sums
from reinforce_lite.report.verification.keys import keyed
from reinforce_lite.report.verification.page import other_maker, page
from reinforce_lite.report.verification.records import records
from reinforce_lite.report.verification.sealed import described, manifest, signed
from reinforce_lite.stages import EVALUATED, TRAINED, Layout

KINDS = {
    EVALUATED["outcomes"]: "items", EVALUATED["memorisation"]: "items",
    EVALUATED["summary"]: "evaluations", EVALUATED["samples"]: "samples",
    TRAINED["completions"]: "completions", TRAINED["metrics"]: "steps", TRAINED["summary"]: "trainings",
}  # fmt: skip
"""What the files hold, by their names."""
LAYERS = {
    "items": (("items",), "{rows[items]:,} answers in {files[items]} files, judged again"),
    "evaluations": (("evaluations",), "{files[evaluations]} records, from the answers"),
    "samples": (("samples",), "{rows[samples]:,} sampled answers, judged again"),
    "comparisons": (("compare",), "{files[compare]} files, bootstrap included"),
    "trainings": (
        ("completions", "steps", "trainings"),
        "{rows[completions]:,} completions, judged again, and {rows[steps]:,} steps of {files[trainings]} runs",
    ),
}
"""By name of the check: the kinds of its files, and what was looked at."""

UNDERIVED = "lengths, losses, drift, learning rates and seconds"
"""What no text tells."""

_SINCE = {"cost": ("attempts", "reconciliation"), "provenance": ("made_with", "ledger", "files")}
"""What summaries made before lack; that of the provenance is looked at by other checks."""
_OF_THE_REPORT = (*_SINCE["provenance"], "manifest")


def verify(folder: Path, published: str | None = None, signers: Path | None = None) -> list[Check]:
    """Compare every layer of a finished experiment with what follows from the layers beneath.

    Neither MLflow nor any path outside the folder is read, so it may be a copy, on another machine.

    Args:
        folder: results/<experiment>.
        published: the root of the whole folder, as it was published.
        signers: who may have signed it, as ssh-keygen reads it.

    Returns:
        One check a layer, from the data to the page, and those of what binds them together.

    Raises:
        UserError: a file is absent or cannot be read, or holds a value of another kind than is written there.
    """
    try:
        return _verify(folder if folder.name else folder.resolve(), published, signers)
    except (ArithmeticError, AttributeError, LookupError, TypeError, ValueError) as error:
        # What the files are read for is typed where it is read; this is for the rest of what a forger may write.
        what = f"a file of {folder} holds a value of another kind than is written there: {error}"
        raise UserError(what, "restore the folder from a copy") from error


def _verify(folder: Path, published: str | None, signers: Path | None) -> list[Check]:
    experiment = Experiment.read(folder)
    if not (folder / PAGE).exists():
        raise UserError(f"{folder / PAGE} does not exist", "run the rule report first")
    read = ledger.Read.of(experiment)
    with TemporaryDirectory() as temporary:
        derived = Derived(experiment, Layout(Path(temporary)))
        checks = [_data(derived), *(_layer(derived, name) for name in LAYERS)]
        checks += [ledger.ledger(read), ledger.clocks(read), _files(experiment)]
        report = _report(derived, read.known, sound=agree(checks))
    if report is None:
        why = "not derived, because the files beneath differ"
        checks += [Check(name, why) for name in ("summary", "claims", "page")]
    else:
        checks += [_summary(experiment, report), _claims(experiment, report)]
        checks.append(page(experiment, report, sound=agree(checks)))
    sums, anew = Sums(folder, trusting=False), agree(checks) and other_maker(experiment) is None
    checks += [keyed(experiment, sums), records(experiment, read)]
    checks += [described(experiment, read, sums, anew), manifest(experiment, sums, published)]
    return [*checks, *([signed(folder, signers, sums)] if signers else [])]


def as_text(checks: Sequence[Check]) -> str:
    """One line a check, and under it one line a difference and a note."""
    lines = []
    for check in checks:
        lines.append(f"{check.name:>11}: {check.looked_at}: {check.result}")
        lines += [f"{'':>13}{difference}" for difference in check.differences]
        lines += [f"{'':>13}not verified: {reason}" for reason in check.unverified]
        lines += [f"{'':>13}note: {note}" for note in check.notes]
    return "\n".join(shown(line, one_line=True) for line in lines)


def as_json(checks: Sequence[Check]) -> dict[str, Any]:
    """The same for machines: `agree`, `verified`, and each check with its differences and notes."""
    return {"agree": agree(checks), "verified": verified(checks), "checks": [asdict(check) for check in checks]}


def agree(checks: Sequence[Check]) -> bool:
    """Whether nothing differs."""
    return not any(check.differences for check in checks)


def verified(checks: Sequence[Check]) -> bool:
    """Whether all was compared with something, so that a change would have shown."""
    return not any(check.unverified for check in checks)


def _data(derived: Derived) -> Check:
    """The files of the data against the manifest's sums and counts; a changed test split against what was asked."""
    folder, manifest = derived.source.folder, derived.source.manifest
    check = Check("data", differences=list(differing_sums(folder / "data", folder, manifest["sha256"])))
    counts = {Path(name).stem: len(rows_of(folder / "data" / name)) for name in manifest["sha256"]}
    given = {name: count for name, count in manifest.get("counts", {}).items() if name in counts}
    own = {name: counts[name] for name in given}
    check.differences += differing("data/manifest.json", "", {"counts": given}, {"counts": own})
    if (path := derived.target.data / "test.jsonl").exists():
        check.differences += differing_rows("data/test.jsonl", read_jsonl(folder / "data/test.jsonl"), read_jsonl(path))
    check.looked_at = f"{len(counts)} files, {sum(counts.values()):,} rows"
    return check


def _layer(derived: Derived, name: str) -> Check:
    """The files of a layer against the derived ones, and against the sums that are recorded of them."""
    check, folder = Check(name), derived.source.folder
    rows, files = Counter[str](), Counter[str]()
    for path in sorted(
        path for path in derived.target.root.rglob("*.json*") if _kind(derived, path) in LAYERS[name][0]
    ):
        file, kind = str(path.relative_to(derived.target.root)), _kind(derived, path)
        files[kind] += 1
        if path.suffix == ".jsonl":
            rows[kind] += (folder / file).read_bytes().count(b"\n")
            if derived.missing[folder / file] or not filecmp.cmp(folder / file, path, shallow=False):
                again = read_jsonl(path) + derived.missing[folder / file]
                check.differences += differing_rows(file, rows_of(folder / file), again)
            continue
        record = record_of(folder / file, sums=dict)
        check.differences += differing(file, "", record, read_json(path))
        check.differences += differing_sums((folder / file).parent, folder, record.get("sums", {}))
        if kind != "compare" and "not_run" in record:
            check.notes.append(f"{Path(file).parent}: not run")
        elif kind != "compare" and "sums" not in record:
            without_sums(derived.source, check, file, f"{UNDERIVED} could not be checked")
    check.notes += {"comparisons": derived.failed, "trainings": derived.stated}.get(name, [])
    check.looked_at = LAYERS[name][1].format(rows=rows, files=files)
    return check


def _kind(derived: Derived, path: Path) -> str:
    top = path.relative_to(derived.target.root).parts[0]
    return top if top == "compare" else KINDS.get(path.name, "")


def _report(derived: Derived, known: Sequence[Attempt], sound: bool) -> Report | None:
    """The report of the derived files; None if they lack so much that there is none.

    MLflow is not asked: its seconds are those that the summary keeps.
    """
    experiment, target = derived.source, derived.target.root
    kept = experiment.summary["cost"].get("reconciliation")
    seconds = None if kept is None else {row["stage"]: row["mlflow"] for row in kept if row["mlflow"] is not None}
    try:
        return report_of(experiment.settings, target, known, seconds, experiment.recorded("manifest"))
    except UserError as error:
        if sound:
            raise UserError(error.problem.replace(str(target), str(experiment.folder)), error.fix) from error
        return None


def _files(experiment: Experiment) -> Check:
    """The records that the report was made of, against the sums that it kept of them."""
    check, recorded = Check("files"), experiment.recorded("files")
    if recorded is None:
        without_sums(experiment, check, SUMMARY, "seconds and checkpoints of the records could not be checked")
    sums = {name: kept for name, kept in (recorded or {}).items() if name != PAGE}
    check.differences += differing_sums(experiment.folder, experiment.folder, sums)
    check.looked_at = f"{len(sums)} records, by their SHA-256"
    return check


def _summary(experiment: Experiment, report: Report) -> Check:
    """summary.json, key by key."""
    check, stated = Check("summary"), _comparable(experiment.summary)
    derived = _comparable(report.summary.as_json())
    lacking = [(part, key) for part, keys in _SINCE.items() for key in keys if key not in experiment.summary[part]]
    names = ", ".join(".".join(pair) for pair in lacking)
    if len(lacking) == sum(map(len, _SINCE.values())):
        check.notes.append(f"{SUMMARY}: made before {names} were recorded")
        derived["cost"] = {key: value for key, value in derived["cost"].items() if ("cost", key) not in lacking}
    elif lacking:
        check.differences.append(Difference(SUMMARY, "", names, ABSENT, "recorded with the others"))
    other, differences = other_maker(experiment), list(differing(SUMMARY, "", stated, derived))
    unknown = [one.key for one in differences if other and one.stated is ABSENT]
    if unknown:
        check.notes.append(f"{SUMMARY}: {other}; it does not know {', '.join(unknown)}")
    check.differences += [one for one in differences if one.key not in unknown]
    if any(row["mlflow"] is not None for row in derived["cost"].get("reconciliation", [])):
        check.notes.append("MLflow's seconds could not be derived: they are what MLflow said when the report was made")
    check.looked_at = f"{_numbers(derived):,} numbers"
    return check


def _comparable(summary: dict[str, Any]) -> dict[str, Any]:
    """A summary without what the report recorded of itself: that is looked at by other checks."""
    provenance = {key: value for key, value in summary["provenance"].items() if key not in _OF_THE_REPORT}
    versions = {key: value for key, value in provenance.get("versions", {}).items() if key != "reinforce-lite"}
    return {**summary, "provenance": {**provenance, "versions": versions}}


def _claims(experiment: Experiment, report: Report) -> Check:
    """verdicts.json and traces.json, key by key."""
    check = Check("claims")
    for name, derived in ((VERDICTS, report.verdicts), (TRACES, report.traces)):
        stated = record_of(experiment.folder / name, runs=list)
        for run in stated.get("runs", []):
            run.pop("within_question", None)  # made by an earlier version; nothing shows it any more
        found = differing(name, "", stated, json.loads(json.dumps(derived)))
        check.differences += [one for one in found if not _only_zeros_differ(one.stated, one.derived)]
    if check.differences and (other := other_maker(experiment)):
        check.notes.append(f"{other}, whose detectors of behaviours may be others; run that version's verify")
    count, runs = len(report.verdicts["claims"]), len(report.traces["runs"])
    check.looked_at = f"{count} verdicts, and the behaviours of {runs} runs"
    return check


def _only_zeros_differ(stated: Any, derived: Any) -> bool:
    """Whether two texts differ in the signs of zeros alone: earlier versions wrote -0.0.

    >>> _only_zeros_differ("-0.0 points [-2.4, +0.0]", "+0.0 points [-2.4, +0.0]"), _only_zeros_differ("-0.02", "+0.02")
    (True, False)
    """
    sides = [re.sub(r"[-+](0\.0+)(?!\d)", r"\1", side) for side in (stated, derived) if isinstance(side, str)]
    return len(sides) == 2 and sides[0] == sides[1]


def _numbers(value: Any) -> int:
    if isinstance(value, dict | list):
        return sum(map(_numbers, value.values() if isinstance(value, dict) else value))
    return int(isinstance(value, int | float) and not isinstance(value, bool))
