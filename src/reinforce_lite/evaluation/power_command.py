"""The subcommand `power`: how small a gain a comparison can see, before money is spent on it."""

import argparse
import json
from collections.abc import Iterable, Sequence
from typing import Any

from reinforce_lite.errors import UserError
from reinforce_lite.evaluation.power import detectable_gain, power, questions_needed
from reinforce_lite.files import read_json
from reinforce_lite.layout import Layout
from reinforce_lite.settings import Settings

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
    command.add_argument(
        "--questions",
        type=int,
        metavar="N",
        help="test questions (default: those of the configuration)",
    )
    command.add_argument(
        "--discordance",
        type=float,
        nargs="+",
        default=list(DISCORDANCES),
        metavar="SHARE",
        help="shares of the questions whose verdict changes (default: 0.05 to 0.20)",
    )
    for name, default, text in (
        ("gain", None, "a gain to look at, in points, beside the published ones"),
        ("power", 0.8, "probability with which a gain should be seen (default: 0.8)"),
        ("alpha", 0.05, "level of the whole comparison (default: 0.05)"),
    ):
        command.add_argument(f"--{name}", type=float, default=default, metavar="NUMBER", help=text)
    command.add_argument(
        "--models",
        type=int,
        metavar="K",
        help="models compared together (default: those of the configuration); each is tested at alpha / K, the first "
        "step of Holm's procedure",
    )
    command.add_argument("--json", action="store_true", help="the same as one JSON object; gains are shares there")


def run(settings: Settings, arguments: argparse.Namespace) -> None:
    """Print the table, or the JSON object, to stdout.

    Raises:
        UserError: an option is not a possible number, the number of questions is not known, or a comparison is damaged.
    """
    found = plan(
        settings,
        questions=evaluated_questions(settings) if arguments.questions is None else arguments.questions,
        discordances=arguments.discordance,
        points=arguments.gain,
        target=arguments.power,
        alpha=arguments.alpha,
        models=len(settings.models) if arguments.models is None else arguments.models,
    )
    print(json.dumps(found, indent=2) if arguments.json else text(found))


def evaluated_questions(settings: Settings) -> int:
    """How many questions the configuration evaluates.

    Raises:
        UserError: it does not say.
    """
    if settings.test_problems is None:
        raise UserError("task.test_size is not set: the number of test questions is not known", "give --questions")
    return settings.test_problems


def plan(
    settings: Settings,
    *,
    questions: int,
    discordances: Sequence[float],
    points: float | None,
    target: float,
    alpha: float,
    models: int,
) -> dict[str, Any]:
    """What the comparison can see at each discordance, the ones seen in finished comparisons included.

    Args:
        settings: the configuration; the published gains of its models are looked at.
        questions: how many questions are evaluated.
        discordances: shares of the questions whose verdict changes.
        points: one more gain, in points; None for none.
        target: the power that is wanted.
        alpha: level of the whole comparison.
        models: how many models are compared; Holm's first step tests at `alpha` divided by it.

    Returns:
        questions, power, alpha, models, alpha_per_model; `gains`: name, gain, and the published accuracies if it is
        published; `rows`: discordance, seen_in (the run, or None), detectable_gain, and for each gain the power and
        questions_needed. None stands where a gain cannot be. All gains are shares of the questions.

    Raises:
        UserError: a number is not possible, or a comparison is damaged.
    """
    _check(questions, discordances, points, target, alpha, models)
    gains = _gains(settings, points)
    level = alpha / models
    rows: list[tuple[float, str | None]] = [(discordance, None) for discordance in discordances]
    return {
        "questions": questions,
        "power": target,
        "alpha": alpha,
        "models": models,
        "alpha_per_model": level,
        "gains": gains,
        "rows": [
            {
                "discordance": discordance,
                "seen_in": run,
                "detectable_gain": detectable_gain(questions, discordance, target, level),
                "gains": [_look(gain, questions, discordance, target, level) for gain in gains],
            }
            for discordance, run in rows + list(_seen(settings))
        ],
    }


