"""The rules that judge a claim, on numbers worked by hand."""

from typing import get_args

import pytest
from hypothesis import given
from hypothesis import strategies as st

from reinforce_lite.report import verdicts
from reinforce_lite.report.summary_model import Counted
from reinforce_lite.report.verdicts import (
    Kind,
    Verdict,
    affordable,
    appears,
    beats,
    beyond,
    change,
    not_worse,
    size,
    steady,
    together,
    untested,
)


def never(gain: float) -> int | None:
    return None


@pytest.mark.parametrize(
    ("delta", "p", "kind"),
    [
        (0.02, 0.049, "supported"),
        (-0.02, 0.049, "contradicted"),
        (0.02, 0.05, "undecidable"),
        (0.0, 1.0, "undecidable"),
    ],
)
def test_a_change_needs_a_small_p(delta: float, p: float, kind: Kind) -> None:
    assert change(delta, [delta - 0.01, delta + 0.01], p, 0.05, never).kind == kind


def test_an_undecided_rise_says_how_many_questions_would_show_it() -> None:
    verdict = change(0.02, [-0.005, 0.045], 0.12, 0.05, lambda gain: 2_400)
    assert verdict.why == "+2.0 points [-0.5, +4.5], adjusted p = 0.120"
    assert verdict.decides == "2,400 questions show a gain of 2.0 points with the planned power"
    assert "no number of questions" in str(change(-0.01, [-0.03, 0.01], 0.4, 0.05, lambda gain: 5).decides)


@pytest.mark.parametrize(
    ("ci95", "kind"),
    [([0.01, 0.04], "supported"), ([-0.01, 0.04], "undecidable"), ([-0.01, 0.015], "contradicted"),
     ([0.03, 0.05], "contradicted")],
)  # fmt: skip
def test_the_published_size_must_lie_inside_and_zero_outside(ci95: list[float], kind: Kind) -> None:
    assert size(0.02, ci95, 1_000).kind == kind


@pytest.mark.parametrize(
    ("delta", "ci95", "p", "kind"),
    [(0.1, [0.05, 0.15], 0.001, "supported"), (-0.1, [-0.15, -0.05], 0.001, "contradicted"),
     (-0.02, [-0.04, 0.0], 0.07, "contradicted"), (0.02, [-0.01, 0.05], 0.2, "undecidable")],
)  # fmt: skip
def test_beating_a_control(delta: float, ci95: list[float], p: float, kind: Kind) -> None:
    assert beats(delta, ci95, p, 0.05, "random_reward").kind == kind


@pytest.mark.parametrize(
    ("ci95", "kind"),
    [([-0.019, 0.01], "supported"), ([-0.02, 0.01], "undecidable"), ([-0.06, -0.021], "contradicted")],
)
def test_not_being_worse_by_a_margin(ci95: list[float], kind: Kind) -> None:
    assert not_worse(sum(ci95) / 2, ci95, 0.02, "ppo").kind == kind


def test_what_is_missing_to_be_not_worse() -> None:
    # From -4 to +4 at a difference of 0 and a margin of 2: half the width, so four times the questions.
    assert not_worse(0.0, [-0.04, 0.04], 0.02, "ppo").decides == "about 4 times the questions, at this difference"
    assert not_worse(-0.03, [-0.05, 0.0], 0.02, "ppo").decides == "more seeds"


@pytest.mark.parametrize(
    ("before", "after", "ci95", "p", "kind"),
    [(0.1, 0.2, [0.05, 0.15], 0.01, "supported"), (0.1, 0.1, [0.0, 0.0], 1.0, "contradicted"),
     (0.2, 0.1, [-0.15, -0.05], 0.01, "contradicted"), (0.1, 0.12, [-0.01, 0.05], 0.3, "undecidable")],
)  # fmt: skip
def test_a_behaviour_appears(before: float, after: float, ci95: list[float], p: float, kind: Kind) -> None:
    assert appears(before, after, ci95, p, 0.05, "tiny-phi").kind == kind


