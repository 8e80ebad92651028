"""A plan for a GPU that is not here."""

import json
from pathlib import Path
from typing import Any

import pytest

from reinforce_lite.budget.cards import find
from reinforce_lite.budget.forecast import rollout_batches
from reinforce_lite.budget.roofline import PROMPT, Roofline
from reinforce_lite.cli import main
from reinforce_lite.config import Settings, load, merge, validate
from reinforce_lite.errors import UserError
from reinforce_lite.experiment.estimate import estimate

ROOT = Path(__file__).parents[2]
PAPER = ROOT / "config/config.yaml"
A6000 = find("a6000")
LLAMA = "llama-3.2-3b-instruct"


def changed(**change: Any) -> Settings:
    return validate(merge(load([PAPER]).model_dump(mode="json"), change))


def test_the_forecast_multiplies_out_to_what_was_computed() -> None:
    settings = changed(
        training={"questions_per_step": 32, "rollout_batch": 80, "kl_every": 10}, evaluation={"batch_size": 64},
        checkpoint={"every_seconds": 1e9},
    )  # fmt: skip
    role = estimate(settings, A6000).roles[LLAMA]
    rates, at = role.rates, Roofline(A6000, 3.21e9, 112)
    # 320 rows, 80 side by side: 4 batches, which the forecast takes for (250 + 1,024) / 2 positions each.
    assert rollout_batches(role.training) == 4
    written = at.writing("vllm", 320, 80, 32, (250, 1024), PROMPT)
    assert rates.rollout_position * 4 * 637 == pytest.approx(written)
    assert rates.evaluation_position * 1024 == pytest.approx(at.writing("vllm", 64, 64, 64, (250, 1024), PROMPT))
    # 320 x (130 + 250) tokens, of which 80% carry a gradient; 22 bytes a weight at 15.5% of 768 GB/s.
    pushed = 320 * 380 * 0.8
    step = pushed * 8 * 3.21e9 / (0.45 * 154.8e12) + 22 * 3.21e9 / (0.155 * 768e9)
    assert pushed * rates.update_token == pytest.approx(step)
    assert 320 * 380 * rates.drift_token == pytest.approx(at.drift(320 * 380))
    assert (rates.load, rates.engine, rates.warm_up, rates.lengths) == (pytest.approx(6.42), 50, 0, (250, 1024))


def test_steps_wait_for_checkpoints() -> None:
    often, seldom = (estimate(changed(checkpoint={"every_seconds": s}), A6000).roles[LLAMA].rates for s in (64.2, 1e9))
    # 10 bytes a weight at 0.5 GB/s are 64.2 s: as long as the steps between two.
    assert often.rollout_position == pytest.approx(2 * seldom.rollout_position)
    assert often.update_token == pytest.approx(2 * seldom.update_token)
    assert often.evaluation_position == seldom.evaluation_position


def test_rows_without_a_cache_wait() -> None:
    roles = estimate(changed(), A6000).roles
    # 48 GiB less Phi (8 bytes a weight beside the gradients), vLLM's copy and 4 GiB, at 384 KiB a token.
    free = 48 * 2**30 - 3.82e9 * (8 + 2) - 4 * 2**30
    assert roles["phi-3.5-mini-instruct"].training.weights == "kahan"
    assert roles["phi-3.5-mini-instruct"].cached == pytest.approx(free / (384 * 1024 * 380))


def test_vllm_where_it_fits_and_generate_elsewhere() -> None:
    assert estimate(changed(), A6000).roles[LLAMA].training.engine == "vllm"
    small = changed(hardware={"memory_gib": 20}, training={"weights": "8bit"})
    assert estimate(small, A6000).roles[LLAMA].training.engine == "generate"
    asked = estimate(changed(), A6000, engine="generate")
    assert asked.roles[LLAMA].training.engine == "generate" and asked.roles[LLAMA].rates.engine == 0
    assert asked.plan.enough_usd > 2 * estimate(changed(), A6000).plan.enough_usd


def test_prices() -> None:
    mine = changed(hardware={"usd_per_hour": 0.7})
    assert estimate(mine, A6000).settings.hardware.usd_per_hour == 0.7
    assert estimate(mine, find("l40s")).settings.hardware.usd_per_hour == 0.79
    assert estimate(mine, find("l40s"), price=1.5).settings.hardware.usd_per_hour == 1.5
    found = estimate(mine, A6000)
    assert found.usd.expected == pytest.approx(found.seconds.expected * 0.7 / 3600)
    # 7.03e9 weights of 2 bytes at 0.1 and at 1 GB/s, and 135 s a model.
    assert found.preflight == pytest.approx(140.6 + 14.06 + 270)
    assert found.plan.spent_usd == pytest.approx(found.preflight * 0.7 / 3600)


