"""The report's plots, as inline SVG that is legible on its own and says in words what it shows."""

import io
import math
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from markupsafe import Markup, escape

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

COLOURS = ("#0072B2", "#D55E00", "#009E73", "#CC79A7", "#7A5C00", "#56B4E9", "#333333")
"""Okabe and Ito's palette, which colour-blind readers can tell apart, its yellows darkened for a white ground."""
DASHES = ("", "5 2", "1.5 1.5", "6 2 1.5 2")
"""Dash patterns of the variants, for print in grey."""

POINTS = 300
"""Most points drawn of a line; more would only make the page heavy."""


@dataclass(frozen=True)
class Metric:
    """A panel: the key in metrics.jsonl, its title, what it means, and whether a moving average is drawn over it."""

    key: str
    title: str
    meaning: str
    noisy: bool = True


METRICS = (
    Metric("reward_mean", "Reward", "mean reward of the sampled completions, from -1 to +1"),
    Metric("accuracy", "Accuracy while sampling", "share of sampled completions that the strict parser finds right"),
    Metric("length_mean", "Length (tokens)", "mean tokens of a sampled completion"),
    Metric("entropy", "Entropy (nats)", "mean entropy of the next-token distribution"),
    Metric("gradient_norm", "Gradient norm", "global norm before clipping"),
    Metric("groups_dropped", "Groups without a gradient", "share of groups whose rewards are all equal"),
    Metric("kl_to_start", "KL to the start (nats a token)", "sampled divergence from the start policy", False),
    Metric("weights_changed", "Weights changed", "share of single weights that differ from the start", False),
    Metric("sampler_gap", "Sampler gap (nats)", "mean difference between the sampler's log-probs and the trainer's"),
)


@dataclass(frozen=True)
class Line:
    """A training run in the curves: its label, its metrics by step, and how it is drawn."""

    label: str
    rows: Sequence[Mapping[str, Any]]
    colour: str
    dashes: str


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
    """Mean of each value and the `window - 1` before it; of those there are at the start.

    >>> moving_average([1.0, 3.0, 5.0], 2)
    [1.0, 2.0, 4.0]
    """
    means = []
    for end in range(1, len(values) + 1):
        part = values[max(0, end - window) : end]
        means.append(sum(part) / len(part))
    return means


