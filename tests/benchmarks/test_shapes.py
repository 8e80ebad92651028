"""Random weights of a real shape: the prompts and completions are exactly as long as they are asked to be."""

from dataclasses import replace

import pytest
import torch
from shapes import SHAPES, build, number_tokenizer, word
from worlds import SIZES, of_numbers

from reinforce_lite.rollout import Sampling
from reinforce_lite.rollout.generate import GenerateEngine


@pytest.mark.parametrize(("name", "billions"), [("llama-3.2-3b", 3.21), ("phi-3.5-mini", 3.82)])
def test_the_3b_shapes_have_the_published_number_of_weights(name: str, billions: float) -> None:
    model = build(SHAPES["3b"][name], "meta").model
    assert sum(weight.numel() for weight in model.parameters()) / 1e9 == pytest.approx(billions, abs=0.005)
    assert {weight.dtype for weight in model.parameters()} == {torch.bfloat16}


def test_every_token_is_one_word() -> None:
    ids = list(range(2048))
    assert number_tokenizer(2048)(" ".join(map(word, ids)), add_special_tokens=False)["input_ids"] == ids


@pytest.mark.parametrize("name", SHAPES["small"])
def test_lengths_are_forced(name: str) -> None:
    policy = build(replace(SHAPES["small"][name], layers=1), "cpu")
    world = of_numbers(name, policy, SIZES["small"])
    prompts = [policy.prompt_ids(world.task.messages(world.prompt, problem.question)) for problem in world.problems]
    assert {len(ids) for ids in prompts} == {SIZES["small"].prompt}
    groups = GenerateEngine(policy, 64)(prompts[:2], 4, Sampling(1.0, 1.0, 16))
    assert {len(completion.token_ids) for group in groups for completion in group} == {16}
