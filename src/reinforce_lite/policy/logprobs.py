"""Log-probabilities of chosen tokens, without ever holding the logits of a whole batch.

Axes: B rows, P distinct prompts, T tokens, D width, V vocabulary, N chosen tokens.
"""

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from typing import Any, TypeVar

import torch
from torch.utils.checkpoint import checkpoint

from reinforce_lite.policy import Policy

Row = tuple[list[int], list[int]]
"""Prompt ids and completion ids."""
Item = TypeVar("Item")


def row_length(row: Row) -> int:
    """Tokens of prompt and completion."""
    return len(row[0]) + len(row[1])


def packed(rows: Iterable[Item], budget_tokens: int, length: Callable[[Item], int]) -> list[list[Item]]:
    """Sort by length, longest first, and cut so that rows x longest row stays within the budget.

    One row may exceed the budget alone; rows of one length keep their order.

    >>> packed(["a", "four", "two", "fo"], budget_tokens=6, length=len)
    [['four'], ['two', 'fo'], ['a']]
    """
    batches: list[list[Item]] = []
    for row in sorted(rows, key=length, reverse=True):
        # The first row of a batch is its longest, so it sets the padded width.
        if batches and length(batches[-1][0]) * (len(batches[-1]) + 1) <= budget_tokens:
            batches[-1].append(row)
        else:
            batches.append([row])
    return batches


@dataclass(frozen=True)
class Batch:
    """Rows of prompt + completion, padded on the right.

    Attributes:
        tokens_BT: token ids.
        attention_BT: 1 where there is a token, 0 where there is padding.
        before_N: places in the flattened batch, each the one before a token whose log-probability is wanted.
        chosen_N: these tokens (the completions, their stop ids included), row after row.
    """

    tokens_BT: torch.Tensor
    attention_BT: torch.Tensor
    before_N: torch.Tensor
    chosen_N: torch.Tensor


def pad_right(rows: Sequence[Row], pad_id: int, device: torch.device) -> Batch:
    """Make a batch of (prompt ids, completion ids) rows; padding is marked by position, whatever `pad_id` is.

    >>> batch = pad_right([([5, 6], [7]), ([5], [8, 9, 2])], 0, torch.device("cpu"))
    >>> batch.tokens_BT.tolist(), batch.before_N.tolist(), batch.chosen_N.tolist()
    ([[5, 6, 7, 0], [5, 8, 9, 2]], [1, 4, 5, 6], [7, 8, 9, 2])
    """
    width = max(map(row_length, rows))
    tokens_BT = torch.full((len(rows), width), pad_id, dtype=torch.long)
    attention_BT = torch.zeros_like(tokens_BT)
    before: list[int] = []
    for row, (prompt, completion) in enumerate(rows):
        end = len(prompt) + len(completion)
        tokens_BT[row, :end] = torch.tensor(prompt + completion)
        attention_BT[row, :end] = 1
        before += range(row * width + len(prompt) - 1, row * width + end - 1)
    chosen = [token for _, completion in rows for token in completion]
    parts = tokens_BT, attention_BT, torch.tensor(before), torch.tensor(chosen)
    return Batch(*(sent(part, device) for part in parts))


def sent(tensor: torch.Tensor, device: torch.device) -> torch.Tensor:
    """A CPU tensor on its way to the device, without waiting for the device."""
    return tensor.pin_memory().to(device, non_blocking=True) if device.type == "cuda" else tensor.to(device)


def pad_left(prompts: Sequence[Sequence[int]], pad_id: int, device: torch.device) -> tuple[torch.Tensor, torch.Tensor]:
    """Token ids and attention mask, [P, T] each, padded on the left so that all prompts end together."""
    width = max(map(len, prompts))
    tokens = [[pad_id] * (width - len(prompt)) + list(prompt) for prompt in prompts]
    attention = [[0] * (width - len(prompt)) + [1] * len(prompt) for prompt in prompts]
    return torch.tensor(tokens, device=device), torch.tensor(attention, device=device)


def completion_logprobs(
    policy: Policy, rows: Sequence[Row], chunk_tokens: int, temperature: float = 1.0, entropy_learns: bool = False
) -> tuple[torch.Tensor, torch.Tensor]:
    """As `chosen_logprobs`, of every completion's tokens; a prompt that several rows begin with is computed once."""
    return _heads(policy.model, *states_before(policy, rows), chunk_tokens, temperature, entropy_learns)


def states_before(policy: Policy, rows: Sequence[Row]) -> tuple[torch.Tensor, torch.Tensor]:
    """Last hidden states of the places before the completions' tokens, [N, D], and those tokens, [N]."""
    if shares_prompts(policy):
        return _after_shared_prompts(policy, rows)
    return _states(policy, pad_right(rows, policy.pad_id, policy.device))


def shares_prompts(policy: Policy) -> bool:
    """Whether a prompt's keys and values are kept for its group: not where layers are recomputed to save memory.

    There a backward pass has no cache, nor may a measurement have one: it takes many times the memory of a layer.
    """
    return not policy.model.is_gradient_checkpointing


