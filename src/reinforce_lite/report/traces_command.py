"""The subcommand `traces`: which behaviours the completions show, and how far the detectors can be trusted."""

import argparse
import json
from collections.abc import Mapping, Sequence
from typing import Any

from reinforce_lite import settings
from reinforce_lite.errors import UserError
from reinforce_lite.report.compare import p_text

EPILOG = """\
--labelled shows how well the detectors do on completions that one person wrote and labelled by hand:
  labelled     how many completions show the behaviour
  found        how many the detector names, and how many of these rightly
--config shows a table for each trained policy of a finished experiment:
  before, after, gained, lost, p
               share of the test questions whose completion shows the behaviour, before and after
               training; questions that gained and lost it; McNemar's exact test, not corrected for
               the number of behaviours
  reward       completions of the training with the behaviour against those without, of the same
               question in the same step: mean difference in reward, its 95% interval, and the groups
               that have both kinds; an association, no cause

  reinforce-lite traces --labelled
  reinforce-lite traces --config results/paper/config.json
"""

_NONE = "-"


def add_options(command: argparse.ArgumentParser) -> None:
    """Give the subcommand its options and its help."""
    command.formatter_class = argparse.RawDescriptionHelpFormatter
    command.epilog = EPILOG
    command.add_argument("--labelled", action="store_true", help="measure the detectors instead of an experiment")
    command.add_argument("--json", action="store_true", help="print JSON, for machines")


def run(arguments: argparse.Namespace) -> None:
    """Do what the options ask for; what is found goes to stdout.

    Raises:
        UserError: not one of --labelled and --config is given, or the experiment is not finished.
    """
    if arguments.labelled == bool(arguments.config):
        raise UserError("traces needs --labelled or --config, and not both", "see reinforce-lite traces --help")
    if arguments.labelled:
        from reinforce_lite.evaluation.labelled_traces import SPLITS, agreement, labelled_traces

        traces = labelled_traces()
        figures = {split: agreement([trace for trace in traces if trace.split == split]) for split in SPLITS}
        shown: dict[str, Any] = {"splits": figures}
        text = _labelled_text(figures)
    else:
        from reinforce_lite.report.summary import BOOTSTRAP_SEED
        from reinforce_lite.report.traces import of_runs

        found = of_runs(settings.load(arguments.config), seed=BOOTSTRAP_SEED)
        shown, text = {"runs": found}, "\n\n".join(map(_run_text, found))
    print(json.dumps(shown, indent=2, allow_nan=False) if arguments.json else text)


def _labelled_text(splits: Mapping[str, Mapping[str, Mapping[str, Any]]]) -> str:
    parts = []
    for split, figures in splits.items():
        rows = [
            (
                name,
                *(str(row[key]) for key in ("labelled", "found", "right")),
                *(_share(row[key]) for key in ("precision", "recall")),
            )
            for name, row in figures.items()
        ]
        parts.append("\n".join(_aligned((split, "labelled", "found", "rightly", "precision", "recall"), rows)))
    return "\n\n".join(parts)


def _run_text(run: Mapping[str, Any]) -> str:
    title = f"{run['model']} {run['variant']} seed{run['seed']}"
    contrast, within = run["contrast"], run["within_question"]
    if contrast is None:
        return f"{title}: {run['not_run']}"
    head = ("behaviour", "before", "after", "gained", "lost", "p", "reward", "95% interval", "groups")
    rows = [
        (
            name,
            *(_share(row[side]) for side in ("before", "after")),
            str(row["gained"]),
            str(row["lost"]),
            p_text(row["mcnemar_p"]).removeprefix("= "),
            *_estimate(within and within["behaviours"][name]["reward"], 2),
        )
        for name, row in contrast["behaviours"].items()
    ]
    lengths = _aligned(
        ("tokens of answers that are", "right", "wrong"),
        [(when, *map(_tokens, contrast["length"][when].values())) for when in ("before", "after")],
    )
    title = f"{title}, {contrast['n']:,} questions"
    return "\n".join([title, *_aligned(head, rows), "", *lengths, *_training_length(within)])


def _training_length(within: Mapping[str, Any] | None) -> list[str]:
    """The length of right answers less that of wrong ones of the same question, if there is any such question."""
    if within is None or not within["length"]["groups"]:
        return []
    difference, interval, groups = _estimate(within["length"], 1)
    return [f"right less wrong, same question in training: {difference}, 95% interval {interval}, groups {groups}"]


def _estimate(estimate: Mapping[str, Any] | None, digits: int) -> tuple[str, str, str]:
    """Difference, interval and groups as text."""
    if estimate is None or estimate["difference"] is None:
        return _NONE, _NONE, "0" if estimate else _NONE
    interval = estimate["ci95"] and "[{:+.{d}f}, {:+.{d}f}]".format(*estimate["ci95"], d=digits)
    return f"{estimate['difference']:+.{digits}f}", interval or _NONE, f"{estimate['groups']:,}"


def _share(fraction: float | None) -> str:
    return _NONE if fraction is None else f"{fraction:.1%}"


def _tokens(mean: float | None) -> str:
    return _NONE if mean is None else f"{mean:.1f}"


def _aligned(head: Sequence[str], rows: Sequence[Sequence[str]]) -> list[str]:
    """Lines of columns as wide as their widest cell, the first on the left."""
    lines = [head, *rows]
    widths = [max(len(line[column]) for line in lines) for column in range(len(head))]
    return [
        "  ".join(
            cell.rjust(width) if column else cell.ljust(width)
            for column, (cell, width) in enumerate(zip(line, widths, strict=True))
        ).rstrip()
        for line in lines
    ]
