"""The rules by which a claim is judged: numbers in, a verdict out. Nothing here reads a file.

A claim is `supported` or `contradicted` only where the numbers leave it no other way; else it is `undecidable`, and the
rule says what would decide it. Of an experiment that the claim does not speak of it is `not applicable`.
"""

from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from math import ceil, hypot
from statistics import fmean, stdev
from typing import Any, Literal, get_args

from reinforce_lite.evaluation.detector_accuracy import PRECISION, RECALL, Accuracy
from reinforce_lite.report.numbers import interval, p_text, percent, plain, points, shares
from reinforce_lite.report.summary_model import Counted

Kind = Literal["supported", "contradicted", "undecidable", "not measured well enough", "not applicable"]
"""A claim whose measure is too inaccurate to decide it is `not measured well enough`."""

Training = tuple[str, int, Sequence[float]]
"""Name, skipped steps, and the mean reward of each step."""


@dataclass(frozen=True)
class Verdict:
    """How a claim stands.

    Attributes:
        kind: the verdict.
        why: the numbers that decided it, in words.
        decides: what would decide it, if it is undecidable.
    """

    kind: Kind
    why: str
    decides: str | None = None


def change(
    delta: float, ci95: Sequence[float], p: float, alpha: float, questions: Callable[[float], int | None]
) -> Verdict:
    """Whether accuracy rose.

    Supported if it rose with p < alpha, contradicted if it fell so; else undecidable.

    Args:
        delta: change in accuracy, as a fraction.
        ci95: its interval.
        p: McNemar p-value, adjusted for the number of models.
        alpha: level of the test.
        questions: how many questions would show a gain of this size; None if none would.
    """
    why = f"{points(delta)} {interval(ci95)}, adjusted p {p_text(p)}"
    needed = questions(delta) if p >= alpha and delta > 0 else None
    more = "no number of questions shows a gain that is not there" if needed is None else _questions(needed, delta)
    return _decided(why, p < alpha and delta > 0, p < alpha, more)


def size(published: float, ci95: Sequence[float], questions: int | None) -> Verdict:
    """Whether accuracy rose by as much as was published.

    Supported if the interval holds the published gain and not 0, contradicted if it does not hold the published gain.

    Args:
        published: the published gain, as a fraction.
        ci95: our interval.
        questions: how many questions would show the published gain.
    """
    why, holds = f"{points(published)} published, ours {interval(ci95)}", ci95[0] <= published <= ci95[1]
    if holds and ci95[0] <= 0:
        why += " holds 0 as well"
    more = None if questions is None else _questions(questions, published)
    return _decided(why, holds and ci95[0] > 0, not holds, more)


def over_seeds(mean: float, adjusted: Sequence[float], seeds: Sequence[int], over: str | None = None) -> Verdict:
    """Whether accuracy rose over several training seeds, or a training did better than a control over them.

    Supported if the interval over seeds and questions lies above 0, contradicted if it lies below.

    Args:
        mean: mean change over the seeds, as a fraction.
        adjusted: its interval over seeds and questions, adjusted for the number of models.
        seeds: the training seeds.
        over: the control, if the change is the difference from one.
    """
    against = f" over {over}" if over else ""
    why = f"{points(mean)}{against} {interval(adjusted)} over {len(seeds)} seeds and the questions, adjusted"
    return _decided(why, adjusted[0] > 0, adjusted[1] < 0, "more training seeds")


def beats(delta: float, ci95: Sequence[float], p: float, alpha: float, control: str) -> Verdict:
    """Whether a training did better than its control on the same questions.

    Supported if it did with p < alpha; contradicted if the interval leaves it no advantage.
    """
    why = f"{points(delta)} over {control} {interval(ci95)}, adjusted p {p_text(p)}"
    return _decided(why, p < alpha and delta > 0, ci95[1] <= 0 or p < alpha, "more questions or more seeds")


def not_worse(delta: float, ci95: Sequence[float], margin: float, other: str) -> Verdict:
    """Non-inferiority: whether ours is worse than another training by less than a margin set beforehand.

    Supported if the whole interval of ours minus theirs lies above -margin, contradicted if it lies below (Piaggio et
    al. 2012).
    """
    why = f"{points(delta)} against {other} {interval(ci95)}, margin {plain(100 * margin, 6)}"
    # An interval shrinks with the root of the number of questions.
    share = ((delta - ci95[0]) / (delta + margin)) ** 2 if delta > -margin else None
    more = "more seeds" if share is None else f"about {ceil(share)} times the questions, at this difference"
    return _decided(why, ci95[0] > -margin, ci95[1] < -margin, more)


