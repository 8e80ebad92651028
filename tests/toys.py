"""Toy policies that cost milliseconds."""

from reinforce_lite.config import Scratch
from reinforce_lite.policy import Policy, scratch
from reinforce_lite.tasks import named

WORLD = named("word_world")


def toy_policy(architecture: str, seed: int = 0, device: str = "cpu") -> Policy:
    shape = Scratch(
        architecture=architecture, hidden_size=32, layers=2, heads=2, key_value_heads=2, intermediate_size=48
    )
    return scratch.build(shape, WORLD.vocabulary, seed, device)
