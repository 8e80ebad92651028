"""The supervised start: plain next-token training on demonstrations, before the baseline is measured.

It warms up the tiny models, and teaches a pretrained one the answer format that the strict reward reads.
"""

from collections.abc import Callable, Mapping
from typing import Any

import torch

from reinforce_lite.config import Start
from reinforce_lite.learning.progress import Keeper, steps_bar
from reinforce_lite.optim.optimizer import adamw, learning_rate, set_learning_rate
from reinforce_lite.policy import Policy
from reinforce_lite.policy.logprobs import chosen_logprobs, packed, pad_right, row_length
from reinforce_lite.policy.turns import end_of_turn
from reinforce_lite.tasks import Demonstration, Task


def supervised_start(
    policy: Policy,
    demonstrations: list[Demonstration],
    task: Task[Any],
    prompt: str,
    settings: Start,
    progress: Keeper | None = None,
    *,
    stop: Callable[[int], str | None] = lambda completed: None,
    on_step: Callable[[int], Mapping[str, str]] = lambda completed: {},
) -> list[dict[str, float]]:
    """Train the policy in place on the demonstrations, in their order (they may be a curriculum), over and over.

    The loss of a step is the mean over its completion tokens of -log p; the prompt carries none.

    The policy is the one before the first step, also when `progress` has kept some; without `progress`, completed steps
    are lost with the process. `stop` is asked after each step, with the number of completed ones; a reason ends the
    start. The progress bar shows what `on_step` returns, which is called likewise.

    Returns:
        One row a step: step, loss (nats a token), learning_rate, seconds_checkpoint.

    Raises:
        UserError: `progress` holds another start.
    """
    progress = progress or Keeper()
    optimizer = adamw(policy.model, learning_rate=settings.learning_rate)
    warmup = max(1, settings.steps // 20)
    policy.model.train()
    with progress.resumed(policy, optimizer) as completed:
        for step in (bar := steps_bar(completed, settings.steps, "supervised start")):
            first = step * settings.batch_size
            picked = [demonstrations[i % len(demonstrations)] for i in range(first, first + settings.batch_size)]
            loss = gradient(policy, picked, task, prompt, settings.micro_batch_tokens)
            rate = learning_rate(settings.learning_rate, "linear", step, settings.steps, warmup)
            set_learning_rate(optimizer, rate)
            with progress.step():
                optimizer.step()
                optimizer.zero_grad(set_to_none=True)
                row = {"step": step, "loss": loss, "learning_rate": rate}
                progress.record({**row, "seconds_checkpoint": progress.seconds})
            bar.set_postfix({"loss": f"{loss:.3f}", **on_step(step + 1)}, refresh=False)
            if stop(step + 1) is not None:
                break
    policy.model.eval()
    return progress.rows()


PASS_TOKENS = 16384
"""Padded tokens of one forward pass on a GPU: 64 worked solutions of GSM8K are one or two passes. Nothing is recomputed
here, so SmolLM2-135M keeps about 12 GB for so many, and 8,192 rows of its logits with their gradients are another 8
(computed, not measured)."""


def gradient(
    policy: Policy, picked: list[Demonstration], task: Task[Any], prompt: str, pass_tokens: int | None = None
) -> float:
    """Accumulate the clipped gradient of the loss over some demonstrations, and return the loss.

    Rows of like length share a pass of at most `pass_tokens` padded tokens, which does not change the loss. By default
    these are PASS_TOKENS on a GPU; on a CPU there is one pass, in the order of the demonstrations.
    """
    if pass_tokens is None and policy.device.type == "cuda":
        pass_tokens = PASS_TOKENS
    stop_id = preferred_stop(policy)
    rows = [
        (policy.prompt_ids(task.messages(prompt, d.question)), [*completion_ids(policy, d.completion), stop_id])
        for d in picked
    ]
    tokens = sum(len(completion) for _, completion in rows)
    loss = torch.zeros((), device=policy.device)
    for some in [rows] if pass_tokens is None else packed(rows, pass_tokens, length=row_length):
        logprobs_N, _ = chosen_logprobs(policy, pad_right(some, policy.pad_id, policy.device), chunk_tokens=8192)
        share = -logprobs_N.sum() / tokens
        torch.autograd.backward(share)
        loss += share.detach()
    torch.nn.utils.clip_grad_norm_(policy.model.parameters(), 1.0)
    return loss.item()  # the one place where a step waits for the GPU


def completion_ids(policy: Policy, text: str) -> list[int]:
    """Token ids of a demonstration's completion, as the policy itself would go on after the prompt."""
    return list(policy.tokenizer(text, add_special_tokens=False)["input_ids"])


def preferred_stop(policy: Policy) -> int:
    """The stop id that ends a demonstration: what the chat template writes there.

    If it writes nothing, the tokenizer's own if the policy stops on it, else the lowest.
    """
    end, own = end_of_turn(policy.tokenizer), policy.tokenizer.eos_token_id
    if end is not None:
        return end
    return int(own) if own in policy.stop_ids else min(policy.stop_ids)
