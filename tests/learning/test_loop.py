import itertools
from dataclasses import replace
from typing import Any

import pytest
import torch

from reinforce_lite.config import Training
from reinforce_lite.errors import UserError
from reinforce_lite.learning import drift
from reinforce_lite.learning.loop import Step, question_stream, train
from reinforce_lite.policy import Policy
from reinforce_lite.tasks import Problem
from toys import WORLD

PROBLEMS = [Problem(f"train-{i}", f"tom has {i} apples . how many apples now ?", str(i)) for i in range(6)]
SETTINGS = Training(
    steps=3, questions_per_step=2, group_size=4, max_new_tokens=8, learning_rate=1e-3, kl_every=2, reward="random"
)


def run(policy: Policy, settings: Training = SETTINGS, seed: int = 0) -> list[Step]:
    steps: list[Step] = []
    train(policy, PROBLEMS, WORLD, "bare", settings, seed, steps.append)
    return steps


def without_times(steps: list[Step]) -> list[dict[str, Any]]:
    return [{k: v for k, v in s.metrics.items() if not k.startswith(("seconds", "tokens_per"))} for s in steps]


def test_metrics_of_a_step(policy: Policy) -> None:
    steps = run(policy)
    assert [s.metrics["step"] for s in steps] == [0, 1, 2]
    wanted = {
        "reward_mean", "reward_std", "accuracy", "length_mean", "truncated", "groups_dropped", "gradient_norm",
        "entropy", "sampler_gap", "tokens_per_second", "seconds_rollout", "seconds_reward", "seconds_update",
        "weights_changed", "kl_to_start", "learning_rate", "loss", "skipped",
    }  # fmt: skip
    assert wanted <= steps[0].metrics.keys()
    assert steps[0].metrics["kl_to_start"] is None  # measured every second step, and at the last
    assert steps[1].metrics["kl_to_start"] > 0 and steps[2].metrics["kl_to_start"] > 0
    assert 0 < steps[1].metrics["weights_changed"] <= 1
    assert len(steps[0].completions) == 8
    assert {row["reward"] for row in steps[0].completions} <= {-1.0, 1.0}


def test_the_same_seed_gives_the_same_run(policy: Policy) -> None:
    start = drift.snapshot(policy)
    first = run(policy)
    trained = drift.snapshot(policy)
    drift._copy(policy, start)
    assert without_times(run(policy)) == without_times(first)
    assert all(torch.equal(weight, trained[name]) for name, weight in policy.model.named_parameters())
    drift._copy(policy, start)
    assert without_times(run(policy, seed=1)) != without_times(first)


def test_groups_with_equal_rewards_are_dropped_and_counted(policy: Policy) -> None:
    # An untrained policy never closes a tag: every strict reward is -1, nothing can be learnt, nothing may move.
    before = drift.snapshot(policy)
    steps = run(policy, SETTINGS.model_copy(update={"reward": "strict"}))
    assert all(s.metrics["groups_dropped"] == 1 and s.metrics["loss"] is None for s in steps)
    assert drift.changed_share(policy, before) == 0


def test_with_a_kl_in_the_loss_equal_rewards_are_not_dropped(policy: Policy) -> None:
    # All rewards are -1, and at the start there is nothing to pull back: a loss, and it is 0.
    steps = run(policy, SETTINGS.model_copy(update={"reward": "strict", "kl_coefficient": 0.1}))
    assert [s.metrics["loss"] for s in steps] == [0.0] * 3


def test_ppo_goes_over_a_step_again(policy: Policy) -> None:
    start = drift.snapshot(policy)
    ends = {}
    for passes in (1, 3):
        drift._copy(policy, start)
        run(policy, SETTINGS.model_copy(update={"ratio_clip": 0.2, "passes": passes, "steps": 1}))
        ends[passes] = drift.snapshot(policy)
    once, thrice = (sum(float((end[n] - start[n]).abs().sum()) for n in start) for end in ends.values())
    assert thrice > 1.5 * once


