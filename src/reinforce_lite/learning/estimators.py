"""Advantage estimators: a step's rewards in, the weight of each completion's log-probability out.

Axes: P problems, G completions of one problem (the group).

Left out of the textbook: no critic (the group is the baseline), no ratio and no clip (a batch is used once), no KL
penalty (the gradient norm is clipped instead). All of them can be put back by configuration.
"""

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from importlib import import_module

import torch

from reinforce_lite.learning import ESTIMATORS


def leave_one_out(rewards_PG: torch.Tensor, scale_by_std: bool = False) -> torch.Tensor:
    """advantages_PG: reward minus the mean reward of the other members (RLOO; Kool et al. 2019, Ahmadian et al. 2024).

    Every member carries a gradient, and the baseline does not depend on the member itself, so the estimate is unbiased.
    With `scale_by_std` it is divided by the group's standard deviation as GRPO does, which favours questions that are
    nearly always or nearly never solved (Liu et al. 2025, "Dr. GRPO").

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
    """The published advantages_PG: only completion 0 carries a gradient, the others are its baseline.

    (r_0 - mean(r_1..)) / (std(r_1..) + 1e-8), clamped to [-2, 2]; `std` is torch's, with G - 2 in the denominator.

    >>> as_published(torch.tensor([[1.0, 1.0, -1.0, -1.0]])).round(decimals=4).tolist()
    [[1.1547000408172607, 0.0, 0.0, 0.0]]
    """
    first_P, others_PG = rewards_PG[:, 0], rewards_PG[:, 1:]
    advantages_PG = torch.zeros_like(rewards_PG)
    advantages_PG[:, 0] = ((first_P - others_PG.mean(1)) / (others_PG.std(1) + 1e-8)).clamp(-2, 2)
    return advantages_PG


def reinforce_pp(rewards_PG: torch.Tensor) -> torch.Tensor:
    """advantages_PG: reward minus the mean of the whole step, over its standard deviation (REINFORCE++, Hu 2025).

    A group of equal rewards teaches too. Each completion counts once; the code that Logic-RL ran weighs it by its
    tokens. The rest of REINFORCE++ is configuration: `ratio_clip`, and `kl_coefficient` for a KL in the loss.

    >>> reinforce_pp(torch.tensor([[1.0, 1.0], [1.0, -1.0]])).tolist()
    [[0.5, 0.5], [0.5, -1.5]]
    """
    exact_PG = rewards_PG.double()  # rewards that are all 0.1 have that mean in float32 only up to 1e-8
    return ((exact_PG - exact_PG.mean()) / (exact_PG.std() + 1e-8)).to(rewards_PG.dtype)


def returns(rewards_PG: torch.Tensor) -> torch.Tensor:
    """The rewards themselves: what is to be expected of them, token by token, a critic says (learning/critic.py).

    >>> returns(torch.tensor([[1.0, -1.0]])).tolist()
    [[1.0, -1.0]]
    """
    return rewards_PG


def supervised(rewards_PG: torch.Tensor) -> torch.Tensor:
    """advantages_PG of 1: the policy gradient of worked solutions is then that of maximum likelihood.

    >>> supervised(torch.tensor([[1.0], [-1.0]])).tolist()
    [[1.0], [1.0]]
    """
    return torch.ones_like(rewards_PG)


@dataclass(frozen=True)
class Estimator:
    """How the rewards of a whole step, those of all processes, become the weights of its completions.

    Attributes:
        advantages: rewards_PG -> advantages_PG.
        one_carries: one completion of a problem carries a gradient, not its whole group.
        drops_equal: a group of equal rewards teaches nothing: its completions get no weight, and no pass.
    """

    advantages: Callable[[torch.Tensor], torch.Tensor]
    one_carries: bool = False
    drops_equal: bool = True

    def __call__(self, rewards_PG: torch.Tensor) -> torch.Tensor:
        """advantages_PG of a step."""
        advantages_PG = self.advantages(rewards_PG)
        if not self.drops_equal:
            return advantages_PG
        equal_P = (rewards_PG == rewards_PG[:, :1]).all(1)
        return advantages_PG.masked_fill(equal_P[:, None], 0.0)  # rounding must not make it look as if it taught

    def denominator(self, problems: int, group: int) -> int:
        """What the sum over completions is divided by: those that *may* carry a gradient in one step.

        Fixed before any group is dropped and before micro-batching, so that neither changes the size of a step.
        """
        return problems if self.one_carries else problems * group


LEAVE_ONE_OUT = Estimator(leave_one_out)
AS_PUBLISHED = Estimator(as_published, one_carries=True)
REINFORCE_PP = Estimator(reinforce_pp, drops_equal=False)
CRITIC = Estimator(returns, drops_equal=False)
SUPERVISED = Estimator(supervised, one_carries=True, drops_equal=False)


def estimator(name: str, scale_by_std: bool = False) -> Estimator:
    """The estimator of this name; `scale_by_std` is for leave-one-out."""
    if scale_by_std and name == "leave_one_out":
        return Estimator(partial(leave_one_out, scale_by_std=True))
    module, _, attribute = ESTIMATORS[name].partition(":")
    chosen: Estimator = getattr(import_module(module), attribute)
    return chosen