def test_a_card_that_is_too_small_is_told(capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    overlay = tmp_path / "master.json"
    overlay.write_text(json.dumps({"training": {"weights": "master"}}))
    command = ["estimate", "--config", str(PAPER), str(overlay), "--gpu"]
    assert main([*command, "all"]) == 0
    shown = capsys.readouterr().out
    assert "a6000 cannot hold it: llama-3.2-3b-instruct needs 48 of 48 GiB (master); phi" in shown
    assert "a100-80 cannot hold it" not in shown
    assert main([*command, "4090"]) == 0
    assert "this card cannot hold it: llama-3.2-3b-instruct needs 48 of 24 GiB" in capsys.readouterr().out


def test_the_command_shows_every_stage_in_seconds_and_dollars(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["estimate", "--config", str(PAPER), "--gpu", "a6000"]) == 0
    shown = capsys.readouterr().out
    (row,) = (line for line in shown.splitlines() if line.startswith(f"evaluate_baseline {LLAMA}"))
    assert row.count(" - ") == 2 and "$" in row
    for said in ("$0.55 an hour", "training seeds: 0", "Computed, not measured", "80% of the data sheet's"):
        assert said in shown
    assert main(["estimate", "--config", str(PAPER), "--json"]) == 0
    told = json.loads(capsys.readouterr().out)
    assert told["gpu"] == "a6000" and told["plan"]["refused"] is None and "Vast.ai" in told["asked"]
    assert {job["stage"] for job in told["plan"]["jobs"]} >= {"train", "evaluate_trained"}


def test_the_paper_keeps_three_seeds_and_its_controls_within_ten_dollars() -> None:
    settings = load([PAPER])
    assert (settings.hardware.name, settings.hardware.usd_per_hour) == (A6000.name, 0.55)
    found = estimate(settings, A6000)
    assert found.plan.seeds == [0, 1, 2] and not found.plan.given_up and found.plan.refused is None
    assert found.plan.steps == settings.training.steps and found.cut is None and found.lacking is None
    assert found.plan.limit_usd == 10 and found.plan.enough_usd <= 10 and found.usd.expected <= 10
    controls = {job.variant for job in found.plan.shares_usd if job.variant != settings.variants[0]}
    assert controls == {"random_reward", "format_only", "prompt_only"}
    assert len(found.plan.shares_usd) == 2 * (3 + 3)


def test_little_money_cuts_steps_and_is_told(capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    overlay = tmp_path / "poor.json"
    overlay.write_text(json.dumps({"budget": {"limit_usd": 5}}))
    found = estimate(load([PAPER, overlay]), A6000)
    assert found.plan.seeds == [0] and found.cut is not None and 10 <= found.cut < 72
    assert found.usd.expected <= 5 < found.plan.enough_usd
    assert main(["estimate", "--config", str(PAPER), str(overlay), "--gpu", "all"]) == 0
    assert f"1 of 3, {found.cut} steps" in capsys.readouterr().out


def test_the_comparison_in_the_handbook_is_what_the_command_prints(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["estimate", "--config", str(PAPER), "--gpu", "all"]) == 0
    assert capsys.readouterr().out in (ROOT / "config/README.md").read_text(), "run make schema"


@pytest.mark.parametrize(("name", "usd"), [("tinyzero", 30), ("logic_rl", 420)])
def test_the_other_systems_are_priced_and_fit(name: str, usd: float, capsys: pytest.CaptureFixture[str]) -> None:
    form = ROOT / f"config/{name}.yaml"
    settings = load([form])
    found = estimate(settings, find(settings.hardware.name))
    assert found.plan.refused is None and found.lacking is None and found.cut is None
    assert found.plan.enough_usd <= settings.budget.limit_usd == usd
    assert main(["estimate", "--config", str(form)]) == 0
    shown = " ".join(capsys.readouterr().out.split())
    assert f"train {settings.models[0]} {settings.variants[0]} seed0" in shown and "None" not in shown


def test_what_cannot_be_estimated_is_said() -> None:
    tiny = load([PAPER, ROOT / "config/tiny.yaml"])
    with pytest.raises(UserError, match=r"policies.tiny-llama: only a model in bfloat16"):
        estimate(tiny, A6000)
    unknown = changed(policies={LLAMA: {"repo": "some/one", "parameters": 0.5}})
    assumed = estimate(unknown, A6000).roles[LLAMA].assumed
    assert assumed is not None and "50 KiB of keys and values a token" in assumed and "waits for launches" in assumed
