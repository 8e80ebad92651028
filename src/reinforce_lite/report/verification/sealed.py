"""Whether the folder is the one whose sums were published: its manifest, its crate, and a signature."""

import shutil
import subprocess
from collections.abc import Callable, Iterator
from datetime import datetime
from pathlib import Path
from typing import Any

from reinforce_lite.errors import UserError
from reinforce_lite.report import crate
from reinforce_lite.report.crate_steps import Experiment as Described
from reinforce_lite.report.manifest import NAME, SIGNED, Manifest
from reinforce_lite.report.verification.difference import ABSENT, RESTORE, Check, Difference, differing, record_of
from reinforce_lite.report.verification.experiment import OF_NO_RESULT, Experiment
from reinforce_lite.report.verification.ledger import Read

CONFIG = "config.json"
NAMESPACE = "reinforce-lite"
"""What a signature is for, so that one made for another purpose does not count (ssh-keygen -Y, `-n`)."""

Sum = Callable[[Path], str]


def manifest(experiment: Experiment, sum_of: Sum, published: str | None = None) -> Check:
    """manifest.sha256 against the files that are there, and the roots against the report's and the published one.

    Raises:
        UserError: it is no list of sums, or names a file outside of the folder.
    """
    check, folder = Check("manifest"), experiment.folder
    stated, recorded = Manifest.read(folder), experiment.recorded("manifest")
    if stated is None:
        check.looked_at = "there is none"
        if recorded is None:
            check.unverified.append(
                "these results hold no manifest, so a change of what nothing is derived from may not show"
            )
        else:
            check.differences.append(Difference(NAME, "", "file", ABSENT, f"written with {recorded['root']}"))
        return check
    derived = Manifest.of(folder, sum_of)
    if _changed_no_result(folder, stated.files.get(CONFIG), sum_of):
        check.notes.append(f"{CONFIG}: since the manifest was written, only {' or '.join(OF_NO_RESULT)} has changed")
        derived = Manifest({**derived.files, CONFIG: stated.files[CONFIG]})
    for name, kept in stated.files.items():
        if (there := derived.files.get(name, ABSENT)) != kept:
            check.differences.append(Difference(name, "", "SHA-256", kept, there))
    for name in sorted(derived.files.keys() - stated.files.keys()):
        check.notes.append(f"{name}: not in {NAME}")
    known = Manifest({name: derived.files.get(name, ABSENT) for name in stated.files})
    if recorded is None:
        check.differences.append(Difference("summary.json", "", "provenance.manifest", ABSENT, known.results.root))
    else:
        present: dict[str, Any] = {"root": known.results.root, "files": len(known.results.files)}
        check.differences += differing("summary.json", "", recorded, present, "provenance.manifest")
    if published is not None:
        check.differences += differing(NAME, "", known.root, published, "root")
    check.looked_at = f"{len(stated.files)} files, root {known.root}"
    return check


def _changed_no_result(folder: Path, kept: str | None, sum_of: Sum) -> bool:
    """Whether config.json, written whenever the workflow starts, differs from the crate's copy by these only."""
    copy = folder / "workflow" / CONFIG
    if not copy.exists() or sum_of(copy) != kept or sum_of(folder / CONFIG) == kept:
        return False
    now, then = (
        {k: v for k, v in record_of(path).items() if k not in OF_NO_RESULT} for path in (folder / CONFIG, copy)
    )
    return now == then


def described(experiment: Experiment, read: Read, sum_of: Sum, anew: bool) -> Check:
    """ro-crate-metadata.json against the files that it describes; all of it, if this very code can make it `anew`."""
    check, folder = Check("crate"), experiment.folder
    if not (folder / crate.METADATA).exists():
        check.notes.append("there is none: the rule crate makes it")
        return check
    stated = {str(one.get("@id")): one for one in record_of(folder / crate.METADATA, **{"@graph": list})["@graph"]}
    sums = {one["name"]: one["sha256"] for one in stated.values() if one.get("@type") == "File" and "sha256" in one}
    sums |= {name: stated[name]["sha256"] for name in (crate.SNAKEFILE,) if "sha256" in stated.get(name, {})}
    check.differences += _sums(folder, sums, sum_of)
    names = crate.results(folder)
    check.differences += [Difference(crate.METADATA, "", name, ABSENT, "there") for name in names if name not in sums]
    if anew and not check.differences:
        check.differences += _anew(experiment, read, sum_of, stated)
    check.looked_at = f"{len(sums)} sums" + (f", and {len(stated)} entities described again" if anew else "")
    return check


