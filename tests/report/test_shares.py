"""How much of a gain is prompt, format and training: the report's first sentence."""

from typing import Any

import pytest
from test_claims import with_variant
from test_seeds import with_seed

from reinforce_lite.config import Settings
from reinforce_lite.io.files import read_json, write_json
from reinforce_lite.report.build import build
from reinforce_lite.report.compare import nothing
from reinforce_lite.stages import Layout

pytestmark = pytest.mark.usefixtures("spent", "drawn_once")

PROMPT: dict[str, Any] = {"steps": 0, "prompt": "one_shot_bare"}


def gains(settings: Settings) -> dict[str, dict[str, Any]]:
    build(settings, settings.folder)
    return {row["model"]: row for row in read_json(Layout.of(settings).verdicts)["gains"]}


def test_without_controls_the_shares_are_not_known(fresh: Settings) -> None:
    llama = gains(fresh)["tiny-llama"]
    assert llama["gain"]["delta"] == pytest.approx(35 / 120)
    assert llama["prompt"] is llama["format"] is llama["training"] is None
    assert "the share of the prompt is not known" in llama["sentence"]
    assert "the share of the format is not known" in llama["sentence"]


def test_the_shares_of_prompt_format_and_training(fresh: Settings) -> None:
    both = with_variant(fresh, "prompt_only", PROMPT, like="leave_one_out")
    both = with_variant(both, "format_only", {"reward": "format"}, like="random_reward")
    llama = gains(both)["tiny-llama"]
    assert llama["prompt"]["delta"] == pytest.approx(35 / 120) and llama["format"]["delta"] == pytest.approx(-2 / 120)
    assert llama["training"] == {"control": "prompt_only", "delta": 0.0, "ci95": [0.0, 0.0]}, "over the better of both"
    page = " ".join((both.folder / "report.html").read_text(encoding="utf-8").split())
    first = page[page.index("<main>") :]
    assert llama["sentence"].startswith("tiny-llama gained +29.2 points [+20.8, +38.3]: a worked example in the prompt")
    said = "<p>A worked example in the prompt, without training, gives +29.2 points [+20.8, +38.3]; a reward for the"
    assert said in first and first.index(said) < first.index("tally"), "beside the gain, above all else"


def test_one_of_two_controls(fresh: Settings) -> None:
    one = with_variant(fresh, "format_only", {"reward": "format"}, like="random_reward")
    llama = gains(one)["tiny-llama"]
    assert llama["training"]["control"] == "format_only" and llama["training"]["delta"] == pytest.approx(37 / 120)
    assert "the share of the prompt is not known" in llama["sentence"]
    assert "training gives +30.8 points" in llama["sentence"]


def test_several_seeds_share_out_their_mean(fresh: Settings) -> None:
    seeds = with_seed(fresh, {"leave_one_out": "random_reward", "random_reward": "random_reward"})
    assert gains(seeds)["tiny-llama"]["gain"]["delta"] == pytest.approx((35 - 2) / 240)


def test_what_was_not_evaluated_has_no_gain(fresh: Settings) -> None:
    layout = Layout.of(fresh)
    path = layout.comparison("tiny-llama", "leave_one_out", 0)
    write_json(path, {**read_json(path), **nothing(layout.evaluation("tiny-llama") / "items.jsonl", "no money")})
    write_json(layout.evaluation("tiny-llama", "leave_one_out", 0) / "evaluation.json", {"not_run": "no money"})
    assert gains(fresh)["tiny-llama"]["sentence"].startswith("tiny-llama has no result")
