"""Advantages as verify derives them against those that a training computes."""

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from reinforce_lite.config import Training
from reinforce_lite.learning.estimators import estimator
from reinforce_lite.report.verification.advantages import of_step, stated_or_derived

STEPS = st.integers(3, 6).flatmap(
    lambda size: st.lists(
        st.lists(st.sampled_from([-1.0, -0.5, 0.0, 0.1, 1.0, 3.0]), min_size=size, max_size=size),
        min_size=1,
        max_size=4,
    )
)


@pytest.mark.parametrize("scale", [False, True])
@pytest.mark.parametrize("name", ["leave_one_out", "as_published", "reinforce_pp", "supervised"])
@given(rewards=STEPS)
def test_each_estimator_is_derived_as_it_was_computed(name: str, scale: bool, rewards: list[list[float]]) -> None:
    training = Training.model_construct(estimator=name, scale_by_std=scale)
    derived = of_step(training, rewards)
    assert derived is not None
    computed = estimator(name, scale)(torch.tensor(rewards))
    assert derived == [pytest.approx(row, rel=1e-4, abs=1e-4) for row in computed.tolist()]


def test_what_does_not_follow_is_named_and_what_somebody_else_computes_is_taken_as_it_is() -> None:
    rewards, stated = [[1.0, 1.0], [1.0, -1.0]], [[0.5, 0.5], [0.5, -3.0]]
    pp = Training.model_construct(estimator="reinforce_pp")
    assert stated_or_derived(pp, rewards, stated) == [0.5, 0.5, 0.5, pytest.approx(-1.5)]
    own = Training.model_construct(estimator="batch_mean")
    assert stated_or_derived(own, rewards, stated) == [0.5, 0.5, 0.5, -3.0]
