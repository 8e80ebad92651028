"""An engine that does not sample from the policy: small differences are weighted, large ones stop the run."""

import copy
from dataclasses import dataclass, replace
from typing import Any

import pytest
import torch
from test_update import SETTINGS, samples

from reinforce_lite.config import SamplerGapLimit, Training, validate
from reinforce_lite.errors import UserError
from reinforce_lite.learning import drift
from reinforce_lite.learning.batching import Sample
from reinforce_lite.learning.checks import check_engine
from reinforce_lite.learning.loop import Step, train
from reinforce_lite.learning.objectives import anchored
from reinforce_lite.learning.update import gradient
from reinforce_lite.policy import Policy
from reinforce_lite.rollout import Completion, Sampling
from reinforce_lite.rollout.generate import GenerateEngine
from reinforce_lite.tasks import Problem
from toys import WORLD, toy_policy

PROBLEMS = [Problem(f"train-{i}", f"tom has {i} apples . how many apples now ?", str(i)) for i in range(6)]
TRAINING = Training(
    steps=3, questions_per_step=2, group_size=4, max_new_tokens=8, learning_rate=1e-2, reward="random"
)  # fmt: skip


def other(policy: Policy, model: Any) -> Policy:
    return Policy(model, policy.tokenizer, policy.stop_ids, policy.pad_id)


@dataclass
class Keeps:
    """An engine with weights of its own, that nobody hands new ones to."""

    policy: Policy

    def __call__(self, prompts: Any, group: int, sampling: Sampling, seeds: Any) -> list[list[Completion]]:
        return GenerateEngine(self.policy, 64)(prompts, group, sampling, seeds)


def weights(policy: Policy) -> drift.Weights:
    return drift.snapshot(policy)


@pytest.mark.parametrize("sampling", [{}, {"temperature": 0.7}, {"temperature": 0.7, "top_p": 0.9}], ids=str)
def test_an_engine_with_other_weights_is_stopped_at_the_first_step(policy: Policy, sampling: dict[str, float]) -> None:
    with torch.no_grad():
        broken = other(policy, copy.deepcopy(policy.model))
        for weight in broken.model.parameters():
            weight.add_(torch.randn_like(weight) * 0.2)
    before, steps = weights(policy), list[Step]()
    settings = TRAINING.model_copy(update=sampling)
    with pytest.raises(UserError, match=r"(?s)does not sample from the policy.*sampler_gap_limit\.float32 is 0\.001"):
        train(policy, PROBLEMS, WORLD, "bare", settings, 0, steps.append, engine=Keeps(broken))
    assert not steps and drift.changed_share(policy, before) == 0
    assert all(weight.grad is None for weight in policy.model.parameters())


def test_an_engine_that_keeps_the_weights_of_the_step_before_is_stopped(policy: Policy) -> None:
    steps = list[Step]()
    after_first: list[drift.Weights] = []

    def keep(step: Step) -> None:
        steps.append(step)
        after_first.append(weights(policy))

    with pytest.raises(UserError, match="weights are old or broken"):
        train(
            policy, PROBLEMS, WORLD, "bare", TRAINING, 0, keep, engine=Keeps(other(policy, copy.deepcopy(policy.model)))
        )
    assert len(steps) == 1, "it wrote the first step as the policy would have"
    assert drift.changed_share(policy, after_first[0]) == 0


@pytest.mark.parametrize("sampling", [{}, {"temperature": 0.7}, {"temperature": 0.7, "top_p": 0.9}], ids=str)
def test_the_policys_own_engine_passes(policy: Policy, sampling: dict[str, float]) -> None:
    steps = list[Step]()
    train(policy, PROBLEMS, WORLD, "bare", TRAINING.model_copy(update=sampling), 0, steps.append)
    gaps = [step.metrics["engine_gap"] for step in steps]
    assert all(gap < (1e-5 if "top_p" not in sampling else 0.106) for gap in gaps)  # -log 0.9 = 0.105


def test_the_limit_is_by_the_precision_of_the_weights_and_can_be_left_out() -> None:
    policy = toy_policy("llama")
    result = gradient(policy, [Sample(Completion([1, 5], [9], [-3.0], "length"), 1.0)], 1, SETTINGS)
    assert result.engine_gap is not None and result.engine_gap > 0.25
    with pytest.raises(UserError, match=r"float32 is 0\.001"):
        check_engine(policy, result, SETTINGS)
    policy.model.to(torch.bfloat16)
    with pytest.raises(UserError, match=r"bfloat16 is 0\.25"):
        check_engine(policy, result, SETTINGS)
    check_engine(policy, replace(result, engine_gap=0.2), SETTINGS)
    anything = SETTINGS.model_copy(update={"sampler_gap_limit": SamplerGapLimit(float32=None, bfloat16=None)})
    check_engine(policy, result, anything)


