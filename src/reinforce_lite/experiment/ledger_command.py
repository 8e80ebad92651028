"""The subcommand `ledger`: show the ledger, check it, or rebuild MLflow's view from it."""

import argparse
from collections.abc import Iterable, Sequence
from datetime import UTC

from reinforce_lite.budget import costs
from reinforce_lite.budget.ledger import Attempt, accept_loss, attempts, ledger_path
from reinforce_lite.budget.reader import check
from reinforce_lite.budget.table import aligned
from reinforce_lite.config import Settings

EPILOG = """\
The table has a row for every attempt, whatever came of it, and then what all of it adds up to.
Outcomes:
  finished     the stage made its results
  failed       it stopped with an error
  interrupted  it was asked to stop, and continues when it is started again
  killed       its process has gone without a word; paid for until its last sign of life
  running      it has the device now
Idle time is what lies between attempts within one boot of the machine, and where jobs run side by side
also what a device waits beside an attempt. If the machine stayed rented it is on the bill, but the
ledger cannot know that, so it counts neither as spent nor against the limit.

  reinforce-lite ledger --config results/paper/config.json
  reinforce-lite ledger --config results/paper/config.json --check && echo sound

Every row holds a sum over itself and the row before it, and .ledger.head holds the last one. A row that was
changed, removed, added or moved, an older copy and a deleted ledger are errors, here and before a stage
spends. Restore both files from a copy. If there is none, --accept-loss says what the lost rows have cost.
"""


def add_options(command: argparse.ArgumentParser) -> None:
    """Give the subcommand its options and its help."""
    command.formatter_class = argparse.RawDescriptionHelpFormatter
    command.epilog = EPILOG
    instead = command.add_mutually_exclusive_group()
    instead.add_argument(
        "--check",
        action="store_true",
        help="only say what is wrong with the file: lines that were changed, lost or torn, events that cannot be, "
        "clocks that run backwards; exit code 1 if anything is",
    )
    instead.add_argument(
        "--rebuild-mlflow",
        action="store_true",
        help="complete MLflow's runs from the ledger and the results, one run an attempt; a database that is damaged, "
        "or locked for a minute, is moved aside first",
    )
    instead.add_argument(
        "--accept-loss",
        type=float,
        metavar="USD",
        help="go on with a ledger that lacks rows and cannot be restored: what is there counts as it is, and what the "
        "lost rows have cost becomes an attempt of its own, `unrecorded`; the report shows it",
    )


def run(settings: Settings, arguments: argparse.Namespace) -> None:
    """Do what the options ask for; what is found goes to stdout.

    Raises:
        UserError: the ledger lacks rows (not with --check), or MLflow cannot be used.
        SystemExit: --check has found something; the code is 1.
    """
    path = ledger_path(settings)
    if arguments.check:
        problems = check(path)
        sound = "sound" if path.exists() else "does not exist: nothing was spent"
        print("\n".join(problems) or f"{path}: {sound}")
        if problems:
            raise SystemExit(1)
    elif arguments.accept_loss is not None:
        accept_loss(path, settings.hardware, arguments.accept_loss)
        print(f"{path}: accepted as it is, with ${arguments.accept_loss:,.4f} for what it lacks")
    elif arguments.rebuild_mlflow:
        from reinforce_lite.experiment.tracking import rebuild

        print(f"{settings.tracking.uri}: {rebuild(settings)} runs made or completed from {path}")
    else:
        print(table(settings, attempts(path)), end="")


def table(settings: Settings, attempts: Sequence[Attempt]) -> str:
    """Two tables in one text: the attempts with a running total, and the sums in US dollars and device hours."""
    if not attempts:
        return f"The ledger of {settings.experiment} is empty: nothing was spent.\n"
    rows, total = [], 0.0
    for attempt in attempts:
        total += attempt.usd
        _, *of = str(attempt.job).split(" ", 1)
        started = f"{attempt.started.astimezone(UTC):%Y-%m-%d %H:%M:%S}"
        seconds = f"{attempt.seconds:,.1f}"
        rows.append((attempt.stage, *(of or "-"), started, seconds, attempt.outcome, usd(attempt.usd), usd(total)))
    head = ("stage", "of", "started (UTC)", "seconds", "outcome", "cost", "total")
    sums = aligned(("spend", "hours", "cost"), _sums(settings, attempts))
    return "\n".join([*aligned(head, rows, left=(0, 1, 2, 4)), "", *sums, ""])


def _sums(settings: Settings, attempts: Sequence[Attempt]) -> Iterable[tuple[str, str, str]]:
    for stage, cost in costs.by_stage(attempts).items():
        many = f"{cost['attempts']} attempt{'s' if cost['attempts'] > 1 else ''}"
        yield f"{stage} ({many})", f"{cost['device_hours']:.4f}", usd(cost["usd"])
    spent = costs.spent_usd(attempts)
    yield "total", f"{sum(attempt.device_hours for attempt in attempts):.4f}", usd(spent)
    yield "limit", "", usd(settings.budget.limit_usd)
    yield "remains", "", usd(settings.budget.limit_usd - spent)
    idle = costs.idle_cost(settings.hardware, attempts)
    beside = " and beside" * settings.hardware.side_by_side
    yield f"idle between{beside} attempts, not in the total", f"{idle['idle_hours']:.4f}", usd(idle["idle_usd"])


def usd(amount: float) -> str:
    """US dollars to a hundredth of a cent, because a short stage costs less than a cent.

    >>> usd(0.79), usd(-1234.5)
    ('$0.7900', '-$1,234.5000')
    """
    return f"{'-' if amount < 0 else ''}${abs(amount):,.4f}"
