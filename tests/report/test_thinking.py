"""What completions with a word earn beside the others to their question."""

from pathlib import Path

import pytest

from reinforce_lite.io.files import write_jsonl
from reinforce_lite.report.thinking import Drawn, drawn, longer, within


def one(reward: float, words: str = "", length: int = 3, step: int = 0) -> Drawn:
    return Drawn(step, reward, length, frozenset(words.split()), False)


def test_questions_are_their_own_controls() -> None:
    easy = [one(1.0, "verify"), one(1.0, "verify"), one(1.0), one(0.0)]
    hard = [one(0.0, "verify"), one(-1.0), one(-1.0), one(-1.0)]
    alike = [one(1.0), one(1.0), one(1.0), one(1.0)]
    found = within([easy, hard, alike], lambda group: ["verify" in each.words for each in group])
    assert found and (found.having, found.better, found.worse) == (3, 2, 0)
    assert found.mean == pytest.approx(2 / 3) and found.others == pytest.approx((1 + 0 - 3 + 4) / 9)
    assert found.p == pytest.approx(2 * 0.5**2)
    assert "0.67 of the 3 completions with it, 0.22 without; to 2 questions they earned more" in found.words
    assert within([alike], lambda group: [True] * 4) is None


def test_the_longer_half_is_above_the_middle() -> None:
    assert longer([one(0, length=n) for n in (3, 9, 5, 7)]) == [False, True, False, True]
    assert longer([one(0, length=4)] * 4) == [False] * 4
    assert longer([one(0, length=n) for n in (1, 1, 8)]) == [False, False, True]


def test_words_are_read_in_their_forms(tmp_path: Path) -> None:
    texts = ["Let me Verify.", "RE-EVALUATING it", "we rechecked", "wait, no", "waiter, verifiable", "\u6211\u4eec"]
    rows = [{"completion": text, "step": 0, "reward": 1.0, "length": 2} for text in texts]
    write_jsonl(tmp_path / "c.jsonl", rows)
    groups = drawn(tmp_path / "c.jsonl", 4)
    assert [len(group) for group in groups] == [4, 2]
    words = [sorted(each.words) for group in groups for each in group]
    assert words == [["verify"], ["re-evaluate"], ["recheck"], ["wait"], [], []]
    assert [each.foreign for group in groups for each in group] == [False] * 5 + [True]
