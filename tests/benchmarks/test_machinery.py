"""The methods side by side: what each holds, runs and takes."""

from dataclasses import replace

import pytest
from live import Live
from machinery import METHODS, lines_run, measure, networks, turn, variants
from shapes import SHAPES, build
from worlds import SIZES, World, of_numbers

from reinforce_lite.learning.estimators import leave_one_out


@pytest.fixture
def world() -> World:
    policy = build(replace(SHAPES["small"]["small-llama"], layers=1), "cpu")
    return of_numbers("small", policy, SIZES["small"])


def test_the_methods_are_the_configurations_at_equal_batch(world: World) -> None:
    methods = variants(world, [])
    assert list(methods) == list(METHODS)
    assert {(one.questions_per_step, one.group_size, one.max_new_tokens) for one in methods.values()} == {(2, 8, 16)}
    held = {name: [kind for kind, count in networks(one).items() if count] for name, one in methods.items()}
    assert held == {
        "Reinforce-Lite": ["policy"],
        "with an entropy bonus": ["policy"],
        "REINFORCE++": ["policy", "reference"],
        "GRPO": ["policy", "reference"],
        "PPO": ["policy", "reference", "critic"],
    }


def test_a_second_network_shows_in_memory_and_lines(world: World) -> None:
    found = measure(world, variants(world, []), rounds=1)
    lite, grpo, ppo = (found[name] for name in ("Reinforce-Lite", "GRPO", "PPO"))
    weights = world.policy.bytes
    # A critic's weights, gradients and two averages, but for the output layer, which is the embedding.
    assert ppo["peak_bytes"] - grpo["peak_bytes"] > 3 * weights
    assert lite["lines"] < grpo["lines"] < ppo["lines"]
    assert lite["seconds_ratio"]["median"] == 1 and ppo["seconds"]["min"] > 0


def test_a_turn_has_a_peak_where_something_tells_one(world: World) -> None:
    training = variants(world, [])["Reinforce-Lite"]
    assert "peak_bytes" not in turn(world, training)
    with Live() as live:
        assert turn(world, training, live)["peak_bytes"] > world.policy.bytes


def test_lines_are_counted_once_and_only_those_of_the_method() -> None:
    import torch

    with lines_run() as seen:
        for _ in range(3):
            leave_one_out(torch.tensor([[1.0, -1.0]]))
    assert len(seen) == 5 and {file.rsplit("/", 1)[1] for file, _ in seen} == {"estimators.py"}
