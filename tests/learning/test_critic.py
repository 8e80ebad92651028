"""PPO's critic: its formulas by hand, its gradient by plain autograd, and trainings that learn with it."""

import copy
import random
from dataclasses import replace
from typing import Any

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from test_loop import PROBLEMS, SETTINGS, run, without_times
from test_objectives import gradient_of
from test_update import rollout

from reinforce_lite.config import Critic as CriticSettings
from reinforce_lite.config import Training
from reinforce_lite.learning import critic as critic_module
from reinforce_lite.learning.batching import Sample
from reinforce_lite.learning.critic import RATE, Critic, explained_variance, gae, value_loss, whitened
from reinforce_lite.learning.experience import Experience
from reinforce_lite.learning.loop import Learner
from reinforce_lite.learning.update import UpdateResult, descend, gradient
from reinforce_lite.optim.optimizer import adamw, set_learning_rate
from reinforce_lite.policy import Policy
from reinforce_lite.rollout import Completion, Sampling
from reinforce_lite.rollout.generate import GenerateEngine
from toys import WORLD, toy_policy

PPO = SETTINGS.model_copy(update={"estimator": "critic"})
DONE = UpdateResult(0.0, 0.0, 0.0, 0.0, skipped=False)


def begun(policy: Policy, settings: Training = PPO, rate: float = 1e-3) -> tuple[Critic, torch.optim.Optimizer]:
    """A critic, and the optimiser of both."""
    optimizer = adamw(policy.model, learning_rate=rate)
    critic = Critic.of(policy, settings, optimizer)
    assert critic is not None
    return critic, optimizer


def knowing(policy: Policy) -> Critic:
    """A critic whose head is not zero any more."""
    critic, _ = begun(policy)
    with torch.no_grad():
        critic.network.model.value_head.weight.normal_(generator=torch.Generator().manual_seed(1))
        critic.network.model.value_head.bias.fill_(0.3)
    return critic


def experience(groups_PG: list[list[Completion]], rewards_PG: list[list[float]]) -> Experience:
    return Experience([], groups_PG, [], rewards_PG, [], rewards_PG)


def rewarded(policy: Policy) -> Experience:
    return experience(rollout(policy), [[1.0, -1.0, 1.0, -1.0], [-1.0, -1.0, 1.0, -1.0]])


def test_gae_by_hand() -> None:
    # d = 0 + 0.25 - 0.5, 0 + 0.75 - 0.25, 1 - 0.75; with lambda = 0 that is all.
    assert gae([0, 0, 1], [0.5, 0.25, 0.75], lam=0.0) == [-0.25, 0.5, 0.25]
    assert gae([0, 0, 1], [0.5, 0.25, 0.75]) == [0.5, 0.75, 0.25]  # the reward less the value
    assert gae([1, 0, 2], [0, 0, 0], gamma=0.5) == [1.5, 1.0, 2.0]


STEPS = st.lists(st.tuples(st.floats(-2, 2), st.floats(-2, 2)), min_size=1, max_size=12)


@given(STEPS, st.floats(0, 1), st.floats(0, 1))
def test_gae_is_the_discounted_sum_of_the_errors(steps: list[tuple[float, float]], gamma: float, lam: float) -> None:
    rewards, values = zip(*steps, strict=True)
    after = [*values[1:], 0.0]
    errors = [reward + gamma * next_ - value for reward, next_, value in zip(rewards, after, values, strict=True)]
    expected = [sum((gamma * lam) ** k * error for k, error in enumerate(errors[t:])) for t in range(len(steps))]
    assert gae(rewards, values, gamma, lam) == pytest.approx(expected, abs=1e-9)


@given(STEPS)
def test_with_gamma_and_lambda_one_it_telescopes(steps: list[tuple[float, float]]) -> None:
    rewards, values = zip(*steps, strict=True)
    assert gae(rewards, values) == pytest.approx([sum(rewards[t:]) - values[t] for t in range(len(steps))], abs=1e-9)


