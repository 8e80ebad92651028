from datetime import UTC, date, datetime, timedelta

import pytest

from reinforce_lite.budget import forecast
from reinforce_lite.budget.forecast import Evidence, Rates
from reinforce_lite.budget.gate import SameCost
from reinforce_lite.budget.ledger import Attempt, Outcome
from reinforce_lite.config import Settings
from reinforce_lite.stages import Job

MINE, OTHER = Job("train", "m", "supervised", 0), Job("train", "m", "v", 0)
NOON = datetime(2026, 11, 26, 12, tzinfo=UTC)


class Purse:
    """A meter that a test turns by hand."""

    mine = 0.0

    def spent(self) -> float:
        return self.mine

    def own(self) -> float:
        return self.mine


def attempt(job: Job, usd: float, outcome: Outcome = "finished") -> Attempt:
    """One that cost so much at a dollar an hour."""
    price = ("cpu", 1, 1.0, "a shop", date(2026, 5, 1))
    return Attempt("0", job.stage, job.model, job.variant, job.seed, NOON, NOON + timedelta(hours=usd), outcome, *price)


LEDGER = [
    attempt(OTHER, 1.0, "killed"), attempt(OTHER, 2.0),
    attempt(Job("train", "m", "v", 1), 50.0), attempt(Job("train", "n", "v", 0), 50.0),
    attempt(Job("evaluate_trained", "m", "v", 0), 50.0),
]  # fmt: skip


def steps(rule: SameCost, purse: Purse, each: float, most: int) -> int:
    """Take steps until the rule ends them; how many."""
    for done in range(1, most + 1):
        purse.mine += each
        if rule(done) is not None:
            return done
    return most


def test_it_ends_at_the_step_that_reaches_the_others_cost() -> None:
    purse = Purse()
    rule = SameCost(lambda done: None, purse, LEDGER, MINE, "v", steps=99)
    assert steps(rule, purse, 0.7, 99) == 5, "4 steps cost 2.8 of 3: every attempt of that run counts, and no other"
    assert rule.reached == "has cost what v did ($3.0000) at step 5"


def test_what_earlier_attempts_spent_is_not_spent_again() -> None:
    purse = Purse()
    rule = SameCost(lambda done: None, purse, [*LEDGER, attempt(MINE, 1.6, "killed")], MINE, "v", steps=99)
    assert steps(rule, purse, 0.7, 99) == 2


def test_the_last_step_and_the_budget_go_before() -> None:
    purse = Purse()
    rule = SameCost(lambda done: None, purse, LEDGER, MINE, "v", steps=3)
    assert steps(rule, purse, 9.0, 3) == 1
    all_of_them = SameCost(lambda done: None, purse, LEDGER, MINE, "v", steps=3)
    assert all_of_them(3) is None and all_of_them.reached is None, "it took every step"
    stopped = SameCost(lambda done: "no money", Purse(), LEDGER, MINE, "v", steps=3)
    assert stopped(1) == "no money" and stopped.reached is None


def test_it_is_forecast_to_last_as_long_as_the_other(settings: Settings) -> None:
    rates = Rates(
        process=2, harness=3, load=10, warm_up=1, start_step=0.5, rollout_position=0.01, update_token=0.001,
        drift_token=0.002, evaluation_position=0.02, prompt_tokens=50, lengths=(8, 8),
    )  # fmt: skip
    variants = {"v": {"steps": 400}, "supervised": {"estimator": "supervised", "steps": 9999, "same_cost_as": "v"}}
    config = settings.model_copy(update={"training_variants": variants, "variants": ["v", "supervised"]})
    mine, other = (forecast.forecast(config, job, rates, Evidence()) for job in (MINE, OTHER))
    assert 400 < mine.steps < 9999, "a step without sampling is cheaper"
    assert mine.total.expected == pytest.approx(other.total.expected, abs=mine.step.expected)
    none = config.model_copy(update={"training_variants": {**variants, "v": {"steps": 0}}})
    assert forecast.forecast(none, MINE, rates, Evidence()).steps == 0, "there is no time for a first step"
