"""The subcommand `export-eee`: the per-item results for the shared database of Every Eval Ever."""

import argparse
from pathlib import Path

from reinforce_lite.config import Settings

EPILOG = """\
  reinforce-lite export-eee --config results/tiny/config.json --out shared
  every_eval_ever validate shared/data/*/*/*/*.json*    (pip install every-eval-ever, Python 3.12 or later)
"""


def add_options(command: argparse.ArgumentParser) -> None:
    """Give the subcommand its options and its help."""
    command.formatter_class = argparse.RawDescriptionHelpFormatter
    command.epilog = EPILOG
    text = "folder in which data/ is written, outside of the results"
    command.add_argument("--out", type=Path, default=Path("every_eval_ever"), metavar="FOLDER", help=text)


def run(settings: Settings, arguments: argparse.Namespace) -> None:
    """Write the records, and print their paths.

    Raises:
        UserError: an evaluation is absent or damaged, or a file cannot be written.
    """
    from reinforce_lite.report.eee import export

    print(*export(settings, arguments.out), sep="\n")