def test_padded_and_masked_as_others_write_it_it_is_the_same() -> None:
    """The recursion over a padded batch, with a mean and a variance over what the mask leaves."""
    draw = torch.Generator().manual_seed(2)
    lengths, values_BT = [5, 2, 7], torch.randn(3, 7, generator=draw, dtype=torch.float64)
    mask_BT = torch.arange(7) < torch.tensor(lengths)[:, None]
    values_BT, rewards_BT = values_BT * mask_BT, torch.zeros(3, 7, dtype=torch.float64)
    for row, length in enumerate(lengths):
        rewards_BT[row, length - 1] = (-1.0) ** row
    after, last, columns = torch.zeros(3), torch.zeros(3), []
    for t in reversed(range(7)):
        last = rewards_BT[:, t] + after - values_BT[:, t] + last
        columns.append(last)
        after = values_BT[:, t]
    raw_BT = torch.stack(columns[::-1], 1)
    mean = (raw_BT * mask_BT).sum() / mask_BT.sum()
    variance = ((raw_BT - mean) ** 2 * mask_BT).sum() / (mask_BT.sum() - 1)
    expected_BT = (raw_BT - mean) * torch.rsqrt(variance + 1e-8)
    rows = [(rewards_BT[row, :length].tolist(), values_BT[row, :length].tolist()) for row, length in enumerate(lengths)]
    for row, ours in enumerate(whitened([gae(*one) for one in rows])):
        assert ours == pytest.approx(expected_BT[row, : lengths[row]].tolist())


@pytest.mark.parametrize(
    ("value", "old", "earned", "loss", "slope"),
    [
        (0.25, 0.0, 1.0, 0.28125, -0.75),  # within the clip: a square
        (1.0, 0.0, 1.0, 0.125, 0.0),  # it has moved by more than 0.5: nothing is gained there
        (1.0, 0.0, -1.0, 2.0, 2.0),  # but what has moved away may come back
        (-2.0, 0.0, -1.0, 0.5, -1.0),
    ],
)
def test_the_value_loss_by_hand(value: float, old: float, earned: float, loss: float, slope: float) -> None:
    values_N = torch.tensor([value], requires_grad=True)
    found = value_loss(values_N, torch.tensor([old]), torch.tensor([earned]), 0.5)
    assert found.item() == pytest.approx(loss) and gradient_of(found, values_N) == pytest.approx([slope])


def test_at_first_every_value_is_zero_and_an_advantage_the_reward(policy: Policy) -> None:
    critic, _ = begun(policy)
    given_ = rewarded(policy)
    _, samples = critic.judged(given_)
    rewards = [reward for group in given_.rewards_PG for reward in group]
    assert all(set(sample.values or []) == {0.0} for sample in samples)
    assert [sample.returns for sample in samples] == [
        [reward] * len(s.completion.token_ids) for reward, s in zip(rewards, samples, strict=True)
    ]
    plain = whitened([[r] * len(s.completion.token_ids) for r, s in zip(rewards, samples, strict=True)])
    assert [sample.weights for sample in samples] == plain


def test_a_completion_is_recorded_with_the_mean_of_its_tokens(policy: Policy) -> None:
    recorded, samples = knowing(policy).judged(rewarded(policy))
    assert [one for group in recorded.advantages_PG for one in group] == [sample.advantage for sample in samples]
    every = torch.tensor([weight for sample in samples for weight in sample.weights or []])
    assert every.mean().item() == pytest.approx(0, abs=1e-6) and every.std().item() == pytest.approx(1, abs=1e-6)
    assert len(set(samples[0].weights or [])) > 1, "each token has its own"


@pytest.mark.parametrize("recomputed", [False, True])
def test_a_value_is_that_of_what_stands_before_the_token(policy: Policy, recomputed: bool) -> None:
    if recomputed:
        policy.model.gradient_checkpointing_enable(gradient_checkpointing_kwargs={"use_reentrant": False})
    critic = knowing(policy)
    rows = [([1, 9, 12], [7, 5, 2]), ([1, 9, 12], [8, 5, 2]), ([1, 7], [4])]
    model = critic.network.model
    expected = []
    for prompt, written in rows:
        hidden_TD = model(input_ids=torch.tensor([prompt + written])).last_hidden_state[0]
        expected += model.value_head(hidden_TD)[len(prompt) - 1 : -1, 0].tolist()
    found = critic.values(rows).tolist()
    assert found == pytest.approx(expected, abs=1e-5)
    assert found[0] == pytest.approx(found[3]) and found[1] != pytest.approx(found[4])


