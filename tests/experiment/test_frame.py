"""Stages in front of the budget, without models: what is refused, cut, stopped or finished, and what is written."""

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from ledger_lines import close, opened, write
from reinforce_lite.budget import decision, gate, status
from reinforce_lite.budget.forecast import Rates
from reinforce_lite.budget.gate import Gate, StoppedByBudgetError
from reinforce_lite.budget.ledger import attempts, ledger_path
from reinforce_lite.config import Settings, load, merge, validate
from reinforce_lite.errors import UserError
from reinforce_lite.experiment import watch
from reinforce_lite.experiment.attempt import Account
from reinforce_lite.experiment.frame import NotRunError, budgeted
from reinforce_lite.io.files import read_json, write_json, write_jsonl
from reinforce_lite.stages import Job, Layout

ROOT = Path(__file__).parents[2]
FETCH, BASELINE = Job("fetch_policy", "tiny-phi"), Job("evaluate_baseline", "tiny-phi")
TRAIN, TRAINED = Job("train", "tiny-phi", "leave_one_out", 0), Job("evaluate_trained", "tiny-phi", "leave_one_out", 0)
# Seconds; at $3,600 an hour also US dollars: fetch 2, baseline and trained 1 x (40 x .02 + 3), a training 3 + 60 steps.
RATES = Rates(
    process=1, harness=1, load=1, warm_up=0, start_step=0, rollout_position=0.05, update_token=0, drift_token=0,
    evaluation_position=0.02, prompt_tokens=10,
)  # fmt: skip


@pytest.fixture
def configured(tmp_path: Path) -> Callable[..., Settings]:
    """Makes the settings of an experiment that has passed preflight."""

    def make(limit: float, refused: str | None = None) -> Settings:
        layers = [ROOT / "config/config.yaml", ROOT / "config/tiny.yaml"]
        base = load(layers).model_dump(mode="json")
        changes: dict[str, Any] = {"results": str(tmp_path), "models": ["tiny-phi"], "variants": ["leave_one_out"]}
        changes |= {"budget": {"limit_usd": limit}, "hardware": {"usd_per_hour": 3600.0}}
        changes |= {"tracking": {"uri": "gopher://nowhere"}}
        made = validate(merge(base, changes))
        write_json(Layout.of(made).preflight, {"plan": {"refused": refused, "limit_usd": limit}})
        of = {"id": "preflight", "stage": "preflight"}
        if not ledger_path(made).exists():
            write(ledger_path(made), opened(**of, model=None, seed=None, age=0.0), close(0, id="preflight"))
        status.keep_rates(made, "digest", {"tiny-phi": RATES})
        return made

    return make


def work(settings: Settings, job: Job, block: Callable[[Account, Gate], None], round: int = 0) -> None:
    budgeted(settings, job, round, lambda paid: block(paid.account, paid.gate))


def finish(settings: Settings, job: Job, **told: Any) -> None:
    """Write what the job would."""
    place = Layout.of(settings).path(job)
    write_json(place, told)
    if job.stage.startswith("evaluate"):
        write_jsonl(place.with_name("items.jsonl"), [{"length": 12}, {"length": 30}])


def ended(settings: Settings, job: Job) -> decision.Decision:
    found = decision.read(Layout.of(settings).decision(job))
    assert found is not None
    return found


def test_what_fits_is_run(configured: Callable[..., Settings]) -> None:
    settings = configured(1000)
    work(settings, FETCH, lambda *_: finish(settings, FETCH))
    _, attempt = attempts(ledger_path(settings))
    assert (attempt.stage, attempt.model, attempt.outcome) == ("fetch_policy", "tiny-phi", "finished")
    assert ended(settings, FETCH).unfinished is None and status.state(settings, FETCH) == "done"
    assert [plan["by"] for plan in read_json(Layout.of(settings).plan)["plans"]] == ["fetch_policy tiny-phi"]


