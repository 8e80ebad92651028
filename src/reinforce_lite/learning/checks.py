"""What ends a training with a message: too few questions, an engine with other weights, steps that are not finite."""

import math
from typing import Any

import torch

from reinforce_lite.config import Training
from reinforce_lite.errors import UserError
from reinforce_lite.learning import parallel
from reinforce_lite.learning.update import UpdateResult
from reinforce_lite.policy import Policy


def check_processes(settings: Training) -> None:
    """Every process needs a question.

    Raises:
        UserError: there are too few.
    """
    if parallel.processes() > settings.questions_per_step:
        raise UserError(
            f"{parallel.processes()} processes share {settings.questions_per_step} questions a step",
            "raise training.questions_per_step or lower hardware.count",
        )


def check_engine(policy: Policy, result: UpdateResult, settings: Training) -> None:
    """Refuse to learn from completions that another policy has written.

    An engine whose weights are old or broken writes all the same, and learning from that would go unnoticed. Below
    top_p = 1 the sampler's log-probabilities are those of a nucleus that holds at least top_p, so they may be higher
    by -log(top_p). `result` is that of the first pass: in later ones the policy has moved away from its sampler.

    Raises:
        UserError: the gap is beyond the limit for the precision of the weights. The policy has no gradient then.
    """
    gap = result.engine_gap
    precision = "float32" if policy.model.dtype == torch.float32 else "bfloat16"
    limit = getattr(settings.sampler_gap_limit, precision)
    if settings.estimator == "supervised" or limit is None or gap is None or gap <= limit - math.log(settings.top_p):
        return
    policy.model.zero_grad(set_to_none=True)
    raise UserError(
        f"the engine does not sample from the policy, so no step was taken: the log-probabilities that it gave with "
        f"the tokens of its completions and those of the policy's own forward pass (temperature "
        f"{settings.temperature:g}) differ by {gap:.3g} nats a token on average, and "
        f"training.sampler_gap_limit.{precision} is {limit:g}. The engine's weights are old or broken",
        "the same command resumes from the last checkpoint; with training.engine: generate there is no second copy of "
        "the weights. Raise the limit only if you know why the two differ",
    )


class Skipped:
    """Counts the steps in a row that were not finite, with those recorded before, and ends the training at a limit."""

    def __init__(self, limit: int, rows: list[dict[str, Any]]) -> None:
        self._limit, self._count = limit, 0
        for row in rows:
            self.count(row["metrics"])

    def count(self, metrics: dict[str, Any]) -> None:
        """Count one more step.

        Raises:
            UserError: it is one too many.
        """
        self._count = self._count + 1 if metrics["skipped"] else 0
        if self._count >= self._limit:
            raise UserError(
                f"step {metrics['step']}: loss or gradient was not finite, {self._count} times in a row",
                "lower training.learning_rate; the last checkpoint is kept, and its weights are finite",
            )
