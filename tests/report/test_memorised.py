"""LiMem on the page, in the summary and for the claim, on answers that are written by hand."""

import random
from pathlib import Path

import pytest
from test_claims import judged, with_variant
from test_seeds import with_seed

from reinforce_lite.config import Settings, validate
from reinforce_lite.errors import UserError
from reinforce_lite.evaluation.memorisation import figures, questions
from reinforce_lite.io.files import read_json, read_jsonl, write_json, write_jsonl
from reinforce_lite.report.build import build
from reinforce_lite.report.memorised import memorised
from reinforce_lite.report.verification.difference import Difference
from reinforce_lite.report.verify import verify
from reinforce_lite.stages import Layout
from reinforce_lite.tasks import Problem
from toys import WORLD

pytestmark = pytest.mark.usefixtures("spent", "drawn_once", "perturbing")

N = 24
SUPERVISED = {"estimator": "supervised", "same_cost_as": "leave_one_out"}


@pytest.fixture
def perturbing(monkeypatch: pytest.MonkeyPatch) -> None:
    """The small folder's world with apples more in its perturbations."""

    def more_apples(task: object, problem: Problem, rng: random.Random) -> Problem:
        many, more = int(problem.answer) - 3, rng.randrange(5000, 9000)
        return Problem("", problem.question.replace(f"has {many} ", f"has {more} ", 1), str(more + 3))

    monkeypatch.setattr(type(WORLD), "perturbed", more_apples)


def answer(settings: Settings, place: Path, lost: int, solved: int = 16) -> None:
    """Of the problems of train the first `solved` are right; of their perturbations the first `lost` are wrong."""
    train = [Problem(**row) for row in read_jsonl(Layout.of(settings).data / "train.jsonl")]
    rows = []
    for number, problem in enumerate(questions(WORLD, train, N, settings.task.seed)):
        at, perturbed = divmod(number, 2)
        right = at < solved and not (perturbed and at < lost)
        text = f"<answer> {problem.answer if right else 99999} </answer>"
        asked = {"id": problem.id, "question": problem.question, "answer": problem.answer}
        flags = {"strict": right, "flexible": right, "truncated": False, "length": 5}
        rows.append({**asked, "completion": text, **flags})
    write_jsonl(place / "memorisation.jsonl", rows)
    write_json(place / "evaluation.json", {**read_json(place / "evaluation.json"), "memorisation": figures(rows)})


def asked(settings: Settings, lost: dict[str, int]) -> Settings:
    """The experiment with problems of train, and how many of those solved each variant has lost when perturbed."""
    raw = settings.model_dump(mode="json")
    asking = validate({**raw, "evaluation": {**raw["evaluation"], "memorisation": N}, "claims": ["memorisation"]})
    layout = Layout.of(asking)
    for model in asking.models:
        answer(asking, layout.evaluation(model), 0, solved=4)
        for variant, seed in asking.runs:
            answer(asking, layout.evaluation(model, variant, seed), lost.get(variant, 1))
    write_json(layout.config, asking.model_dump(mode="json"))
    return asking


@pytest.fixture
def supervised(fresh: Settings) -> Settings:
    """A supervised training beside the result."""
    return with_variant(fresh, "supervised", SUPERVISED, like="random_reward")


def test_limem_by_hand_in_the_summary_and_on_the_page(supervised: Settings) -> None:
    settings = asked(supervised, {"leave_one_out": 2, "supervised": 12})
    build(settings, settings.folder)
    own = read_json(settings.folder / "summary.json")["models"]["tiny-llama"]["memorisation"]
    assert own["baseline"] == {"n": 24, "accuracy": 4 / 24, "consistency": 1.0, "limem": 0.0, "ci95": [0.0, 0.0]}
    result, coin, learnt = own["runs"]
    assert [row["variant"] for row in own["runs"]] == settings.variants and coin["limem"] == 1 / 24
    assert (result["accuracy"], result["consistency"], result["limem"]) == (16 / 24, 14 / 16, 2 / 24)
    assert learnt["limem"] == 0.5 and 0.2 < learnt["ci95"][0] < 0.5 < learnt["ci95"][1] < 0.8
    page = " ".join((settings.folder / "report.html").read_text(encoding="utf-8").split())
    assert "and 384 of 1,920 to problems of train and perturbed ones;" in page, "8 policies x 24 x 2, of 5 tokens"
    assert "Learnt by heart" in page and "greedy answers to 24 problems of train and a perturbation of each" in page
    row = page.partition("supervised, seed 0</th>")[2]
    row = (
        page[page.index("Learnt by heart, tiny-llama") :].partition("supervised, seed 0</th>")[2].partition("</tr>")[0]
    )
    assert [cell.partition("</td>")[0] for cell in row.split('class="number">')[1:4]] == ["66.7%", "25.0%", "50.0%"]


