"""The article's claims about a small experiment whose figures are known."""

import re
import shutil
from dataclasses import replace
from pathlib import Path
from typing import Any, get_args

import pytest

from reinforce_lite.cli import main
from reinforce_lite.config import Settings, validate
from reinforce_lite.errors import UserError
from reinforce_lite.evaluation.detector_accuracy import Accuracy
from reinforce_lite.evaluation.power import questions_needed
from reinforce_lite.io.files import read_json, read_jsonl, write_json, write_jsonl
from reinforce_lite.report import appearance, claims, reinforce_lite_claims
from reinforce_lite.report.build import build, report_of
from reinforce_lite.report.compare import compare
from reinforce_lite.report.evidence import Evidence
from reinforce_lite.report.summary import BOOTSTRAP_SEED
from reinforce_lite.report.verdicts import Kind, Verdict
from reinforce_lite.stages import Job, Layout
from reinforce_lite.tasks.word_world import WordWorld

pytestmark = pytest.mark.usefixtures("spent", "drawn_once")

PUBLISHED = Settings.published
"""As it is: the fixtures of this folder let its world stand for the article's task."""
MAIN = ["tiny-llama, leave_one_out, seed 0"]
Rows = dict[tuple[str, str | None], dict[str, Any]]


def judged(settings: Settings) -> Rows:
    build(settings, settings.folder)
    claims = read_json(Layout.of(settings).verdicts)["claims"]
    return {(row["claim"], row["about"]): row for row in claims}


def of_weights(settings: Settings) -> Settings:
    """The same experiment with models that may write anything, on a rented GPU."""
    config = settings.model_dump(mode="json")
    for policy in config["policies"].values():
        policy.update(from_scratch=None, start=None, path="weights")
    config["hardware"]["device"] = "cuda"
    config["training"]["questions_per_step"] = 14  # so that 40 steps are no less than the article's 558 questions
    return validate(config)


def with_variant(settings: Settings, name: str, training: dict[str, Any], like: str) -> Settings:
    """The same experiment with one more variant, whose results are those of another one."""
    config = settings.model_dump(mode="json")
    config["variants"].append(name)
    config["training_variants"][name] = training
    layout = Layout.of(settings)
    for model in settings.models:
        for folder in (layout.train, layout.evaluation):
            for file in ("training.json", "metrics.jsonl", "evaluation.json", "items.jsonl"):
                if (source := folder(model, like, 0) / file).exists():
                    target = folder(model, name, 0) / file
                    target.parent.mkdir(parents=True, exist_ok=True)
                    shutil.copy(source, target)
        copied = read_json(layout.comparison(model, like, 0))
        write_json(layout.comparison(model, name, 0), {**copied, "variant": name})
    return validate(config)


def test_every_claim_has_a_verdict_a_rule_and_a_reason(fresh: Settings) -> None:
    rows = judged(fresh)
    assert list(rows) == [
        ("accuracy", "tiny-llama"), ("size", "tiny-llama"), ("reward", "tiny-llama"), ("reasoning", "tiny-llama"),
        ("accuracy", "tiny-phi"), ("reward", "tiny-phi"), ("reasoning", "tiny-phi"),
        ("machinery", None), ("one network", None), ("stability", None), ("verification", None),
        ("trial and error", None), ("tables", None), ("memory", None), ("price", None),
    ]  # fmt: skip
    for row in rows.values():
        assert row["verdict"] in get_args(Kind) and row["why"] and row["rule"]
        open_ = {"undecidable", "not measured well enough"}
        assert (row["decides"] is None) == (row["verdict"] not in open_)