def window_for(steps: int) -> int:
    """Window of the moving average: a tenth of the steps, at most 50."""
    return max(1, min(50, steps // 10))


def gains(rows: Sequence[tuple[str, float, float, float]], published: float | None, slug: str) -> Markup:
    """Change in accuracy with its interval, a line a run, all in points.

    Args:
        rows: (label, change, low, high) of each run.
        published: the article's change, drawn as a dashed line.
        slug: makes the ids of this SVG its own.
    """
    figure, axes = _figure(4.6, 0.9 + 0.3 * len(rows))
    axes.axvline(0, color="#777777", linewidth=0.8)
    for y, (_, change, low, high) in enumerate(rows):
        axes.plot([low, high], [y, y], color=COLOURS[0], linewidth=2, solid_capstyle="round")
        axes.plot([change], [y], marker="o", markersize=6, color=COLOURS[0])
    if published is not None:
        axes.axvline(published, color=COLOURS[1], linewidth=1.2, linestyle="--", label="published gain")
        axes.legend(loc="lower right", bbox_to_anchor=(1.0, 1.0), frameon=False, borderaxespad=0)
    _lines(axes, [label for label, *_ in rows], "points, with 95% interval")
    words = "; ".join(f"{label} {change:+.1f} [{low:+.1f}, {high:+.1f}]" for label, change, low, high in rows)
    return _svg(figure, f"Change in strict accuracy in points: {words}", slug)


def costs(by_stage: Mapping[str, Mapping[str, Any]], limit_usd: float, slug: str = "cost") -> Markup | None:
    """Dollars by stage and in all, with the limit where it is on the scale; None if nothing was spent."""
    from matplotlib.ticker import MaxNLocator

    total = sum(stage["usd"] for stage in by_stage.values())
    if total == 0:
        return None
    bars = {**{name: stage["usd"] for name, stage in by_stage.items()}, "all stages": total}
    figure, axes = _figure(4.8, 0.8 + 0.3 * len(bars))
    colours = [COLOURS[0]] * len(by_stage) + ["#555555"]
    drawn = axes.barh(list(bars), list(bars.values()), color=colours, height=0.62)
    axes.bar_label(drawn, [usd(value) for value in bars.values()], padding=4)
    axes.invert_yaxis()
    visible = limit_usd <= 5 * total  # further away the bars would shrink to nothing
    axes.set_xlim(0, max(total * 1.18, limit_usd * 1.08 if visible else 0))
    if visible:
        axes.axvline(limit_usd, color=COLOURS[1], linewidth=1.4, linestyle="--")
        place: dict[str, Any] = {"transform": axes.get_xaxis_transform(), "ha": "right", "va": "bottom"}
        axes.text(limit_usd, 1.01, f"limit {usd(limit_usd)}", color=COLOURS[1], **place)
    axes.set_xlabel("US dollars" if visible else f"US dollars (limit {usd(limit_usd)}: off the scale)")
    axes.xaxis.set_major_locator(MaxNLocator(5))
    words = "; ".join(f"{name} {usd(value)}" for name, value in bars.items())
    return _svg(figure, f"US dollars by stage: {words}; limit {usd(limit_usd)}", slug)


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
    axes.legend(loc="lower right", bbox_to_anchor=(1.0, 1.0), frameon=False, borderaxespad=0, ncols=2)
    words = "; ".join(
        f"{stage} {usd(plan['expected'])} [{usd(plan['low'])}, {usd(plan['high'])}], spent {usd(spent)}"
        for stage, plan, spent in rows
    )
    return _svg(figure, f"US dollars by stage, planned and spent: {words}", slug)


def usd(value: float) -> str:
    """US dollars, with enough digits to see small sums.

    >>> usd(3.4), usd(0.00213), usd(0.0000173), usd(0.05), usd(-0.5)
    ('$3.40', '$0.0021', '$0.000017', '$0.05', '-$0.50')
    """
    size = abs(value)
    digits = 4 if size < 0.1 and round(value, 4) != round(value, 2) else 2
    if 0 < size < 0.001:
        digits = 1 - math.floor(math.log10(size))  # two that count
    return f"{'-' if value < 0 else ''}${abs(value):,.{digits}f}"


def _panel(model: str, metric: Metric, drawn: Sequence[Line]) -> Markup | None:
    from matplotlib.ticker import MaxNLocator

    series = [(line, points) for line in drawn if (points := _values(line, metric.key))]
    if not series:
        return None
    figure, axes = _figure(3.5, 2.35)
    for line, points in series:
        _draw(axes, line, points, metric.noisy)
    axes.set_title(metric.title, loc="left", fontsize=10.5, fontweight="bold")
    axes.set_xlabel("step")
    axes.margins(x=0.02)
    if metric.key == "weights_changed":
        axes.set_ylim(0, 1.05)  # a share: two that are both near 1 are to look alike
    axes.xaxis.set_major_locator(MaxNLocator(5, integer=True))
    smooth = [(line.label, _smooth(points, metric.noisy)) for line, points in series]
    words = "; ".join(f"{label} from {values[0]:.3g} to {values[-1]:.3g}" for label, values in smooth)
    what = ", moving average" if metric.noisy else ""
    text = f"{metric.title} over the training steps of {model} ({metric.meaning}{what}): {words}"
    return _svg(figure, text, f"{model}-{metric.key}")


def _values(line: Line, key: str) -> list[tuple[float, float]]:
    """(step, value) of the rows that have a finite value."""
    pairs = [(float(row["step"]), float(row[key])) for row in line.rows if row.get(key) is not None]
    return [(step, value) for step, value in pairs if math.isfinite(value)]


def _smooth(points: Sequence[tuple[float, float]], noisy: bool) -> list[float]:
    values = [value for _, value in points]
    return moving_average(values, window_for(len(values))) if noisy else values


def _draw(axes: "Axes", line: Line, points: Sequence[tuple[float, float]], noisy: bool) -> None:
    every = -(-len(points) // POINTS)
    steps = [step for step, _ in points][::every]
    if noisy and window_for(len(points)) > 1:
        axes.plot(steps, [value for _, value in points][::every], color=line.colour, linewidth=0.7, alpha=0.25)
    marker = "o" if not noisy or len(points) == 1 else ""
    (curve,) = axes.plot(
        steps, _smooth(points, noisy)[::every], color=line.colour, linewidth=1.6, marker=marker, markersize=3
    )
    if line.dashes:
        curve.set_dashes([float(part) / 1.6 for part in line.dashes.split()])


def _lines(axes: "Axes", labels: Sequence[str], unit: str) -> None:
    """One line a label, from the top."""
    axes.set_yticks(range(len(labels)), labels)
    axes.set_ylim(len(labels) - 0.5, -0.5)
    axes.set_xlabel(unit)


def _figure(width: float, height: float) -> "tuple[Figure, Axes]":
    """An empty figure of one plot, sizes in inches; not made by pyplot, which would keep it alive."""
    from matplotlib.figure import Figure

    figure = Figure(figsize=(width, height), layout="constrained")
    axes = figure.add_subplot()
    axes.spines[["top", "right"]].set_visible(False)
    axes.grid(axis="x" if width > 4 else "y", color="#e3e3e3", linewidth=0.7)
    axes.set_axisbelow(True)
    return figure, axes


def _svg(figure: "Figure", text: str, slug: str) -> Markup:
    """The figure as an SVG element: real text, no size of its own, ids of its own, its meaning in `aria-label`."""
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
    body = re.sub(r'\bid="', f'id="{slug}-', body)
    body = re.sub(r"(url\(#|href=\"#)", rf"\g<1>{slug}-", body)
    opening = re.sub(r' (width|height)="[^"]*"', "", body[len("<svg") : body.index(">")])
    return Markup(f'<svg role="img" aria-label="{escape(text)}"{opening}{body[body.index(">") :]}')