@pytest.mark.parametrize("job", [FETCH, BASELINE, TRAIN, TRAINED])
def test_what_does_not_fit_is_recorded_and_costs_nothing(configured: Callable[..., Settings], job: Job) -> None:
    settings = configured(0.5)
    with pytest.raises(NotRunError) as error:
        work(settings, job, lambda *_: pytest.fail("it ran"))
    assert error.value.code == 0
    told = read_json(Layout.of(settings).path(job))
    assert "of $0.5000 are spent" in told["not_run"] and "would be enough" in told["not_run"]
    assert [attempt.stage for attempt in attempts(ledger_path(settings))] == ["preflight"]
    assert ended(settings, job).kind == "not run"


def test_the_reason_is_handed_on_without_the_device(configured: Callable[..., Settings]) -> None:
    settings = configured(1000, refused="not run: the plan")
    for job in (FETCH, BASELINE, TRAIN, TRAINED):
        with pytest.raises(NotRunError, match="0"):
            work(settings, job, lambda *_: pytest.fail("it ran"))
        assert read_json(Layout.of(settings).path(job))["not_run"] == "not run: the plan"
    folder = Layout.of(settings).train("tiny-phi", "leave_one_out", 0)
    assert {path.name for path in folder.iterdir()} == {
        "policy.json", "metrics.jsonl", "completions.jsonl", "training.json",
    }  # fmt: skip
    assert (Layout.of(settings).evaluation("tiny-phi") / "items.jsonl").read_text() == ""


def test_no_training_without_a_baseline(configured: Callable[..., Settings]) -> None:
    settings = configured(1000)
    finish(settings, FETCH)
    finish(settings, BASELINE, not_run="no money")
    decision.write(Layout.of(settings).decision(BASELINE), settings, 0, "no money", "not run")
    with pytest.raises(NotRunError):
        work(settings, TRAIN, lambda *_: pytest.fail("it ran"))
    richer = configured(2000)  # under another budget the baseline is still to be run
    assert status.state(richer, BASELINE) == "pending"
    work(richer, TRAIN, lambda *_: finish(richer, TRAIN))


def test_a_part_of_an_evaluation_counts_as_none(configured: Callable[..., Settings]) -> None:
    settings = configured(1000)

    def cut(account: Account, gate: Gate) -> None:
        finish(settings, BASELINE)
        raise StoppedByBudgetError("stopped by budget at batch 1 of 4")

    work(settings, BASELINE, cut)
    _, attempt = attempts(ledger_path(settings))
    assert attempt.outcome == "interrupted" and "batch 1 of 4" in str(attempt.error)
    told = read_json(Layout.of(settings).path(BASELINE))
    assert "was stopped by budget at batch 1 of 4" in told["not_run"]
    assert (Layout.of(settings).evaluation("tiny-phi") / "items.jsonl").read_text() == ""


def test_a_stopped_training_is_a_result_that_may_go_on(configured: Callable[..., Settings]) -> None:
    settings = configured(1000)

    def stop(account: Account, gate: Gate) -> None:
        (Layout.of(settings).resume(TRAIN) / "step-00000012").mkdir(parents=True)
        gate.reason = "stopped by budget at step 12 of 60"
        finish(settings, TRAIN, steps=12, stopped=gate.reason)

    work(settings, TRAIN, stop, round=4)
    found = ended(settings, TRAIN)
    assert (found.round, found.kind, found.unfinished) == (4, "stopped", "stopped by budget at step 12 of 60")
    assert status.state(settings, TRAIN) == "done"
    finish(settings, TRAINED)
    richer = configured(2000)
    assert status.state(richer, TRAIN) == "pending" == status.state(richer, TRAINED)
    assert status.survey(richer, {"tiny-phi": RATES}).entry(TRAIN).duration.steps == 48
    assert status.state(configured(500), TRAIN) == "done", "less money takes nothing away"


def test_the_steps_that_a_killed_training_has_kept_are_not_paid_again(configured: Callable[..., Settings]) -> None:
    settings = configured(1000)
    for step in (9, 57):
        (Layout.of(settings).resume(TRAIN) / f"step-{step:08d}").mkdir(parents=True)
    assert status.survey(settings, {"tiny-phi": RATES}).entry(TRAIN).duration.steps == 3