def test_a_training_that_collapses_is_not_stable() -> None:
    calm = ("a", 0, [0.0, 0.1, 0.2, 0.2, 0.2, 0.2, 0.3, 0.4, 0.5])
    assert steady([calm], []).kind == "supported"
    assert steady([("a", 1, calm[2])], []).kind == "contradicted"
    assert steady([("a", 0, calm[2][::-1])], []).kind == "contradicted"
    # 0.1 lower, with a standard error of 0.082 of the difference: that is noise.
    assert steady([("a", 0, [0.3, 0.4, 0.5, 0.4, 0.4, 0.4, 0.2, 0.3, 0.4])], []).kind == "supported"
    assert steady([calm], ["tiny-phi"]).why == "tiny-phi fell"


@pytest.mark.parametrize(
    ("spent", "left_out", "kind"), [(9.99, [], "supported"), (10.0, [], "contradicted"), (1.0, ["x"], "contradicted")]
)
def test_the_price(spent: float, left_out: list[str], kind: Kind) -> None:
    assert affordable(spent, 10.0, left_out).kind == kind


def test_what_was_not_run_decides_nothing() -> None:
    assert untested("a run") == Verdict("undecidable", "not in this experiment: a run", "a run")


@pytest.mark.parametrize(
    ("kind", "delta", "left"),
    [("supported", 0.02, "undecidable"), ("supported", 0.031, "supported"), ("contradicted", -0.03, "undecidable"),
     ("contradicted", -0.04, "contradicted"), ("undecidable", 0.02, "undecidable")],
)  # fmt: skip
def test_a_claim_needs_more_than_noise(kind: Kind, delta: float, left: Kind) -> None:
    noise = Counted(count=26, share=0.02, ci95=(0.013, 0.03))
    verdict = beyond(Verdict(kind, "why", "more" if kind == "undecidable" else None), delta, noise)
    assert verdict.kind == left
    if left != kind:
        assert verdict.why == "why, but two evaluations of the base differ in 2.0% [1.3, 3.0] of the verdicts"
        assert verdict.decides
    assert beyond(Verdict(kind, "why"), delta, None) == Verdict(kind, "why"), "it was not measured"


KINDS = st.sampled_from(get_args(Kind))


@given(st.lists(KINDS, min_size=1, max_size=5))
def test_several_are_as_good_as_the_worst_of_them(kinds: list[Kind]) -> None:
    verdict = together([Verdict(kind, kind) for kind in kinds])
    order = ("contradicted", "undecidable", "not measured well enough", "supported", "not applicable")
    worst = next(kind for kind in order if kind in kinds)
    assert verdict.kind == worst and verdict.why == "; ".join(kinds)


def test_what_would_decide_a_part_is_said_though_another_part_is_contradicted() -> None:
    verdict = together([Verdict("undecidable", "a", "more questions"), Verdict("contradicted", "b")])
    assert verdict == Verdict("contradicted", "a; b", "more questions")


def test_two_are_equal_within_a_margin_set_beforehand() -> None:
    assert verdicts.equal(0.005, [-0.01, 0.019], 0.02, "b").kind == "supported"
    assert verdicts.equal(0.005, [-0.01, 0.021], 0.02, "b").kind == "undecidable"
    assert verdicts.equal(-0.05, [-0.07, -0.021], 0.02, "b").kind == "contradicted"
    assert verdicts.equal(0.05, [0.021, 0.07], 0.02, "b").kind == "contradicted"


def test_steps_lie_above_others_by_two_standard_errors() -> None:
    # Means 2 and 1, standard errors sqrt(1 / 3) each: twice their hypotenuse is 1.63.
    assert verdicts.above([1.0, 2.0, 3.0], [0.0, 1.0, 2.0], "x").kind == "undecidable"
    assert verdicts.above([2.0, 3.0, 4.0], [0.0, 1.0, 2.0], "x").kind == "supported"
    assert verdicts.above([0.0, 1.0, 2.0], [2.0, 3.0, 4.0], "x").kind == "contradicted"
    assert verdicts.above([9.0, 9.0], [0.0, 0.0, 0.0], "x").kind == "undecidable", "two steps have no error"
    assert verdicts.above([2.0, 3.0, 4.0], [0.0, 1.0, 2.0], "x").why == "x: 3.00 against 1.00"


def test_questions_speak_for_one_side() -> None:
    assert verdicts.sided(9, 1, 0.02, 0.05, "x").kind == "supported"
    assert verdicts.sided(1, 9, 0.02, 0.05, "x").kind == "contradicted"
    assert verdicts.sided(9, 1, 0.06, 0.05, "x").decides == "more steps"
