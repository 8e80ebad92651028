from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from reinforce_lite.errors import UserError
from reinforce_lite.io.files import write_jsonl
from reinforce_lite.report.compare import compare, natural_key, paired, under_read
from reinforce_lite.tasks import named
from toys import WORLD

THIRD_TASK = named(str(Path(__file__).parents[1] / "tasks/third_task.py"))


def item(number: int, strict: bool, flexible: bool | None = None, **changes: Any) -> dict[str, Any]:
    return {
        "id": f"test-{number}",
        "question": f"What is {number} + 1?",
        "answer": str(number + 1),
        "completion": f"<answer>{number}</answer>",
        "strict": strict,
        "flexible": strict if flexible is None else flexible,
        "truncated": False,
        "length": 10,
        **changes,
    }


def write(folder: Path, before: list[dict[str, Any]], after: list[dict[str, Any]]) -> tuple[Path, Path]:
    write_jsonl(folder / "before.jsonl", before)
    write_jsonl(folder / "after.jsonl", after)
    return folder / "before.jsonl", folder / "after.jsonl"


def test_worked_comparison(tmp_path: Path) -> None:
    before = [item(i, strict=i < 4, flexible=i < 5, truncated=i == 9, length=20) for i in range(10)]
    after = [item(i, strict=1 <= i < 8, length=12) for i in range(10)]
    result = compare(*write(tmp_path, before, after[::-1]), resamples=500, seed=0)
    assert result["n"] == 10
    assert result["baseline"] == {"strict": 0.4, "flexible": 0.5, "truncated": 0.1, "length": 20}
    assert result["trained"] == {"strict": 0.7, "flexible": 0.7, "truncated": 0.0, "length": 12}
    assert result["delta"] == pytest.approx(0.3)
    assert result["discordant"] == {"gained": 4, "lost": 1}
    assert result["mcnemar_p"] == pytest.approx(0.375)  # 2 x (1 + 5) / 2**5
    assert result["flexible"]["discordant"] == {"gained": 3, "lost": 1}
    assert result["flexible"]["mcnemar_p"] == pytest.approx(0.625)  # 2 x (1 + 4) / 2**4
    assert result["ci95"][0] <= 0.3 <= result["ci95"][1]


def test_what_the_last_number_rule_misses_is_counted_on_both_sides_and_in_the_change(tmp_path: Path) -> None:
    missed, read = "He buys {} eggs in 9 weeks.", "So it is {}."
    before = [item(i, False, i >= 6, completion=(missed if i < 6 else read).format(i + 1)) for i in range(20)]
    after = [item(i, False, i >= 1, completion=(missed if i < 1 else read).format(i + 1)) for i in range(20)]
    pairs = paired(*write(tmp_path, before, after))
    figures = under_read(pairs, WORLD, resamples=500, seed=0)
    assert figures is not None
    assert (figures["baseline"]["count"], figures["baseline"]["share"]) == (6, 0.3)
    assert figures["baseline"]["ci95"] == pytest.approx([0.1189, 0.5428], abs=1e-4)  # Clopper-Pearson, by SciPy
    assert figures["trained"]["count"] == 1
    assert figures["change"]["discordant"] == {"gained": 0, "lost": 0}, "the flexible gain of 5 is the reading's"
    assert under_read(pairs, THIRD_TASK, resamples=500, seed=0) is None


def test_same_seed_gives_the_same_result(tmp_path: Path) -> None:
    paths = write(tmp_path, [item(i, i % 2 == 0) for i in range(40)], [item(i, i % 3 > 0) for i in range(40)])
    assert compare(*paths, resamples=300, seed=5) == compare(*paths, resamples=300, seed=5)


@pytest.mark.parametrize(
    ("before", "after", "message"),
    [
        ([item(1, True), item(2, True)], [item(1, True)], r"after.jsonl lacks 1 question\(s\), first test-2"),
        ([item(1, True)], [item(1, True), item(10, True), item(9, True)], r"before.jsonl lacks 2 .* first test-9"),
        ([item(1, True)], [item(1, True, question="Other?")], "test-1 has another question"),
        ([item(1, True)], [item(1, True, answer="7")], "test-1 has another answer"),
        ([item(1, True), item(1, False)], [item(1, True)], "line 2: the id test-1 stands twice"),
        ([], [], "holds no items"),
        ([{"id": "test-1"}], [item(1, True)], "line 1: no key 'question'"),
    ],
)
def test_pairs_that_do_not_fit(tmp_path: Path, before: list[Any], after: list[Any], message: str) -> None:
    with pytest.raises(UserError, match=message):
        compare(*write(tmp_path, before, after), resamples=100, seed=0)


@given(st.lists(st.integers(0, 10**6), unique=True))
def test_ids_sort_as_numbers(numbers: list[int]) -> None:
    names = sorted((f"test-{number}" for number in numbers), key=natural_key)
    assert names == [f"test-{number}" for number in sorted(numbers)]


@given(st.lists(st.text(max_size=8)))
def test_any_ids_can_be_sorted(names: list[str]) -> None:
    once = sorted(names, key=natural_key)
    assert sorted(once) == sorted(names)
    assert all(natural_key(a) <= natural_key(b) for a, b in pairwise(once))