def _after_shared_prompts(policy: Policy, rows: Sequence[Row]) -> tuple[torch.Tensor, torch.Tensor]:
    """Hidden states that predict the completions' tokens, [N, D], and those tokens, [N].

    The gradient reaches a prompt through the keys and values of all rows that begin with it.
    """
    from transformers import DynamicCache

    inner, device = policy.model.base_model, policy.device
    places = {prompt: place for place, prompt in enumerate(dict.fromkeys(tuple(prompt) for prompt, _ in rows))}
    which_B = sent(torch.tensor([places[tuple(prompt)] for prompt, _ in rows]), device)
    tokens_PT, attention_PT = pad_left(list(places), policy.pad_id, device)
    cache, positions_PT = DynamicCache(config=policy.model.config), (attention_PT.cumsum(1) - 1).clamp(min=0)
    known = {"attention_mask": attention_PT, "position_ids": positions_PT, "past_key_values": cache}
    last_PD = inner(input_ids=tokens_PT, use_cache=True, **known).last_hidden_state[:, -1]
    hidden_BTD = last_PD[which_B][:, None]  # predicts the first token of a completion
    lengths = [len(completion) for _, completion in rows]
    longest, lengths_B = max(lengths), sent(torch.tensor(lengths), device)
    if longest > 1:
        cache.batch_select_indices(which_B)
        read = [completion[:-1] + [policy.pad_id] * (longest - len(completion)) for _, completion in rows]
        after_T = torch.arange(longest - 1, device=device)
        attention_BT = torch.cat([attention_PT[which_B], (after_T < lengths_B[:, None] - 1).long()], 1)
        positions_BT = attention_PT.sum(1)[which_B][:, None] + after_T
        known = {"attention_mask": attention_BT, "position_ids": positions_BT, "past_key_values": cache}
        states_BTD = inner(input_ids=sent(torch.tensor(read), device), use_cache=True, **known).last_hidden_state
        hidden_BTD = torch.cat([hidden_BTD, states_BTD], 1)
    written_N = torch.tensor([row * longest + place for row, n in enumerate(lengths) for place in range(n)])
    targets_N = torch.tensor([token for _, completion in rows for token in completion])
    return hidden_BTD.flatten(0, 1)[sent(written_N, device)], sent(targets_N, device)


def chosen_logprobs(
    policy: Policy, batch: Batch, chunk_tokens: int, temperature: float = 1.0, entropy_learns: bool = False
) -> tuple[torch.Tensor, torch.Tensor]:
    """Log-probability of every chosen token given all tokens before it, over the whole vocabulary.

    The network runs once up to its last hidden state; the logits are then taken `chunk_tokens` rows at a time, in
    float32, divided by `temperature`, and recomputed in the backward pass.

    Returns:
        (logprobs_N with gradient, entropies_N with one if `entropy_learns`), float32, rows one after the other, tokens
        in order.
    """
    return _heads(policy.model, *_states(policy, batch), chunk_tokens, temperature, entropy_learns)


def _states(policy: Policy, batch: Batch) -> tuple[torch.Tensor, torch.Tensor]:
    inner = policy.model.base_model
    hidden_BTD = inner(input_ids=batch.tokens_BT, attention_mask=batch.attention_BT, use_cache=False).last_hidden_state
    return hidden_BTD.flatten(0, 1)[batch.before_N], batch.chosen_N  # a place predicts the token after it


def _heads(
    model: Any, hidden_ND: torch.Tensor, targets_N: torch.Tensor, chunk_tokens: int, *how: float
) -> tuple[torch.Tensor, torch.Tensor]:
    pieces = [
        checkpoint(_head, model, hidden, targets, *how, use_reentrant=False, preserve_rng_state=False)
        for hidden, targets in zip(hidden_ND.split(chunk_tokens), targets_N.split(chunk_tokens), strict=True)
    ]
    return torch.cat([piece[0] for piece in pieces]), torch.cat([piece[1] for piece in pieces])


def _head(
    model: Any, hidden_ND: torch.Tensor, targets_N: torch.Tensor, temperature: float, entropy_learns: bool
) -> tuple[torch.Tensor, torch.Tensor]:
    logits_NV = model.get_output_embeddings()(hidden_ND).float()
    softcap = getattr(model.config, "final_logit_softcapping", None)
    if softcap:
        logits_NV = torch.tanh(logits_NV / softcap) * softcap
    if temperature != 1:
        logits_NV = logits_NV / temperature
    logprobs_NV = torch.log_softmax(logits_NV, dim=-1)
    with torch.set_grad_enabled(entropy_learns and torch.is_grad_enabled()):
        entropy_N = -(logprobs_NV.exp() * logprobs_NV).sum(-1)
    return logprobs_NV.gather(-1, targets_N[:, None]).squeeze(-1), entropy_N


def check_head(policy: Policy) -> None:
    """Refuse a model whose logits are not its output embedding of its last hidden state.

    Raises:
        ValueError: the model scales or shifts its logits in a way that `chosen_logprobs` does not know.
    """
    vocabulary = policy.model.get_output_embeddings().weight.shape[0]
    tokens_BT = torch.linspace(0, vocabulary - 1, 16, device=policy.device).long()[None]
    batch = Batch(tokens_BT, torch.ones_like(tokens_BT), torch.arange(15, device=policy.device), tokens_BT[0, 1:])
    with torch.no_grad():
        ours_N, _ = chosen_logprobs(policy, batch, chunk_tokens=1)
        logits_BTV = policy.model(input_ids=tokens_BT, use_cache=False).logits.float()
    theirs_N = torch.log_softmax(logits_BTV[0, :-1], -1).gather(-1, tokens_BT[0, 1:, None]).squeeze(-1)
    if not torch.allclose(ours_N, theirs_N, atol=1e-2, rtol=1e-2):
        raise ValueError(f"{type(policy.model).__name__} changes its logits after the output embedding")
