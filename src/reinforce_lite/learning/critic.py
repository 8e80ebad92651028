"""PPO's critic: a second network that expects a return before each token, where Reinforce-Lite has the group's mean.

It is a copy of the start policy's layers with a linear head, and learns by regression what completions earn. What it
costs: as much memory again for weights, gradients and the optimiser's state, one forward pass more a step, and in each
pass a second gradient.

Axes: T tokens of a completion, N tokens of several.
"""

import copy
import math
from collections.abc import Sequence
from dataclasses import asdict, dataclass, replace
from statistics import fmean

import torch

from reinforce_lite.config import Training
from reinforce_lite.learning import parallel
from reinforce_lite.learning.batching import Sample, micro_batches, rows_of, token_by_token
from reinforce_lite.learning.experience import Experience
from reinforce_lite.learning.update import UpdateResult, per_token
from reinforce_lite.policy import Policy
from reinforce_lite.policy.load import deterministic_algorithms
from reinforce_lite.policy.logprobs import Row, shares_prompts, states_before

RATE = 10
"""The critic's learning rate over the policy's: TinyZero's are 1e-5 and 1e-6."""


def gae(rewards_T: Sequence[float], values_T: Sequence[float], gamma: float = 1.0, lam: float = 1.0) -> list[float]:
    """advantages_T by generalised advantage estimation (Schulman et al. 2016, eqs. 11 and 16).

    A_t = d_t + gamma x lam x A_(t+1) with d_t = r_t + gamma x V_(t+1) - V_t, and nothing beyond the last token. With
    gamma = lam = 1, as TinyZero has them, A_t is the rewards from t on less V_t.

    >>> gae([0.0, 0.0, 1.0], [0.5, 0.25, 0.75], gamma=0.5, lam=0.5)
    [-0.328125, 0.1875, 0.25]
    """
    advantages, following, after = [], 0.0, 0.0
    for reward, value in zip(reversed(rewards_T), reversed(values_T), strict=True):
        after = reward + gamma * following - value + gamma * lam * after
        advantages.append(after)
        following = value
    return advantages[::-1]


def whitened(advantages: Sequence[Sequence[float]]) -> list[list[float]]:
    """The advantages of all tokens of a step less their mean, over their standard deviation, as TinyZero's PPO has it.

    >>> [[round(one, 6) for one in row] for row in whitened([[1.0], [3.0, 2.0]])]
    [[-1.0], [1.0, 0.0]]
    """
    flat_N = torch.tensor([one for row in advantages for one in row], dtype=torch.float64)
    flat_N = (flat_N - flat_N.mean()) / (flat_N.var() + 1e-8).sqrt()
    return [piece.tolist() for piece in flat_N.split([len(row) for row in advantages])]


def value_loss(values_N: torch.Tensor, old_N: torch.Tensor, returns_N: torch.Tensor, clip: float) -> torch.Tensor:
    """Sum of half the squared errors, those of the values or of the values cut at old +- clip, whichever are larger.

    So a value gains nothing by moving further from what it was before the step (PPO2 of OpenAI's baselines; veRL).

    >>> value_loss(torch.tensor([1.0]), torch.tensor([0.0]), torch.tensor([1.0]), clip=0.5).item()  # (0.5 - 1)^2 / 2
    0.125
    """
    cut_N = old_N + (values_N - old_N).clamp(-clip, clip)
    return 0.5 * torch.maximum((values_N - returns_N) ** 2, (cut_N - returns_N) ** 2).sum()


@dataclass(frozen=True)
class Judgement(UpdateResult):
    """What one step did with a critic.

    Attributes:
        value_loss: mean over completion tokens.
        explained_variance: 1 - variance of (return - value) / variance of the returns, over completion tokens, of the
            values before the step; None where all returns are equal.
    """

    value_loss: float | None = None
    explained_variance: float | None = None


