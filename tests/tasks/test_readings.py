"""The table of readings: what an answer is and is not, by kind, in a tag and as the end of a text without one.

The rule for what is not plain ASCII: only the digits 0 to 9 are read. Digits of other scripts, full-width ones, circled
ones and vulgar fractions are numbers that are not read; an invisible character beside or between digits makes a number
that is not read; and after an override of the direction of writing nothing is read at all.
"""

import json
import lzma
import os
import re
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from reinforce_lite.tasks import answers, numbers

GPT3_DIR = os.environ.get("GSM8K_GPT3_DIR")

KINDS: dict[str, list[tuple[str, str | None, str | None]]] = {
    "letters glued to it": [
        ("42y", None, None),
        ("42Q", None, None),
        ("42kg", None, "42"),
        ("42km", None, "42"),
        ("42th", None, "3"),
        ("42_000", None, None),
        ("0b101", None, None),
        ("42pi", None, None),
        ("42元", None, None),
    ],
    "scales and words": [
        ("2 dozen", None, None),
        ("7 dozen eggs", None, None),
        ("4 hundred", None, None),
        ("$3 million", None, None),
        ("6 lakh", None, None),
        ("9k", None, None),
        ("$9M", None, None),
        ("4 and a half", None, None),
        ("three and a half", None, "3"),
        ("minus 7", None, None),
        ("negative 7", None, None),
        ("a third of 9", None, "9"),
        ("quarter past 3", None, "3"),
        ("seven", None, "3"),
        ("8 squared", None, "8"),
        ("6 less than", None, "6"),
    ],
    "operators and bars": [
        ("8+", None, "8"),
        ("8 *", None, "8"),
        ("8!", None, "8"),
        ("|8|", None, "8"),
        ("2^5", None, None),
        ("2^{10}", None, None),
        ("10^{-3}", None, None),
        ("±8", None, None),
        ("√16", None, None),
        ("x - 8", None, "8"),
        (r"\sqrt[3]{8}", None, None),
        (r"8\pi", None, None),
        ("- -8", None, "8"),
        ("-(8)", None, "8"),
        (r"0.\overline{3}", None, None),
        ("0.333...", None, None),
        ("6e3", None, None),
        ("~8", None, "8"),
    ],
    "dashes": [
        ("-8", "-8", "-8"),
        ("\u22128", "-8", "-8"),
        ("\u20138", "-8", "-8"),
        ("\n- 8", None, "8"),
        ("\n+ 8", None, "8"),
        ("\u27968", None, None),
        ("\u20438", None, None),
        ("\u207b8", None, None),
        ("\u2022 8", None, "8"),
        ("\u20148", None, "8"),
        ("\n* 8", None, "8"),
        ("= -8", "-8", "-8"),
        ("10-8", None, "8"),
    ],
    "mixed numbers and fractions": [
        ("6 1/2", "6.5", "6.5"),
        ("6 1/2 hours", "6.5", "6.5"),
        (r"6\frac{1}{2}", "6.5", "6.5"),
        ("9/2", "4.5", "4.5"),
        ("6 2/3", None, None),
        ("2/3", None, None),
        ("6-1/2", None, None),
        ("6 and 1/2", None, None),
        ("6½", None, None),
        ("½", None, None),
        ("1\u20442", None, None),
        ("6 5/4", None, None),
        (r"\frac{3}{4}", "0.75", "0.75"),
        (r"\frac{1}{7}", None, None),
    ],
    "times": [
        ("3:00 pm", "3", "3"),
        ("4 p.m.", "4", "4"),
        ("11:00", "11", "11"),
        ("5 o'clock", "5", "5"),
        ("3:30", None, None),
        ("3:05 pm", None, None),
        ("3.30 pm", None, None),
        ("26:00", None, None),
        ("2:3", None, None),
        ("noon", None, "3"),
    ],
    "units with powers": [
        ("24 m^2", "24", "24"),
        ("24 m²", "24", "24"),
        ("24 cm^{3}", "24", "24"),
        ("24 ft3", "24", "24"),
        ("9.8 m/s^2", "9.8", "9.8"),
        ("24 m**2", "24", "24"),
        ("24 sq. ft.", "24", "24"),
        ("24 m<sup>2</sup>", "24", "24"),
    ],
    "currencies, percent and units": [
        ("$8.50", "8.5", "8.5"),
        ("-$8", "-8", "-8"),
        ("8 €", "8", "8"),
        ("£8", "8", "8"),
        ("₩8", "8", "8"),
        ("8 USD", "8", "8"),
        ("Rs. 8", "8", "8"),
        ("8¢", "8", "8"),
        ("8%", "8", "8"),
        ("8 percent", "8", "8"),
        ("8‰", None, None),
        ("8 miles per hour", "8", "8"),
        ("8°", "8", "8"),
        ("8 years old", "8", "8"),
    ],
    "languages of number format": [
        ("1,234.5", "1234.5", "1234.5"),
        ("1.234", "1.234", "1.234"),
        ("1.234,56", None, None),
        ("1.234.567", None, None),
        ("1 234", None, None),
        ("1 234,5", None, None),
        ("1 234.50", None, None),
        ("1'234", None, None),
        ("1\u2019234", None, None),
        ("1\u202f234", None, None),
        ("1,23,456", None, None),
        ("3,14", None, None),
        ("€ 1.234,50", None, None),
    ],
    "not plain ASCII": [
        ("\uff11\uff18", None, None),
        ("1\uff18", None, None),
        ("٣", None, None),
        ("१८", None, None),
        ("①", None, None),
        ("1\u200b8", None, None),
        ("1\u00ad8", None, None),
        ("18\u200b", None, None),
        ("\u200b18", None, None),
        ("\u202e81\u202c", None, None),
        ("\u202e 81 \u202c", None, None),
        ("\u206681\u2069", None, None),
        ("3\u0336", None, None),
        ("5\ufe0f\u20e3", None, None),
    ],
    "digits glued by LaTeX or Markdown": [
        ("1**8**", None, None),
        ("1.**5**", None, "5"),
        ("10****10", None, None),
        ("3:30/5", None, None),
        ("3:30.2", None, None),
        ("0:0.2", None, None),
        ("1e5.2", None, None),
        (r"\frac{1}{1}0", None, None),
        (r"\frac{1}{2}.5", None, None),
        (r"\frac{1}{2},500", None, None),
        (r"\frac12.5", None, None),
        (r"3.\frac{1}{2}", None, None),
        (r"1,\frac{100}{2}", None, None),
        (r"1{2}", None, None),
        (r"{1}.5", None, None),
        (r"3\frac{1}{2}", "3.5", "3.5"),
        (r"\frac{1}{2}.", "0.5", "0.5"),
    ],
    "nothing, or several": [
        ("", None, "3"),
        ("none", None, "3"),
        ("8 or 9", None, "9"),
        ("8; 9", None, "9"),
        ("8 (9)", None, "9"),
        (r"\boxed{x}", None, None),
        (r"\boxed{8}", "8", "8"),
        ("see 1.2.3", None, "3"),
        ("#### 8", "8", "8"),
    ],
}
"""By kind: what stands in a tag, or at the end of "3 kids wait, so it is ..."; the strict reading, and the flexible one
of the text without a tag."""
ROWS = [row for rows in KINDS.values() for row in rows]


