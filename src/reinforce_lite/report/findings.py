"""What a comparison found, in words that follow from the numbers."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Literal

from reinforce_lite.evaluation.statistics import holm
from reinforce_lite.report.numbers import interval, p_text, percent, points

Figures = Mapping[str, Any]
Kind = Literal["rose", "fell", "same", "none"]
Adjusted = Mapping[tuple[str, str, int, str], float]
"""p-values by model, variant, seed and parser."""


@dataclass(frozen=True)
class Change:
    """A change of accuracy by one parser.

    Attributes:
        before: accuracy of the base, as a fraction.
        delta: the change, its mean if there are several training seeds.
        ci95: its interval.
        kind: `rose` or `fell` if the adjusted test says so, else `same`.
        covers: what the interval and the test rest on, in words.
    """

    before: float
    delta: float
    ci95: tuple[float, float]
    kind: Kind
    covers: str

    @property
    def words(self) -> str:
        """From where to where, and how certain."""
        ends = f"from {percent(self.before)} to {percent(self.before + self.delta)}"
        return f"{ends} ({points(self.delta)}, {self.certainty})"

    @property
    def certainty(self) -> str:
        """How certain it is."""
        return f"95% interval {interval(self.ci95)}, {self.covers}"


def change(figures: Figures, parser: str, p: float, alpha: float, noise: float, over: Figures | None = None) -> Change:
    """The change of a policy that was evaluated.

    Args:
        figures: a run or a model of the summary.
        parser: strict, flexible or lenient.
        p: its McNemar p-value, adjusted for what belongs together.
        alpha: level of the test.
        noise: a change must be larger than this share, which may differ though nothing was trained.
        over: the same over several training seeds, a row of `over_seeds`; None with one seed.
    """
    before, n = _before(parser, figures), f"n = {figures['n']:,}"
    own = _by(parser, figures if over is None else over)
    if over is not None:
        low, high = own["adjusted"]
        sure, delta = low > 0 or high < 0, own["mean"]
        covers = f"over {len(own['seeds'])} training seeds and the questions, {n}"
    else:
        sure, delta, covers = p < alpha, own["delta"], f"adjusted p {p_text(p)}, {n}"
    if sure and abs(delta) <= noise:
        sure, covers = False, f"{covers}, but no more than two evaluations of the base may differ"
    return Change(before, delta, own["ci95"], "same" if not sure else "rose" if delta > 0 else "fell", covers)


def _by(parser: str, figures: Figures) -> Figures:
    """The figures of one parser, of a run or of a row of `over_seeds`."""
    if parser == "lenient":
        found: Figures = figures["lenient"] if "lenient" in figures else figures["under_read"]["change"]
        return found
    return figures if parser == "strict" else figures["flexible"]


def _before(parser: str, figures: Figures) -> float:
    """Accuracy of the base, as a fraction."""
    base: Figures = figures["baseline"]
    if parser == "lenient":
        return float(base["flexible"] + figures["under_read"]["baseline"]["share"])
    return float(base[parser])


FOUND = {"rose": "rose", "fell": "fell", "same": "no significant change"}
"""The kinds of a change in words."""


def sentence(found: Change) -> str:
    """The finding about a policy, to stand beside the change itself."""
    return f"{FOUND[found.kind].capitalize()}: {found.certainty}."


def format_remark(strict: Change, flexible: Change, lenient: Change | None) -> str:
    """What the flexible parser, which forgives the format, says beside the strict one; and what it misses itself."""
    changed = {"rose": "it rose", "fell": "it fell"}.get(flexible.kind, "no significant change")
    same = (flexible.before, flexible.delta, flexible.kind) == (strict.before, strict.delta, strict.kind)
    said = "the same" if same else f"{changed}, {flexible.words}"
    text = f"By the flexible parser, which forgives the format: {said}."
    if lenient and (lenient.before, lenient.delta) != (flexible.before, flexible.delta):
        ends = f"from {percent(lenient.before)} to {percent(lenient.before + lenient.delta)} ({points(lenient.delta)})"
        text += f" If the answers that it misses counted, whose last sentence holds the right number: {ends}."
    if strict.kind == "rose" and any(one.kind != "rose" for one in (flexible, lenient) if one):
        text += " So the strict gain may be a matter of the answer's format."
    return text


def adjusted(models: Mapping[str, Figures]) -> Adjusted:
    """McNemar's p-values by Holm: over the models, as for the claims, and over all other runs of the page.

    Args:
        models: those of the summary.
    """
    p_values: dict[tuple[str, str, int, str], float] = {}
    for parser in ("strict", "flexible", "lenient"):
        for part in (slice(0, 1), slice(1, None)):
            every = {
                (name, run["variant"], run["seed"], parser): _by(parser, run)["mcnemar_p"]
                for name, figures in models.items()
                for run in figures["runs"][part]
                if not run["not_run"] and (parser != "lenient" or run["under_read"])
            }
            p_values |= dict(zip(every, holm(list(every.values())), strict=True))
    return p_values


def of_model(name: str, figures: Figures, p_values: Adjusted, alpha: float) -> dict[str, Any]:
    """What the page says of one model: kind (for its colour), headline, sentence, remark, published, and its runs.

    The runs are rows of the results: each run of the summary with `found`, its finding in words, and `p`, adjusted.

    Args:
        name: of the model.
        figures: of the model, in the summary.
        p_values: what `adjusted` returns.
        alpha: level of the tests.
    """
    floor = figures["noise_floor"]

    def found(run: Figures, parser: str, over: Figures | None = None) -> Change:
        noise = floor["strict" if parser == "strict" else "flexible"]["changed"]["ci95"][1] if floor else 0.0
        return change(run, parser, p_values[name, run["variant"], run["seed"], parser], alpha, noise, over)

    def row(run: Figures) -> dict[str, Any]:
        if run["not_run"]:
            return {**run}
        return {
            **run,
            "p": p_values[name, run["variant"], run["seed"], "strict"],
            "found": FOUND[found(run, "strict").kind],
        }

    runs = [row(run) for run in figures["runs"]]
    absent = {"kind": "none", "headline": None, "remark": None, "published": None, "runs": runs}
    if figures["not_run"]:
        return {**absent, "sentence": f"{name}: {figures['not_run']}."}
    over = next((row for row in figures["over_seeds"] if row["variant"] == figures["variant"]), None)
    strict, flexible = (found(figures, parser, over) for parser in ("strict", "flexible"))
    lenient = found(figures, "lenient", over) if figures["under_read"] else None
    return {
        "kind": strict.kind,
        "headline": strict,
        "sentence": sentence(strict),
        "remark": format_remark(strict, flexible, lenient),
        "published": _published(figures["published"], strict),
        "runs": runs,
    }


def _published(reported: Figures | None, found: Change) -> str | None:
    if reported is None:
        return None
    gain = reported["trained"] - reported["baseline"]
    where = "inside" if found.ci95[0] <= gain <= found.ci95[1] else "outside"
    return (
        f"The article reports {percent(reported['baseline'])} before and {percent(reported['trained'])} after "
        f"({points(gain)}, without an interval); that gain lies {where} our interval."
    )