@dataclass(frozen=True)
class Critic:
    """A critic in training.

    Attributes:
        network: the layers of the start policy with `value_head`.
        settings: of the training.
    """

    network: Policy
    settings: Training

    @classmethod
    def of(cls, policy: Policy, settings: Training, optimizer: torch.optim.Optimizer) -> "Critic | None":
        """A critic whose weights the optimiser moves beside the policy's; None for an estimator that has none.

        Its head is zero at first, and so is every value.
        """
        if settings.estimator != "critic":
            return None
        model = copy.deepcopy(policy.model.base_model)
        model.value_head = torch.nn.Linear(model.config.hidden_size, 1, device=policy.device, dtype=policy.model.dtype)
        for weight in model.value_head.parameters():
            torch.nn.init.zeros_(weight)
        rate = settings.critic.learning_rate
        times = RATE if rate is None else rate / settings.learning_rate
        optimizer.add_param_group({"params": list(model.parameters()), "lr_times": times})
        return cls(replace(policy, model=model.train()), settings)

    def beside(self, policy: Policy) -> Policy:
        """Policy and critic as one, for what keeps the weights of a training."""
        return replace(policy, model=torch.nn.ModuleDict({"policy": policy.model, "critic": self.network.model}))

    def values(self, rows: Sequence[Row]) -> torch.Tensor:
        """The return that is expected before each token of the completions, [N] in float32."""
        hidden_ND, head = states_before(self.network, rows)[0], self.network.model.value_head
        return torch.nn.functional.linear(hidden_ND.float(), head.weight.float(), head.bias.float()).squeeze(-1)

    def judged(self, experience: Experience) -> tuple[Experience, list[Sample]]:
        """The experience with the critic's advantages, and its completions with an advantage for each token.

        The estimator's advantages are the rewards, paid at the last token. A completion is recorded with the mean over
        its tokens.
        """
        with torch.no_grad():
            plain = [Sample(completion, 0.0) for completion in experience.completions]
            pieces = token_by_token(self.network, plain, self.settings.micro_batch_tokens, self.values)
        values = [piece.tolist() for piece in pieces]
        rewards = [reward for group in experience.advantages_PG for reward in group]
        raw = [gae([0.0] * (len(own) - 1) + [reward], own) for reward, own in zip(rewards, values, strict=True)]
        returns = [[a + value for a, value in zip(*both, strict=True)] for both in zip(raw, values, strict=True)]
        samples = [
            replace(sample, advantage=fmean(weights), weights=weights, values=own, returns=earned)
            for sample, weights, own, earned in zip(plain, whitened(raw), values, returns, strict=True)
        ]
        means = iter([sample.advantage for sample in samples])
        means_PG = [[next(means) for _ in group] for group in experience.groups_PG]
        return replace(experience, advantages_PG=means_PG), samples

    def gradient(self, samples: list[Sample], result: UpdateResult) -> Judgement:
        """The clipped gradient of the mean value loss over all completion tokens, beside that of the policy.

        `result` is the policy's. If this gradient is not finite, none of the two takes the step.
        """
        model, settings = self.network.model, self.settings
        model.zero_grad(set_to_none=True)
        tokens = sum(len(sample.completion.token_ids) for sample in samples)
        summed = torch.zeros((), device=self.network.device)
        shared, clip = shares_prompts(self.network), settings.critic.value_clip
        with deterministic_algorithms(settings.deterministic_update):
            for batch in micro_batches(parallel.share_evenly(samples), settings.micro_batch_tokens, shared=shared):
                old_N = per_token((s.values or [] for s in batch), summed.device)
                returns_N = per_token((s.returns or [] for s in batch), summed.device)
                loss = value_loss(self.values(rows_of(batch)), old_N, returns_N, clip) / tokens
                torch.autograd.backward(loss)
                summed += loss.detach()
        (total,) = parallel.add_up([summed.item()])
        parallel.add_up_gradients(model)
        norm = float(torch.nn.utils.clip_grad_norm_(model.parameters(), settings.gradient_clip))
        finite = math.isfinite(total) and math.isfinite(norm)
        figures = {"value_loss": total if finite else None, "explained_variance": explained_variance(samples)}
        return Judgement(**{**asdict(result), "skipped": result.skipped or not finite, **figures})


def explained_variance(samples: Sequence[Sample]) -> float | None:
    """See `Judgement`."""
    of = [[value for sample in samples for value in getattr(sample, name)] for name in ("values", "returns")]
    values_N, returns_N = torch.tensor(of, dtype=torch.float64)
    spread = returns_N.var(correction=0).item()
    return 1 - (returns_N - values_N).var(correction=0).item() / spread if spread > 0 else None