def test_supervised_training_is_maximum_likelihood_of_the_solutions(policy: Policy) -> None:
    solved = [replace(p, solution=f"{p.answer} + 0 = {p.answer} . <answer> {p.answer} </answer>") for p in PROBLEMS]
    settings = SETTINGS.model_copy(update={"estimator": "supervised", "reward": "strict", "steps": 8})
    steps: list[Step] = []
    train(policy, solved, WORLD, "bare", settings, 0, steps.append)
    likelihood = [s.metrics["sampler_gap"] for s in steps]  # nats a token that the policy gives to what it reads
    assert likelihood[-1] < 0.95 * likelihood[0]
    assert all(s.metrics["reward_mean"] == 1 and s.metrics["groups_dropped"] == 0 for s in steps)
    assert [len(s.completions) for s in steps] == [2] * 8
    # The loss is the sum over a solution's tokens, its stop id included, and the mean over questions.
    assert steps[0].metrics["loss"] == pytest.approx(likelihood[0] * steps[0].metrics["tokens"] / 2, rel=1e-5)


def test_without_worked_solutions_there_is_nothing_to_be_supervised_by(policy: Policy) -> None:
    with pytest.raises(UserError, match="train-0 has no worked solution"):
        run(policy, SETTINGS.model_copy(update={"estimator": "supervised", "shuffle": False}))


def test_several_passes_need_a_ratio() -> None:
    with pytest.raises(ValueError, match="passes: more than one needs ratio_clip"):
        Training.model_validate({**SETTINGS.model_dump(), "passes": 2})


def test_published_estimator_trains_on_the_first_completion_only(policy: Policy) -> None:
    steps = run(policy, SETTINGS.model_copy(update={"estimator": "as_published"}))
    for rows in (s.completions for s in steps):
        for group in itertools.batched(rows, 4) if hasattr(itertools, "batched") else [rows[:4], rows[4:]]:
            assert all(row["advantage"] == 0 for row in group[1:])


def test_off_policy_sampling_shows_in_the_gap(policy: Policy) -> None:
    on = run(policy, SETTINGS.model_copy(update={"steps": 1}))[0].metrics["sampler_gap"]
    off = run(policy, SETTINGS.model_copy(update={"steps": 1, "temperature": 0.7, "top_p": 0.9}))[0].metrics[
        "sampler_gap"
    ]
    assert on < 1e-4 < 0.05 < off


def test_question_stream_visits_every_problem_once_an_epoch() -> None:
    stream = list(itertools.islice(question_stream(PROBLEMS, True, 0), 12))
    assert sorted(p.id for p in stream[:6]) == sorted(p.id for p in stream[6:]) == sorted(p.id for p in PROBLEMS)
    assert stream[:6] != stream[6:]
    assert list(itertools.islice(question_stream(PROBLEMS, False, 0), 6)) == PROBLEMS


def test_kl_to_the_start_is_zero_before_the_first_step_and_swaps_back(policy: Policy) -> None:
    from reinforce_lite.learning.batching import Sample
    from reinforce_lite.rollout import Completion

    start = drift.snapshot(policy)
    sample = Sample(Completion([1, 5], [9, 2], [0.0, 0.0], "stop"), 0.0)
    assert drift.kl_to_start(policy, start, [sample], 100, 10) == pytest.approx(0, abs=1e-9)
    with torch.no_grad():
        next(policy.model.parameters()).add_(0.5)
    moved = drift.snapshot(policy)
    assert drift.kl_to_start(policy, start, [sample], 100, 10) > 0
    assert all(torch.equal(weight, moved[name]) for name, weight in policy.model.named_parameters())


def test_bfloat16_rounds_small_updates_away(policy: Policy) -> None:
    policy.model.to(torch.bfloat16)
    start = drift.snapshot(policy)
    with torch.no_grad():
        for weight in policy.model.parameters():
            weight.add_(weight.abs() * 1e-4)  # far below half a step of 8 bits of mantissa
    assert drift.changed_share(policy, start) == 0