def appears(before: float, after: float, ci95: Sequence[float], p: float, alpha: float, where: str) -> Verdict:
    """Whether a behaviour came with training.

    Supported if its share rose with p < alpha; contradicted if the interval of its change leaves no rise: no policy
    shows it, the base showed it already, or it went away.
    """
    why = f"{where}: {percent(before)} of answers before, {percent(after)} after, adjusted p {p_text(p)}"
    return _decided(why, p < alpha and after > before, ci95[1] <= 0, "more questions")


def came(before: float, change: Mapping[str, Any], where: str) -> Verdict:
    """Whether a behaviour came with training, over several training seeds; the rule is that of `appears`.

    Args:
        before: the base's share of answers that show it.
        change: of that share, as `seeds.contrast` returns it.
        where: the model.
    """
    after, adjusted = before + change["mean"], change["adjusted"]
    over = f"over {len(change['seeds'])} seeds and the questions, adjusted"
    why = f"{where}: {percent(before)} of answers before, {percent(after)} after, {interval(adjusted)} points {over}"
    return _decided(why, adjusted[0] > 0, change["ci95"][1] <= 0, "more training seeds")


def equal(delta: float, ci95: Sequence[float], margin: float, other: str) -> Verdict:
    """Equivalence: whether two differ by less than a margin set beforehand (Schuirmann 1987).

    Supported if the whole interval of ours minus theirs lies within the margin, contradicted if it lies outside.
    """
    why = f"{points(delta)} against {other} {interval(ci95)}, margin {plain(100 * margin, 6)}"
    within, outside = -margin < ci95[0] and ci95[1] < margin, ci95[1] < -margin or ci95[0] > margin
    return _decided(why, within, outside, "more questions or more seeds")


def above(ours: Sequence[float], theirs: Sequence[float], why: str) -> Verdict:
    """Whether the steps of one training lie above those of another on average, by more than two standard errors.

    Supported if they do, contradicted if they lie below by as much; `why` says what is compared. Fewer than three steps
    have no error that could be told.
    """
    few = min(len(ours), len(theirs)) < 3
    gap, error = fmean(ours) - fmean(theirs), 2 * hypot(_error(ours), _error(theirs))
    why = f"{why}: {fmean(ours):z.2f} against {fmean(theirs):z.2f}"
    return _decided(why, not few and gap > error, not few and gap < -error, "more steps or more seeds")


def sided(more: float, less: float, p: float, alpha: float, why: str, decides: str = "more steps") -> Verdict:
    """Whether more questions speak for it than against it: supported or contradicted with p < alpha of a sign test."""
    more_sure, less_sure = p < alpha and more > less, p < alpha and less > more
    return _decided(f"{why}, adjusted p {p_text(p)}", more_sure, less_sure, decides)