CAP = 1.5


def mismatched(policy: Policy) -> list[Sample]:
    """Samples whose engine gave each token a probability of its own: ratios from 0.6 to 1.8."""
    found = []
    for number, sample in enumerate(samples(policy)):
        written = sample.completion
        shifted = [value + 0.5 - 0.2 * ((number + place) % 6) for place, value in enumerate(written.logprobs)]
        found.append(replace(sample, completion=replace(written, logprobs=shifted)))
    return found


def reference(policy: Policy, picked: list[Sample], normaliser: int) -> tuple[dict[str, torch.Tensor], list[float]]:
    """Truncated importance sampling spelled out, one token at a time, and all ratios."""
    model, loss, ratios = copy.deepcopy(policy.model), torch.zeros(()), []
    for sample in picked:
        prompt, written = sample.completion.prompt_ids, sample.completion.token_ids
        logprobs = model(torch.tensor([prompt + written])).logits[0].float()[len(prompt) - 1 : -1].log_softmax(-1)
        for place, token in enumerate(written):
            ratio = (logprobs[place, token].item() - sample.completion.logprobs[place]).__float__()
            ratios.append(float(torch.tensor(ratio).exp()))
            loss = loss - sample.advantage / normaliser * min(ratios[-1], CAP) * logprobs[place, token]
    loss.backward()
    return {name: weight.grad for name, weight in model.named_parameters()}, ratios


def test_the_truncated_ratio_weights_each_tokens_gradient(policy: Policy) -> None:
    picked = mismatched(policy)
    expected, ratios = reference(policy, picked, normaliser=8)
    assert min(ratios) < 0.7 and max(ratios) > CAP, "some are cut, some are not"
    settings = SETTINGS.model_copy(update={"importance_cap": CAP, "gradient_clip": 1e9})
    result = gradient(policy, picked, 8, settings)
    for name, weight in policy.model.named_parameters():
        assert torch.allclose(weight.grad, expected[name], atol=1e-5), name
    assert result.ratio_mean == pytest.approx(sum(ratios) / len(ratios), rel=1e-4)
    assert result.ratio_max == pytest.approx(max(ratios), rel=1e-4)
    plain = gradient(policy, picked, 8, SETTINGS)
    assert plain.ratio_mean is None and plain.ratio_max is None, "none on a CPU unless it is asked for"


def test_ppos_old_policy_is_the_one_that_sampled(policy: Policy) -> None:
    picked, start = mismatched(policy), weights(policy)
    ppo = SETTINGS.model_copy(update={"ratio_clip": 0.2})
    assert [sample.old for sample in anchored(policy, start, picked, ppo)] == [s.completion.logprobs for s in picked]
    cooler = anchored(policy, start, picked, ppo.model_copy(update={"temperature": 0.7}))
    assert all(len(sample.old or []) == len(sample.completion.token_ids) for sample in cooler)
    assert cooler[0].old != picked[0].completion.logprobs, "of another distribution: recomputed"


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"importance_cap": 2.0, "top_p": 0.9}, "the ratio is biased"),
        ({"importance_cap": 2.0, "ratio_clip": 0.2}, "ratio_clip has a ratio of its own"),
        ({"importance_cap": 2.0, "estimator": "supervised"}, "not sampled"),
        ({"importance_cap": 2.0, "top_p": 0.9, "biased_ratio": True}, None),
        ({"top_p": 0.9}, None),
    ],
)
def test_a_biased_ratio_has_to_be_asked_for(changes: dict[str, Any], said: str | None) -> None:
    given = {**TRAINING.model_dump(), **changes}
    if said is None:
        Training.model_validate(given)
    else:
        with pytest.raises(ValueError, match=said):
            Training.model_validate(given)


@pytest.mark.parametrize(
    ("device", "changes", "cap"),
    [
        ("cuda", {}, 3.0),
        ("cpu", {}, None),
        ("cuda", {"top_p": 0.9}, None),
        ("cuda", {"ratio_clip": 0.2}, None),
        ("cuda", {"estimator": "supervised"}, None),
        ("cpu", {"importance_cap": 2.0}, 2.0),
        ("cuda", {"importance_cap": None}, None),
    ],
)
def test_auto_weights_on_a_gpu_alone(device: str, changes: dict[str, Any], cap: float | None) -> None:
    assert TRAINING.model_copy(update=changes).importance_cap_on(device) == cap


def test_the_refusal_names_the_variant() -> None:
    from pathlib import Path

    import yaml

    root = Path(__file__).parents[2]
    config = yaml.safe_load((root / "config/config.yaml").read_text())
    config["training_variants"]["as_published"]["importance_cap"] = 2
    with pytest.raises(UserError, match=r"training_variants\.as_published.*importance_cap: with top_p below 1"):
        validate(config)
