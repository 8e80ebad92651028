"""What no engine may hand on."""

from dataclasses import replace

import pytest

from reinforce_lite.rollout import Completion, Sampling, checked

STOPS, SAMPLING = frozenset({2, 3}), Sampling(1.0, 1.0, 4)
PROMPTS = [[1, 9], [1, 7, 8]]
STOPPED = Completion([1, 9], [5, 2], [-0.5, -0.1], "stop")
CUT = Completion([1, 7, 8], [5, 6, 7, 8], [-0.5] * 4, "length")


def test_what_was_asked_for_passes() -> None:
    groups = [[STOPPED, STOPPED], [CUT, CUT]]
    assert checked(groups, PROMPTS, 2, SAMPLING, STOPS) is groups
    assert checked([], [], 2, SAMPLING, STOPS) == []


@pytest.mark.parametrize(
    ("groups", "said"),
    [
        ([[STOPPED, STOPPED]], "got 1 of"),
        ([[STOPPED, STOPPED], [CUT]], r"got 2 of \[1, 2\]"),
        ([[CUT, CUT], [STOPPED, STOPPED]], "another prompt"),
        ([[STOPPED, replace(STOPPED, token_ids=[], logprobs=[])], [CUT, CUT]], "no end: 0 tokens of 4"),
        ([[STOPPED, STOPPED], [CUT, replace(CUT, token_ids=[5, 6])]], "no end"),
        ([[STOPPED, STOPPED], [CUT, replace(CUT, token_ids=[5, 3, 7, 8])]], "no end"),  # it went on after a stop id
        ([[STOPPED, replace(STOPPED, finish_reason="length")], [CUT, CUT]], "no end"),
        ([[STOPPED, STOPPED], [CUT, replace(CUT, finish_reason="stop")]], "no end"),
        ([[STOPPED, replace(STOPPED, logprobs=[-0.5])], [CUT, CUT]], "lacks log-probabilities"),
        ([[STOPPED, replace(STOPPED, logprobs=[-0.5, float("-inf")])], [CUT, CUT]], "lacks log-probabilities"),
        ([[STOPPED, replace(STOPPED, logprobs=[-0.5, float("nan")])], [CUT, CUT]], "lacks log-probabilities"),
    ],
)
def test_anything_else_raises(groups: list[list[Completion]], said: str) -> None:
    with pytest.raises(RuntimeError, match=said):
        checked(groups, PROMPTS, 2, SAMPLING, STOPS)
