"""The report's plots, as inline SVG that is legible on its own and says in words what it shows.

Their colours follow the page's: lines by the CSS variables --line-0 and so on, all else by the colour of the text.
"""

import io
import math
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from statistics import fmean
from typing import TYPE_CHECKING, Any

from markupsafe import Markup, escape

from reinforce_lite.report import numbers
from reinforce_lite.report.numbers import plain, usd

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

COLOURS = ("#0072B2", "#D55E00", "#009E73", "#CC79A7", "#7A5C00", "#56B4E9", "#333333")
"""Okabe and Ito's palette, which colour-blind readers can tell apart, its yellows darkened for a white ground.

report.css has them again, lighter, for a dark one.
"""
GREY, GRID = "#777777", "#e3e3e3"
DASHES = ("", "5 2", "1.5 1.5", "6 2 1.5 2")
"""Dash patterns of the variants, for print in grey."""

POINTS = 300
"""Most points drawn of a line; more would only make the page heavy."""


@dataclass(frozen=True)
class Metric:
    """A panel.

    Attributes:
        key: in metrics.jsonl.
        title: of the panel.
        unit: of its axis; what is in percent is a share in the file.
        meaning: in words.
        noisy: whether a moving average is drawn over it, and a step without a value is a gap.
    """

    key: str
    title: str
    unit: str
    meaning: str
    noisy: bool = True

    @property
    def factor(self) -> float:
        """What a value of the file is multiplied by."""
        return 100.0 if self.unit.startswith("%") else 1.0


METRICS = (
    Metric("reward_mean", "Reward", "reward", "mean reward of the sampled completions"),
    Metric("accuracy", "Accuracy while sampling", "% of completions", "those that the strict parser finds right"),
    Metric("length_mean", "Length", "tokens", "mean length of a sampled completion"),
    Metric("entropy", "Entropy", "nats", "mean entropy of the next-token distribution"),
    Metric("gradient_norm", "Gradient norm", "norm", "global norm before clipping"),
    Metric("groups_dropped", "Groups without a gradient", "% of groups", "those whose rewards are all equal"),
    Metric("kl_to_start", "KL to the start", "nats a token", "sampled divergence from the start policy", False),
    Metric("weights_changed", "Weights changed", "% of weights", "single weights that differ from the start", False),
    Metric(
        "sampler_gap", "Sampler gap", "nats a token", "mean difference of the sampler's log-probs from the trainer's"
    ),
)

SCALES = ((1e-2, 1.0, ""), (1e-5, 1e3, "thousandths of "), (1e-8, 1e6, "millionths of "), (0.0, 1e9, "billionths of "))
"""An axis whose largest value is at least the first number is in these parts of its unit."""


@dataclass(frozen=True)
class Line:
    """A training run in the curves: its label, its metrics by step, and how it is drawn."""

    label: str
    rows: Sequence[Mapping[str, Any]]
    colour: str
    dashes: str

    @property
    def stroke(self) -> str:
        """Its colour as CSS, for the legend."""
        return css(self.colour)


def css(colour: str) -> str:
    """A colour of `COLOURS` as the page's variable, and as it is where no page sets that.

    >>> css("#0072B2")
    'var(--line-0, #0072B2)'
    """
    return f"var(--line-{COLOURS.index(colour)}, {colour})"


def lines(runs: Sequence[tuple[str, int, Sequence[Mapping[str, Any]]]]) -> list[Line]:
    """Give each run (variant, seed, metrics) its looks: a colour and a dash pattern a variant; seeds share them."""
    variants = list(dict.fromkeys(variant for variant, _, _ in runs))
    return [
        Line(
            f"{variant}, seed {seed}",
            rows,
            COLOURS[variants.index(variant) % len(COLOURS)],
            DASHES[variants.index(variant) % len(DASHES)],
        )
        for variant, seed, rows in runs
    ]


def curves(model: str, drawn: Sequence[Line]) -> list[Markup]:
    """Small multiples: one SVG a metric that has data, each with a line a run."""
    return [svg for metric in METRICS if (svg := _panel(model, metric, drawn)) is not None]


def moving_average(values: Sequence[float], window: int) -> list[float]:
    """Mean of each value and the `window - 1` before it; of those there are. What is not a number stays a gap.

    >>> moving_average([1.0, 3.0, math.nan, 5.0], 2)
    [1.0, 2.0, nan, 5.0]
    """
    means = []
    for end in range(1, len(values) + 1):
        known = [value for value in values[max(0, end - window) : end] if math.isfinite(value)]
        means.append(fmean(known) if math.isfinite(values[end - 1]) else math.nan)
    return means


