"""The subcommand `traces`: which behaviours the answers show before and after training."""

import argparse
import json
from collections.abc import Mapping
from typing import Any

from reinforce_lite.budget.table import aligned
from reinforce_lite.config import named

EPILOG = """\
A table for each trained policy of a finished experiment:
  before, after, gained, lost, p
               share of the test questions whose completion shows the behaviour, before and after
               training; questions that gained and lost it; McNemar's exact test, not corrected for
               the number of behaviours

  reinforce-lite traces --config results/paper/config.json
"""


def add_options(command: argparse.ArgumentParser) -> None:
    """Give the subcommand its options and its help."""
    command.formatter_class = argparse.RawDescriptionHelpFormatter
    command.epilog = EPILOG
    command.add_argument("--json", action="store_true", help="print JSON, for machines")


def run(arguments: argparse.Namespace) -> None:
    """Print the tables to stdout.

    Raises:
        UserError: the experiment is not finished, or an evaluation is damaged.
    """
    from reinforce_lite.report.traces import of_run

    settings = named(arguments.config)
    runs = [of_run(settings.folder, model, *run) for model in settings.models for run in settings.runs]
    text = "\n\n".join(map(_text, runs))
    print(json.dumps({"runs": runs}, indent=2, allow_nan=False) if arguments.json else text)


def _text(run: Mapping[str, Any]) -> str:
    from reinforce_lite.report.numbers import p_cell, percent

    title = f"{run['model']} {run['variant']} seed{run['seed']}"
    contrast = run["contrast"]
    if contrast is None:
        return f"{title}: {run['not_run']}"
    rows, lengths = [], []
    for name, row in contrast["behaviours"].items():
        sides, counts = (percent(row[side]) for side in ("before", "after")), (str(row["gained"]), str(row["lost"]))
        rows.append((name, *sides, *counts, p_cell(row["mcnemar_p"])))
    for when, tokens in contrast["length"].items():
        right, wrong = ("-" if mean is None else f"{mean:.1f}" for mean in (tokens["right"], tokens["wrong"]))
        lengths.append((when, right, wrong))
    shares = aligned(("behaviour", "before", "after", "gained", "lost", "p"), rows)
    tokens_of = aligned(("tokens of answers that are", "right", "wrong"), lengths)
    return "\n".join([f"{title}, {contrast['n']:,} questions", *shares, "", *tokens_of])
