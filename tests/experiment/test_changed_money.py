"""A price that changes, and a budget that is raised and lowered, in the middle of an experiment."""

from typing import Any

import pytest

from ledger_lines import close, opened, write
from reinforce_lite.budget import plan, status
from reinforce_lite.budget.forecast import Rates
from reinforce_lite.budget.ledger import attempts, ledger_path
from reinforce_lite.config import Settings
from reinforce_lite.experiment.frame import NotRunError, budgeted
from reinforce_lite.experiment.ledger_command import table
from reinforce_lite.io.files import read_json, write_json
from reinforce_lite.report.summary import cost
from reinforce_lite.stages import Job, Layout

RATES = Rates(
    process=1, harness=1, load=1, warm_up=0, start_step=0, rollout_position=0.05, update_token=0, drift_token=0,
    evaluation_position=0.02, prompt_tokens=10,
)  # fmt: skip
FETCH, BASELINE = Job("fetch_policy", "m"), Job("evaluate_baseline", "m")


def changed(settings: Settings, **sections: dict[str, Any]) -> Settings:
    update = {name: getattr(settings, name).model_copy(update=keys) for name, keys in sections.items()}
    return settings.model_copy(update=update)


@pytest.fixture
def begun(settings: Settings) -> Settings:
    """Preflight has passed, and an hour was spent on it at $0.79."""
    write_json(Layout.of(settings).preflight, {"plan": {"refused": None, "limit_usd": 10.0}})
    status.keep_rates(settings, "digest", {"m": RATES})
    write(ledger_path(settings), opened(stage="preflight", model=None, seed=None), close(3595))
    return settings


def test_rows_keep_their_price_and_the_plan_takes_the_new_one_and_says_so(begun: Settings) -> None:
    dearer = changed(begun, hardware={"usd_per_hour": 2.0})
    before, now = (status.survey(settings, {"m": RATES}) for settings in (begun, dearer))
    assert now.spent_usd == before.spent_usd == 0.79
    assert now.usd_per_second == 2.0 / 3600 and now.others_usd == pytest.approx(before.others_usd * 2.0 / 0.79)
    assert "price:" not in plan.table(before)
    said = "price: $2 a device hour from now on; some was spent at $0.79"
    assert said in plan.table(now)
    status.keep_plan(dearer, "preflight", now)
    kept = read_json(Layout.of(dearer).plan)["plans"][-1]
    assert (kept["usd_per_hour"], kept["paid_at"]) == (pytest.approx(2.0), [0.79])


def test_after_a_change_every_row_counts_at_its_own_price(begun: Settings) -> None:
    dearer = changed(begun, hardware={"usd_per_hour": 2.0})
    budgeted(dearer, FETCH, 0, lambda paid: write_json(Layout.of(dearer).path(FETCH), {}))
    first, second = attempts(ledger_path(dearer))
    assert (first.usd_per_hour, second.usd_per_hour) == (0.79, 2.0) and first.usd == 0.79
    assert second.usd == pytest.approx(second.seconds * 2.0 / 3600)
    summed = cost(dearer, [first, second])
    assert summed["usd"] == first.usd + second.usd and summed["by_stage"]["preflight"]["usd"] == 0.79
    assert status.survey(dearer, {"m": RATES}).spent_usd == first.usd + second.usd


def test_a_budget_that_is_lowered_below_what_is_spent_stops_what_is_left_and_keeps_what_is_done(
    begun: Settings, capsys: pytest.CaptureFixture[str]
) -> None:
    raised = changed(begun, budget={"limit_usd": 20.0})
    budgeted(raised, FETCH, 1, lambda paid: write_json(Layout.of(raised).path(FETCH), {"made": True}))
    lowered = changed(begun, budget={"limit_usd": 0.5})
    made = status.survey(lowered, {"m": RATES})
    assert made.refused and all(share >= 0 for share in made.shares_usd.values())
    with pytest.raises(NotRunError) as caught:
        budgeted(lowered, BASELINE, 2, lambda paid: pytest.fail("it ran"))
    assert "of $0.5000 are spent" in caught.value.reason and "may cost $0.0000" in caught.value.reason
    assert "budget.limit_usd" in caught.value.reason, "it says what would be enough"
    assert read_json(Layout.of(lowered).path(FETCH)) == {"made": True}
    assert status.state(lowered, FETCH) == "done" and status.state(lowered, BASELINE) == "not run"
    every = attempts(ledger_path(lowered))
    assert [attempt.stage for attempt in every] == ["preflight", "fetch_policy"], "the refusal cost nothing"
    assert "remains" in table(lowered, every) and "-$0.2" in table(lowered, every)
    assert status.state(raised, BASELINE) == "pending", "with the money back it is run"
    budgeted(raised, BASELINE, 3, lambda paid: write_json(Layout.of(raised).path(BASELINE), {}))
    assert status.state(raised, BASELINE) == "done"
