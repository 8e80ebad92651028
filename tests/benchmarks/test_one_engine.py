"""vLLM can be opened once a process: no benchmark opens an engine twice, and all take the way that training takes."""

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace

import engines
import published_loop
import pytest
import torch
from engines import SEEDS, ways
from shapes import SHAPES, build
from worlds import SIZES, World, of_numbers, own_mode

from reinforce_lite.learning import loop
from reinforce_lite.policy import Policy
from reinforce_lite.rollout import Completion, Engine, Sampling
from reinforce_lite.rollout.generate import GenerateEngine


@pytest.fixture
def world() -> World:
    policy = build(replace(SHAPES["small"]["small-llama"], layers=1), "cpu")
    return of_numbers("small", policy, SIZES["small"])


class Once:
    """Opens an engine that refuses a second opening in its process, as vLLM does."""

    def __init__(self) -> None:
        self.openings = 0

    @contextmanager
    def __call__(self, asked: str, policy: Policy, rows: int, *more: object) -> Iterator[Engine]:
        self.openings += 1
        assert self.openings == 1, "CuMem allocator can only be used for one instance per process"
        yield GenerateEngine(policy, rows)


def test_the_published_loop_is_compared_with_one_opening(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    once = Once()
    monkeypatch.setattr(loop, "opened", once)
    found = published_loop.compare(world, rounds=2, questions=1, steps=2)
    assert once.openings == 1
    assert found["ours"]["tokens_per_completion"] == found["published"]["tokens_per_completion"] == 16
    assert found["completions_ratio"]["min"] > 0


def test_every_round_of_ours_has_its_own_steps(world: World) -> None:
    called: list[int] = []
    counts = published_loop.ours(world, world.training, 3, 2, lambda: called.append(1))
    assert len(counts) == len(called) == 3
    # 2 steps of 2 questions x 8 completions of 16 tokens
    assert [(count["completions"], count["tokens"]) for count in counts] == [(32, 512)] * 3


def test_engines_are_opened_once_and_a_turn_is_eight_questions_of_a_group(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    once = Once()
    monkeypatch.setattr(engines, "opened", once)
    found = engines.run(world, world.fresh(), ["generate"], [8], [4], rounds=1)
    assert once.openings == 1
    (row,) = found["engines"]
    assert (row["questions"], row["group"], row["length"]) == (8, 8, 4)
    assert found["prompt_tokens"] == SIZES["small"].prompt and set(found["seconds_to_open"]) == {"generate"}


def test_an_engine_with_two_ways_of_seeding_is_measured_in_both() -> None:
    class Seeding:
        def __init__(self) -> None:
            self.seen: list[bool] = []
            setattr(self, SEEDS, True)

        def __call__(
            self, prompts: list[list[int]], group: int, sampling: Sampling, seeds: list[int] | None
        ) -> list[list[Completion]]:
            self.seen.append(getattr(self, SEEDS))
            return []

    def plain(
        prompts: list[list[int]], group: int, sampling: Sampling, seeds: list[int] | None
    ) -> list[list[Completion]]:
        return []

    engine = Seeding()
    both = ways("vllm", engine)
    for write in both.values():
        write([], 1, Sampling(1.0, 1.0, 1), [])
    assert list(both) == ["vllm (a generator each)", "vllm (one generator)"] and engine.seen == [True, False]
    assert ways("generate", plain) == {"generate": plain}


def test_a_fresh_policy_has_its_own_weights_and_keeps_ties(world: World) -> None:
    fresh = world.fresh().model
    for (name, mine), (_, first) in zip(fresh.named_parameters(), world.policy.model.named_parameters(), strict=True):
        assert torch.equal(mine, first) and mine.data_ptr() != first.data_ptr(), name
    assert fresh.get_input_embeddings().weight is fresh.get_output_embeddings().weight
    with torch.no_grad():
        next(fresh.parameters()).zero_()
    assert next(world.policy.model.parameters()).abs().sum() > 0


def test_theirs_is_never_deterministic_and_ours_is_what_the_product_set() -> None:
    before = torch.are_deterministic_algorithms_enabled()
    try:
        for product in (True, False):
            torch.use_deterministic_algorithms(product, warn_only=True)
            for ours in (True, False):
                with own_mode(ours):
                    assert torch.are_deterministic_algorithms_enabled() == (product and ours)
                assert torch.are_deterministic_algorithms_enabled() == product
    finally:
        torch.use_deterministic_algorithms(before, warn_only=True)
