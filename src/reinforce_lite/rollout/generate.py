"""The engine that works everywhere: a padded batch with a key-value cache.

A prompt is prefilled once for its whole group, and rows that have finished leave the batch.
Axes: P prompts, B rows still being written, V vocabulary.
"""

from dataclasses import dataclass
from typing import Any

import torch

from reinforce_lite.policy import Policy
from reinforce_lite.policy.logprobs import pad_left
from reinforce_lite.rollout import Completion, Sampling, checked


@dataclass(frozen=True)
class GenerateEngine:
    """Decode with the policy's own forward pass.

    Attributes:
        policy: its weights are used as they are at the time of the call.
        rows_at_once: completions decoded side by side.
    """

    policy: Policy
    rows_at_once: int

    def __call__(
        self, prompts: list[list[int]], group: int, sampling: Sampling, seeds: list[int] | None = None
    ) -> list[list[Completion]]:
        """See `Engine`.

        Raises:
            ValueError: a prompt is empty.
            RuntimeError: the completions are not those that were requested.
        """
        if not all(prompts):
            raise ValueError("a prompt has no tokens")
        seeds = seeds or [0] * len(prompts)
        prompts_at_once = max(1, self.rows_at_once // group)
        order = sorted(range(len(prompts)), key=lambda i: len(prompts[i]))  # neighbours in length waste no padding
        groups: list[list[Completion]] = [[] for _ in prompts]
        model, training = self.policy.model, self.policy.model.training
        model.eval()
        try:
            for begin in range(0, len(order), prompts_at_once):
                picked = order[begin : begin + prompts_at_once]
                written = self._decode([prompts[i] for i in picked], group, sampling, [seeds[i] for i in picked])
                for position, i in enumerate(picked):
                    groups[i] = written[position * group : (position + 1) * group]
        finally:
            model.train(training)
        return checked(groups, prompts, group, sampling, self.policy.stop_ids)

    @torch.inference_mode()
    def _decode(self, prompts: list[list[int]], group: int, sampling: Sampling, seeds: list[int]) -> list[Completion]:
        """Prefill P prompts, then write P x group rows token by token."""
        policy = self.policy
        tokens_BT, attention_BT = pad_left(prompts, policy.pad_id, policy.device)
        logits_BV, cache = _prefill(policy.model, tokens_BT, attention_BT)
        cache.batch_repeat_interleave(group)
        logits_BV = logits_BV.repeat_interleave(group, 0)
        attention_BT = attention_BT.repeat_interleave(group, 0)
        rows = [Completion(prompt, [], [], "length") for prompt in prompts for _ in range(group)]
        stop_V = torch.tensor(sorted(policy.stop_ids), device=policy.device)
        uniform_BT = uniforms(seeds, group, sampling.max_new_tokens).to(policy.device)
        alive_B = torch.arange(len(rows), device=policy.device)  # which row each line of the batch writes
        drawn: list[tuple[torch.Tensor, torch.Tensor, torch.Tensor]] = []
        for step in range(sampling.max_new_tokens):
            token_B, logprob_B = draw(logits_BV, sampling, uniform_BT[alive_B, step])
            drawn.append((alive_B, token_B, logprob_B))
            going_B = ~torch.isin(token_B, stop_V)
            if step + 1 == sampling.max_new_tokens or not going_B.any():
                break
            if not going_B.all():
                keep_B = going_B.nonzero().squeeze(-1)
                alive_B, token_B, attention_BT = alive_B[keep_B], token_B[keep_B], attention_BT[keep_B]
                cache.batch_select_indices(keep_B)
            attention_BT = torch.cat([attention_BT, attention_BT.new_ones(len(token_B), 1)], dim=1)
            logits_BV = policy.model(
                input_ids=token_B[:, None],
                attention_mask=attention_BT,
                position_ids=attention_BT.sum(1, keepdim=True) - 1,
                past_key_values=cache,
                use_cache=True,
            ).logits[:, -1]
        return _collect(rows, drawn, policy.stop_ids)


def uniforms(seeds: list[int], group: int, tokens: int) -> torch.Tensor:
    """The chance in every completion, [P x G, T] in [0, 1): a row's does not depend on which rows stand beside it.

    Drawn on the CPU, so that it is the same on every device.
    """
    generators = [torch.Generator().manual_seed(seed) for seed in seeds]
    return torch.cat([torch.rand(group, tokens, dtype=torch.float64, generator=each) for each in generators])


def draw(logits_BV: torch.Tensor, sampling: Sampling, uniform_B: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
    """Draw one token a row: the first whose cumulated probability is more than the row's number in [0, 1).

    Returns:
        (token_B, logprob_B): the log-probability is that of the distribution drawn from, after temperature and
        top-p; for the greedy choice, that of the policy itself.
    """
    logits_BV = logits_BV.float()
    if sampling.temperature == 0:
        token_B = logits_BV.argmax(-1)
    else:
        logits_BV = nucleus(logits_BV / sampling.temperature, sampling.top_p)
        # In float32 the sum over a large vocabulary would end too far from 1.
        cumulated_BV = logits_BV.softmax(-1).double().cumsum(-1)
        wanted_B = uniform_B * cumulated_BV[:, -1]
        token_B = torch.searchsorted(cumulated_BV, wanted_B[:, None], right=True).squeeze(-1)
        token_B.clamp_(max=logits_BV.shape[-1] - 1)  # a product may be rounded up to the whole sum
    return token_B, logits_BV.log_softmax(-1).gather(-1, token_B[:, None]).squeeze(-1)


def nucleus(logits_BV: torch.Tensor, top_p: float) -> torch.Tensor:
    """Rule out every token outside the smallest set whose probability reaches `top_p` (Holtzman et al. 2020).

    >>> nucleus(torch.tensor([[0.5, 0.3, 0.2]]).log(), 0.7).exp().round(decimals=1).tolist()
    [[0.5, 0.30000001192092896, 0.0]]
    """
    if top_p >= 1:
        return logits_BV
    sorted_BV, order_BV = logits_BV.sort(-1, descending=True)
    probability_BV = sorted_BV.softmax(-1)
    outside_BV = probability_BV.cumsum(-1) - probability_BV >= top_p  # the most likely token always stays
    return logits_BV.masked_fill(outside_BV.scatter(-1, order_BV, outside_BV), float("-inf"))


def _prefill(model: Any, tokens_BT: torch.Tensor, attention_BT: torch.Tensor) -> tuple[torch.Tensor, Any]:
    """Logits after the last prompt token, [P, V], and the cache."""
    from transformers import DynamicCache

    cache = DynamicCache(config=model.config)
    logits_BV = model(
        input_ids=tokens_BT,
        attention_mask=attention_BT,
        position_ids=(attention_BT.cumsum(1) - 1).clamp(min=0),
        past_key_values=cache,
        use_cache=True,
        logits_to_keep=1,
    ).logits[:, -1]
    return logits_BV, cache


def _collect(
    rows: list[Completion], drawn: list[tuple[torch.Tensor, torch.Tensor, torch.Tensor]], stop_ids: frozenset[int]
) -> list[Completion]:
    """Sort the drawn tokens into their rows; a row that ends in a stop id has finished."""
    for alive_B, token_B, logprob_B in drawn:
        for row, token, logprob in zip(alive_B.tolist(), token_B.tolist(), logprob_B.tolist(), strict=True):
            rows[row].token_ids.append(token)
            rows[row].logprobs.append(logprob)
    return [
        Completion(row.prompt_ids, row.token_ids, row.logprobs, "stop" if row.token_ids[-1] in stop_ids else "length")
        for row in rows
    ]