def decimal(value: str | None) -> Decimal | None:
    return None if value is None else Decimal(value)


@pytest.mark.parametrize(("content", "strict", "flexible"), ROWS)
def test_a_row_in_both_readers(content: str, strict: str | None, flexible: str | None) -> None:
    tagged = f"3 kids wait, so it is <answer>{content}</answer>"
    reading = answers.read(tagged)
    assert reading.value == decimal(strict)
    assert (reading.reason is None) is (strict is not None), "a reason is kept beside what is not read"
    assert answers.flexible(tagged) == decimal(strict), "a tag that names no number ends the search"
    assert answers.flexible(f"3 kids wait, so it is {content}") == decimal(flexible)


def test_there_are_as_many_rows_as_were_asked_for() -> None:
    assert len({content for content, _, _ in ROWS}) == len(ROWS) >= 120


READABLE = [(content, value) for content, value, _ in ROWS if value is not None]
AROUND = st.text() | st.sampled_from(
    [
        "<answer>",
        "</answer>x",
        "<answer>7 or 8</answer>",
        "\\boxed{9}",
        "\u202e",
        "12",
        "-",
        "$",
        "{",
        "\\frac{",
        "\u0301",
    ]
)


@given(AROUND, st.sampled_from(READABLE), AROUND.filter(lambda text: "</answer>" not in text.lower().replace(" ", "")))
def test_whatever_stands_around_a_readable_answer_strict_stays(before: str, row: tuple[str, str], after: str) -> None:
    content, value = row
    assert answers.strict(f"{before}<answer>{content}</answer>{after}") == Decimal(value)


PIECES = st.sampled_from(
    [*(content for content, _, _ in ROWS), " ", "\n", ".", "-", "/", "\\boxed{", "}", "and", "1", "50"]
)
TEXTS = st.text() | st.lists(PIECES, max_size=8).map("".join)


