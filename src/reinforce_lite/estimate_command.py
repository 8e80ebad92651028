"""The subcommand `estimate`: seconds and dollars of every stage on a GPU that is not here."""

import argparse
import json
import textwrap
from collections.abc import Sequence
from dataclasses import asdict
from typing import Any

from reinforce_lite.accounting import plan, roofline, standing
from reinforce_lite.accounting.cards import CARDS, find
from reinforce_lite.accounting.forecast import Interval
from reinforce_lite.accounting.plan import dollars
from reinforce_lite.estimate import Estimate, Role, assumptions, estimate
from reinforce_lite.settings import Settings

EPILOG = """\
No GPU is needed and nothing is downloaded: the seconds are computed from the card's data sheet, and the
plan made of them is the one that preflight makes of measured ones. It says what would be run under
budget.limit_usd, which training seeds would be given up, and which limit would be enough.

  reinforce-lite estimate --config config/config.yaml --gpu a6000
  reinforce-lite estimate --config config/config.yaml --gpu all
  reinforce-lite estimate --config config/config.yaml --gpu 4090 --price 0.45 --tokens 180

A price is the configuration's for the card that `hardware` names, else the lowest that was seen in 2026;
the last column has the highest. Prices move: say what you are asked with --price.
"""


COLUMNS = ("GPU", "GiB", "$/h", "weights", "hours", "dollars (low - expected - high)", "seeds", "enough", "$/h seen")


def add_options(command: argparse.ArgumentParser) -> None:
    """Give the subcommand its options and its help."""
    command.formatter_class = argparse.RawDescriptionHelpFormatter
    command.epilog = EPILOG
    keys = ", ".join(card.key for card in CARDS)
    command.add_argument("--gpu", metavar="NAME", help=f"{keys}, or all (default: the card that `hardware` names)")
    command.add_argument("--engine", choices=("vllm", "generate"), help="what writes (default: vllm where it fits)")
    command.add_argument("--price", type=float, metavar="USD", help="US dollars for one card and hour")
    command.add_argument(
        "--tokens", type=float, default=roofline.ANSWER, metavar="N", help="tokens of an answer (default: %(default)g)"
    )
    command.add_argument("--json", action="store_true", help="for machines, with the rates")


def run(settings: Settings, arguments: argparse.Namespace) -> None:
    """Print what the options ask for.

    Raises:
        UserError: the card is not known, or a model cannot be estimated.
    """
    everything = arguments.gpu == "all"
    cards = CARDS if everything else [find(arguments.gpu or settings.hardware.name)]
    found = [estimate(settings, card, arguments.engine, arguments.price, arguments.tokens) for card in cards]
    if arguments.json:
        rows = [as_json(one) for one in found]
        print(json.dumps(rows if everything else rows[0], indent=2))
    else:
        print(comparison(found) if everything else as_text(found[0]))


def as_text(found: Estimate) -> str:
    """The plan on one card, as preflight prints it, and what it rests on."""
    hardware = found.settings.hardware
    head = f"{hardware.name}, {hardware.memory_gib:g} GiB, ${hardware.usd_per_hour:g} an hour"
    lacking = [f"this card cannot hold it: {found.lacking}"] if found.lacking else []
    kept = ", ".join(map(str, found.plan.seeds))
    total = f"in all, preflight included: {hours(found.seconds)} hours, {money(found.usd)}; training seeds: {kept}"
    total += _cut(found)
    spent = f"counted as spent: preflight, {found.preflight:.0f} s"
    models = [_model(found, name, role) for name, role in found.roles.items()]
    return "\n".join([head, *lacking, plan.table(found.plan), spent, total, *models, "", basis([found])])


def _cut(found: Estimate) -> str:
    return "" if found.cut is None else f", {found.cut} steps"


def _model(found: Estimate, name: str, role: Role) -> str:
    """How one model is run."""
    training = role.training
    entry = next(e for e in found.plan.entries if e.job.stage == "train" and e.job.model == name)
    beside = f", {role.beside_gib:.0f} GiB of the CPU's memory" if role.beside_gib else ""
    asked, group = training.questions_per_step, training.completions_per_question
    rows = min(training.rows, int(role.cached), asked * group)
    return (
        f"{name}: {training.steps} steps of {asked} questions x {group}, {entry.duration.step.expected:.0f} s each; "
        f"{training.engine}, {rows} rows side by side; weights {training.weights}{beside}"
    )


def comparison(every: Sequence[Estimate]) -> str:
    """One experiment on several cards, a line each."""
    rows: list[tuple[str, ...]] = [COLUMNS]
    for found in every:
        card, hardware = found.card, found.settings.hardware
        weights = ", ".join(role.training.weights for role in found.roles.values())
        told: tuple[str, ...] = ("", "", "", "")
        if not found.lacking:
            kept = f"{len(found.plan.seeds)} of {len(found.settings.seeds)}{_cut(found)}"
            told = (
                f"{found.seconds.expected / 3600:.1f}", money(found.usd), "refused" if found.plan.refused else kept,
                dollars(found.plan.enough_usd),
            )  # fmt: skip
        seen = "-".join(f"{price:.2f}" for price in dict.fromkeys(card.usd_per_hour))
        rows.append((card.key, f"{hardware.memory_gib:g}", f"{hardware.usd_per_hour:.2f}", weights, *told, seen))
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    lines = ["  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip() for row in rows]
    lacking = [f"{found.card.key} cannot hold it: {found.lacking}" for found in every if found.lacking]
    limit = every[0].settings.budget.limit_usd
    legend = (
        f"hours, dollars and seeds: what is run under {dollars(limit)}, at which trainings stop; enough: for all of it"
    )
    return "\n".join([*lines, *lacking, legend, "", basis(every)])


def basis(every: Sequence[Estimate]) -> str:
    """What the figures rest on."""
    first = next(iter(every[0].roles.values()))
    mean, longest = first.rates.lengths or (0.0, 0.0)
    answers = f"; answers of {mean:g} on average, a tenth of them of {longest:g}"
    shapes = dict.fromkeys(role.assumed for found in every for role in found.roles.values() if role.assumed)
    more = "".join(f"; {shape}" for shape in shapes)
    last = "preflight measures all of it on the card that is rented, and plans anew."
    return textwrap.fill(f"{roofline.told()} {assumptions()}{answers}{more}. {last}", 100)


def hours(seconds: Interval) -> str:
    """From low to high."""
    return " - ".join(f"{each / 3600:.1f}" for each in (seconds.low, seconds.expected, seconds.high))


def money(usd: Interval) -> str:
    """From low to high."""
    return " - ".join(map(dollars, (usd.low, usd.expected, usd.high)))


def as_json(found: Estimate) -> dict[str, Any]:
    """The same for machines. Units: US dollars, seconds; GiB."""
    hardware = found.settings.hardware
    models = {
        name: {
            "weights": role.training.weights, "engine": role.training.engine, "rates": asdict(role.rates),
            "rows_cached": role.cached, "cpu_gib": role.beside_gib, "lacking": role.lacking, "assumed": role.assumed,
        }
        for name, role in found.roles.items()
    }  # fmt: skip
    return {
        "gpu": found.card.key,
        "name": hardware.name,
        "memory_gib": hardware.memory_gib,
        "usd_per_hour": hardware.usd_per_hour,
        "asked": hardware.price_source if hardware.name == found.card.name else found.card.asked,
        "seconds": asdict(found.seconds),
        "usd": asdict(found.usd),
        "lacking": found.lacking,
        "models": models,
        "plan": standing.described(found.plan),
        "basis": basis([found]),
    }
