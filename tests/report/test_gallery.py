import os
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from reinforce_lite.config import Settings
from reinforce_lite.io.files import read_jsonl
from reinforce_lite.report import gallery
from reinforce_lite.report.compare import Pair
from reinforce_lite.report.gallery import KINDS, Card, cards, mixed, view
from reinforce_lite.tasks.gsm8k import TASK

WAIT = "9 + 4 = 12 wait 9 + 4 = 13 ."


def pair(i: int, before: bool, after: bool, texts: Sequence[str] = ("7", "7")) -> Pair:
    def item(strict: bool, text: str) -> dict[str, Any]:
        return {"id": f"test-{i}", "question": f"question {i}", "answer": "7", "completion": text, "strict": strict}

    return item(before, texts[0]), item(after, texts[1])


def shown(found: Sequence[Card]) -> list[tuple[str, str]]:
    return [(card.before["id"], card.kind) for card in found]


def test_the_first_of_each_kind_are_chosen(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(gallery, "EACH_KIND", 1)
    pairs = [
        pair(0, False, True),
        pair(1, False, True),
        pair(2, True, False),
        pair(3, False, False),
        pair(4, True, True),
    ]
    assert shown(cards("m", pairs)) == [
        ("test-0", "gained"),
        ("test-2", "lost"),
        ("test-3", "wrong both times"),
        ("test-4", "right both times"),
    ]


def test_a_behaviour_is_shown_though_its_kind_is_full(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(gallery, "EACH_KIND", 1)
    monkeypatch.setattr(gallery, "EACH_BEHAVIOUR", 2)
    waits = [pair(i, True, True, ("7", WAIT) if i % 2 else (WAIT, "7")) for i in (1, 2, 3)]
    chosen = cards("m", [pair(0, True, True), *waits])
    assert [card.before["id"] for card in chosen] == ["test-0", "test-1", "test-2"]
    assert [(list(card.shown_before), list(card.shown_after)) for card in chosen] == [
        ([], []),
        ([], ["backtracking"]),
        (["backtracking"], []),
    ]


def test_the_articles_question_is_shown_though_its_kind_is_full(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(gallery, "EACH_KIND", 1)
    pairs = [pair(0, True, True), pair(1, True, True), pair(2, True, True)]
    assert [(card.before["id"], card.article) for card in cards("m", pairs, "test-2")] == [
        ("test-0", False),
        ("test-2", True),
    ]
    assert [card.before["id"] for card in mixed(cards("m", pairs, "test-2"))] == ["test-2", "test-0"]


def test_kinds_and_models_take_turns() -> None:
    a = cards("a", [pair(0, False, True), pair(1, False, True), pair(2, True, False)])
    b = cards("b", [pair(0, False, True), pair(1, True, True)])
    assert [(card.model, card.before["id"]) for card in mixed(a + b)] == [
        ("a", "test-0"),
        ("b", "test-0"),
        ("a", "test-2"),
        ("b", "test-1"),
        ("a", "test-1"),
    ]


@given(st.lists(st.tuples(st.booleans(), st.booleans()), max_size=80))
def test_no_pair_stands_twice_and_none_too_many(verdicts: list[tuple[bool, bool]]) -> None:
    chosen = cards("m", [pair(i, *verdict) for i, verdict in enumerate(verdicts)])
    assert sorted(shown(mixed(chosen))) == sorted(set(shown(chosen)))
    for kind, verdict in KINDS.items():
        assert sum(card.kind == kind for card in chosen) == min(gallery.EACH_KIND, verdicts.count(verdict))


def test_what_is_counted_is_what_is_shown(ready: Settings) -> None:
    seen = view(ready, {"tiny-llama": [pair(0, False, True, ("7", WAIT)), pair(1, True, True)], "tiny-phi": []})
    assert (seen["total"], seen["article"]) == (2, None)
    assert seen["kinds"] == {"gained": 1, "lost": 0, "wrong both times": 0, "right both times": 1}
    assert seen["behaviours"]["backtracking"] == 1


def test_the_articles_question_belongs_to_gsm8k(ready: Settings) -> None:
    task = ready.task.model_copy(update={"name": "gsm8k"})
    settings = ready.model_copy(update={"task": task})
    assert view(settings, {"tiny-llama": [pair(0, True, True)]})["article"] == "not asked"
    assert view(settings, {"tiny-llama": [pair(1190, True, True)]})["article"] == "shown"


@pytest.mark.skipif("GSM8K_DIR" not in os.environ, reason="GSM8K_DIR names no folder with the original files")
def test_the_articles_question_is_about_bandages() -> None:
    rows = read_jsonl(Path(os.environ["GSM8K_DIR"]) / "test.jsonl")
    question = rows[int(TASK.article_question.removeprefix("test-"))]["question"]
    assert question.startswith("A nurses\u2019 station orders bandages in bulk packs of 50.")
