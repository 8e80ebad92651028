import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from reinforce_lite.learning.estimators import (
    Estimator,
    as_published,
    estimator,
    leave_one_out,
    reinforce_pp,
    supervised,
)
from reinforce_lite.learning.experience import Experience

groups = st.lists(st.sampled_from([-1.0, 1.0]), min_size=3, max_size=12)


def test_leave_one_out_is_reward_minus_the_mean_of_the_others() -> None:
    # rewards 1, 1, -1, -1: for a right one the others average -1/3, for a wrong one +1/3
    advantages = leave_one_out(torch.tensor([[1.0, 1.0, -1.0, -1.0]]))
    assert torch.allclose(advantages, torch.tensor([[4 / 3, 4 / 3, -4 / 3, -4 / 3]]))


def test_leave_one_out_scaled_by_hand() -> None:
    # 1, -1, -1, -1: deviations 2, -2/3 ..; unbiased standard deviation of the group is exactly 1
    advantages = leave_one_out(torch.tensor([[1.0, -1.0, -1.0, -1.0]]), scale_by_std=True)
    assert torch.allclose(advantages, torch.tensor([[2.0, -2 / 3, -2 / 3, -2 / 3]]), atol=1e-6)


def test_as_published_by_hand() -> None:
    # others -1 (x8) and +1: mean -7/9, unbiased std sqrt(32/9 / 8) = 2/3; (1 + 7/9) / (2/3) = 8/3, clamped to 2
    rewards = torch.tensor([[1.0, 1.0, *[-1.0] * 8]])
    assert as_published(rewards).tolist() == [[2.0] + [0.0] * 9]
    # r_0 = -1 against the same others: (-1 + 7/9) / (2/3) = -1/3
    rewards[0, 0] = -1.0
    assert as_published(rewards)[0, 0].item() == pytest.approx(-1 / 3, rel=1e-5)


def test_as_published_clamps_where_the_others_agree() -> None:
    # standard deviation 0: 2 / 1e-8, clamped
    assert as_published(torch.tensor([[1.0, -1.0, -1.0, -1.0]]))[0].tolist() == [2.0, 0.0, 0.0, 0.0]


def test_reinforce_pp_by_hand() -> None:
    # of 1, 1, 1, -1, -1, -1, -1, 1 the mean is 0, and the unbiased variance 8/7
    rewards = torch.tensor([[1.0, 1.0, 1.0, -1.0], [-1.0, -1.0, -1.0, 1.0]])
    assert torch.allclose(reinforce_pp(rewards), rewards / (8 / 7) ** 0.5)


def test_reinforce_pp_learns_from_a_group_of_equal_rewards_but_not_from_a_step_of_them() -> None:
    weigh = estimator("reinforce_pp")
    assert weigh(torch.tensor([[1.0, 1.0], [1.0, -1.0]]))[0].tolist() == [0.5, 0.5]
    assert weigh(torch.ones(2, 3)).abs().max() == 0
    assert weigh.denominator(problems=4, group=3) == 12


@given(groups)
def test_leave_one_out_sums_to_zero_and_matches_its_definition(rewards: list[float]) -> None:
    advantages = leave_one_out(torch.tensor([rewards], dtype=torch.float64))[0]
    assert abs(advantages.sum().item()) < 1e-9
    for i, reward in enumerate(rewards):
        others = rewards[:i] + rewards[i + 1 :]
        assert advantages[i].item() == pytest.approx(reward - sum(others) / len(others), abs=1e-9)


@given(groups)
def test_as_published_moves_only_the_first_and_at_most_by_two(rewards: list[float]) -> None:
    advantages = as_published(torch.tensor([rewards]))[0]
    assert advantages[1:].abs().sum() == 0
    assert -2 <= advantages[0] <= 2


@given(st.floats(-5, 5), st.integers(3, 10))
def test_equal_rewards_teach_nothing(reward: float, group: int) -> None:
    rewards = torch.full((1, group), reward, dtype=torch.float64)
    assert leave_one_out(rewards).abs().max() < 1e-9
    assert as_published(rewards).abs().max() < 1e-6


def test_the_denominator_counts_what_may_carry_a_gradient() -> None:
    assert estimator("leave_one_out").denominator(problems=16, group=10) == 160
    assert estimator("as_published").denominator(problems=1, group=10) == 1


def test_estimator_by_name() -> None:
    rewards = torch.tensor([[1.0, -1.0, -1.0]])
    assert torch.equal(estimator("as_published")(rewards), as_published(rewards))
    assert torch.equal(estimator("leave_one_out", True)(rewards), leave_one_out(rewards, scale_by_std=True))


def test_supervised_weighs_every_solution_alike() -> None:
    assert supervised(torch.tensor([[-1.0], [1.0]])).tolist() == [[1.0], [1.0]]
    assert estimator("supervised")(torch.tensor([[-1.0], [1.0]])).tolist() == [[1.0], [1.0]], "none is dropped"
    assert estimator("supervised").denominator(problems=3, group=10) == 3


def test_rounding_does_not_make_equal_rewards_teach() -> None:
    rewards = torch.full((2, 10), 0.1)
    rewards[1, 0] = 0.2
    assert leave_one_out(rewards)[0].abs().max() > 0, "rounded, it looks as if it taught"
    assert estimator("leave_one_out")(rewards)[0].abs().max() == 0
    assert torch.equal(estimator("leave_one_out")(rewards)[1], leave_one_out(rewards)[1])


BATCH_MEAN = Estimator(lambda rewards_PG: rewards_PG - rewards_PG.mean(), drops_equal=False)
"""The baseline is the mean over the whole step, so a group of equal rewards teaches, too."""


def test_an_estimator_sees_the_whole_step_and_says_itself_what_is_dropped() -> None:
    # Two processes have scored a question each; the mean of all four rewards is 0.5.
    parts = [Experience([], [], [], rewards, []) for rewards in ([[1.0, 1.0]], [[1.0, -1.0]])]
    assert Experience.joined(parts).weighted(BATCH_MEAN).advantages_PG == [[0.5, 0.5], [0.5, -1.5]]
    assert Experience.joined(parts).weighted(estimator("leave_one_out")).advantages_PG == [[0, 0], [2, -2]]
