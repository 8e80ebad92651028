"""The engine against transformers' own generate, and against a recompute of its log-probs."""

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from reinforce_lite.policy import Policy
from reinforce_lite.policy.logprobs import chosen_logprobs, pad_right
from reinforce_lite.rollout import Sampling
from reinforce_lite.rollout.generate import GenerateEngine, draw, nucleus

GREEDY = Sampling(temperature=0, top_p=1, max_new_tokens=10)
PROMPTS = [[1, 9, 12, 20, 33], [1, 7], [1, 40, 41]]


def sharpen(policy: Policy) -> None:
    """Make an untrained policy's choices distinct, and its end likely enough to be seen."""
    torch.manual_seed(1)
    with torch.no_grad():
        for weight in policy.model.parameters():
            weight.add_(torch.randn_like(weight) * 0.15)


def test_greedy_equals_generate_of_transformers(policy: Policy) -> None:
    sharpen(policy)
    ours = GenerateEngine(policy, rows_at_once=8)(PROMPTS, 1, GREEDY, None)
    for prompt, (completion,) in zip(PROMPTS, ours, strict=True):
        theirs = policy.model.generate(
            torch.tensor([prompt]), do_sample=False, max_new_tokens=10, pad_token_id=policy.pad_id,
            eos_token_id=sorted(policy.stop_ids),
        )[0, len(prompt) :].tolist()  # fmt: skip
        assert completion.token_ids == theirs
        assert completion.prompt_ids == prompt


def test_every_stop_id_ends_a_completion(policy: Policy) -> None:
    sharpen(policy)
    never = Policy(policy.model, policy.tokenizer, frozenset(), policy.pad_id)
    first = GenerateEngine(never, 8)(PROMPTS, 1, GREEDY, None)[0][0].token_ids
    stop = first[4]
    stopping = Policy(policy.model, policy.tokenizer, frozenset({stop, 2}), policy.pad_id)
    ended = GenerateEngine(stopping, 8)(PROMPTS, 1, GREEDY, None)[0][0]
    assert ended.finish_reason == "stop"
    end = min(first.index(i) for i in (stop, 2) if i in first)
    assert ended.token_ids == first[: end + 1]  # the stop id is part of the completion, and trained


def test_logprobs_are_those_of_a_recompute(policy: Policy) -> None:
    sharpen(policy)
    groups = GenerateEngine(policy, rows_at_once=64)(PROMPTS, 6, Sampling(1.0, 1.0, 12), [0, 1, 2])
    flat = [completion for group in groups for completion in group]
    assert {c.finish_reason for c in flat} == {"stop", "length"}, "the test should see both ends"
    batch = pad_right([(c.prompt_ids, c.token_ids) for c in flat], policy.pad_id, policy.device)
    recomputed, _ = chosen_logprobs(policy, batch, 64)
    sampled = torch.tensor([x for c in flat for x in c.logprobs])
    assert torch.allclose(sampled, recomputed, atol=1e-4)


def test_groups_keep_the_order_of_the_prompts_whatever_the_batch(policy: Policy) -> None:
    sharpen(policy)
    at_once = GenerateEngine(policy, rows_at_once=64)(PROMPTS, 2, GREEDY, None)
    one_by_one = GenerateEngine(policy, rows_at_once=2)(PROMPTS, 2, GREEDY, None)
    assert [[c.token_ids for c in group] for group in at_once] == [[c.token_ids for c in group] for group in one_by_one]
    assert [group[0].prompt_ids for group in at_once] == PROMPTS
    assert all(len(group) == 2 for group in at_once)


def test_the_limit_is_the_limit_and_train_mode_comes_back(policy: Policy) -> None:
    policy.model.train()
    never = Policy(policy.model, policy.tokenizer, frozenset({len(policy.tokenizer) - 1}), policy.pad_id)
    ((completion,),) = GenerateEngine(never, 8)([[1, 5]], 1, Sampling(0, 1, 4), None)
    assert len(completion.token_ids) == len(completion.logprobs) == 4
    assert completion.finish_reason == "length"
    assert policy.model.training


def test_an_empty_prompt_is_refused(policy: Policy) -> None:
    with pytest.raises(ValueError, match="no tokens"):
        GenerateEngine(policy, 8)([[]], 1, GREEDY, None)


def test_sampling_follows_the_policy(policy: Policy) -> None:
    sharpen(policy)
    groups = GenerateEngine(policy, 4096)([[1, 5]], 4000, Sampling(1.0, 1.0, 1), [0])
    drawn = torch.bincount(torch.tensor([c.token_ids[0] for c in groups[0]]), minlength=len(policy.tokenizer)) / 4000
    expected = policy.model(torch.tensor([[1, 5]])).logits[0, -1].softmax(-1)
    assert (drawn - expected).abs().max() < 0.03  # 4 standard errors of a share near one half


def test_what_is_drawn_after_a_prompt_does_not_depend_on_the_others(policy: Policy) -> None:
    sharpen(policy)
    sampling = Sampling(1.0, 0.9, 12)
    together = GenerateEngine(policy, rows_at_once=64)(PROMPTS, 4, sampling, [5, 6, 7])
    (alone,) = GenerateEngine(policy, rows_at_once=2)([PROMPTS[1]], 4, sampling, [6])
    assert [c.token_ids for c in alone] == [c.token_ids for c in together[1]]
    assert len({tuple(c.token_ids) for c in alone}) > 1
    other = GenerateEngine(policy, rows_at_once=64)([PROMPTS[1]], 4, sampling, [8])[0]
    assert [c.token_ids for c in other] != [c.token_ids for c in alone]


def test_a_draw_by_hand() -> None:
    logits_BV = torch.tensor([[0.5, 0.3, 0.2]]).log().repeat(4, 1)
    uniform_B = torch.tensor([0.0, 0.49, 0.51, 0.999], dtype=torch.float64)
    token_B, logprob_B = draw(logits_BV, Sampling(1.0, 1.0, 1), uniform_B)
    assert token_B.tolist() == [0, 0, 1, 2]
    assert torch.allclose(logprob_B.exp(), torch.tensor([0.5, 0.5, 0.3, 0.2]))
    token_B, logprob_B = draw(logits_BV, Sampling(1.0, 0.7, 1), uniform_B)  # the last one is ruled out
    assert token_B.tolist() == [0, 0, 0, 1] and torch.allclose(logprob_B.exp()[3], torch.tensor(0.375))


@given(st.lists(st.floats(-5, 5), min_size=2, max_size=8, unique=True), st.floats(0.05, 0.99))
def test_nucleus_is_the_smallest_set_that_reaches_top_p(logits: list[float], top_p: float) -> None:
    probability = torch.tensor(logits, dtype=torch.float64).softmax(-1)
    kept = nucleus(torch.tensor([logits], dtype=torch.float64), top_p)[0].isfinite()
    assert probability[kept].sum() >= top_p - 1e-9
    smallest = probability[kept].min()
    assert probability[kept].sum() - smallest < top_p + 1e-9
    assert not (probability[~kept] > smallest).any()