def text(found: dict[str, Any]) -> str:
    """The plan as a table and the sentences that explain it."""
    share = f"{found['power']:.0%}"
    head = ["discordance", "smallest gain"]
    for gain in found["gains"]:
        head += [f"power at {100 * gain['gain']:+.1f}", f"questions for {share}"]
    lines = [[*head, ""], *(_cells(row) for row in found["rows"])]
    widths = [max(len(line[column]) for line in lines) for column in range(len(head))]
    table = [
        "  ".join([*(cell.rjust(width) for cell, width in zip(line, widths, strict=False)), line[-1]]).rstrip()
        for line in lines
    ]
    return "\n".join([*_preface(found), "", *table, "", *_legend(found, share)])


def _preface(found: dict[str, Any]) -> list[str]:
    level = f"alpha {found['alpha']:g}"
    if found["models"] > 1:
        level += f" / {found['models']} models = {found['alpha_per_model']:g} for each, as in the first step of Holm"
    return [
        f"What a comparison on {found['questions']:,} questions can see: McNemar's exact test, two-sided,",
        f"{level}. Gains are in points.",
    ]


def _legend(found: dict[str, Any], share: str) -> list[str]:
    lines = [
        "Discordance: share of the questions whose verdict changes, to right or to wrong.",
        f"Smallest gain: the true gain that is called significant with a probability of {share}.",
    ]
    if found["gains"]:
        lines.append(f"Questions for {share}: how many it takes to see that gain with this probability.")
    for gain in found["gains"]:
        name = f"{100 * gain['gain']:+.1f}: "
        if gain["published"]:
            before, after = gain["published"]["baseline"], gain["published"]["trained"]
            name += f"published for {gain['name']}, from {before:.1%} to {after:.1%}."
        else:
            name += "asked for by --gain."
        lines.append(name)
    if any(None in (row["detectable_gain"], *(gain["power"] for gain in row["gains"])) for row in found["rows"]):
        lines.append("-: no gain is that large, or none is large enough to be seen, with so few changed verdicts.")
    return [*lines, "One trained policy is compared; what another training seed would change is not counted."]


def _cells(row: dict[str, Any]) -> list[str]:
    least = row["detectable_gain"]
    cells = [f"{row['discordance']:.1%}", "-" if least is None else f"{100 * least:+.2f}"]
    for gain in row["gains"]:
        power, needed = gain["power"], gain["questions_needed"]
        cells += ["-" if power is None else f"{power:.0%}", "-" if needed is None else f"{needed:,}"]
    return [*cells, f"seen: {row['seen_in']}" if row["seen_in"] else ""]


def _gains(settings: Settings, points: float | None) -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = []
    for name in settings.models:
        published = settings.policies[name].published
        gain = published.trained - published.baseline if published else 0.0
        if published and gain:
            found.append({"name": name, "gain": gain, "published": published.model_dump()})
    if points is not None:
        found.append({"name": "--gain", "gain": points / 100, "published": None})
    return found


def _look(gain: dict[str, Any], questions: int, discordance: float, target: float, level: float) -> dict[str, Any]:
    """The power to see a gain, and the questions it takes; None where so few verdicts change that it cannot be."""
    try:
        seen: float | None = power(questions, gain["gain"], discordance, level)
        needed: int | None = questions_needed(gain["gain"], discordance, target, level)
    except ValueError:  # more gain than change; all else has been checked
        seen = needed = None
    return {"name": gain["name"], "power": seen, "questions_needed": needed}


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


def _check(
    questions: int, discordances: Sequence[float], points: float | None, target: float, alpha: float, models: int
) -> None:
    fraction = "give a fraction between 0 and 1, such as"
    for option, good, fix in (
        (f"--questions {questions}", questions >= 1, "give 1 or more"),
        (f"--models {models}", models >= 1, "give 1 or more"),
        (f"--power {target:g}", 0 < target < 1, f"{fraction} 0.8"),
        (f"--alpha {alpha:g}", 0 < alpha < 1, f"{fraction} 0.05"),
        (f"--gain {points or 0:g}", points is None or 0 < abs(points) <= 100, "give points, such as 2"),
        *((f"--discordance {share:g}", 0 < share <= 1, f"{fraction} 0.12") for share in discordances),
    ):
        if not good:
            raise UserError(f"{option} is not possible", fix)
