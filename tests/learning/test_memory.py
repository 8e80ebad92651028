"""What one update holds at its peak, seen by a hook on every tensor that is made (on a CPU as on a GPU)."""

from typing import Any

import pytest
import torch
from live import Live
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves
from transformers import LlamaConfig, LlamaForCausalLM

from reinforce_lite.config import Training
from reinforce_lite.learning.batching import Sample
from reinforce_lite.learning.update import gradient
from reinforce_lite.policy import Policy
from reinforce_lite.rollout import Completion
from toys import toy_policy

VOCABULARY, CHUNK, PROMPT = 8192, 64, 16
SETTINGS = Training(steps=1, questions_per_step=1, max_new_tokens=4096, learning_rate=1e-5, logprob_chunk_tokens=CHUNK)


@pytest.fixture(scope="module")
def policy() -> Policy:
    """A narrow model with a large vocabulary, so that logits would be most of the memory; checkpointed as 3B is."""
    shape: dict[str, Any] = {"hidden_size": 32, "intermediate_size": 64, "num_hidden_layers": 2}
    heads = {"num_attention_heads": 2, "num_key_value_heads": 2, "max_position_embeddings": 8192}
    model = LlamaForCausalLM(LlamaConfig(vocab_size=VOCABULARY, tie_word_embeddings=True, **shape, **heads))
    model.gradient_checkpointing_enable(gradient_checkpointing_kwargs={"use_reentrant": False})
    return Policy(model.train(), toy_policy("llama").tokenizer, frozenset([2]), 0)


def update(policy: Policy, length: int) -> None:
    ids = torch.arange(PROMPT + length) % VOCABULARY
    completion = Completion(ids[:PROMPT].tolist(), ids[PROMPT:].tolist(), [-9.0] * length, "length")
    gradient(policy, [Sample(completion, 1.0)], 1, SETTINGS)


class Largest(TorchDispatchMode):
    """Remembers the most rows of any tensor whose last axis is the vocabulary."""

    def __init__(self) -> None:
        super().__init__()
        self.rows = 0

    def __torch_dispatch__(self, function: Any, types: Any, arguments: Any = (), keywords: Any = None) -> Any:
        made = function(*arguments, **(keywords or {}))
        for tensor in tree_leaves(made):
            if isinstance(tensor, torch.Tensor) and tensor.dim() and tensor.shape[-1] == VOCABULARY:
                self.rows = max(self.rows, tensor.numel() // VOCABULARY)
        return made


def test_no_tensor_holds_the_logits_of_a_whole_completion(policy: Policy) -> None:
    with Largest() as largest:
        update(policy, 1024)
    assert 0 < largest.rows <= CHUNK


def test_the_hook_would_see_them(policy: Policy) -> None:
    with Largest() as largest:
        policy.model(torch.zeros(1, 1024, dtype=torch.long)).logits.sum().backward()
    assert largest.rows == 1024


def peak_of_an_update(policy: Policy, length: int) -> int:
    """Bytes at the peak, less the gradients of the weights, which are made inside as well."""
    with Live() as live:
        update(policy, length)
    gradients = sum(weight.numel() * weight.element_size() for weight in policy.model.parameters())
    assert live.peak > gradients
    return live.peak - gradients


def test_the_hook_counts_what_lives() -> None:
    with Live() as live:
        kept = [torch.zeros(1000) for _ in range(3)]
        del kept[0]
        view = kept[0][:10] + 0
    assert live.bytes == 2 * 4000 + view.numel() * 4 and live.peak == 3 * 4000


def test_four_times_the_length_needs_less_than_four_and_a_half_times_the_memory(policy: Policy) -> None:
    short, long = peak_of_an_update(policy, 1024), peak_of_an_update(policy, 4096)
    assert 1 < long / short < 4.5
