from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from reinforce_lite.budget import forecast
from reinforce_lite.budget.forecast import Duration, Evidence, Interval, Rates, Trained
from reinforce_lite.config import Evaluation, Settings, Start, Training
from reinforce_lite.stages import Job, jobs

RATES = Rates(
    process=2, harness=3, load=10, warm_up=1, start_step=0.5, rollout_position=0.01, update_token=0.001,
    drift_token=0.002, evaluation_position=0.02, prompt_tokens=50, lengths=(100, 150),
)  # fmt: skip
TRAINING = Training(
    steps=20, questions_per_step=8, group_size=10, rollout_batch=40, max_new_tokens=200, kl_every=4, learning_rate=1e-6
)


def near(interval: Interval, low: float, expected: float, high: float) -> bool:
    return (interval.low, interval.expected, interval.high) == pytest.approx((low, expected, high))


def test_a_training_by_hand() -> None:
    found = forecast.training_seconds(RATES, TRAINING, RATES.lengths, None)
    # around: 2 + 2 x 10 + 1 = 23 s. A step: 2 batches of 4 questions x (100 + 150) / 2 positions x 0.01 = 2.5 s of
    # rollout, 80 completions x (50 + 100) tokens x 0.002 / 4 = 6 s of drift, and 80% of them x 0.001 = 9.6 s. Lengths
    # x .7, 1, 1.5, the high ones cut at 200: (150 + 200) / 2 positions (3.5 s), 150 tokens; 40% to 100% of the groups
    # carry a gradient; speed x .8, 1, 1.3.
    assert near(found.around, 0.8 * 23, 23, 1.3 * 23)
    low, high = 0.7 * 2.5 + 80 * 120 * (0.0005 + 0.4 * 0.001), 3.5 + 80 * 200 * (0.0005 + 0.001)
    assert near(found.step, 0.8 * low, 18.1, 1.3 * high)
    assert found.total.expected == pytest.approx(23 + 20 * 18.1)
    assert found.after.expected == 10


def test_controls_by_hand() -> None:
    def step(**change: object) -> float:
        training = TRAINING.model_copy(update=change)
        return forecast.training_seconds(RATES, training, RATES.lengths, None).step.expected

    # 2.5 s of rollout and 80 x 150 tokens: drift costs each 0.0005 s, a further network 0.001, and a pass 0.001 for
    # the 80% that carry a gradient; with a coin all do, with a reward for the format 30% are expected to.
    assert step(ratio_clip=0.2, passes=4) == pytest.approx(2.5 + 12_000 * (0.0032 + 0.0005))
    cooler = step(ratio_clip=0.2, passes=4, temperature=0.7)  # its old policy is recomputed
    assert cooler == pytest.approx(2.5 + 12_000 * (0.0032 + 0.0005 + 0.001))
    # A KL or an entropy in the loss pushes every completion, and so does a baseline that is the mean of the whole step.
    assert step(kl_coefficient=0.1) == pytest.approx(2.5 + 12_000 * (0.001 + 0.0005 + 0.001))
    assert step(entropy_coefficient=0.1) == pytest.approx(2.5 + 12_000 * (0.001 + 0.0005))
    assert step(estimator="reinforce_pp") == pytest.approx(2.5 + 12_000 * (0.001 + 0.0005))
    # A critic is a second network to push in every pass; its values are one more forward pass.
    assert step(estimator="critic") == pytest.approx(2.5 + 12_000 * (2 * 0.001 + 0.0005 + 0.001))
    assert step(estimator="critic", ratio_clip=0.2, passes=4) == pytest.approx(2.5 + 12_000 * (8 * 0.001 + 0.0015))
    assert step(reward="random") == pytest.approx(2.5 + 12_000 * (0.001 + 0.0005))
    assert step(reward="format") == pytest.approx(2.5 + 12_000 * (0.0003 + 0.0005))
    # Of ten completions the article's estimator pushes one. Where nothing is recomputed a prompt counts once a group.
    assert step(estimator="as_published") == pytest.approx(2.5 + 12_000 * (0.00008 + 0.0005))
    assert step(gradient_checkpointing=False) == pytest.approx(2.5 + 8 * (50 + 10 * 100) * (0.0008 + 0.0005))
    assert step(estimator="supervised") == pytest.approx(8 * 150 * (0.001 + 0.0005))  # one solution a question
    for change in ({"kl_coefficient": 0.1}, {"estimator": "critic"}):
        assert not forecast.plain(TRAINING.model_copy(update=change)) and forecast.plain(TRAINING)


def test_unknown_lengths_are_shares_of_the_limit() -> None:
    mean, longest = forecast.expected_lengths(1000, None)
    assert near(mean, 250, 500, 1000) and near(longest, 500, 1000, 1000)


def test_an_evaluation_by_hand() -> None:
    # 100 problems in 3 batches x 150 positions x 0.02 = 9 s, and 2 + 3 + 10 = 15 s around; the cross-check doubles 9.
    evaluation = Evaluation(max_new_tokens=400, batch_size=40)
    found = forecast.evaluation_seconds(RATES, evaluation, 100, RATES.lengths)
    assert near(found, 0.8 * (15 + 6.3), 24, 1.3 * (15 + 13.5))
    twice = evaluation.model_copy(update={"cross_check": True})
    assert forecast.evaluation_seconds(RATES, twice, 100, RATES.lengths).expected == pytest.approx(33)
    # 50 questions, 10 a batch for 4 answers each: 5 more batches of 150 x 0.02.
    drawn = evaluation.model_copy(update={"samples": 4, "samples_limit": 50})
    assert forecast.evaluation_seconds(RATES, drawn, 100, RATES.lengths).expected == pytest.approx(24 + 15)
    # 50 problems of train and a perturbation of each: 3 more batches.
    beside = evaluation.model_copy(update={"memorisation": 50})
    assert forecast.evaluation_seconds(RATES, beside, 100, RATES.lengths).expected == pytest.approx(24 + 9)


