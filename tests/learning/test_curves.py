import pytest

from reinforce_lite.learning.curves import coin, point, question_seed


def test_a_point_by_hand() -> None:
    # Rewards 1, -1, -1, -1: mean -1/2, variance 1 - 1/4; the second group has equal rewards.
    found = point(
        [[1.0, -1.0], [-1.0, -1.0]], [[2.0, -2.0], [0.0, 0.0]], [True, False, False, True], [2, 4, 6, 8], None
    )
    assert found == {
        "reward_mean": -0.5, "reward_std": pytest.approx(0.75**0.5), "accuracy": 0.5, "length_mean": 5.0,
        "groups_dropped": 0.5, "tokens": 20,
    }  # fmt: skip
    assert point([[1.0]], [[1.0]], [True], [3], [True])["truncated"] == 1.0
    with pytest.raises(ValueError, match="without completions"):
        point([], [], [], [], None)


def test_what_is_drawn_depends_on_seed_step_and_place_alone() -> None:
    seeds = {question_seed(seed, step, place) for seed in (0, 1) for step in (0, 1) for place in (0, 1)}
    assert len(seeds) == 8
    assert coin(5).random() == coin(5).random() != coin(6).random()
