"""Advantage estimators: a group's rewards in, the weight of each completion's log-probability out.

Axes: P problems, G completions of one problem (the group).

Left out of the textbook: no critic (the group is the baseline), no ratio and no clip (a batch is used once), no KL
penalty (the gradient norm is clipped instead).
"""

from collections.abc import Callable

import torch

Estimator = Callable[[torch.Tensor], torch.Tensor]


def leave_one_out(rewards_PG: torch.Tensor, scale_by_std: bool = False) -> torch.Tensor:
    """Reward minus the mean reward of the other members (RLOO; Kool et al. 2019, Ahmadian et al. 2024).

    Every member carries a gradient, and the baseline does not depend on the member itself, so the estimate is unbiased.
    With `scale_by_std` it is divided by the group's standard deviation as GRPO does, which favours questions that are
    nearly always or nearly never solved (Liu et al. 2025, "Dr. GRPO").

    Returns:
        advantages_PG.

    >>> leave_one_out(torch.tensor([[1.0, -1.0]])).tolist()
    [[2.0, -2.0]]
    """
    group = rewards_PG.shape[1]
    centred_PG = rewards_PG - rewards_PG.mean(1, keepdim=True)
    advantages_PG = centred_PG * group / (group - 1)  # = r_i - mean of the others
    if scale_by_std:
        advantages_PG = advantages_PG / (rewards_PG.std(1, keepdim=True) + 1e-8)
    return advantages_PG


def as_published(rewards_PG: torch.Tensor) -> torch.Tensor:
    """The published estimator: only completion 0 carries a gradient, the others are its baseline.

    (r_0 - mean(r_1..)) / (std(r_1..) + 1e-8), clamped to [-2, 2]; `std` is torch's, with G - 2 in the denominator.

    Returns:
        advantages_PG, zero but for column 0.

    >>> as_published(torch.tensor([[1.0, 1.0, -1.0, -1.0]])).round(decimals=4).tolist()
    [[1.1547000408172607, 0.0, 0.0, 0.0]]
    """
    first_P, others_PG = rewards_PG[:, 0], rewards_PG[:, 1:]
    advantages_PG = torch.zeros_like(rewards_PG)
    advantages_PG[:, 0] = ((first_P - others_PG.mean(1)) / (others_PG.std(1) + 1e-8)).clamp(-2, 2)
    return advantages_PG


def supervised(rewards_PG: torch.Tensor) -> torch.Tensor:
    """Weight 1 whatever the reward: of worked solutions, the policy gradient is then that of maximum likelihood.

    Returns:
        advantages_PG.

    >>> supervised(torch.tensor([[1.0], [-1.0]])).tolist()
    [[1.0], [1.0]]
    """
    return torch.ones_like(rewards_PG)


def normaliser(name: str, problems: int, group: int) -> int:
    """What the sum over completions is divided by: the completions that *may* carry a gradient in one step.

    Fixed before any group is dropped and before micro-batching, so that neither changes the size of a step.
    """
    return problems if name in ("as_published", "supervised") else problems * group


def estimator(name: str, scale_by_std: bool) -> Estimator:
    """The estimator of this name."""
    if name == "as_published":
        return as_published
    if name == "supervised":
        return supervised
    return lambda rewards_PG: leave_one_out(rewards_PG, scale_by_std)
