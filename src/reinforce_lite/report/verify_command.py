"""The subcommand `verify`: derive every number of a report again, and say what differs."""

import argparse
import json
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING

from reinforce_lite.config import NAMED, named

if TYPE_CHECKING:
    from reinforce_lite.report.verification.difference import Check

EPILOG = """\
The files are derived in a temporary folder and nothing outside the given one is read: it may be a copy,
on another machine.
Exit code 0 if all agrees, 1 if anything differs, 2 if a file is absent or cannot be read, 3 if nothing
differs but something was not verified, because another version of this package made it.
What cannot be derived, such as losses and seconds, is held against the SHA-256 that was recorded when it
was written. An author who rewrites every file before anything is published, sums included, is not found
by reading: --replay writes answers again, and --root compares with what was published before.

  reinforce-lite verify results/tiny
  reinforce-lite verify results/tiny --manifest                   the list of all sums, and its roots
  reinforce-lite verify results/tiny --root 5f0c...               what was published, in MLflow or elsewhere
  reinforce-lite verify results/tiny --sign ~/.ssh/id_ed25519     signs the root with ssh-keygen -Y
  reinforce-lite verify results/tiny --signer allowed_signers     checks that signature
  reinforce-lite verify results/tiny --replay 20                  writes 20 answers again, and takes a step
"""

Replay = Callable[[Path, int, int | None], "list[Check]"]


def add_options(command: argparse.ArgumentParser) -> None:
    """Give the subcommand its options and its help."""
    command.formatter_class = argparse.RawDescriptionHelpFormatter
    command.epilog = EPILOG
    which = command.add_mutually_exclusive_group(required=True)
    which.add_argument("folder", type=Path, nargs="?", help="results/<experiment>, a copy of it, or as --config")
    which.add_argument("--config", type=Path, nargs="+", metavar="FILE", help=NAMED)
    command.add_argument("--json", action="store_true", help="the same for machines")
    command.add_argument("--manifest", action="store_true", help="print every file's SHA-256 and the roots, no more")
    command.add_argument("--root", metavar="HEX", help="the root of the whole folder, as it was published")
    command.add_argument("--sign", type=Path, metavar="KEY", help="if all agrees, sign the root with this SSH key")
    command.add_argument("--signer", type=Path, metavar="FILE", help="check its signature by these allowed signers")
    command.add_argument("--replay", type=int, default=0, metavar="N", help="write N random greedy answers again")
    command.add_argument("--seed", type=int, help="which answers; by default others each time")


def run(arguments: argparse.Namespace, replay: Replay) -> None:
    """Print what was compared, and what differs.

    Args:
        arguments: of the command line.
        replay: writes so many answers of a folder again, drawn by a seed.

    Raises:
        UserError: a file is absent or cannot be read.
        SystemExit: something differs (the code is 1), or was not verified (3).
    """
    from reinforce_lite.report.verification.sealed import sign
    from reinforce_lite.report.verify import agree, as_json, as_text, verified, verify

    given = arguments.config or [arguments.folder]
    folder = given[0] if len(given) == 1 and not given[0].is_file() else named(given).folder
    if arguments.manifest:
        return show_manifest(folder, arguments.json)
    checks = verify(folder, arguments.root, arguments.signer)
    if arguments.replay:
        checks += replay(folder, arguments.replay, arguments.seed)
    print(json.dumps(as_json(checks), indent=2) if arguments.json else as_text(checks))
    if not agree(checks):
        raise SystemExit(1)
    if arguments.sign:
        print(f"signed: root {sign(folder, arguments.sign)}")
    if not verified(checks):
        raise SystemExit(3)
    return None


def show_manifest(folder: Path, as_json: bool) -> None:
    """Print what is there: a line a file, and the roots.

    Raises:
        UserError: the folder is none of an experiment, or a file leads out of it.
    """
    from reinforce_lite.errors import UserError
    from reinforce_lite.io.sums import Sums
    from reinforce_lite.report.manifest import Manifest

    if not (folder / "config.json").is_file():
        raise UserError(f"{folder / 'config.json'} does not exist", "name a folder results/<experiment>")
    there = Manifest.of(folder, Sums(folder, trusting=False))
    if as_json:
        print(json.dumps({"root": there.root, "results": there.results.root, "files": there.files}, indent=2))
        return
    print(*there.lines, sep="\n")
    print(f"\nroot of the results {there.results.root} ({len(there.results.files)} files, as the report prints it)")
    print(f"root of the whole   {there.root} ({len(there.files)} files)")