def _sums(folder: Path, sums: dict[str, Any], sum_of: Sum) -> Iterator[Difference]:
    for name, kept in sums.items():
        if not (path := folder / name).resolve().is_relative_to(folder.resolve()):
            raise UserError(f"a sum is recorded of {name!r}, which lies outside of {folder}", RESTORE)
        present = sum_of(path) if path.is_file() else ABSENT
        if present != kept:
            yield Difference(name, "", "SHA-256", kept, present)


def _anew(experiment: Experiment, read: Read, sum_of: Sum, stated: dict[str, Any]) -> Iterator[Difference]:
    """Every entity."""
    names = crate.results(experiment.folder)
    made = Described(experiment.settings, experiment.folder, experiment.summary, read.known, names, sum_of)
    when = datetime.fromisoformat(str(stated["./"]["datePublished"]))
    derived = {one["@id"]: one for one in crate.describe(made, when)["@graph"]}
    for name in {**stated, **derived}:
        yield from differing(crate.METADATA, name, stated.get(name, ABSENT), derived.get(name, ABSENT))


def sign(folder: Path, key: Path) -> str:
    """Sign the root of the whole folder with a key of OpenSSH; returns the root.

    Raises:
        UserError: there is no manifest or no ssh-keygen, or it refuses.
    """
    if (stated := Manifest.read(folder)) is None:
        raise UserError(f"{folder / NAME} does not exist", "run the rule report first")
    (folder / SIGNED).write_text(f"{stated.root}\n", encoding="ascii")
    (folder / f"{SIGNED}.sig").unlink(missing_ok=True)
    _ssh_keygen("sign", "-f", str(key), "-n", NAMESPACE, str(folder / SIGNED))
    return stated.root


def signed(folder: Path, signers: Path, sum_of: Sum) -> Check:
    """The signature of the root, by somebody in a file of allowed signers (ssh-keygen(1), ALLOWED SIGNERS).

    Raises:
        UserError: there is no signature or no ssh-keygen.
    """
    check, signature, root = Check("signature"), folder / f"{SIGNED}.sig", Manifest.of(folder, sum_of).root
    for path in (signature, signers):
        if not path.is_file():
            raise UserError(f"{path} does not exist", "sign with: reinforce-lite verify FOLDER --sign KEY")
    try:
        found = _ssh_keygen("find-principals", "-s", str(signature), "-f", str(signers))
        who = found.splitlines()[0] if found else ""
        chosen = ("-I", who, "-n", NAMESPACE, "-s", str(signature))
        _ssh_keygen("verify", "-f", str(signers), *chosen, content=f"{root}\n")
        check.looked_at = f"{root}, signed by {who}"
    except UserError as error:
        check.looked_at = root
        check.differences.append(Difference(f"{SIGNED}.sig", "", "signature", error.problem, f"one of {root}"))
    return check


def _ssh_keygen(what: str, *options: str, content: str | None = None) -> str:
    if shutil.which("ssh-keygen") is None:
        raise UserError("ssh-keygen is not installed", "install OpenSSH's client")
    command = ["ssh-keygen", "-Y", what, *options]
    done = subprocess.run(command, input=content or "", capture_output=True, text=True, check=False)
    if done.returncode:
        said = " ".join((done.stderr or done.stdout).split())
        raise UserError(
            f"ssh-keygen -Y {what}: {said[:200]}", "see that key, signature and allowed signers belong together"
        )
    return done.stdout.strip()
