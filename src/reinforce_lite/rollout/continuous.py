"""The engine of transformers' continuous batching: a row that ends makes room for the next one at once.

It needs nothing that is not installed already, and is worth it on a GPU with flash attention; without, it is slower
than `generate`, and each call costs about a second besides (the library collects garbage twice). Not run on a GPU yet.
What it does to a policy and how it fails, and what is done about that here:

- Keys and values of shared prefixes would outlive an update of the weights: every call has a manager and a cache of its
  own, and prefixes are not shared but forked within a group.
- It leaves the model in eval mode, with another attention, and seeds torch's own generator: all three are put back.
- It fails a request by an empty completion with `.error`: that raises here.
- Requests that arrive while it runs join whichever batch is next, so a seed would not fix the draws: all requests are
  there before it starts.
"""

import random
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import torch

from reinforce_lite.policy import Policy
from reinforce_lite.rollout import Completion, Sampling, checked

CPU_PAGE = 32
"""Tokens in a page of the cache on a CPU, where the library would reserve 80% of the machine's memory for pages of 256.
On a GPU it decides by itself; flash attention wants its 256."""
CPU_TOKENS = 1024
"""Tokens in one forward pass on a CPU, at least."""
POLL_SECONDS = 1.0


@dataclass(frozen=True)
class ContinuousEngine:
    """Decode with transformers' continuous batching.

    Attributes:
        policy: whose weights are used as they are at the time of the call.
        rows_at_once: completions decoded side by side, but never less than one group.
    """

    policy: Policy
    rows_at_once: int

    def __call__(
        self, prompts: list[list[int]], group: int, sampling: Sampling, seeds: list[int] | None = None
    ) -> list[list[Completion]]:
        """Write `group` completions for every prompt, in the order of the prompts.

        The library knows one seed for all draws: the same seeds, prompts and weights give the same completions on a
        CPU, but those of a prompt change with the others. On a GPU it overlaps batches, and nobody promises that.

        Raises:
            ValueError: a prompt is empty.
            RuntimeError: a request failed, or what was written is not what was asked for.
        """
        if not all(prompts):
            raise ValueError("a prompt has no tokens")
        if not prompts:
            return []
        seed = random.Random(str(seeds)).getrandbits(31) if sampling.temperature > 0 else 0
        # A group is forked from one prompt, whose last token each member reads by itself, so that their first tokens
        # are drawn apart. A prompt of one token has nothing to fork, and the library refuses to where nothing is drawn.
        forks = group if sampling.temperature > 0 and min(map(len, prompts)) > 1 else 1
        copies = group // forks
        requests = [prompt for prompt in prompts for _ in range(copies)]
        with _as_it_was(self.policy):
            manager = self.policy.model.init_continuous_batching(
                generation_config=self._generation(forks, sampling),
                continuous_batching_config=self._batching(prompts, group, sampling, seed),
            )
            written = _collect(manager, requests, forks, sampling.max_new_tokens)
        flat = [completion for request in written for completion in self._completions(request)]
        groups = [flat[begin : begin + group] for begin in range(0, len(flat), group)]
        return checked(groups, prompts, group, sampling, self.policy.stop_ids)

    def _generation(self, forks: int, sampling: Sampling) -> Any:
        """How tokens are drawn; nothing is taken from the model's own generation_config."""
        from transformers import GenerationConfig

        drawn = {"do_sample": True, "temperature": sampling.temperature, "top_p": sampling.top_p, "top_k": 0}
        return GenerationConfig(
            **(drawn if sampling.temperature > 0 else {"do_sample": False}),
            max_new_tokens=sampling.max_new_tokens,
            num_return_sequences=forks,
            eos_token_id=sorted(self.policy.stop_ids) or -1,  # -1: none
            pad_token_id=self.policy.pad_id,
        )

    def _batching(self, prompts: list[list[int]], group: int, sampling: Sampling, seed: int) -> Any:
        """How rows share the device."""
        from transformers import ContinuousBatchingConfig

        rows = min(max(self.rows_at_once, group), len(prompts) * group)
        longest = max(map(len, prompts))
        size: dict[str, int] = {}
        if self.policy.device.type == "cpu":
            pages = -(-(longest + sampling.max_new_tokens) // CPU_PAGE) + 1
            # Twice the pages: below a reserve of 15% the library lets nobody in, and a fork copies its whole page.
            tokens = max(CPU_TOKENS, rows, longest)
            size = {"page_size": CPU_PAGE, "num_blocks": 2 * rows * pages, "max_batch_tokens": tokens}
        half = self.policy.model.dtype in (torch.bfloat16, torch.float16)
        return ContinuousBatchingConfig(
            max_requests_per_batch=rows,
            allow_block_sharing=False,
            auto_switch_to_flash=half and self.policy.device.type == "cuda",  # it knows no float32
            return_logprobs=True,
            seed=seed,
            **size,
        )

    def _completions(self, outputs: list[Any]) -> list[Completion]:
        """The completions of one request.

        Raises:
            RuntimeError: one of them failed.
        """
        for output in outputs:
            if output.error is not None:
                raise RuntimeError(f"continuous batching failed a request: {output.error}")
        stop_ids = self.policy.stop_ids
        return [
            Completion(
                list(output.prompt_ids),
                list(output.generated_tokens),
                list(output.logprobs),
                "stop" if output.generated_tokens and output.generated_tokens[-1] in stop_ids else "length",
            )
            for output in outputs
        ]


def _collect(manager: Any, requests: list[list[int]], forks: int, max_new_tokens: int) -> list[list[Any]]:
    """Run all requests to their end; `forks` outputs for each, children and parent in a fixed order.

    Raises:
        RuntimeError: the thread that generates has died.
    """
    found: dict[str, Any] = {}
    try:
        ids = manager.add_requests(requests, max_new_tokens=max_new_tokens)
        manager.start()
        while len(found) < len(requests) * forks:
            running = manager.is_running()
            output = manager.get_result(timeout=POLL_SECONDS)
            if output is not None:
                found[output.request_id] = output
            elif not running:
                raise RuntimeError(f"continuous batching stopped after {len(found)} of {len(requests) * forks} rows")
    finally:
        # Whoever leaves early (SIGTERM, an error) does not wait for the rest.
        manager.stop(block=True, hard_stop=len(found) < len(requests) * forks)
        manager.destroy()
    members: dict[str, list[str]] = {i: [] for i in ids}
    for name in sorted(found):
        members[name.partition("__child#")[0]].append(name)
    return [[found[name] for name in members[i]] for i in ids]


@contextmanager
def _as_it_was(policy: Policy) -> Iterator[None]:
    """Put mode and attention of the model, and the state of torch's own generators, back."""
    model, device = policy.model, policy.device
    training, attention = model.training, model.config._attn_implementation
    with torch.random.fork_rng([device] if device.type == "cuda" else []):
        try:
            yield
        finally:
            if model.config._attn_implementation != attention:
                model.set_attn_implementation(attention)
            model.train(training)
