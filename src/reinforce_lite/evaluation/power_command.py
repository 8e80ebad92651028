"""The subcommand `power`: how small a gain a comparison can see, before money is spent on it."""

import argparse
import json
import math
from collections.abc import Iterable
from typing import Any

from reinforce_lite.budget.table import aligned
from reinforce_lite.config import Settings
from reinforce_lite.errors import UserError
from reinforce_lite.evaluation.power import detectable_gain, power, questions_needed
from reinforce_lite.io.files import read_json
from reinforce_lite.stages import Layout

DISCORDANCES = (0.05, 0.08, 0.12, 0.16, 0.20)
"""Shares of changed verdicts that the table shows unless others are asked for."""

EPILOG = """\
Two evaluations of the same questions differ in some verdicts: their share is the discordance. Only these
say anything about a gain, and the more there are, the more of them go up and down by chance. So before a
run: take a discordance that is likely, and read off the smallest gain that would be seen. After it, the
table has a row for what was seen.

  reinforce-lite power --config config/config.yaml
  reinforce-lite power --config config/config.yaml --gain 3 --discordance 0.1 0.15
"""


def add_options(command: argparse.ArgumentParser) -> None:
    """Give the subcommand its options and its help."""
    command.formatter_class = argparse.RawDescriptionHelpFormatter
    command.epilog = EPILOG
    questions = "test questions (default: those of the configuration)"
    command.add_argument("--questions", type=int, metavar="N", help=questions)
    shares = "shares of the questions whose verdict changes (default: 0.05 to 0.20)"
    many: dict[str, Any] = {"type": float, "nargs": "+", "default": list(DISCORDANCES)}
    command.add_argument("--discordance", **many, metavar="SHARE", help=shares)
    for name, default, text in (
        ("gain", None, "a gain to look at, in points, beside the published ones"),
        ("power", 0.8, "probability with which a gain should be seen (default: 0.8)"),
        ("alpha", 0.05, "level of the whole comparison (default: 0.05)"),
    ):
        command.add_argument(f"--{name}", type=float, default=default, metavar="NUMBER", help=text)
    models = (
        "models compared together (default: those of the configuration); each is tested at alpha / K, the first step "
        "of Holm's procedure"
    )
    command.add_argument("--models", type=int, metavar="K", help=models)
    command.add_argument("--json", action="store_true", help="the same as one JSON object; gains are shares there")


def run(settings: Settings, arguments: argparse.Namespace) -> None:
    """Print the table, or the JSON object, to stdout.

    Raises:
        UserError: an option is not a possible number, the number of questions is not known, or a comparison is damaged.
    """
    if arguments.questions is None:
        arguments.questions = evaluated_questions(settings)
    if arguments.models is None:
        arguments.models = len(settings.models)
    _check(arguments)
    outlook = plan(settings, arguments)
    print(json.dumps(outlook, indent=2) if arguments.json else text(outlook))


def evaluated_questions(settings: Settings) -> int:
    """How many questions the configuration evaluates.

    Raises:
        UserError: it does not say.
    """
    if settings.test_problems is None:
        raise UserError("task.test_size is not set: the number of test questions is not known", "give --questions")
    return settings.test_problems


def plan(settings: Settings, options: argparse.Namespace) -> dict[str, Any]:
    """What the comparison can see at each discordance, the ones seen in finished comparisons included.

    Args:
        settings: the configuration; the published gains of its models are looked at.
        options: those of `add_options`, checked, with `questions` and `models` set. Holm's first step tests at `alpha`
            divided by `models`.

    Returns:
        questions, power, alpha, models, alpha_per_model; `gains`: name, gain, and the published accuracies if it is
        published; `rows`: discordance, seen_in (the run, or None), detectable_gain, and for each gain the power and
        questions_needed. None stands where a gain cannot be. All gains are shares of the questions.

    Raises:
        UserError: a comparison is damaged.
    """
    gains, level = _gains(settings, options.gain), options.alpha / options.models
    discordances: list[tuple[float, str | None]] = [(share, None) for share in options.discordance]
    return {
        **{name: getattr(options, name) for name in ("questions", "power", "alpha", "models")},
        "alpha_per_model": level,
        "gains": gains,
        "rows": [
            {
                "discordance": share,
                "seen_in": run,
                "detectable_gain": detectable_gain(options.questions, share, options.power, level),
                "gains": [
                    {"name": gain["name"], **_chances(gain["gain"], options.questions, share, options.power, level)}
                    for gain in gains
                ],
            }
            for share, run in [*discordances, *_seen(settings)]
        ],
    }