def test_a_new_claim_is_one_registration(
    fresh: Settings, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(claims, "CLAIMS", list(claims.CLAIMS))

    @claims.claim("length", "Answers become longer.", "mean tokens after training", of_each_model=True)
    def _length(evidence: Evidence, model: str) -> claims.Judged:
        result = evidence.summary.models[model]
        assert result.baseline and result.trained
        kind: Kind = "supported" if result.trained.length > result.baseline.length else "contradicted"
        return Verdict(kind, f"{result.trained.length:.1f} tokens"), evidence.every_seed(model)

    assert ("length", "tiny-phi") not in judged(fresh), "it is not the article's"
    fresh = validate({**fresh.model_dump(mode="json"), "claims": ["article", "length"]})
    write_json(fresh.folder / "config.json", fresh.model_dump(mode="json"))
    row = judged(fresh)["length", "tiny-phi"]
    assert row["verdict"] == "supported" and row["why"].endswith(" tokens")
    assert row["runs"] == ["tiny-phi, leave_one_out, seed 0"] and row["usd"] > 0
    assert list(judged(fresh))[:5][-1] == ("length", "tiny-llama"), "after the others about the same model"
    page = (fresh.folder / "report.html").read_text(encoding="utf-8")
    assert "Answers become longer." in page and "Of 17 claims" in page
    main(["claims", "--config", str(fresh.folder / "config.json")])
    assert "tiny-phi: Answers become longer." in capsys.readouterr().out


def test_the_verdicts_follow_from_the_figures(fresh: Settings) -> None:
    rows = judged(fresh)  # llama from 60 to 95 of 120, phi from 60 to 65, both to 58 with a coin
    kinds = {name: row["verdict"] for name, row in rows.items()}
    assert kinds["accuracy", "tiny-llama"] == "supported" and kinds["accuracy", "tiny-phi"] == "undecidable"
    assert kinds["size", "tiny-llama"] == "contradicted"  # +29.2 is not +2.0
    assert kinds["reward", "tiny-llama"] == kinds["reward", "tiny-phi"] == "supported"
    assert kinds["one network", None] == "undecidable"  # since phi may not have improved
    assert kinds["stability", None] == "supported"
    # 5 gained of 120, none lost: p = 2 / 2^5 = 0.0625, and Holm does not raise the larger of two.
    assert rows["accuracy", "tiny-phi"]["why"] == "+4.2 points [+0.8, +8.3], adjusted p = 0.062"


def test_reasoning_needs_the_control_for_format(fresh: Settings) -> None:
    fresh = of_weights(fresh)
    assert judged(fresh)["reasoning", "tiny-llama"]["verdict"] == "undecidable"
    more = with_variant(fresh, "format_only", {"reward": "format"}, like="random_reward")
    row = judged(more)["reasoning", "tiny-llama"]
    assert row["verdict"] == "supported"
    assert row["runs"] == [*MAIN, "tiny-llama, format_only, seed 0"]


@pytest.mark.parametrize(
    ("claim", "training"),
    [
        ("prompt", {"steps": 0, "prompt": "one_shot_bare"}),
        ("supervised", {"estimator": "supervised", "same_cost_as": "leave_one_out"}),
    ],
)
def test_rivals_are_judged_where_they_are_run(fresh: Settings, claim: str, training: dict[str, Any]) -> None:
    assert (claim, "tiny-llama") not in judged(fresh)
    rows = judged(with_variant(fresh, "rival", training, like="random_reward"))
    assert rows[claim, "tiny-llama"]["verdict"] == "supported"
    assert rows[claim, "tiny-llama"]["runs"] == [*MAIN, "tiny-llama, rival, seed 0"]
    worse = judged(with_variant(fresh, "rival", training, like="leave_one_out"))
    assert worse[claim, "tiny-llama"]["verdict"] == "contradicted", "nothing is left of an advantage"


def test_a_critic_is_compared_where_it_is_run(fresh: Settings) -> None:
    assert ("critic", "tiny-llama") not in judged(fresh)
    critic = {"estimator": "critic"}
    row = judged(with_variant(fresh, "ppo", critic, like="leave_one_out"))["critic", "tiny-llama"]
    assert row["verdict"] == "supported" and row["runs"] == [*MAIN, "tiny-llama, ppo, seed 0"]
    config = {**fresh.model_dump(mode="json"), "variants": ["leave_one_out"]}
    config["training_variants"]["leave_one_out"] = critic
    assert judged(validate(config))["one network", None]["decides"] == "a training that keeps a single network"


def test_machinery_is_compared_on_the_same_questions(fresh: Settings) -> None:
    assert judged(fresh)["machinery", None]["decides"] == "a training with PPO; a training with KL to the start"
    both = with_variant(fresh, "ppo_clip", {"ratio_clip": 0.2, "passes": 2}, like="leave_one_out")
    both = with_variant(both, "kl_penalty", {"kl_coefficient": 0.1}, like="leave_one_out")
    row = judged(both)["machinery", None]
    assert row["verdict"] == "supported" and len(row["runs"]) == 6  # no difference at all: [0, 0] lies above -2
    worse = with_variant(fresh, "ppo_clip", {"ratio_clip": 0.2, "passes": 2}, like="leave_one_out")
    folder = Layout.of(worse).evaluation("tiny-phi", "ppo_clip", 0)
    items = [{**item, "strict": True} for item in read_jsonl(folder / "items.jsonl")]
    write_jsonl(folder / "items.jsonl", items)
    figures = {**read_json(folder / "evaluation.json"), "strict": 1.0}
    write_json(folder / "evaluation.json", figures)
    base = Layout.of(worse).evaluation("tiny-phi")
    again = compare(base / "items.jsonl", folder / "items.jsonl", resamples=500, seed=BOOTSTRAP_SEED)
    path = Layout.of(worse).comparison("tiny-phi", "ppo_clip", 0)
    write_json(path, {**read_json(path), **again})
    assert judged(worse)["machinery", None]["verdict"] == "contradicted"


def test_a_training_that_was_not_run_decides_nothing(fresh: Settings) -> None:
    layout = Layout.of(fresh)
    for model in fresh.models:
        path = layout.comparison(model, "leave_one_out", 0)
        absent = dict.fromkeys(("trained", "delta", "ci95", "discordant", "mcnemar_p", "flexible"))
        write_json(path, {**read_json(path), **absent, "not_run": "the budget was spent"})
        write_json(layout.train(model, "leave_one_out", 0) / "training.json", {"not_run": "the budget was spent"})
        write_jsonl(layout.train(model, "leave_one_out", 0) / "metrics.jsonl", [])
        write_json(
            layout.evaluation(model, "leave_one_out", 0) / "evaluation.json", {"not_run": "the budget was spent"}
        )
    fresh = of_weights(fresh)
    rows = judged(fresh)
    left = [row for (claim, _), row in rows.items() if claim not in ("price",)]
    assert {row["verdict"] for row in left} == {"undecidable"}
    assert rows["price", None]["verdict"] == "contradicted"


def test_what_a_claim_cost_counts_every_attempt_of_its_runs(fresh: Settings) -> None:
    # Start 140 s, baseline 20 s, a killed training 17 s and a finished one 130 s, evaluation 21 s; $0.05 an hour.
    assert judged(fresh)["accuracy", "tiny-llama"]["usd"] == pytest.approx(328 / 3600 * 0.05)


def test_the_command_shows_the_table_and_its_exit_code(fresh: Settings, capsys: pytest.CaptureFixture[str]) -> None:
    judged(fresh)
    config = str(fresh.folder / "config.json")
    assert main(["claims", "--config", config]) == 4  # a claim is contradicted
    shown = capsys.readouterr().out
    assert re.search(r"contradicted +tiny-llama: By the published gain\.", shown)
    assert "4 supported, 1 contradicted, 3 undecidable, 7 not applicable" in shown
    found = read_json(Layout.of(fresh).verdicts)
    for kind, code in (("undecidable", 3), ("not measured well enough", 3), ("not applicable", 0), ("supported", 0)):
        rows = [{**row, "verdict": kind} for row in found["claims"]]
        write_json(Layout.of(fresh).verdicts, {**found, "claims": rows})
        assert main(["claims", "--config", config]) == code
    Layout.of(fresh).verdicts.unlink()
    assert main(["claims", "--config", config]) == 2
    assert "verdicts.json" in capsys.readouterr().err


def test_what_would_decide_it_is_reckoned_by_the_parser_that_it_is_about(fresh: Settings) -> None:
    row = judged(of_weights(fresh))["reasoning", "tiny-phi"]
    flexible = read_json(Layout.of(fresh).comparison("tiny-phi", "leave_one_out", 0))["flexible"]
    changed = sum(flexible["discordant"].values()) / 120
    assert changed < 5 / 120, "fewer verdicts change than by the strict parser"
    needed = questions_needed(flexible["delta"], changed, 0.8, 0.05 / 2)
    assert row["decides"].startswith(f"{needed:,} questions show a gain of 3.3 points")


def test_what_a_closed_vocabulary_cannot_say_is_not_applicable(fresh: Settings) -> None:
    rows = judged(fresh)
    for claim in ("verification", "trial and error", "tables"):
        assert rows[claim, None]["verdict"] == "not applicable", claim
        assert f"the {len(WordWorld.vocabulary)} words of word_world" in rows[claim, None]["why"]
    for model in fresh.models:
        assert rows["reasoning", model]["verdict"] == "not applicable"
        assert rows["accuracy", model]["verdict"] != "not applicable"
    may_write_anything = judged(of_weights(fresh))
    assert "not applicable" not in {row["verdict"] for row in may_write_anything.values()}


def test_a_behaviour_that_a_closed_vocabulary_shows_is_judged(fresh: Settings, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(appearance, "measured", lambda name: ACCURATE)
    monkeypatch.setattr(reinforce_lite_claims, "SEEN", {"backtracking": "Traces turn back."})
    verdict, runs = reinforce_lite_claims._appears("backtracking", evidence_of(fresh))
    assert verdict.kind == "supported", "`wait` is a word of this world"
    assert runs == [("tiny-llama", "leave_one_out", 0), ("tiny-phi", "leave_one_out", 0)]


def test_a_behaviour_that_is_not_measured_well_enough_decides_nothing(
    fresh: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    fresh = of_weights(fresh)
    monkeypatch.setattr(appearance, "measured", lambda name: replace(ACCURATE, precision=0.62, decides=False))
    row = judged(fresh)["verification", None]
    assert row["verdict"] == "not measured well enough"
    assert "its detector on 41 labelled texts with it: precision 62% [80, 98], recall 75% [60, 87]" in row["why"]
    assert row["decides"] == "a detector with a precision of 90% and a recall of 70%"
    monkeypatch.setattr(appearance, "measured", lambda name: ACCURATE)
    row = judged(fresh)["verification", None]
    assert row["verdict"] == "contradicted" and "precision 93% [80, 98]" in row["why"]
    page = (fresh.folder / "report.html").read_text(encoding="utf-8")
    assert "recall 75% [60, 87]" in page


def test_the_price_is_that_of_the_articles_models_on_a_rented_gpu(fresh: Settings) -> None:
    def price(settings: Settings) -> dict[str, Any]:
        return judged(settings)["price", None]

    assert price(of_weights(fresh))["verdict"] == "supported"
    assert price(fresh)["why"].endswith("this ran on a CPU") and price(fresh)["verdict"] == "not applicable"
    config = of_weights(fresh).model_dump(mode="json")
    free = {**config, "hardware": {**config["hardware"], "usd_per_hour": 0}}
    assert price(validate(free))["why"].endswith("this one had no price")
    short = {**config, "training": {**config["training"], "steps": 39}}
    assert price(validate(short))["why"].endswith("its training asked 558 questions, this one 546")
    config["policies"]["tiny-llama"]["published"] = None
    assert price(validate(config))["why"].endswith("none of them was trained here")


def test_an_experiment_makes_its_own_claims_or_none(fresh: Settings, capsys: pytest.CaptureFixture[str]) -> None:
    config = fresh.model_dump(mode="json")
    assert {name for name, _ in judged(validate({**config, "claims": ["accuracy", "one network"]}))} == {
        "accuracy", "one network"
    }  # fmt: skip
    page = (fresh.folder / "report.html").read_text(encoding="utf-8")
    assert "s claims</h2>" not in page and "Phi-3.5-mini weights were run" not in page
    none = validate({**config, "claims": []})
    write_json(fresh.folder / "config.json", none.model_dump(mode="json"))
    assert judged(none) == {}
    page = (fresh.folder / "report.html").read_text(encoding="utf-8")
    assert "This experiment makes no <a" in page and "Of 0 claims" not in page
    assert main(["claims", "--config", str(fresh.folder / "config.json")]) == 0
    assert "small makes no claims" in capsys.readouterr().out
    with pytest.raises(UserError, match="claims: 'acuracy' is not one of article, tinyzero, logic_rl, accuracy, size"):
        judged(validate({**config, "claims": ["acuracy"]}))


def test_the_articles_claims_are_made_by_whoever_runs_its_model_on_its_task(
    fresh: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    config = {**fresh.model_dump(mode="json"), "claims": None}
    assert len(judged(validate(config))) == 15
    monkeypatch.setattr(Settings, "published", PUBLISHED)
    assert judged(validate(config)) == {}, "another task"
    page = (fresh.folder / "report.html").read_text(encoding="utf-8")
    assert "The article reports" not in page and "the article, before" not in page
    monkeypatch.undo()
    config["policies"]["tiny-llama"]["published"] = None
    assert judged(validate(config)) == {}, "none of its models"


ACCURATE = Accuracy(41, 0.93, (0.8, 0.98), 0.75, (0.6, 0.87), decides=True)


def evidence_of(settings: Settings) -> Evidence:
    return Evidence(settings, settings.folder, report_of(settings, settings.folder, [], None).summary, [])


def with_noise(settings: Settings, differ: int) -> Settings:
    """The same experiment whose second evaluation of each base has so many other verdicts, half of them gained."""
    config = settings.model_dump(mode="json")
    config["evaluation"]["noise_floor"] = True
    noisy, layout = validate(config), Layout.of(settings)
    for model in settings.models:
        rows, left = read_jsonl(layout.evaluation(model) / "items.jsonl"), {True: differ // 2, False: differ // 2}
        for row in rows:
            if left[was := row["strict"]]:
                left[was] -= 1
                row["strict"] = row["flexible"] = not was
        again = Layout.of(noisy).folder(Job("evaluate_again", model))
        write_jsonl(again / "items.jsonl", rows)
        write_json(again / "evaluation.json", read_json(layout.evaluation(model) / "evaluation.json"))
    return noisy


def test_a_gain_needs_more_than_the_noise_floor(fresh: Settings) -> None:
    calm = judged(with_noise(fresh, 0))
    assert calm["accuracy", "tiny-llama"]["verdict"] == calm["reward", "tiny-llama"]["verdict"] == "supported"
    loud = judged(with_noise(fresh, 60))  # half of all verdicts: more than the 29 points that were gained
    for claim in ("accuracy", "reward"):
        row = loud[claim, "tiny-llama"]
        assert row["verdict"] == "undecidable" and "two evaluations of the base differ in 50.0%" in row["why"]
    assert loud["one network", None]["verdict"] == "undecidable"
    page = " ".join((fresh.folder / "report.html").read_text(encoding="utf-8").split())
    assert "No significant change: 95% interval [" in page and "no more than two evaluations of the base may" in page
    assert "The noise floor was not measured" not in page
    judged(fresh)
    assert "The noise floor was not measured" in (fresh.folder / "report.html").read_text(encoding="utf-8")


def test_what_the_flexible_parser_misses_counts_for_the_claim_on_format(fresh: Settings) -> None:
    more = with_variant(of_weights(fresh), "format_only", {"reward": "format"}, like="random_reward")
    assert judged(more)["reasoning", "tiny-llama"]["verdict"] == "supported"
    layout = Layout.of(more)
    for model in more.models:  # every answer of the base that is wrong holds the right number, but another comes last
        place = layout.evaluation(model) / "items.jsonl"
        rows = [
            row if row["flexible"] else {**row, "completion": f"So it is {row['answer']} in 999 weeks"}
            for row in read_jsonl(place)
        ]
        write_jsonl(place, rows)
    row = judged(more)["reasoning", "tiny-llama"]
    assert row["verdict"] == "contradicted", "the base knew the answers"
    assert "if answers that the flexible parser misses counted" in row["why"]


OWN = """
from reinforce_lite.report.claims import claim
from reinforce_lite.report.verdicts import Verdict
from reinforce_lite.tasks.word_world import WordWorld


@claim("length", "Answers become longer.", "mean tokens rise", of_each_model=True)
def _length(evidence, model):
    result = evidence.summary.models[model]
    longer = result.trained.length > result.baseline.length
    return Verdict("supported" if longer else "contradicted", f"{result.trained.length:.1f} tokens"), []


TASK = WordWorld()
"""


def test_a_task_of_ones_own_brings_its_own_claims(
    fresh: Settings, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setattr(claims, "CLAIMS", list(claims.CLAIMS))
    monkeypatch.setattr(Settings, "published", PUBLISHED)
    (tmp_path / "my_task.py").write_text(OWN, encoding="utf-8")
    config = fresh.model_dump(mode="json")
    config["task"]["name"] = str(tmp_path / "my_task.py")
    assert judged(validate({**config, "claims": None})) == {}, "not the article's, and none by itself"
    rows = judged(validate({**config, "claims": ["length"]}))
    assert {name: row["verdict"] for name, row in rows.items()} == {
        ("length", model): "supported" for model in fresh.models
    }
