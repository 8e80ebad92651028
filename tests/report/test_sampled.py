"""avg@k before and after training, on samples that are written by hand."""

from pathlib import Path
from typing import Any

import pytest

from reinforce_lite.config import Settings, validate
from reinforce_lite.errors import UserError
from reinforce_lite.evaluation import avg_at_k
from reinforce_lite.io.files import read_json, read_jsonl, write_json, write_jsonl
from reinforce_lite.report.build import build
from reinforce_lite.report.sampled import change, sampled
from reinforce_lite.report.verification.difference import Check
from reinforce_lite.report.verify import verify
from reinforce_lite.stages import Layout

pytestmark = pytest.mark.usefixtures("spent", "drawn_once")


def answers(settings: Settings, place: Path, right: int) -> list[dict[str, Any]]:
    """Two answers to each of the first eight questions, of which the first `right` ones are right by both parsers."""
    gold = {row["id"]: row["answer"] for row in read_jsonl(place / "items.jsonl")}
    rows = []
    for number, (name, answer) in enumerate(list(gold.items())[:8]):
        for draw in (0, 1):
            good = 2 * number + draw < right
            said = f"<answer> {answer if good else 99999} </answer>"
            rows.append({"id": name, "draw": draw, "completion": said, "strict": good, "flexible": good,
                         "truncated": False, "length": 5})  # fmt: skip
    write_jsonl(place / "samples.jsonl", rows)
    write_json(place / "evaluation.json", {**read_json(place / "evaluation.json"), "sampled": avg_at_k.figures(rows)})
    return rows


@pytest.fixture
def drawn(fresh: Settings) -> Settings:
    config = fresh.model_dump(mode="json")
    config["evaluation"] |= {"samples": 2, "samples_limit": 8}
    settings, layout = validate(config), Layout.of(fresh)
    for model in settings.models:
        answers(settings, layout.evaluation(model), right=4)
        for variant, right in (("leave_one_out", 12), ("random_reward", 4)):
            answers(settings, layout.evaluation(model, variant, 0), right)
    write_json(layout.config, settings.model_dump(mode="json"))
    return settings


def test_the_change_by_hand(drawn: Settings) -> None:
    told = sampled(drawn, drawn.folder, "tiny-llama", seed=0)
    assert told is not None and (told["n"], told["k"]) == (8, 2)
    assert told["baseline"]["avg"] == 0.25 and told["baseline"]["passed"] == 0.25
    result, control = told["runs"]
    assert result["avg"] == 0.75 and result["delta"] == 0.5
    assert 0 < result["ci95"][0] < 0.5 < result["ci95"][1] <= 1
    assert control["delta"] == 0 and control["ci95"] == [0, 0]


def test_it_is_on_the_page_and_in_the_summary(drawn: Settings) -> None:
    build(drawn, drawn.folder)
    page = (drawn.folder / "report.html").read_text()
    assert "Sampled answers" in page and "avg@2" in page
    assert "and 96 sampled answers of 480;" in page, "6 policies x 8 questions x 2, of 5 tokens"
    assert read_json(drawn.folder / "summary.json")["models"]["tiny-llama"]["sampled"]["runs"][0]["delta"] == 0.5


def test_without_samples_nothing_is_said(fresh: Settings) -> None:
    assert sampled(fresh, fresh.folder, "tiny-llama", seed=0) is None
    build(fresh, fresh.folder)
    assert "Sampled answers" not in (fresh.folder / "report.html").read_text()


def test_other_questions_are_no_pair(tmp_path: Path) -> None:
    one, other = ([{"id": name, "strict": True, "flexible": True, "length": 1}] for name in "ab")
    with pytest.raises(UserError, match="other questions than the baseline's"):
        change(one, other, 10, 0, tmp_path)


def samples_check(folder: Path) -> Check:
    return next(check for check in verify(folder) if check.name == "samples")


def test_a_changed_answer_is_named(drawn: Settings) -> None:
    build(drawn, drawn.folder)
    assert samples_check(drawn.folder).differences == []
    place = Layout.of(drawn).evaluation("tiny-llama", "leave_one_out", 0)
    rows = read_jsonl(place / "samples.jsonl")
    write_jsonl(place / "samples.jsonl", [*rows[:-1], {**rows[-1], "strict": True}])
    (found,) = samples_check(drawn.folder).differences
    assert found.key == "strict" and found.place.startswith("line 16 (") and "draw 1" in found.place
    write_jsonl(place / "samples.jsonl", rows[:-1])
    with pytest.raises(UserError, match=r"samples.jsonl: every question needs the same number of samples: \[1, 2\]"):
        build(drawn, drawn.folder)
    named = {one.file for check in verify(drawn.folder) for one in check.differences}
    assert str(place.relative_to(drawn.folder) / "samples.jsonl") in named, "verify goes on, and names the file"
    (found,) = samples_check(drawn.folder).differences
    assert (found.key, found.stated) == ("id", "(absent)") and found.place.endswith("draw 1")
