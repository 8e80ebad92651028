import pytest
from hypothesis import given
from hypothesis import strategies as st

from reinforce_lite.budget import gate, plan
from reinforce_lite.budget.forecast import Duration, Interval
from reinforce_lite.budget.gate import Allowance, Gate, LedgerMeter, StoppedByBudgetError
from reinforce_lite.budget.ledger import Ledger, ledger_path
from reinforce_lite.budget.plan import Entry
from reinforce_lite.config import Settings
from reinforce_lite.stages import Job


class Purse:
    """A meter that a test turns by hand."""

    def __init__(self, before: float = 0.0) -> None:
        self.before, self.mine = before, 0.0

    def spent(self) -> float:
        return self.before + self.mine

    def own(self) -> float:
        return self.mine


def run(asked: Gate, purse: Purse, costs: list[float]) -> str | None:
    """Take steps of these costs until the gate says stop."""
    asked.begin(len(costs))
    for done, cost in enumerate(costs, 1):
        purse.mine += cost
        reason = asked.stop(done)
        if reason is not None:
            return reason
    return None


def test_it_stops_before_the_reserve_is_touched() -> None:
    purse = Purse(before=2.0)
    # 10 - 2 spent - 3 reserved leaves 5: after the 5th step of $1 there is nothing for a 6th.
    reason = run(Gate(Allowance(10, 3), purse, 8), purse, [1.0] * 8)
    assert reason == "stopped by budget at step 5 of 8" and purse.spent() == 7


def test_the_next_step_is_taken_for_the_second_dearest_of_the_last() -> None:
    purse = Purse()
    # After 1 + 3 + 3 + 1 = 8 of 10 there would be room for a step of 1, not for one of 3.
    costs = [1.0, 3.0, 3.0, 1.0, 1.0]
    assert run(Gate(Allowance(10, 0), purse, 9), purse, costs) == "stopped by budget at step 4 of 5"


@pytest.mark.parametrize("place", range(9))
@pytest.mark.survives("SIGSTOP of a stage for a while, then SIGCONT")
def test_a_machine_that_stood_still_says_nothing_of_the_next_step(place: int) -> None:
    purse, costs = Purse(), [1.0] * 9
    costs[place] = 50.0
    # 8 + 50 are spent of 61: the seconds count, and there is room for every other step.
    assert run(Gate(Allowance(61, 0), purse, 9, usual=1.0), purse, costs) is None and purse.spent() == 58
    cheaper = Purse()
    assert (run(Gate(Allowance(50, 0), cheaper, 9, usual=1.0), cheaper, costs) is None) == (place == 8)


def test_what_an_attempt_may_cost_holds_what_comes_after_its_last_step() -> None:
    sure = Interval.exactly
    entries = [
        Entry(Job("train", "m", "v", 0), "pending", Duration(sure(4), sure(1), 10, after=sure(2))),
        Entry(Job("evaluate_trained", "m", "v", 0), "pending", Duration(sure(3))),
    ]
    made = plan.make(30, 1.0, 1.0, entries, min_steps=5)
    training = entries[0].job
    assert gate.most_usd(made, training) == made.shares_usd[training] == gate.allowance(made, training).share_usd + 2
    assert gate.most_usd(made, entries[1].job) == 29


def test_what_came_before_the_first_step_is_no_step() -> None:
    purse = Purse()
    asked = Gate(Allowance(10, 0), purse, 3)
    purse.mine = 6.0  # imports and weights
    assert run(asked, purse, [1.0, 1.0, 1.0]) is None and asked.reason is None


def test_a_share_stops_though_the_limit_is_far() -> None:
    purse = Purse()
    asked = Gate(Allowance(100, 0, share_usd=2.5), purse, 9)
    assert run(asked, purse, [1.0] * 9) == "stopped by budget at step 2 of 9" == asked.reason


def test_the_last_step_is_never_stopped() -> None:
    purse = Purse()
    assert run(Gate(Allowance(1, 0), purse, 1), purse, [5.0]) is None