def window_for(steps: int) -> int:
    """Window of the moving average: a tenth of the steps, at most 50."""
    return max(1, min(50, steps // 10))


def gains(rows: Sequence[tuple[str, float, float, float]], published: float | None, slug: str) -> Markup:
    """Change in accuracy with its interval, a line a run, in points.

    Args:
        rows: (label, change, low, high) of each run, as fractions.
        published: the article's change, as a fraction, drawn as a dashed line.
        slug: makes the ids of this SVG its own.
    """
    figure, axes = _figure(4.6, 0.9 + 0.3 * len(rows))
    axes.axvline(0, color=GREY, linewidth=0.8)
    for y, (change, low, high) in enumerate([100 * value for value in ends] for _, *ends in rows):
        axes.plot([low, high], [y, y], color=COLOURS[0], linewidth=2, solid_capstyle="round")
        axes.plot([change], [y], marker="o", markersize=6, color=COLOURS[0])
    if published is not None:
        axes.axvline(100 * published, color=COLOURS[1], linewidth=1.2, linestyle="--", label="published gain")
        axes.legend(loc="lower right", bbox_to_anchor=(1.0, 1.0), frameon=False, borderaxespad=0)
    _lines(axes, [label for label, *_ in rows], "change, points, with 95% interval")
    words = "; ".join(f"{label} {numbers.change(change)} {numbers.interval(ends)}" for label, change, *ends in rows)
    return _svg(figure, f"Change in strict accuracy in points: {words}", slug)


def planned(rows: Sequence[tuple[str, Mapping[str, float], float]], slug: str = "plan") -> Markup | None:
    """Dollars by stage as bars, over each the interval of the plan; None if nothing was planned.

    Args:
        rows: (stage, low, expected and high of the plan, what was spent).
        slug: makes the ids of this SVG its own.
    """
    if not any(plan["high"] for _, plan, _ in rows):
        return None
    figure, axes = _figure(4.8, 0.9 + 0.34 * len(rows))
    axes.barh(range(len(rows)), [spent for *_, spent in rows], color=COLOURS[0], height=0.5, label="spent")
    for y, (_, plan, _) in enumerate(rows):
        label = "planned" if y == 0 else None
        axes.plot([plan["low"], plan["high"]], [y, y], color=COLOURS[1], linewidth=2, label=label)
        axes.plot([plan["expected"]], [y], marker="o", markersize=5, color=COLOURS[1])
    _lines(axes, [stage for stage, *_ in rows], "US dollars")
    axes.set_xlim(left=0)
    axes.xaxis.set_major_formatter(lambda value, _: usd(value))
    axes.legend(loc="lower right", bbox_to_anchor=(1.0, 1.0), frameon=False, borderaxespad=0, ncols=2)
    words = "; ".join(
        f"{stage} {usd(plan['expected'])} [{usd(plan['low'])}, {usd(plan['high'])}], spent {usd(spent)}"
        for stage, plan, spent in rows
    )
    return _svg(figure, f"US dollars by stage, planned and spent: {words}", slug)


def _panel(model: str, metric: Metric, drawn: Sequence[Line]) -> Markup | None:
    from matplotlib.ticker import MaxNLocator

    every = [(line, _values(line, metric)) for line in drawn]
    series = [(line, points) for line, points in every if any(math.isfinite(value) for _, value in points)]
    if not series:
        return None
    largest = max(abs(value) for _, points in series for _, value in points if math.isfinite(value))
    factor, parts = _scale(largest) if metric.factor == 1 else (1.0, "")
    figure, axes = _figure(3.5, 2.35)
    for line, points in series:
        _draw(axes, line, [(step, factor * value) for step, value in points], metric.noisy)
    axes.set_title(metric.title, loc="left", fontsize=10.5, fontweight="bold")
    axes.set_xlabel("training step")
    axes.set_ylabel(f"{parts}{metric.unit}")
    axes.margins(x=0.02)
    if metric.key == "weights_changed":
        axes.set_ylim(0, 105)  # a share: two that are both near 1 are to look alike
    axes.xaxis.set_major_locator(MaxNLocator(5, integer=True))
    axes.yaxis.set_major_locator(MaxNLocator(5))
    axes.ticklabel_format(style="plain", useOffset=False)
    words = "; ".join(f"{line.label} {_ends(points, metric.noisy)}" for line, points in series)
    what = ", moving average" if metric.noisy else ""
    text = f"{metric.title} in {metric.unit} over the training steps of {model} ({metric.meaning}{what}): {words}"
    return _svg(figure, text, f"{model}-{metric.key}")


def _scale(largest: float) -> tuple[float, str]:
    """What the values of an axis are multiplied by, and the parts of the unit that they are then in."""
    return next((factor, parts) for least, factor, parts in SCALES if largest >= least or not largest)


def _values(line: Line, metric: Metric) -> list[tuple[float, float]]:
    """(step, value) of the rows, in the unit of the axis.

    A step that was skipped or has no finite value is a gap (NaN); of what is measured now and then it is left out.
    """
    found = []
    for row in line.rows:
        value = math.nan if row.get("skipped") or row.get(metric.key) is None else float(row[metric.key])
        if math.isfinite(value) or metric.noisy:
            found.append((float(row["step"]), metric.factor * value if math.isfinite(value) else math.nan))
    return found


def _ends(points: Sequence[tuple[float, float]], noisy: bool) -> str:
    """Where a line begins and ends."""
    known = [value for value in _smooth(points, noisy) if math.isfinite(value)]
    return f"from {plain(known[0])} to {plain(known[-1])}"


def _smooth(points: Sequence[tuple[float, float]], noisy: bool) -> list[float]:
    values = [value for _, value in points]
    return moving_average(values, window_for(len(values))) if noisy else values


def _draw(axes: "Axes", line: Line, points: Sequence[tuple[float, float]], noisy: bool) -> None:
    every = -(-len(points) // POINTS)
    steps = [step for step, _ in points][::every]
    if noisy and window_for(len(points)) > 1:
        axes.plot(steps, [value for _, value in points][::every], color=line.colour, linewidth=0.7, alpha=0.25)
    drawn = _smooth(points, noisy)[::every]
    marked = _alone(drawn) if noisy else list(range(len(drawn)))
    (curve,) = axes.plot(steps, drawn, color=line.colour, linewidth=1.6, marker="o", markersize=3, markevery=marked)
    if line.dashes:
        curve.set_dashes([float(part) / 1.6 for part in line.dashes.split()])


def _alone(values: Sequence[float]) -> list[int]:
    """Where a value has a gap on both sides, so that no line shows it."""
    known = [False, *map(math.isfinite, values), False]
    return [at - 1 for at in range(1, len(known) - 1) if known[at] and not known[at - 1] and not known[at + 1]]


def _lines(axes: "Axes", labels: Sequence[str], unit: str) -> None:
    """One line a label, from the top."""
    from matplotlib.ticker import MaxNLocator

    axes.xaxis.set_major_locator(MaxNLocator(3))  # words as long as $0.0010 have room, whatever the range
    axes.set_yticks(range(len(labels)), labels)
    axes.set_ylim(len(labels) - 0.5, -0.5)
    axes.set_xlabel(unit)


def _figure(width: float, height: float) -> "tuple[Figure, Axes]":
    """An empty figure of one plot, sizes in inches; not made by pyplot, which would keep it alive."""
    from matplotlib.figure import Figure

    figure = Figure(figsize=(width, height), layout="constrained")
    axes = figure.add_subplot()
    axes.spines[["top", "right"]].set_visible(False)
    for ground in (figure.patch, axes.patch):
        ground.set_visible(False)  # the page's shows through
    axes.grid(axis="x" if width > 4 else "y", color=GRID, linewidth=0.7)
    axes.set_axisbelow(True)
    return figure, axes


def _svg(figure: "Figure", text: str, slug: str) -> Markup:
    """The figure as an SVG element: real text, the page's colours, ids of its own, its meaning in `aria-label`."""
    from matplotlib import rc_context

    slug = re.sub(r"[^a-zA-Z0-9]+", "-", slug)
    handle = io.StringIO()
    nothing = dict.fromkeys(("Date", "Creator", "Format", "Type"))
    with rc_context({"svg.fonttype": "none", "svg.hashsalt": slug}):
        figure.savefig(handle, format="svg", metadata=nothing)
    body = handle.getvalue()
    body = body[body.index("<svg") :]
    body = re.sub(r"<style.*?</style>", "", body, flags=re.DOTALL)  # it would style the whole page
    body = re.sub(r"font-family: [^;\"]*", "font-family: inherit", body)
    for colour in COLOURS:
        body = body.replace(f": {colour.lower()}", f": {css(colour)}")
    for grey in ("#000000", GREY):
        body = body.replace(f": {grey}", ": currentColor")
    body = body.replace(f": {GRID}", f": var(--line, {GRID})")
    body = re.sub(r'\bid="', f'id="{slug}-', body)
    body = re.sub(r"(url\(#|href=\"#)", rf"\g<1>{slug}-", body)
    opening = re.sub(r' (width|height)="[^"]*"', "", body[len("<svg") : body.index(">")])
    return Markup(f'<svg role="img" fill="currentColor" aria-label="{escape(text)}"{opening}{body[body.index(">") :]}')