def _chances(gain: float, questions: int, discordance: float, target: float, level: float) -> dict[str, Any]:
    """The power to see a gain, and the questions it takes; None where so few verdicts change that it cannot be."""
    try:
        return {
            "power": power(questions, gain, discordance, level),
            "questions_needed": questions_needed(gain, discordance, target, level),
        }
    except ValueError:  # more gain than change; all else has been checked
        return {"power": None, "questions_needed": None}


def _gains(settings: Settings, points: float | None) -> list[dict[str, Any]]:
    gains: list[dict[str, Any]] = []
    for name in settings.models:
        published = settings.published(name)
        if published and (gain := published.trained - published.baseline):
            gains.append({"name": name, "gain": gain, "published": published.model_dump()})
    return gains + ([] if points is None else [{"name": "--gain", "gain": points / 100, "published": None}])


def _seen(settings: Settings) -> Iterable[tuple[float, str]]:
    """(discordance, run) of every comparison that has been made."""
    root = Layout.of(settings).root / "compare"
    for path in sorted(root.rglob("*.json")):
        figures = read_json(path)
        try:
            changed = figures["discordant"]
            if changed is not None:  # None: a policy was not evaluated
                run = f"{figures['model']}, {figures['variant']}, seed {figures['seed']}"
                yield (changed["gained"] + changed["lost"]) / figures["n"], run
        except (KeyError, TypeError, ZeroDivisionError) as error:
            raise UserError(f"{path} is not a comparison", "delete the file and run its rule again") from error


def _check(options: argparse.Namespace) -> None:
    fraction = "give a fraction between 0 and 1, such as"
    gain = math.nan if options.gain is None else options.gain
    for option, possible, fix in (
        (f"--questions {options.questions}", options.questions >= 1, "give 1 or more"),
        (f"--models {options.models}", options.models >= 1, "give 1 or more"),
        (f"--power {options.power:g}", 0 < options.power < 1, f"{fraction} 0.8"),
        (f"--alpha {options.alpha:g}", 0 < options.alpha < 1, f"{fraction} 0.05"),
        (f"--gain {gain:g}", options.gain is None or 0 < abs(gain) <= 100, "give points, such as 2"),
        *((f"--discordance {share:g}", 0 < share <= 1, f"{fraction} 0.12") for share in options.discordance),
    ):
        if not possible:
            raise UserError(f"{option} is not possible", fix)


def text(outlook: dict[str, Any]) -> str:
    """The plan as a table and the sentences that explain it."""
    share, level = f"{outlook['power']:.0%}", f"alpha {outlook['alpha']:g}"
    if outlook["models"] > 1:
        level += (
            f" / {outlook['models']} models = {outlook['alpha_per_model']:g} for each, as in the first step of Holm"
        )
    head = ["discordance", "smallest gain"]
    for gain in outlook["gains"]:
        head += [f"power at {100 * gain['gain']:+.1f}", f"questions for {share}"]
    lines = [
        f"What a comparison on {outlook['questions']:,} questions can see: McNemar's exact test, two-sided,",
        f"{level}. Gains are in points.",
        "",
        *aligned([*head, ""], [_cells(row) for row in outlook["rows"]], left=(len(head),)),
        "",
        "Discordance: share of the questions whose verdict changes, to right or to wrong.",
        f"Smallest gain: the true gain that is called significant with a probability of {share}.",
    ]
    if outlook["gains"]:
        lines.append(f"Questions for {share}: how many it takes to see that gain with this probability.")
    lines += [f"{100 * gain['gain']:+.1f}: {_source(gain)}." for gain in outlook["gains"]]
    if any(None in (row["detectable_gain"], *(gain["power"] for gain in row["gains"])) for row in outlook["rows"]):
        lines.append("-: no gain is that large, or none is large enough to be seen, with so few changed verdicts.")
    lines.append("One trained policy is compared; what another training seed would change is not counted.")
    return "\n".join(lines)


def _source(gain: dict[str, Any]) -> str:
    if not gain["published"]:
        return "asked for by --gain"
    return "published for {}, from {baseline:.1%} to {trained:.1%}".format(gain["name"], **gain["published"])


def _cells(row: dict[str, Any]) -> list[str]:
    least = row["detectable_gain"]
    cells = [f"{row['discordance']:.1%}", "-" if least is None else f"{100 * least:+.2f}"]
    for gain in row["gains"]:
        power, needed = gain["power"], gain["questions_needed"]
        cells += ["-" if power is None else f"{power:.0%}", "-" if needed is None else f"{needed:,}"]
    return [*cells, f"seen: {row['seen_in']}" if row["seen_in"] else ""]