def test_a_second_evaluation_by_hand(settings: Settings) -> None:
    evaluation = Evaluation(
        max_new_tokens=400, batch_size=40, noise_floor=True, samples=4, memorisation=9, cross_check=True
    )
    task = settings.task.model_copy(update={"test_size": 100})
    twice = settings.model_copy(update={"evaluation": evaluation, "task": task})
    job = Job("evaluate_again", "m")
    assert job in jobs(twice) and job not in jobs(settings)
    # 100 problems in 5 batches of 20 x 150 positions x 0.02 = 15 s, and 15 s around: no samples and no cross-check.
    assert forecast.forecast(twice, job, RATES, Evidence()).total.expected == pytest.approx(30)
    # The baseline has shown the lengths; its own seconds, with samples and in other batches, say nothing.
    seen = Evidence(seconds={Job("evaluate_baseline", "m"): 900.0}, lengths={"m": (50, 75)})
    assert forecast.forecast(twice, job, RATES, seen).total.expected == pytest.approx(22.5)


def test_fetching_with_and_without_a_start() -> None:
    assert forecast.fetching(RATES, None).total.expected == 12
    started = forecast.fetching(RATES, Start(steps=30, learning_rate=1e-3))
    assert started.total.expected == pytest.approx(2 + 20 + 1 + 30 * 0.5)


def test_what_has_been_run_replaces_what_was_measured(settings: Settings) -> None:
    baseline, after = Job("evaluate_baseline", "m"), Job("evaluate_trained", "m", "v", 0)
    blank = forecast.forecast(settings, after, RATES, Evidence())
    seen = forecast.forecast(settings, after, RATES, Evidence(seconds={baseline: 40.0}))
    assert near(seen.total, 28, 40, 60) and seen.total != blank.total
    other = forecast.forecast(settings, after, RATES, Evidence(seconds={replace(baseline, model="n"): 40.0}))
    assert other == blank
    known = Evidence(trained={"m": Trained(around=7, step_per_completion=0.25)})
    trained = forecast.forecast(settings, Job("train", "m", "v", 0), RATES, known)
    # one question x 10 completions x 0.25 s
    assert near(trained.step, 0.7 * 2.5, 2.5, 1.5 * 2.5) and trained.around.expected == 7


def test_a_training_without_a_step_costs_a_process(settings: Settings) -> None:
    config = settings.model_copy(update={"training_variants": {"v": {"steps": 0}}})
    found = forecast.forecast(config, Job("train", "m", "v", 0), RATES, Evidence())
    assert near(found.total, 0.8 * 2, 2, 1.3 * 2) and found.steps == 0


def test_the_lengths_of_the_baseline_are_used_for_training(settings: Settings) -> None:
    job, unknown = Job("train", "m", "v", 0), replace(RATES, lengths=None)
    long = forecast.forecast(settings, job, unknown, Evidence())
    short = forecast.forecast(settings, job, unknown, Evidence(lengths={"m": (1, 1)}))
    assert short.step.high < long.step.high


def test_sampling_is_taken_to_write_as_long_as_the_longer_of_what_was_seen() -> None:
    assert forecast.sampled_lengths((4, 30), (9, 22)) == (9, 30)
    assert forecast.sampled_lengths(None, (9, 22)) == forecast.sampled_lengths((9, 22), None) == (9, 22)
    assert forecast.sampled_lengths(None, None) is None


def test_several_devices_cost_several_device_seconds(settings: Settings) -> None:
    job = Job("train", "m", "v", 0)
    two = settings.model_copy(update={"hardware": settings.hardware.model_copy(update={"count": 2})})
    one = forecast.forecast(settings, job, RATES, Evidence()).total
    assert forecast.forecast(two, job, RATES, Evidence()).total == one * 2


def test_every_job_once(settings: Settings) -> None:
    assert [str(job) for job in jobs(settings)] == [
        "fetch_policy m", "evaluate_baseline m", "train m v seed0", "evaluate_trained m v seed0",
    ]  # fmt: skip


def test_controls_have_fewer_seeds(settings: Settings) -> None:
    two = {"variants": ["v", "w"], "training_variants": {"v": {}, "w": {"reward": "random"}}, "seeds": [0, 1]}
    some = settings.model_copy(update={**two, "control_seeds": [0]})
    trained = [str(job) for job in jobs(some) if job.stage == "train"]
    assert trained == ["train m v seed0", "train m v seed1", "train m w seed0"]


ENDS = st.lists(st.floats(0, 1e4), min_size=3, max_size=3).map(sorted)


@given(ENDS, ENDS, st.integers(0, 50), st.floats(0, 10))
def test_the_ends_stay_in_order(first: list[float], second: list[float], steps: int, factor: float) -> None:
    total = Duration(Interval(*first), Interval(*second), steps).total * factor
    assert total.low <= total.expected <= total.high