def test_a_part_that_is_worth_nothing_ends_in_an_error() -> None:
    purse = Purse()
    asked = Gate(Allowance(2, 0), purse, 5, "batch")
    purse.mine = 1.5
    with pytest.raises(StoppedByBudgetError, match="stopped by budget at batch 1 of 5"):
        asked.check(1)
    with pytest.raises(StoppedByBudgetError):
        asked.complete()


def test_a_seed_that_is_given_up_may_not_start() -> None:
    sure = Interval.exactly
    entries = [
        Entry(Job(stage, "m", "v", seed), "pending", Duration(sure(5)))
        for seed in (0, 1)
        for stage in ("train", "evaluate_trained")
    ]
    made = plan.make(14, 1.0, 1.0, entries, min_steps=1)
    assert gate.refusal(made, Job("train", "m", "v", 0), 1) is None
    assert "suffice for 1 of 2 seeds" in str(gate.refusal(made, Job("train", "m", "v", 1), 1))
    assert gate.refusal(made, Job("evaluate_trained", "m", "v", 0), 1) is None


COSTS = st.lists(st.floats(0.01, 5), min_size=1, max_size=60)


@given(COSTS, st.floats(0, 20), st.floats(0.1, 60), st.floats(0, 30))
def test_the_limit_is_passed_by_one_step_at_most(
    costs: list[float], spent: float, limit: float, reserve: float
) -> None:
    purse = Purse(spent)
    reason = run(Gate(Allowance(limit, reserve), purse, len(costs)), purse, costs)
    taken = costs if reason is None else costs[: int(reason.split()[-3])]
    assert purse.mine == pytest.approx(sum(taken))
    if len(taken) > 1:  # whether there is money for a first step is for `refusal` to say
        over = purse.spent() + reserve - limit
        before = sorted(taken[:-1][-gate.RECENT :])
        assert over <= max(0.0, taken[-1] - before[-2:][0]) + 1e-6


@given(COSTS, st.floats(0.1, 60), st.floats(0, 60))
def test_more_money_never_takes_fewer_steps(costs: list[float], limit: float, more: float) -> None:
    spent = []
    for money in (limit, limit + more):
        purse = Purse()
        run(Gate(Allowance(money, 0), purse, len(costs)), purse, costs)
        spent.append(purse.spent())
    assert spent[0] <= spent[1]


@pytest.mark.parametrize("limit", [20, 15, 14, 6, 5, 4, 3])
def test_what_may_start(limit: float) -> None:
    # At $1 a second: fetch 2, training 4 + 10 steps of 1, evaluation 3, $1 spent; 5 steps are worth starting for.
    sure = Interval.exactly
    entries = [
        Entry(Job("fetch_policy", "m"), "pending", Duration(sure(2))),
        Entry(Job("train", "m", "v", 0), "pending", Duration(sure(4), sure(1), 10)),
        Entry(Job("evaluate_trained", "m", "v", 0), "pending", Duration(sure(3))),
    ]
    made = plan.make(limit, 1.0, 1.0, entries, min_steps=5)
    told = {entry.job.stage: gate.refusal(made, entry.job, 5) for entry in entries}
    # For training there is limit - 1 - 3 reserved - 2 for fetching, for evaluation limit - 1, for fetching limit - 4.
    wanted = {"train": limit >= 15, "evaluate_trained": limit >= 4, "fetch_policy": limit >= 6}
    assert {stage: reason is None for stage, reason in told.items()} == wanted
    assert all("is expected to need" in reason for reason in told.values() if reason)


def test_the_meter_reads_the_ledger_and_adds_itself(settings: Settings) -> None:
    ledger = Ledger(ledger_path(settings))
    first = ledger.close(ledger.open("train", settings.hardware), "failed")
    own = ledger.attempt(ledger.open("train", settings.hardware))
    meter = LedgerMeter(settings, own)
    before = meter.own()
    assert meter.spent() >= first.usd + before > first.usd
    other = ledger.close(ledger.open("evaluate_baseline", settings.hardware), "finished")
    assert meter.spent() >= first.usd + other.usd + before
    assert meter.own() >= before
