"""The supervised start: plain next-token training on demonstrations, before the baseline is measured.

It warms up the tiny models, and teaches a pretrained one the answer format that the strict reward reads.
"""

import torch
from tqdm import tqdm

from reinforce_lite.policy import Policy
from reinforce_lite.policy.logprobs import chosen_logprobs, pad_right
from reinforce_lite.policy.optimizer import adamw, learning_rate, set_learning_rate
from reinforce_lite.settings import Start
from reinforce_lite.tasks import Demonstration
from reinforce_lite.tasks.prompts import messages


def supervised_start(
    policy: Policy, demonstrations: list[Demonstration], prompt: str, settings: Start
) -> list[dict[str, float]]:
    """Train the policy in place on the demonstrations, in their order (they may be a curriculum), over and over.

    The loss of a step is the mean over its completion tokens of -log p; the prompt carries none.

    Returns:
        One row a step: step, loss (nats a token), learning_rate.
    """
    stop_id = preferred_stop(policy)
    # A GPU's memory decides how many of a step's rows fit at once; the loss is the same.
    rows_at_once = min(settings.batch_size, 16 if policy.device.type == "cuda" else settings.batch_size)
    optimizer = adamw(policy.model, learning_rate=settings.learning_rate)
    warmup = max(1, settings.steps // 20)
    policy.model.train()
    history = []
    bar = tqdm(range(settings.steps), desc="supervised start", unit="step", mininterval=2)
    for step in bar:
        first = step * settings.batch_size
        picked = [demonstrations[i % len(demonstrations)] for i in range(first, first + settings.batch_size)]
        rows = [
            (policy.prompt_ids(messages(prompt, d.question)), [*completion_ids(policy, d.completion), stop_id])
            for d in picked
        ]
        tokens = sum(len(completion) for _, completion in rows)
        loss_sum = 0.0
        for begin in range(0, len(rows), rows_at_once):
            batch = pad_right(rows[begin : begin + rows_at_once], policy.pad_id, policy.device)
            logprobs_N, _ = chosen_logprobs(policy, batch, chunk_tokens=8192)
            loss = -logprobs_N.sum() / tokens
            torch.autograd.backward(loss)
            loss_sum += loss.item()
        torch.nn.utils.clip_grad_norm_(policy.model.parameters(), 1.0)
        rate = learning_rate(settings.learning_rate, "linear", step, settings.steps, warmup)
        set_learning_rate(optimizer, rate)
        optimizer.step()
        optimizer.zero_grad(set_to_none=True)
        history.append({"step": step, "loss": loss_sum, "learning_rate": rate})
        bar.set_postfix(loss=f"{loss_sum:.3f}", refresh=False)
    policy.model.eval()
    return history


def completion_ids(policy: Policy, text: str) -> list[int]:
    """Token ids of a demonstration's completion, as the policy itself would go on after the prompt."""
    return list(policy.tokenizer(text, add_special_tokens=False)["input_ids"])


def preferred_stop(policy: Policy) -> int:
    """The stop id that ends a demonstration: the tokenizer's own if the policy stops on it, else the lowest."""
    own = policy.tokenizer.eos_token_id
    return int(own) if own in policy.stop_ids else min(policy.stop_ids)