@given(TEXTS)
@example("A.2")
@example("so 3 apples.2.5 of them")
def test_no_text_yields_a_number_that_does_not_stand_in_it(text: str) -> None:
    """Its digits do, as one piece, or as the pieces of a fraction or a mixed number."""
    for value in (answers.flexible(text), answers.strict(f"<answer>{text}</answer>"), answers.parse_number(text).value):
        if value is not None:
            assert abs(value) in standing(text), (value, text)


def standing(text: str) -> set[Decimal]:
    """Every number that a reader could see in the text, read by another way than the grammar's."""
    text = re.sub(r"\{,\}|\\,|\\!", lambda match: "" if match[0] == "\\!" else ",", text)
    # Behind a word or another point, a point ends a sentence: `apples.2`, `so ..2`.
    text += "\n" + re.sub(r"(?:(?<=[^\W\d])|\.+)\.(?=[0-9])", " ", text)
    plain = [Decimal(piece.replace(",", "")) for piece in re.findall(r"[0-9][0-9,]*(?:\.[0-9]+)?|\.[0-9]+", text)]
    whole = [number for number in plain if number] or [Decimal(1)]
    halves = {top / bottom for top in plain for bottom in whole}
    # \frac12 has two digits side by side.
    halves |= {Decimal(top) / Decimal(bottom) for top, bottom in re.findall(r"frac\s*([0-9])([1-9])", text)}
    return {*plain, *halves, *(number + half for number in plain for half in halves)}


@pytest.mark.skipif(not GPT3_DIR, reason="GSM8K_GPT3_DIR names no folder with the outputs of four models")
def test_the_outputs_of_four_models_are_judged_as_their_makers_judged_them() -> None:
    path = Path(str(GPT3_DIR)) / "example_model_solutions.jsonl.xz"
    with lzma.open(path, "rt", encoding="utf-8") as handle:
        rows = [json.loads(line) for line in handle]
    differing, count = [], 0
    for row in rows:
        gold = row.pop("ground_truth").rpartition("A:")[2].strip()
        for model, output in row.items():
            if model != "question":
                count += 1
                right = answers.is_correct(answers.flexible(output["solution"]), gold)
                differing += [output["solution"]] if right != output["is_correct"] else []
    assert (count, differing) == (5276, [])


def is_text(value: object) -> bool:
    return isinstance(value, str)


class Counted:
    """A pattern that adds up the characters it is given to look at."""

    def __init__(self, pattern: re.Pattern[str], count: list[int]) -> None:
        self._pattern, self._count = pattern, count

    def __getattr__(self, name: str) -> Any:
        method = getattr(self._pattern, name)
        if not callable(method):
            return method

        def counted(*arguments: Any) -> Any:
            part = [one for one in arguments if isinstance(one, int)]  # of the text: from, to
            self._count[0] += 1 + (part[1] - part[0] if part else max(map(len, filter(is_text, arguments))))
            return method(*arguments)

        return counted


WORST = (
    "1\u00d7",
    "1\\times ",
    "\\frac{1}{",
    "\u0301",
    "5\u0301",
    "<answer>",
    "</answer>",
    "<answer>5</answer>",
    "$",
    "1,",
    "1 000 ",
    "1/",
    "5 1/",
    "1:",
    "- ",
    "-(",
    "^{",
    "\\sqrt[",
    "\u200b",
    "1'",
    "5 and ",
    "third of ",
    "\\boxed{5}",
    "\\boxed{",
    "m^2 ",
    "\n- ",
    "a. ",
    "!",
    "5...",
    "\u202e",
)


@pytest.mark.parametrize("piece", WORST)
def test_each_reading_looks_at_each_character_a_few_times(piece: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Repeats inside a pattern are possessive or bounded, so what a pattern is given is what it may cost."""
    count = [0]
    for module in (answers, numbers):
        for name, value in vars(module).items():
            if isinstance(value, re.Pattern):
                monkeypatch.setattr(module, name, Counted(value, count))
    monkeypatch.setattr(answers, "_LATEX", [(Counted(pattern, count), new) for pattern, new in answers._LATEX])

    def looked_at(size: int) -> dict[str, int]:
        text, found = (piece * size)[:size], {}
        for name, read in {
            "strict": answers.strict,
            "flexible": answers.flexible,
            "under_read": lambda text: answers.under_read(text, "5"),
            "in a tag": lambda text: answers.strict(f"<answer>{text}</answer>"),
        }.items():
            count[0] = 0
            read(text)
            found[name] = count[0]
        return found

    small, large = looked_at(25_000), looked_at(100_000)
    for name, cost in large.items():
        assert cost <= 40 * 100_000, (name, cost)
        assert cost <= 4.4 * small[name] + 10_000, (name, small[name], cost)