def steady(trainings: Sequence[Training], fell: Sequence[str]) -> Verdict:
    """Whether clipping the gradient alone kept training stable.

    Contradicted if a step was not finite, if the mean reward of the last third of a training lies below that of its
    first third by more than two standard errors, or if a policy fell significantly (`fell` has their names).
    """
    bad = [f"{name} fell" for name in fell]
    for name, skipped, rewards in trainings:
        third = max(1, len(rewards) // 3)
        first, last = rewards[:third], rewards[-third:]
        if skipped:
            bad.append(f"{name}: {skipped} steps were not finite")
        if fmean(last) < fmean(first) - 2 * hypot(_error(first), _error(last)):
            bad.append(f"{name}: reward went from {fmean(first):z.2f} to {fmean(last):z.2f}")
    count = len(trainings)
    calm = f"{count} training{'s' * (count > 1)}: every step finite, no reward and no policy fell"
    return _decided("; ".join(bad) or calm, not bad, True)


def affordable(spent_usd: float, limit_usd: float, left_out: Sequence[str]) -> Verdict:
    """Whether the money was enough: everything was run, and what was spent stays below the limit."""
    why = f"${spent_usd:.4f} of ${limit_usd:.2f}"
    if left_out:
        why += f", and not run or stopped: {', '.join(left_out)}"
    return _decided(why, spent_usd < limit_usd and not left_out, True)


def untested(what: str) -> Verdict:
    """No run speaks to the claim."""
    return Verdict("undecidable", f"not in this experiment: {what}", what)


def unmeasured(before: float, after: float, where: str) -> Verdict:
    """What was counted, by a detector that is wrong too often to decide anything."""
    why = f"{where}: {percent(before)} of answers before, {percent(after)} after, as counted"
    decides = f"a detector with a precision of {PRECISION:.0%} and a recall of {RECALL:.0%}"
    return Verdict("not measured well enough", why, decides)


def detector(accuracy: Accuracy) -> str:
    """How often a behaviour's detector is right, with 95% intervals.

    >>> detector(Accuracy(30, 0.9, (0.7, 0.98), None, None, False))
    'its detector on 30 labelled texts with it: precision 90% [70, 98], recall not measured'
    """
    precision, recall = accuracy_words(accuracy)
    return f"its detector on {accuracy.positives} labelled texts with it: precision {precision}, recall {recall}"


def accuracy_words(accuracy: Accuracy) -> tuple[str, str]:
    """Precision and recall of a detector, with 95% intervals."""
    both = (accuracy.precision, accuracy.precision_interval), (accuracy.recall, accuracy.recall_interval)
    precision, recall = (
        "not measured" if share is None or ends is None else f"{share:.0%} [{100 * ends[0]:.0f}, {100 * ends[1]:.0f}]"
        for share, ends in both
    )
    return precision, recall


def beyond(verdict: Verdict, delta: float, noise: Counted | None) -> Verdict:
    """The verdict, if the difference that it rests on is more than what differs though nothing was trained.

    A supported or contradicted claim becomes undecidable where the size of the difference does not exceed the upper end
    of the interval of that share.

    Args:
        verdict: by the test alone.
        delta: the difference in accuracy, as a fraction.
        noise: verdicts that differ between two evaluations of the base; None if that was not measured.
    """
    if noise is None or abs(delta) > noise.ci95[1] or verdict.kind not in ("supported", "contradicted"):
        return verdict
    floor = f"two evaluations of the base differ in {percent(noise.share)} {shares(noise.ci95)} of the verdicts"
    return Verdict("undecidable", f"{verdict.why}, but {floor}", "a larger difference, or evaluations that repeat")


def elsewhere(why: str) -> Verdict:
    """The claim does not speak of this experiment."""
    return Verdict("not applicable", why)


def together(verdicts: Sequence[Verdict]) -> Verdict:
    """One verdict of several that must all hold: the first in `HARDEST` that one of them has.

    What is not applicable has no say unless all are.
    """
    asked = [verdict for verdict in verdicts if verdict.kind != "not applicable"] or verdicts
    kind = min((verdict.kind for verdict in asked), key=HARDEST.index)
    decides = dict.fromkeys(verdict.decides for verdict in asked if verdict.decides)
    return Verdict(kind, "; ".join(verdict.why for verdict in verdicts), "; ".join(decides) or None)


HARDEST: tuple[Kind, ...] = (
    "contradicted", "undecidable", "not measured well enough", "supported", "not applicable",
)  # fmt: skip
"""Which of several verdicts stands for all."""


def _questions(needed: int, gain: float) -> str:
    return f"{needed:,} questions show a gain of {100 * gain:.1f} points with the planned power"


def _decided(why: str, supported: bool, contradicted: bool, more: str | None = None) -> Verdict:
    """The verdict; `more` is what would decide a claim that is neither."""
    if supported or contradicted:
        return Verdict("supported" if supported else "contradicted", why)
    return Verdict("undecidable", why, more)


def _error(values: Sequence[float]) -> float:
    """Standard error of the mean; 0 of a single value."""
    return stdev(values) / len(values) ** 0.5 if len(values) > 1 else 0.0


def tally(claims: Sequence[Mapping[str, Any]]) -> dict[str, int]:
    """How many claims there are of each verdict; those that have none are left out.

    >>> tally([{"verdict": "undecidable"}, {"verdict": "supported"}, {"verdict": "supported"}])
    {'supported': 2, 'undecidable': 1}
    """
    counted = Counter(row["verdict"] for row in claims)
    return {kind: counted[kind] for kind in get_args(Kind) if counted[kind]}
