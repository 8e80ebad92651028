"""What several training seeds say together, on a small experiment whose figures are known."""

import re
import shutil
from statistics import stdev
from typing import Any

import pytest

from reinforce_lite.config import Settings, validate
from reinforce_lite.evaluation.detector_accuracy import Accuracy
from reinforce_lite.io.files import read_json, read_jsonl, write_json, write_jsonl
from reinforce_lite.report import appearance, reinforce_lite_claims
from reinforce_lite.report.build import build, report_of
from reinforce_lite.report.compare import compare, nothing
from reinforce_lite.report.evidence import Evidence, Run
from reinforce_lite.report.seeds import over_seeds
from reinforce_lite.report.verdicts import Verdict
from reinforce_lite.stages import Layout

pytestmark = pytest.mark.usefixtures("spent", "drawn_once")


def with_seed(settings: Settings, like: dict[str, str]) -> Settings:
    """The same experiment with a seed 1, whose results are those of another variant under seed 0."""
    layout = Layout.of(settings)
    for model in settings.models:
        for variant, source in like.items():
            for folder in (layout.train, layout.evaluation):
                shutil.copytree(folder(model, source, 0), folder(model, variant, 1))
            copied = read_json(layout.comparison(model, source, 0))
            write_json(layout.comparison(model, variant, 1), {**copied, "variant": variant, "seed": 1})
    return validate({**settings.model_dump(mode="json"), "seeds": [0, 1]})


def test_a_control_with_one_seed_is_compared_with_every_seed_of_the_result(fresh: Settings) -> None:
    both = with_seed(fresh, {"leave_one_out": "leave_one_out"})
    some = validate({**both.model_dump(mode="json"), "control_seeds": [0]})
    result, control = over_seeds(some, some.folder, "tiny-llama", seed=0)
    assert result["seeds"] == control["behind"]["seeds"] == [0, 1] and control["seeds"] == [0] and control["sd"] is None
    assert control["behind"]["mean"] == pytest.approx(37 / 120)
    found = claims(some)
    assert found["accuracy", "tiny-llama"]["runs"] == [f"tiny-llama, leave_one_out, seed {seed}" for seed in (0, 1)]
    reward = found["reward", "tiny-llama"]
    assert reward["runs"] == [
        *(f"tiny-llama, leave_one_out, seed {seed}" for seed in (0, 1)), "tiny-llama, random_reward, seed 0"
    ]  # fmt: skip
    assert reward["verdict"] == "supported" and "over random_reward (one seed)" in reward["why"]
    layout = Layout.of(some)
    rows = read_json(layout.root / "summary.json")["models"]["tiny-llama"]["runs"]
    assert [(row["variant"], row["seed"]) for row in rows] == some.runs
    assert not layout.train("tiny-llama", "random_reward", 1).exists()
    page = " ".join((some.folder / "report.html").read_text().split())
    assert "all of them bear on the claims; controls have 0 alone" in page


def claims(settings: Settings) -> dict[tuple[str, str | None], dict[str, Any]]:
    build(settings, settings.folder)
    return {(row["claim"], row["about"]): row for row in read_json(Layout.of(settings).verdicts)["claims"]}


def test_one_seed_says_nothing_about_others(fresh: Settings) -> None:
    assert over_seeds(fresh, fresh.folder, "tiny-llama", seed=0) == []
    build(fresh, fresh.folder)
    assert "Over training seeds" not in (fresh.folder / "report.html").read_text()


