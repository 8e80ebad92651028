from dataclasses import replace
from datetime import UTC, date, datetime, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from reinforce_lite.budget.costs import by_stage, idle_seconds, remaining_usd, spent_usd
from reinforce_lite.budget.ledger import Attempt

NOON = datetime(2026, 5, 1, 12, tzinfo=UTC)


def attempt(stage, hours, usd_per_hour=0.79, count=1, outcome="finished"):
    return Attempt(
        id="x", stage=stage, model=None, variant=None, seed=None, started=NOON, ended=NOON + timedelta(hours=hours),
        outcome=outcome, device="L40S", count=count, usd_per_hour=usd_per_hour, price_source="a shop",
        price_date=date(2026, 5, 1),
    )  # fmt: skip


def test_worked_sum():
    # 1 h x 0.79 + 2 h x 2 devices x 0.79 + 0.5 h x 1.20, the last one killed: 0.79 + 3.16 + 0.60
    spent = [attempt("train", 1), attempt("evaluate", 2, count=2), attempt("train", 0.5, 1.20, outcome="killed")]
    assert spent_usd(spent) == pytest.approx(4.55)
    assert remaining_usd(10, spent) == pytest.approx(5.45)
    stages = by_stage(spent)
    assert list(stages) == ["train", "evaluate"]
    assert stages["train"] == {"usd": pytest.approx(1.39), "device_hours": pytest.approx(1.5), "attempts": 2}
    assert stages["evaluate"] == {"usd": pytest.approx(3.16), "device_hours": pytest.approx(4.0), "attempts": 1}


def test_nothing_spent():
    assert spent_usd([]) == 0 and remaining_usd(10, []) == 10 and by_stage([]) == {}


def test_an_overrun_shows_as_a_negative_rest():
    assert remaining_usd(0.5, [attempt("train", 1)]) == pytest.approx(-0.29)


@given(st.lists(st.tuples(st.sampled_from("abc"), st.floats(0, 100), st.floats(0, 5), st.integers(1, 8)), max_size=10))
def test_stages_add_up_to_the_whole(rows):
    spent = [attempt(*row) for row in rows]
    stages = by_stage(spent)
    assert sum(stage["usd"] for stage in stages.values()) == pytest.approx(spent_usd(spent))
    assert sum(stage["attempts"] for stage in stages.values()) == len(spent)
    assert remaining_usd(10, spent) + spent_usd(spent) == pytest.approx(10)


def span(start, seconds, boot="b"):
    return replace(attempt("train", seconds / 3600), boot=boot, clock=float(start))


@pytest.mark.parametrize(
    ("spans", "idle"),
    [
        ([], 0),
        ([span(100, 50)], 0),
        ([span(100, 50), span(150, 10)], 0),
        ([span(100, 50), span(170, 10), span(200, 5)], 40),
        ([span(200, 5), span(100, 50), span(170, 10)], 40),  # in any order
        ([span(100, 100), span(120, 10), span(150, 90), span(300, 1)], 60),  # overlaps are counted once
        ([span(100, 50), span(90, 5, "c")], 0),  # another boot: it may not have been rented in between
        ([span(100, 50), span(160, 1), span(0, 5, "c"), span(7, 5, "c")], 12),
    ],
)
def test_idle_time_lies_between_attempts_of_one_boot(spans, idle):
    assert idle_seconds(spans) == pytest.approx(idle)


@given(st.lists(st.tuples(st.integers(0, 60), st.integers(0, 20), st.sampled_from("bc")), max_size=12))
def test_idle_time_is_what_no_attempt_covers(rows):
    expected = 0
    for boot in "bc":
        covered = {second for start, length, own in rows if own == boot for second in range(start, start + length)}
        edges = [edge for start, length, own in rows if own == boot for edge in (start, start + length)]
        expected += sum(second not in covered for second in range(min(edges, default=0), max(edges, default=0)))
    assert idle_seconds(span(*row) for row in rows) == pytest.approx(expected, abs=1e-6)