@pytest.mark.parametrize("change", [{}, {"micro_batch_tokens": 20}, {"gradient_checkpointing": True}])
def test_its_gradient_is_that_of_the_mean_loss(policy: Policy, change: dict[str, Any]) -> None:
    if change.get("gradient_checkpointing"):
        policy.model.gradient_checkpointing_enable(gradient_checkpointing_kwargs={"use_reentrant": False})
    critic = replace(knowing(policy), settings=PPO.model_copy(update={"gradient_clip": 1e9, **change}))
    _, samples = critic.judged(rewarded(policy))
    moved = [replace(sample, values=[value + 0.2 for value in sample.values or []]) for sample in samples]
    model, losses = copy.deepcopy(critic.network.model), []
    for sample in moved:
        prompt, written = sample.completion.prompt_ids, sample.completion.token_ids
        hidden_TD = model(input_ids=torch.tensor([prompt + written])).last_hidden_state[0]
        values_T = model.value_head(hidden_TD)[len(prompt) - 1 : -1, 0]
        for value, old, earned in zip(values_T, sample.values or [], sample.returns or [], strict=True):
            cut = old + torch.clamp(value - old, -0.5, 0.5)
            losses.append(0.5 * torch.maximum((value - earned) ** 2, (cut - earned) ** 2))
    loss = torch.stack(losses).mean()
    loss.backward()
    result = critic.gradient(moved, DONE)
    assert result.value_loss == pytest.approx(loss.item(), rel=1e-5) and not result.skipped
    for weight, expected in zip(critic.network.model.parameters(), model.parameters(), strict=True):
        assert torch.allclose(weight.grad, expected.grad, atol=1e-5)


def test_the_gradient_of_the_policy_weighs_each_token_by_itself(policy: Policy) -> None:
    _, samples = knowing(policy).judged(rewarded(policy))
    model, loss = copy.deepcopy(policy.model), torch.zeros(())
    for sample in samples:
        prompt, written = sample.completion.prompt_ids, sample.completion.token_ids
        logprobs_TV = model(torch.tensor([prompt + written])).logits[0, len(prompt) - 1 : -1].log_softmax(-1)
        chosen_T = logprobs_TV.gather(-1, torch.tensor(written)[:, None])[:, 0]
        loss = loss - (chosen_T * torch.tensor(sample.weights)).sum() / 8
    loss.backward()
    result = gradient(policy, samples, 8, PPO.model_copy(update={"gradient_clip": 1e9}))
    assert result.loss == pytest.approx(loss.item(), rel=1e-4)
    for weight, expected in zip(policy.model.parameters(), model.parameters(), strict=True):
        assert torch.allclose(weight.grad, expected.grad, atol=1e-5)


def test_it_learns_what_completions_earn(policy: Policy) -> None:
    """The reward hangs on the first token: before it there is nothing to know, behind it everything."""
    dice = random.Random(0)
    critic, optimizer = begun(policy, PPO.model_copy(update={"critic": CriticSettings(value_clip=5.0)}))
    groups = [[Completion([1, 9], [dice.choice([7, 8]), 5, 5, 2], [0.0] * 4, "stop") for _ in range(16)]]
    rewards = [[1.0 if one.token_ids[0] == 7 else -1.0 for one in group] for group in groups]
    explained = []
    for _ in range(30):
        result = critic.gradient(critic.judged(experience(groups, rewards))[1], DONE)
        explained.append(result.explained_variance)
        descend(optimizer, result)
    assert explained[0] == pytest.approx(0, abs=1e-9), "all values are 0"
    assert 0.7 < explained[-1] < 0.8  # three quarters of the tokens stand behind the first
    values = critic.judged(experience(groups, rewards))[1][0].values
    assert values is not None and abs(values[0]) < 0.4 < 0.8 < min(abs(value) for value in values[1:])


def test_equal_returns_have_no_variance_to_explain() -> None:
    completion = Completion([1], [2, 3], [0.0, 0.0], "stop")
    assert explained_variance([Sample(completion, 0.0, values=[0.5, 0.1], returns=[1.0, 1.0])]) is None
    some = [
        Sample(completion, 0.0, values=[1.0, 0.0], returns=[1.0, 1.0]),
        Sample(completion, 0.0, values=[-1.0, 0.0], returns=[-1.0, -1.0]),
    ]
    assert explained_variance(some) == pytest.approx(0.5)  # errors 0, 1, 0, -1