def test_seeds_that_agree_support_a_claim(fresh: Settings) -> None:
    both = with_seed(fresh, {"leave_one_out": "leave_one_out", "random_reward": "random_reward"})
    result, control = over_seeds(both, both.folder, "tiny-llama", seed=0)
    # Llama goes from 60 to 95 of 120, and to 58 with a coin, under both seeds.
    assert result["deltas"] == pytest.approx([35 / 120] * 2) and result["sd"] == 0 and result["behind"] is None
    assert control["mean"] == pytest.approx(-2 / 120)
    assert control["behind"]["mean"] == pytest.approx(37 / 120)
    assert result["ci95"][0] > 0 and control["behind"]["ci95"][0] > 0
    row = claims(both)["accuracy", "tiny-llama"]
    assert row["verdict"] == "supported" and "over 2 seeds and the questions, adjusted" in row["why"]
    assert row["runs"] == ["tiny-llama, leave_one_out, seed 0", "tiny-llama, leave_one_out, seed 1"]
    page = (both.folder / "report.html").read_text()
    assert "Over training seeds" in page and "0: +29.2, 1: +29.2" in page
    shown = " ".join(page.split())
    assert "Rose: 95% interval [" in shown and "over 2 training seeds and the" in shown
    assert result["adjusted"][0] < result["ci95"][0] and result["ci95"][1] < result["adjusted"][1]


def test_a_lucky_first_seed_is_not_enough(fresh: Settings) -> None:
    unlike = with_seed(fresh, {"leave_one_out": "random_reward", "random_reward": "random_reward"})
    result = over_seeds(unlike, unlike.folder, "tiny-llama", seed=0)[0]
    assert result["mean"] == pytest.approx(33 / 240)
    assert result["sd"] == pytest.approx(stdev([35 / 120, -2 / 120]))
    assert result["ci95"][0] < 0 < result["ci95"][1], "one seed up and one not"
    found = claims(unlike)
    assert found["accuracy", "tiny-llama"]["verdict"] == "undecidable"
    assert found["accuracy", "tiny-llama"]["decides"] == "more training seeds"
    assert found["reward", "tiny-llama"]["verdict"] == "undecidable"
    assert found["one network", None]["verdict"] == "undecidable"


def test_an_unlucky_first_seed_does_not_contradict_by_itself(fresh: Settings) -> None:
    swapped = with_seed(fresh, {"leave_one_out": "leave_one_out", "random_reward": "random_reward"})
    layout = Layout.of(swapped)
    for folder in (layout.train, layout.evaluation):
        shutil.rmtree(folder("tiny-llama", "leave_one_out", 0))
        shutil.copytree(folder("tiny-llama", "random_reward", 0), folder("tiny-llama", "leave_one_out", 0))
    coin = read_json(layout.comparison("tiny-llama", "random_reward", 0))
    write_json(layout.comparison("tiny-llama", "leave_one_out", 0), {**coin, "variant": "leave_one_out"})
    assert claims(swapped)["accuracy", "tiny-llama"]["verdict"] == "undecidable"


def test_a_seed_that_was_given_up_is_no_part_of_the_price_claim(fresh: Settings) -> None:
    both = with_seed(fresh, {"leave_one_out": "leave_one_out", "random_reward": "random_reward"})
    layout, reason = Layout.of(both), "not run: seed 1 is given up"
    for model in both.models:
        for variant in both.variants:
            for path in (layout.evaluation(model, variant, 1) / "evaluation.json",
                         layout.train(model, variant, 1) / "training.json"):  # fmt: skip
                write_json(path, {"not_run": reason, "steps": 0, "steps_planned": 40, "stopped": None})
            for name in ("metrics.jsonl", "completions.jsonl"):
                (layout.train(model, variant, 1) / name).write_text("")
            place = layout.comparison(model, variant, 1)
            write_json(place, {**read_json(place), **nothing(layout.evaluation(model) / "items.jsonl", reason)})
    config = both.model_dump(mode="json")
    config["hardware"]["device"], config["training"]["questions_per_step"] = "cuda", 14
    rows = claims(validate(config))
    assert rows["price", None]["verdict"] == "supported"
    assert rows["accuracy", "tiny-llama"]["verdict"] == "supported", "by the one seed that there is"
    assert "1 training seed (0) of 2 planned" in (both.folder / "report.html").read_text()


def test_a_seed_that_was_given_up_is_left_out(fresh: Settings) -> None:
    both = with_seed(fresh, {"leave_one_out": "leave_one_out", "random_reward": "random_reward"})
    place = Layout.of(both).evaluation("tiny-llama", "random_reward", 1)
    write_json(place / "evaluation.json", {"not_run": "seed 1 is given up"})
    rows = over_seeds(both, both.folder, "tiny-llama", seed=0)
    assert {row["variant"]: row["seeds"] for row in rows} == {"leave_one_out": [0, 1], "random_reward": [0]}


