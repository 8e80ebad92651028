from dataclasses import dataclass

import pytest

from ledger_lines import HARDWARE
from reinforce_lite.budget import status
from reinforce_lite.budget.forecast import Duration, Interval
from reinforce_lite.budget.outlook import Outlook, Pace, in_all
from reinforce_lite.budget.plan import Entry, make
from reinforce_lite.io import clock
from reinforce_lite.stages import Job

TRAIN, OTHER, EVALUATION = Job("train", "m", "v", 0), Job("train", "m", "w", 0), Job("evaluate_trained", "m", "v", 0)
CARD = HARDWARE.model_copy(update={"usd_per_hour": 36.0})  # two of them: a cent a device-second


def planned(limit: float = 100.0, done: bool = False) -> dict:
    """At a cent a device-second: two trainings of 600 and 1,000, an evaluation of 200."""
    state = "done" if done else "pending"
    entries = [
        Entry(TRAIN, state, Duration(Interval.exactly(0), Interval.exactly(6), 100)),
        Entry(OTHER, "pending", Duration(Interval.exactly(0), Interval.exactly(10), 100)),
        Entry(EVALUATION, "pending", Duration(Interval.exactly(200))),
    ]
    return status.described(make(limit, 1.0, 0.01, entries, 1))


def test_the_rest_is_seconds_of_the_clock_and_dollars_of_every_device() -> None:
    outlook = Outlook.of(planned(), CARD, TRAIN)
    assert outlook.own_seconds == 300 and outlook.others_seconds == 600  # on two devices
    assert outlook.usd(outlook.own_seconds + outlook.others_seconds) == pytest.approx(18)
    assert Outlook.of(planned(), CARD, TRAIN, ended=[EVALUATION]).others_seconds == 500
    assert Outlook.of(planned(done=True), CARD).others_seconds == 600


def test_a_training_costs_no_more_than_its_share() -> None:
    plan = planned(limit=11)
    shares = {Job("train", "m", row["variant"], 0): row["share_usd"] for row in plan["jobs"] if row["share_usd"]}
    assert sum(shares.values()) == pytest.approx(8)  # 11 - 1 spent - 2 for the evaluation
    assert Outlook.of(plan, CARD, TRAIN).own_seconds == pytest.approx(shares[TRAIN] / 0.02)
    assert in_all(plan, CARD).startswith("cost: the plan expects $11.00 in all, of $11.00, and 0.14 hours")


def test_what_is_left_is_told_by_the_last_steps_once_there_are_some() -> None:
    outlook = Outlook.of(planned(limit=11), CARD, TRAIN)
    assert outlook.own_left(20, 100, None) == pytest.approx(outlook.own_seconds - 20)
    assert outlook.own_left(20, 30, 2.0) == 60
    assert outlook.own_left(20, 30, 1000.0) == pytest.approx(outlook.most_seconds - 20)
    assert outlook.own_left(1e9, 30, None) == 0


@dataclass
class Spent:
    usd: float

    def spent(self) -> float:
        return self.usd

    def own(self) -> float:
        return self.usd


def test_figures_of_a_stage_that_runs(monkeypatch: pytest.MonkeyPatch) -> None:
    now = [1000.0]
    monkeypatch.setattr(clock, "steady_seconds", lambda: now[0])
    pace = Pace(Outlook.of(planned(), CARD, TRAIN), Spent(3.0), began=990.0)
    first = pace.after(1, 100)
    assert (first.stage_seconds, first.all_seconds) == (290, 890) and first.expected_usd == pytest.approx(3 + 17.8)
    now[0] += 20
    second = pace.after(11, 100)  # two seconds a step
    assert (second.stage_seconds, second.all_seconds) == (178, 778) and second.expected_usd == pytest.approx(3 + 15.56)
