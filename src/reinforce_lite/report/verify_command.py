"""The subcommand `verify`: derive every number of a report again, and say what differs."""

import argparse
import json
from pathlib import Path

EPILOG = """\
The files are derived in a temporary folder and nothing outside the given one is read: it may be a copy,
on another machine.
Exit code 0 if all agrees, 1 if anything differs, 2 if a file is absent or cannot be read, 3 if nothing
differs but something was not verified, because another version of this package made it.
What cannot be derived, such as losses and seconds, is held against the SHA-256 that was recorded when it
was written. A forger who rewrites every file, sums included, is not detected.

  reinforce-lite verify results/tiny
"""


def add_options(command: argparse.ArgumentParser) -> None:
    """Give the subcommand its options and its help."""
    command.formatter_class = argparse.RawDescriptionHelpFormatter
    command.epilog = EPILOG
    command.add_argument("folder", type=Path, help="results/<experiment>, or a copy of it")
    command.add_argument("--json", action="store_true", help="the same for machines")


def run(arguments: argparse.Namespace) -> None:
    """Print what was compared, and what differs.

    Raises:
        UserError: a file is absent or cannot be read.
        SystemExit: something differs (the code is 1), or was not verified (3).
    """
    from reinforce_lite.report.verify import agree, as_json, as_text, verified, verify

    checks = verify(arguments.folder)
    print(json.dumps(as_json(checks), indent=2, ensure_ascii=False) if arguments.json else as_text(checks))
    if not agree(checks):
        raise SystemExit(1)
    if not verified(checks):
        raise SystemExit(3)