def test_a_policy_learns_with_it() -> None:
    """Paid for the word of the question: as examples/train.py, with PPO's critic, ratio and passes."""
    policy = toy_policy("llama")
    settings = PPO.model_copy(update={"ratio_clip": 0.2, "passes": 2, "learning_rate": 3e-3})
    critic, optimizer = begun(policy, settings, rate=3e-3)
    engine, prompts = GenerateEngine(policy, rows_at_once=128), [[1, 7], [1, 9]]
    means = []
    for step in range(40):
        groups = engine(prompts, 64, Sampling(1.0, 1.0, 3), [2 * step, 2 * step + 1])
        rewards = [
            [1.0 if c.token_ids[0] == prompt[1] else -1.0 for c in group]
            for prompt, group in zip(prompts, groups, strict=True)
        ]
        _, samples = critic.judged(experience(groups, rewards))
        samples = [replace(sample, old=sample.completion.logprobs) for sample in samples]
        for _ in range(settings.passes):
            result = critic.gradient(samples, gradient(policy, samples, 128, settings))
            descend(optimizer, result)
        means.append(torch.tensor(rewards).mean().item())
    assert sum(means[:3]) / 3 < -0.8 and sum(means[-3:]) / 3 > 0.8


def test_a_training_records_what_its_critic_did(policy: Policy) -> None:
    steps = run(policy, PPO.model_copy(update={"ratio_clip": 0.2, "passes": 2}))
    assert all(step.metrics["value_loss"] > 0 and step.metrics["groups_dropped"] == 0 for step in steps)
    assert steps[0].metrics["explained_variance"] == pytest.approx(0) != steps[-1].metrics["explained_variance"]
    assert len({row["advantage"] for row in steps[-1].completions}) > 2, "not only by the reward"


def test_a_training_without_one_records_nothing_of_it(policy: Policy) -> None:
    assert "value_loss" not in run(policy)[0].metrics


def test_the_same_seed_gives_the_same_run(policy: Policy) -> None:
    other = Policy(copy.deepcopy(policy.model), policy.tokenizer, policy.stop_ids, policy.pad_id)
    assert without_times(run(policy, PPO)) == without_times(run(other, PPO))


def test_its_learning_rate_follows_the_schedule_of_the_policys(policy: Policy) -> None:
    for asked, expected in ((None, RATE * 5e-4), (2e-3, 1e-3)):
        settings = PPO.model_copy(update={"critic": CriticSettings(learning_rate=asked)})
        _, optimizer = begun(policy, settings)
        set_learning_rate(optimizer, settings.learning_rate / 2)
        assert [group["lr"] for group in optimizer.param_groups] == pytest.approx([5e-4, expected])


def test_it_has_weights_of_its_own_and_a_checkpoint_holds_both(policy: Policy) -> None:
    learner = Learner.of(policy, WORLD, "bare", PPO, 0)
    assert learner.critic is not None
    own = {weight.data_ptr() for weight in learner.critic.network.model.parameters()}
    theirs = {weight.data_ptr() for weight in policy.model.parameters()}
    assert own.isdisjoint(theirs)
    assert {weight.data_ptr() for weight in learner.kept.model.parameters()} == own | theirs
    assert set(learner.start) == {name for name, _ in policy.model.named_parameters()}, "drift is the policy's"
    plain = Learner.of(policy, WORLD, "bare", SETTINGS, 0)
    assert plain.critic is None and plain.kept is policy


def test_where_its_gradient_is_not_finite_nothing_moves(policy: Policy, monkeypatch: pytest.MonkeyPatch) -> None:
    real = value_loss
    monkeypatch.setattr(critic_module, "value_loss", lambda *given: real(*given) * float("nan"))
    before = [weight.detach().clone() for weight in policy.model.parameters()]
    steps = run(policy, PPO.model_copy(update={"max_skipped": 9}))
    assert all(step.metrics["skipped"] and step.metrics["value_loss"] is None for step in steps)
    assert all(torch.equal(a, b) for a, b in zip(before, policy.model.parameters(), strict=True))


def test_questions_are_those_of_the_other_trainings() -> None:
    first, second = (run(toy_policy("llama"), settings)[0].completions for settings in (SETTINGS, PPO))
    assert [row["completion"] for row in first] == [row["completion"] for row in second]
    assert {row["question"] for row in first} <= {problem.question for problem in PROBLEMS}