@pytest.mark.parametrize("job", [FETCH, BASELINE, TRAIN])
@pytest.mark.survives("a step, a load or a download that hangs")
def test_what_hangs_counts_as_not_run_and_keeps_its_checkpoints(
    configured: Callable[..., Settings], job: Job, monkeypatch: pytest.MonkeyPatch
) -> None:
    settings = configured(1000)
    monkeypatch.setattr(watch, "LATE_SECONDS", 0.5)
    monkeypatch.setattr(watch, "HEAR_SECONDS", 0.5)
    monkeypatch.setattr(gate, "most_usd", lambda *given: 0.0)
    kept = Layout.of(settings).resume(job) / "step-00000012"
    kept.mkdir(parents=True)
    work(settings, job, lambda *_: print(sum(range(10**12))), round=4)  # never comes back from C
    attempt = attempts(ledger_path(settings))[-1]
    assert attempt.outcome == "interrupted" and "stopped by budget from outside" in str(attempt.error)
    told = read_json(Layout.of(settings).path(job))
    assert f"not finished: {job} was stopped by budget from outside" in told["not_run"]
    assert "would be enough" in told["not_run"] and kept.exists()
    assert (ended(settings, job).kind, ended(settings, job).round) == ("not run", 4)
    assert status.state(configured(2000), job) == "pending"


def test_an_error_leaves_no_verdict(configured: Callable[..., Settings]) -> None:
    settings = configured(1000)

    def fail(account: Account, gate: Gate) -> None:
        raise ValueError("no")

    with pytest.raises(ValueError, match="no"):
        work(settings, FETCH, fail)
    assert not Layout.of(settings).decision(FETCH).exists()


def test_by_hand_the_round_stays(configured: Callable[..., Settings]) -> None:
    settings = configured(1000)
    work(settings, FETCH, lambda *_: None, round=3)
    budgeted(settings, FETCH, None, lambda paid: None)
    assert ended(settings, FETCH).round == 3


def test_without_a_rehearsal_nothing_starts(configured: Callable[..., Settings]) -> None:
    settings = configured(1000)
    Layout.of(settings).plan.unlink()
    with pytest.raises(UserError, match=r"plan.json holds no rehearsal"):
        work(settings, FETCH, lambda *_: pytest.fail("it ran"))


def test_evidence_comes_from_what_is_finished(configured: Callable[..., Settings]) -> None:
    settings = configured(10_000)
    work(settings, BASELINE, lambda *_: finish(settings, BASELINE))
    training = settings.variant("leave_one_out")

    def train(account: Account, gate: Gate) -> None:
        finish(settings, TRAIN, steps=2)
        place = Layout.of(settings).path(TRAIN).with_name("metrics.jsonl")
        write_jsonl(place, [{"step": i, "seconds_rollout": 1e-6, "seconds_update": 3e-6} for i in range(2)])

    work(settings, TRAIN, train)
    known = status.evidence(settings, attempts(ledger_path(settings)))
    assert known.lengths == {"tiny-phi": (21.0, 30.0)}
    assert known.seconds.keys() == {BASELINE}
    per_step = training.questions_per_step * training.group_size
    assert known.trained["tiny-phi"].step_per_completion == pytest.approx(4e-6 / per_step)
    assert status.state(settings, replace(TRAINED)) == "pending"


def test_the_first_plan_is_never_overwritten(configured: Callable[..., Settings]) -> None:
    settings = configured(1000)
    for spent in (0.0, 1.0, 2.0):
        status.keep_plan(settings, "preflight", status.survey(settings, {"tiny-phi": RATES}, spent))
    content = read_json(Layout.of(settings).plan)
    assert [plan["spent_usd"] for plan in content["plans"]] == [0, 1, 2]
    assert status.load_rates(settings) == {"tiny-phi": RATES}
    assert status.load_rates(settings, "another digest") is None
