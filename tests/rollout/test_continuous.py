"""What transformers' continuous batching does to a policy when things go wrong."""

import threading
import time
from typing import Any

import pytest
import torch
from transformers import ContinuousBatchingManager

from reinforce_lite.interrupt import Interrupted
from reinforce_lite.policy import Policy
from reinforce_lite.rollout import Sampling
from reinforce_lite.rollout.continuous import ContinuousEngine

PROMPTS = [[1, 9, 12, 20, 33], [1, 7], [1, 40, 41]]


def state(policy: Policy) -> tuple[Any, ...]:
    return policy.model.training, policy.model.config._attn_implementation, threading.active_count()


def test_a_failed_request_raises(policy: Policy, monkeypatch: pytest.MonkeyPatch) -> None:
    policy.model.train()
    before, forward, calls = state(policy), policy.model.forward, 0

    def failing(*arguments: Any, **named: Any) -> Any:
        nonlocal calls
        calls += 1
        if calls == 4:
            raise RuntimeError("no memory is left")
        return forward(*arguments, **named)

    monkeypatch.setattr(policy.model, "forward", failing)
    with pytest.raises(RuntimeError, match="failed a request: no memory is left"):
        ContinuousEngine(policy, 8)(PROMPTS, 2, Sampling(1.0, 1.0, 12), torch.Generator().manual_seed(0))
    assert state(policy) == before


def test_whoever_is_told_to_leave_does_not_wait_for_the_rest(policy: Policy, monkeypatch: pytest.MonkeyPatch) -> None:
    never = Policy(policy.model, policy.tokenizer, frozenset(), policy.pad_id)
    before = state(policy)

    def told(*_: Any, **__: Any) -> None:
        raise Interrupted("SIGTERM")

    monkeypatch.setattr(ContinuousBatchingManager, "get_result", told)
    began = time.monotonic()
    with pytest.raises(Interrupted):  # the tokens that are asked for would take minutes
        ContinuousEngine(never, 8)(PROMPTS, 2, Sampling(1.0, 1.0, 20_000))
    assert time.monotonic() - began < 20
    assert state(policy) == before


def test_attention_comes_back(policy: Policy) -> None:
    policy.model.set_attn_implementation("eager")
    ContinuousEngine(policy, 8)(PROMPTS, 2, Sampling(1.0, 1.0, 4), torch.Generator().manual_seed(0))
    assert policy.model.config._attn_implementation == "eager"
    policy.model(torch.tensor([[1, 5]]))  # on the paged attention this would fail


def test_rows_at_once_may_be_few(policy: Policy) -> None:
    groups = ContinuousEngine(policy, 1)(PROMPTS * 4, 3, Sampling(1.0, 1.0, 30), torch.Generator().manual_seed(0))
    assert [len(group) for group in groups] == [3] * 12
