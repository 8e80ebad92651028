from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from reinforce_lite.evaluation import avg_at_k
from reinforce_lite.experiment.tracking import evaluation_metrics


def rows(**verdicts: str) -> list[dict[str, Any]]:
    """A question's answers, `+` for right ones by the strict parser; the flexible one finds all right."""
    return [
        {"id": name, "draw": draw, "strict": mark == "+", "flexible": True, "length": 10 + draw}
        for name, marks in verdicts.items()
        for draw, mark in enumerate(marks)
    ]


def test_figures_by_hand() -> None:
    told = avg_at_k.figures(rows(a="++++", b="++--", c="----"))
    # Means 1, .5, 0: avg .5, variance .25, se sqrt(.25 / 3). Within b the variance is 4/3 x .25 = 1/3, within the two
    # others none: (1/3) / 3 questions / 4 draws = 1/36, of .25 that is 1/9.
    strict = told["strict"]
    assert (told["n"], told["k"], told["length_mean"]) == (3, 4, 11.5)
    assert strict["avg"] == 0.5 and strict["se"] == pytest.approx((0.25 / 3) ** 0.5)
    assert strict["passed"] == pytest.approx(2 / 3) and strict["drawn"] == pytest.approx(1 / 9)
    assert told["flexible"] == {"avg": 1.0, "se": 0.0, "passed": 1.0, "drawn": None}


def test_one_draw_says_nothing_about_the_draw() -> None:
    assert avg_at_k.figures(rows(a="+", b="-"))["strict"]["drawn"] is None


def test_every_question_needs_as_many_answers() -> None:
    with pytest.raises(ValueError, match=r"the same number of samples: \[1, 2\]"):
        avg_at_k.figures(rows(a="+-", b="+"))


def test_the_numbers_that_are_curves() -> None:
    told = {"n": 3, "strict": 0.5, "seconds": 9.0}
    assert evaluation_metrics(told) == {"n": 3, "strict": 0.5}
    sampled = avg_at_k.figures(rows(a="+-"))
    assert evaluation_metrics({**told, "sampled": sampled})["avg_at_k"] == 0.5


@given(st.lists(st.lists(st.booleans(), min_size=3, max_size=3), min_size=1, max_size=30))
def test_bounds(verdicts: list[list[bool]]) -> None:
    marks = {f"q{i}": "".join("-+"[right] for right in answers) for i, answers in enumerate(verdicts)}
    told = avg_at_k.figures(rows(**marks))["strict"]
    assert 0 <= told["avg"] <= told["passed"] <= min(1.0, 3 * told["avg"] + 1e-9)
    assert told["se"] >= 0 and (told["drawn"] is None or 0 <= told["drawn"] <= 1)