def unlike_seeds(settings: Settings) -> Settings:
    """Seed 0 rises from 60 to 95 of 120, seed 1 falls to 58; the coin falls under both."""
    return with_seed(settings, {"leave_one_out": "random_reward", "random_reward": "random_reward"})


def test_the_flexible_half_of_reasoning_uses_every_seed(fresh: Settings) -> None:
    lucky = unlike_seeds(fresh)
    config = lucky.model_dump(mode="json")
    for policy in config["policies"].values():
        policy.update(from_scratch=None, start=None, path="weights")
    settings = validate(config)
    row = claims(settings)["reasoning", "tiny-llama"]
    assert row["verdict"] == "undecidable" and row["why"].count("over 2 seeds and the questions") == 1
    assert row["runs"] == [f"tiny-llama, leave_one_out, seed {seed}" for seed in (0, 1)]
    flexible = over_seeds(settings, settings.folder, "tiny-llama", seed=0)[0]["flexible"]
    assert f"{100 * flexible['mean']:+.1f} points" in row["why"]


def test_a_policy_that_fell_under_a_later_seed_is_seen(fresh: Settings) -> None:
    both = with_seed(fresh, {"leave_one_out": "leave_one_out", "random_reward": "random_reward"})
    assert claims(both)["stability", None]["verdict"] == "supported"
    layout = Layout.of(both)
    place = layout.evaluation("tiny-phi", "leave_one_out", 1)
    items = [{**item, "strict": False, "flexible": False} for item in read_jsonl(place / "items.jsonl")]
    write_jsonl(place / "items.jsonl", items)
    write_json(place / "evaluation.json", {**read_json(place / "evaluation.json"), "strict": 0.0, "flexible": 0.0})
    path = layout.comparison("tiny-phi", "leave_one_out", 1)
    sides = (layout.evaluation("tiny-phi") / "items.jsonl", place / "items.jsonl")
    write_json(path, {**read_json(path), **compare(*sides, resamples=500, seed=0)})
    row = claims(both)["stability", None]
    assert row["verdict"] == "contradicted" and row["why"] == "tiny-phi, seed 1 fell"


def test_behaviours_are_counted_under_every_seed(fresh: Settings, monkeypatch: pytest.MonkeyPatch) -> None:
    accurate = Accuracy(41, 0.93, (0.8, 0.98), 0.75, (0.6, 0.87), decides=True)
    monkeypatch.setattr(appearance, "measured", lambda name: accurate)
    monkeypatch.setattr(reinforce_lite_claims, "SEEN", {"backtracking": "Traces turn back."})
    both = with_seed(fresh, {"leave_one_out": "leave_one_out", "random_reward": "random_reward"})

    def verdict() -> tuple[Verdict, list[Run]]:
        summary = report_of(both, both.folder, [], None).summary
        return reinforce_lite_claims._appears("backtracking", Evidence(both, both.folder, summary, []))

    found, runs = verdict()
    assert found.kind == "supported" and len(runs) == 4 and "over 2 seeds and the questions" in found.why
    for model in both.models:  # under seed 1 nobody turns back
        place = Layout.of(both).evaluation(model, "leave_one_out", 1) / "items.jsonl"
        write_jsonl(place, [{**item, "completion": "<answer> 3 </answer>"} for item in read_jsonl(place)])
    found, _ = verdict()
    assert found.kind == "undecidable", "what one seed shows may be that seed's luck"


def test_a_card_shows_every_seed(fresh: Settings) -> None:
    lucky = unlike_seeds(fresh)
    build(lucky, lucky.folder)
    page = " ".join((lucky.folder / "report.html").read_text().split())
    # The mean of +29.2 and -1.7 is 13.75.
    assert re.search(r"50\.0% → 63\.[78]% <small>\+13\.[78] points</small>", page)
    assert "No significant change: 95% interval [" in page
    assert "By the flexible parser" in page and "Rose: " not in page
    assert "Training seeds one by one: +29.2, -1.7 points" in page
