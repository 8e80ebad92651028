"""The subcommand `ledger`: show the ledger, check it, or make MLflow's view anew from it."""

import argparse

from reinforce_lite.accounting.check import check
from reinforce_lite.accounting.ledger import attempts, ledger_path
from reinforce_lite.accounting.table import table
from reinforce_lite.settings import Settings

EPILOG = """\
The table has a row for every attempt, whatever came of it, and then what all of it adds up to.
Outcomes:
  finished     the stage made its results
  failed       it stopped with an error
  interrupted  it was asked to stop, and continues when it is started again
  killed       its process has gone without a word; paid for until its last sign of life
  running      it has the device now
Idle time is what lies between attempts within one boot of the machine. If the machine stayed rented
it is on the bill, but the ledger cannot know that, so it counts neither as spent nor against the limit.

  reinforce-lite ledger --config results/paper/config.json
  reinforce-lite ledger --config results/paper/config.json --check && echo sound
"""


def add_options(command: argparse.ArgumentParser) -> None:
    """Give the subcommand its options and its help."""
    command.formatter_class = argparse.RawDescriptionHelpFormatter
    command.epilog = EPILOG
    instead = command.add_mutually_exclusive_group()
    instead.add_argument(
        "--check",
        action="store_true",
        help="only say what is wrong with the file: corrupt or torn lines, events that cannot be, clocks that run "
        "backwards; exit code 1 if anything is",
    )
    instead.add_argument(
        "--rebuild-mlflow",
        action="store_true",
        help="complete MLflow's runs from the ledger and the results, one run an attempt; a database that is damaged, "
        "or locked for a minute, is moved aside first",
    )


def run(settings: Settings, arguments: argparse.Namespace) -> None:
    """Do what the options ask for; what is found goes to stdout.

    Raises:
        UserError: the ledger is corrupt (not with --check), or MLflow cannot be used.
        SystemExit: --check has found something; the code is 1.
    """
    path = ledger_path(settings)
    if arguments.check:
        problems = check(path)
        sound = "sound" if path.exists() else "does not exist: nothing was spent"
        print("\n".join(problems) or f"{path}: {sound}")
        if problems:
            raise SystemExit(1)
    elif arguments.rebuild_mlflow:
        from reinforce_lite.accounting.tracking import rebuild

        print(f"{settings.tracking.uri}: {rebuild(settings)} runs made or completed from {path}")
    else:
        print(table(settings, attempts(path)), end="")
