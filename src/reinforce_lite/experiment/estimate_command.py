"""The subcommand `estimate`: seconds and dollars of every stage on a GPU that is not here."""

import argparse
import json
import textwrap
from collections.abc import Sequence
from dataclasses import asdict
from typing import Any

from reinforce_lite.budget import plan, roofline, status
from reinforce_lite.budget.cards import CARDS, find
from reinforce_lite.budget.forecast import Interval
from reinforce_lite.budget.plan import dollars
from reinforce_lite.budget.table import aligned
from reinforce_lite.config import Settings
from reinforce_lite.experiment.estimate import Estimate, Role, assumptions, estimate

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
    every_card = arguments.gpu == "all"
    cards = CARDS if every_card else [find(arguments.gpu or settings.hardware.name)]
    every = [estimate(settings, card, arguments.engine, arguments.price, arguments.tokens) for card in cards]
    if arguments.json:
        rows = [as_json(one) for one in every]
        print(json.dumps(rows if every_card else rows[0], indent=2))
    else:
        print(comparison(every) if every_card else as_text(every[0]))


def as_text(one: Estimate) -> str:
    """The plan on one card, as preflight prints it, and what it rests on."""
    hardware = one.settings.hardware
    hours = " - ".join(f"{seconds / 3600:.1f}" for seconds in _ends(one.seconds))
    return "\n".join(
        [
            f"{hardware.name}, {hardware.memory_gib:g} GiB, ${hardware.usd_per_hour:g} an hour",
            *([f"this card cannot hold it: {one.lacking}"] if one.lacking else []),
            plan.table(one.plan),
            f"counted as spent: preflight, {one.preflight:.0f} s",
            f"in all, preflight included: {hours} hours, {_money(one.usd)}; training seeds: "
            f"{', '.join(map(str, one.plan.seeds))}{_cut(one)}",
            *(_model(one, name, role) for name, role in one.roles.items()),
            "",
            basis([one]),
        ]
    )


def _cut(one: Estimate) -> str:
    return "" if one.cut is None else f", {one.cut} steps"


def _ends(interval: Interval) -> tuple[float, float, float]:
    return interval.low, interval.expected, interval.high


def _money(usd: Interval) -> str:
    return " - ".join(map(dollars, _ends(usd)))


def _model(one: Estimate, name: str, role: Role) -> str:
    """How one model is run."""
    training = role.training
    step = next(e for e in one.plan.entries if e.job.stage == "train" and e.job.model == name).duration.step
    beside = f", {role.beside_gib:.0f} GiB of the CPU's memory" if role.beside_gib else ""
    questions, group = training.questions_per_step, training.completions_per_question
    rows = min(training.rows, int(role.cached), questions * group)
    return (
        f"{name}: {training.steps} steps of {questions} questions x {group}, {step.expected:.0f} s each; "
        f"{training.engine}, {rows} rows side by side; weights {training.weights}{beside}"
    )


def comparison(every: Sequence[Estimate]) -> str:
    """One experiment on several cards, a line each."""
    lacking = [f"{one.card.key} cannot hold it: {one.lacking}" for one in every if one.lacking]
    limit = dollars(every[0].settings.budget.limit_usd)
    legend = f"hours, dollars and seeds: what is run under {limit}, at which trainings stop; enough: for all of it"
    lines = aligned(COLUMNS, map(_row, every), left=range(len(COLUMNS)))
    return "\n".join([*lines, *lacking, legend, "", basis(every)])


def _row(one: Estimate) -> tuple[str, ...]:
    hardware = one.settings.hardware
    forecast: tuple[str, ...] = ("", "", "", "")
    if not one.lacking:
        kept = f"{len(one.plan.seeds)} of {len(one.settings.seeds)}{_cut(one)}"
        forecast = (
            f"{one.seconds.expected / 3600:.1f}",
            _money(one.usd),
            "refused" if one.plan.refused else kept,
            dollars(one.plan.enough_usd),
        )
    weights = ", ".join(role.training.weights for role in one.roles.values())
    seen = "-".join(f"{price:.2f}" for price in dict.fromkeys(one.card.usd_per_hour))
    return one.card.key, f"{hardware.memory_gib:g}", f"{hardware.usd_per_hour:.2f}", weights, *forecast, seen


def basis(every: Sequence[Estimate]) -> str:
    """What the figures rest on."""
    mean, longest = next(iter(every[0].roles.values())).rates.lengths or (0.0, 0.0)
    answers = f"; answers of {mean:g} on average, a tenth of them of {longest:g}"
    shapes = dict.fromkeys(role.assumed for one in every for role in one.roles.values() if role.assumed)
    more = "".join(f"; {shape}" for shape in shapes)
    last = "preflight measures all of it on the card that is rented, and plans anew."
    return textwrap.fill(f"{roofline.shares()} {assumptions()}{answers}{more}. {last}", 100)


def as_json(one: Estimate) -> dict[str, Any]:
    """The same for machines. Units: US dollars, seconds; GiB."""
    hardware = one.settings.hardware
    models = {
        name: {
            "weights": role.training.weights,
            "engine": role.training.engine,
            "rates": asdict(role.rates),
            "rows_cached": role.cached,
            "cpu_gib": role.beside_gib,
            "lacking": role.lacking,
            "assumed": role.assumed,
        }
        for name, role in one.roles.items()
    }
    return {
        "gpu": one.card.key,
        **hardware.model_dump(include={"name", "memory_gib", "usd_per_hour"}),
        "asked": hardware.price_source if hardware.name == one.card.name else one.card.source,
        "seconds": asdict(one.seconds),
        "usd": asdict(one.usd),
        "lacking": one.lacking,
        "models": models,
        "plan": status.described(one.plan),
        "basis": basis([one]),
    }
