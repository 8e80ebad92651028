"""The rehearsal measures with the real loop, start and harness."""

from dataclasses import fields, replace
from pathlib import Path
from typing import Any

import pytest

from reinforce_lite.budget.gate import Allowance, Gate, StoppedByBudgetError
from reinforce_lite.config import Settings, Training, load, validate
from reinforce_lite.experiment import rehearsal
from reinforce_lite.experiment.preflight import rehearsed
from reinforce_lite.learning import loop
from toys import WORLD

ROOT = Path(__file__).parents[2]


class Purse:
    """A meter that a test turns by hand: every look costs."""

    def __init__(self, each: float = 0.0) -> None:
        self.each, self.mine = each, 0.0

    def spent(self) -> float:
        return self.mine

    def own(self) -> float:
        self.mine += self.each
        return self.mine


@pytest.fixture
def small(tmp_path: Path) -> Settings:
    layers = [ROOT / "config/config.yaml", ROOT / "config/tiny.yaml", ROOT / "tests/workflow/mini.yaml"]
    config = load(layers).model_dump(mode="json")
    return validate({**config, "results": str(tmp_path)})


def test_every_rate_is_measured(small: Settings) -> None:
    (rates,) = rehearsal.rehearse(small, lambda model: False, 0.0, Gate(Allowance(1.0, 0.0), Purse(), 1)).values()
    measured = {field.name: getattr(rates, field.name) for field in fields(rates)}
    shown = [len(d.completion.split()) + 1 for d in rehearsal.few_problems(small).demonstrations]
    assert measured.pop("lengths") == (sum(shown) / len(shown), max(shown)), "what it writes untrained says nothing"
    assert measured.pop("warm_up") >= 0
    assert all(value > 0 for value in measured.values()), measured


def test_answers_that_never_end_are_told(small: Settings, capsys: pytest.CaptureFixture[str]) -> None:
    from reinforce_lite.policy import fetch

    training = small.variant("leave_one_out")
    problems = rehearsal.few_problems(small).train
    policy = fetch.materialise(small.policies["tiny-llama"], WORLD.vocabulary, 0, "cpu")
    never, always = frozenset({len(policy.tokenizer)}), frozenset(range(len(policy.tokenizer)))
    for stops, ready, told in ((never, True, True), (never, False, False), (always, True, False)):
        rehearsal.measure_training(replace(policy, stop_ids=stops), problems, WORLD, "bare", training, ready=ready)
        warning = "warning: 100% of the rehearsed completions ran to their limit of 24 tokens"
        assert (warning in capsys.readouterr().err) == told


def test_lengths_of_a_policy_that_is_used_as_it_is(small: Settings) -> None:
    from reinforce_lite.policy import fetch

    policy = fetch.materialise(small.policies["tiny-llama"], WORLD.vocabulary, 0, "cpu")
    training = small.variant("leave_one_out")
    problems = rehearsal.few_problems(small).train
    mean, longest = rehearsal.measure_training(policy, problems, WORLD, "bare", training)["lengths"]
    assert 0 < mean <= longest <= training.max_new_tokens
    long = training.model_copy(update={"max_new_tokens": 10_000})
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(rehearsal, "CAP", 2)
        assert rehearsal.measure_training(policy, problems, WORLD, "bare", long)["lengths"] is None, "they were cut"


def test_it_stops_inside_the_training_that_it_measures(small: Settings, monkeypatch: pytest.MonkeyPatch) -> None:
    purse, steps, real = Purse(), [], loop.step_metrics

    def dear(*arguments: Any) -> Any:
        steps.append(arguments)
        purse.mine = 1.0
        return real(*arguments)

    monkeypatch.setattr(loop, "step_metrics", dear)
    with pytest.raises(StoppedByBudgetError, match="part of the rehearsal, 1 of 4"):
        rehearsal.rehearse(small, lambda model: False, 0.0, Gate(Allowance(0.5, 0.0), purse, 1))
    assert len(steps) == 1


def test_it_stops_when_the_money_does(small: Settings) -> None:
    gate = Gate(Allowance(0.5, 0.0), Purse(each=1.0), 1)
    with pytest.raises(StoppedByBudgetError, match="part of the rehearsal, 0 of 4"):
        rehearsal.rehearse(small, lambda model: False, 0.0, gate)


def test_a_token_costs_what_one_pass_of_one_network_does() -> None:
    """8 completions of 10 tokens behind 5 of a prompt in 1.2 s: 0.01 s a token; with a critic twice, in PPO 8 times."""
    row = {
        "seconds_rollout": 1.0,
        "seconds_reward": 0.2,
        "seconds_drift": 1.0,
        "length_mean": 10.0,
        "groups_dropped": 0.0,
    }
    ppo = {"estimator": "critic", "ratio_clip": 0.2, "passes": 4}
    for change, seconds in (({}, 1.0), ({"estimator": "critic"}, 2.2), (ppo, 9.4)):
        one = {"steps": 1, "questions_per_step": 1, "group_size": 8, "max_new_tokens": 16, "learning_rate": 1e-3}
        few, rows = Training(**one, rollout_batch=8, **change), [{**row, "seconds_update": seconds}] * rehearsal.STEPS
        assert rehearsal._rates(few, 5.0, rows, [10] * rehearsal.STEPS)["update_token"] == pytest.approx(0.01)


def test_other_steps_need_no_other_rehearsal(small: Settings) -> None:
    name = rehearsed(small)
    more = small.model_copy(update={"training": small.training.model_copy(update={"steps": 99})})
    assert rehearsed(more) == name
    longer = small.model_copy(update={"training": small.training.model_copy(update={"max_new_tokens": 99})})
    assert rehearsed(longer) != name