@pytest.mark.parametrize(
    ("ours", "theirs", "verdict", "said"),
    [
        # 10 problems that only the other one has by heart: p = 2 / 2**10, twice that for two models.
        (
            2,
            12,
            "supported",
            "+41.7 points over the result's LiMem, supervised of tiny-llama (8.3% [0.0, 20.8]; supervised 50.0% [",
        ),
        (12, 2, "contradicted", "-41.7 points over the result's LiMem"),
        (2, 5, "undecidable", "+12.5 points over the result's LiMem"),
        (5, 5, "undecidable", "+0.0 points over the result's LiMem"),
        (0, 0, "undecidable", "(0.0% [0.0, 0.0]; supervised 0.0% [0.0, 0.0]) [+0.0, +0.0], adjusted p = 1.000"),
    ],
    ids=["lower", "higher", "a little", "equal", "none"],
)
def test_the_claim_compares_limem_on_the_same_problems(
    supervised: Settings, ours: int, theirs: int, verdict: str, said: str
) -> None:
    row = judged(asked(supervised, {"leave_one_out": ours, "supervised": theirs}))["memorisation", None]
    assert row["verdict"] == verdict and said in row["why"]
    assert (row["decides"] is None) == (verdict != "undecidable")
    if verdict == "supported":
        assert "adjusted p = 0.004" in row["why"]
    assert "tiny-llama, supervised, seed 0" in row["runs"] and "tiny-phi, leave_one_out, seed 0" in row["runs"]


def test_the_claim_uses_every_seed(supervised: Settings) -> None:
    both = with_seed(supervised, {name: name for name in supervised.variants})
    settings = asked(both, {"leave_one_out": 2, "supervised": 12})
    row = judged(settings)["memorisation", None]
    assert row["verdict"] == "supported" and "over 2 seeds and the questions, adjusted" in row["why"]
    for model in settings.models:
        answer(settings, Layout.of(settings).evaluation(model, "supervised", 1), lost=2)
    row = judged(settings)["memorisation", None]
    assert row["verdict"] == "undecidable" and row["decides"] == "more training seeds"


def test_what_it_needs_is_said(supervised: Settings, fresh: Settings) -> None:
    raw = {**supervised.model_dump(mode="json"), "claims": ["memorisation"]}
    row = judged(validate(raw))["memorisation", None]
    assert row["verdict"] == "not applicable" and "set evaluation.memorisation" in row["why"]
    assert "memorisation" not in read_json(supervised.folder / "summary.json")["models"]["tiny-llama"]
    assert "Learnt by heart" not in (supervised.folder / "report.html").read_text()
    row = judged(asked(fresh, {}))["memorisation", None]
    assert row["verdict"] == "not applicable" and "`same_cost_as` the result" in row["why"]


def test_what_was_not_evaluated_has_no_limem(supervised: Settings) -> None:
    settings = asked(supervised, {})
    for model in settings.models:
        place = Layout.of(settings).evaluation(model, "supervised", 0)
        write_json(place / "evaluation.json", {**read_json(place / "evaluation.json"), "not_run": "no money"})
    found = memorised(settings, settings.folder, "tiny-llama", seed=0)
    assert found is not None and [row["variant"] for row in found["runs"]] == ["leave_one_out", "random_reward"]


def test_other_problems_are_no_pairs_and_a_lost_line_is_named(supervised: Settings) -> None:
    settings = asked(supervised, {})
    path = Layout.of(settings).evaluation("tiny-phi", "supervised", 0) / "memorisation.jsonl"
    rows = read_jsonl(path)
    write_jsonl(path, rows[:-2])
    with pytest.raises(UserError, match=r"memorisation.jsonl lacks 2 question"):
        build(settings, settings.folder)
    write_jsonl(path, rows[:-1])
    with pytest.raises(UserError, match=r"memorisation.jsonl: every problem needs its perturbation"):
        build(settings, settings.folder)


def differences(settings: Settings, check: str = "items") -> list[Difference]:
    return next(one for one in verify(settings.folder) if one.name == check).differences


def test_an_edited_file_is_found(fresh: Settings) -> None:
    settings = asked(fresh, {"leave_one_out": 2})
    build(settings, settings.folder)
    assert differences(settings) == differences(settings, "evaluations") == []
    path = Layout.of(settings).evaluation("tiny-llama", "leave_one_out", 0) / "memorisation.jsonl"
    rows = read_jsonl(path)
    for key, forged in (("strict", True), ("answer", "7"), ("question", "how many ?")):
        write_jsonl(path, [rows[0], {**rows[1], key: forged}, *rows[2:]])
        assert f"line 2 ({rows[1]['id']})" in {one.place for one in differences(settings)}, key
        assert key in {one.key for one in differences(settings)}
    write_jsonl(path, rows[:-1])
    (found,) = differences(settings)
    assert (found.key, found.stated) == ("id", "(absent)") and str(rows[-1]["id"]) in found.place
    write_jsonl(path, rows)
    record = path.with_name("evaluation.json")
    stated = read_json(record)
    write_json(record, {key: value for key, value in stated.items() if key != "memorisation"})
    (found,) = differences(settings, "evaluations")
    assert (found.key, found.stated) == ("memorisation", "(absent)")
    write_json(record, {**stated, "memorisation": {**stated["memorisation"], "limem": 0.0}})
    (found,) = differences(settings, "evaluations")
    assert (found.key, found.derived) == ("memorisation.limem", 2 / 24)
