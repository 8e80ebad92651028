import json
import os
from decimal import Decimal
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from reinforce_lite.tasks import answers

GSM8K_DIR = os.environ.get("GSM8K_DIR")
needs_gsm8k = pytest.mark.skipif(not GSM8K_DIR, reason="GSM8K_DIR names no folder with the original files")

# (text, strict reading, flexible reading); None: no reading.
READINGS = [
    # plain numbers in the tag
    ("<answer>18</answer>", "18", "18"),
    ("<answer> 18 </answer>", "18", "18"),
    ("<answer>\n18\n</answer>", "18", "18"),
    ("<ANSWER>18</Answer>", "18", "18"),
    ("< answer >18< /answer >", "18", "18"),
    ("<answer>18.</answer>", "18", "18"),
    ("<answer>5.</answer>", "5", "5"),
    ("<answer>.5</answer>", "0.5", "0.5"),
    ("<answer>18.00</answer>", "18", "18"),
    ("<answer>007</answer>", "7", "7"),
    ("<answer>0</answer>", "0", "0"),
    # commas
    ("<answer>1,080</answer>", "1080", "1080"),
    ("<answer>1,080.50</answer>", "1080.5", "1080.5"),
    ("<answer>109,200,000</answer>", "109200000", "109200000"),
    ("<answer>1,2,3</answer>", None, None),
    ("<answer>1,00</answer>", None, None),
    ("<answer>0,123</answer>", None, None),
    ("<answer>1.080,50</answer>", None, None),
    # signs
    ("<answer>-5</answer>", "-5", "-5"),
    ("<answer>\u22125</answer>", "-5", "-5"),
    ("<answer>\u20135</answer>", "-5", "-5"),
    ("<answer>+5</answer>", "5", "5"),
    ("<answer>- 5</answer>", "-5", "-5"),
    ("<answer>-0</answer>", "0", "0"),
    ("<answer>-1,080.5</answer>", "-1080.5", "-1080.5"),
    ("<answer>10-5</answer>", None, "5"),
    ("<answer>x - 5</answer>", None, "5"),
    # currency, percent, units, words
    ("<answer>$18</answer>", "18", "18"),
    ("<answer>$ 18</answer>", "18", "18"),
    ("<answer>-$18</answer>", "-18", "-18"),
    ("<answer>$-18</answer>", "-18", "-18"),
    ("<answer>18 €</answer>", "18", "18"),
    ("<answer>£18.20</answer>", "18.2", "18.2"),
    ("<answer>50%</answer>", "50", "50"),
    ("<answer>18 dollars</answer>", "18", "18"),
    ("<answer>18 eggs.</answer>", "18", "18"),
    ("<answer>Total: 18</answer>", "18", "18"),
    ("<answer>**18**</answer>", "18", "18"),
    ("<answer>Rs.500</answer>", "500", "500"),
    ("<answer>25 ft²</answer>", "25", "25"),
    ("<answer>5 million</answer>", None, "5"),
    ("<answer>5k</answer>", None, "5"),
    # not one number: digits are never glued together
    ("<answer>3 or 4</answer>", None, "4"),
    ("<answer>3, 4</answer>", None, "4"),
    ("<answer>1 080</answer>", None, "80"),
    ("<answer>3:30</answer>", None, "30"),
    ("<answer>$18 and 50 cents</answer>", None, "50"),
    ("<answer>>= 5</answer>", None, "5"),
    ("<answer>2^3</answer>", None, "3"),
    ("<answer>1e5</answer>", None, None),
    ("<answer>1e999999999</answer>", None, None),
    ("<answer>5²</answer>", None, None),
    ("<answer>2½</answer>", None, None),
    ("<answer>٣</answer>", None, None),
    ("<answer>1٣</answer>", None, None),
    ("<answer>eighteen</answer>", None, None),
    ("<answer></answer>", None, None),
    # fractions and sums
    ("<answer>1/2</answer>", "0.5", "0.5"),
    ("<answer>-3/4 cup</answer>", "-0.75", "-0.75"),
    ("<answer>1/3</answer>", None, None),
    ("<answer>1/0</answer>", None, None),
    ("<answer>1 1/2</answer>", None, "0.5"),
    ("<answer>48/2 = 24</answer>", "24", "24"),
    ("<answer>24 = 48/2</answer>", "24", "24"),
    ("<answer>3 + 4 = $7.</answer>", "7", "7"),
    ("<answer>2 - 7 = -5</answer>", "-5", "-5"),
    ("<answer>5 = x</answer>", None, "5"),
    # LaTeX
    (r"<answer>\boxed{18}</answer>", "18", "18"),
    (r"<answer>3 \cdot 6 = \boxed{18}</answer>", "18", "18"),
    (r"<answer>So 3 boxes hold \boxed{\text{18 eggs}}</answer>", "18", "18"),
    (r"<answer>\boxed{\boxed{18}}</answer>", "18", "18"),
    (r"<answer>\boxed{3} or \boxed{4}</answer>", None, "4"),
    (r"<answer>\boxed{18</answer>", None, "18"),
    (r"<answer>\$1{,}080</answer>", "1080", "1080"),
    (r"<answer>1\,080</answer>", "1080", "1080"),
    (r"<answer>3\,4</answer>", None, "4"),
    (r"<answer>$\frac{1}{2}$</answer>", "0.5", "0.5"),
    (r"<answer>3\frac{1}{2}</answer>", None, "0.5"),
    (r"<answer>\frac12</answer>", None, "12"),
    (r"<answer>\sqrt{16}</answer>", None, "16"),
    (r"<answer>\( 50\% \)</answer>", "50", "50"),
    # tags
    ("<answer>3</answer> no, <answer>4</answer>", "4", "4"),
    ("<answer>3</answer> or <answer>4", "3", "3"),
    ("<answer>3 <answer>4</answer> 5</answer>", "4", "4"),
    ("<answer>3</answer> <answer>none</answer>", None, "3"),
    ("<answer>18</answer> because 6 * 3 = 18 and not 19.", "18", "18"),
    ("6 * 3 <answer>18", None, "18"),
    ("18</answer>", None, "18"),
    ("<answer/>18</answer>", None, "18"),
    # no tag
    ("", None, None),
    ("no number", None, None),
    ("She makes 9 * 2 = $18 every day.", None, "18"),
    ("The answer is 5.", None, "5"),
    ("It is 1,080.", None, "1080"),
    ("It fell to -5 degrees", None, "-5"),
    ("2 - 7 = - 5", None, "-5"),
    ("That leaves 10-5", None, "5"),
    ("That leaves 10 - 5", None, "5"),
    ("$10 -$5", None, "5"),
    ("pages 5\u201310", None, "10"),
    ("Results:\n- 5 apples", None, "5"),
    ("(10)-5", None, "5"),
    ("It costs $.50", None, "0.5"),
    ("He waits...5", None, "5"),
    ("So 18 (see section 1.2.3)", None, "18"),
    (r"\boxed{18} is more than 17", None, "18"),
    (r"\boxed{17}, no: \boxed{18}. That was step 2", None, "18"),
    (r"\boxed{x} where x is 18", None, "18"),
    ("#### 1,080", None, "1080"),
]


def expected(value):
    return None if value is None else Decimal(value)


@pytest.mark.parametrize(("text", "strict", "flexible"), READINGS)
def test_readings(text, strict, flexible):
    assert answers.strict(text) == expected(strict)
    assert answers.flexible(text) == expected(flexible)


def test_rows_of_the_table_differ():
    assert len({text for text, _, _ in READINGS}) == len(READINGS) >= 60


decimals = st.decimals(allow_nan=False, allow_infinity=False, min_value=-(10**15), max_value=10**15, places=4)
PIECES = (
    *(
        "<answer>",
        "</answer>",
        "<",
        "\\boxed{",
        "{",
        "}",
        "\\frac",
        "\\text",
        "\\,",
        "1",
        "5.",
        "10-5",
        "1,080",
        ".",
        ",",
        " ",
    ),
    *("-", "\u2212", "/", "=", "$", "e9", "½", "²", "٣", "million", "or", "\n"),
)
texts = st.one_of(st.text(), st.lists(st.sampled_from(PIECES), max_size=30).map("".join))


@given(decimals, st.sampled_from(["{}", "{} dollars", "${}", "{}%", "€{}.", r"\boxed{{{}}}", r"\text{{{}}}", "x = {}"]))
def test_a_number_in_a_tag_reads_back_exactly(value, frame):
    text = f"<answer>{frame.format(f'{value:,f}')}</answer>"
    assert answers.strict(text) == value


@given(decimals.filter(lambda value: value != 0), st.sampled_from(["-", "\u2212", "-$", "$-", "- ", "= -"]))
def test_signs_read_back(value, sign):
    assert answers.strict(f"<answer>{sign}{abs(value):,f}</answer>") == -abs(value)


@given(
    st.integers(0, 999), st.integers(0, 999), st.sampled_from([" or ", " ", "-", " - ", " + ", ":", "; ", "x", "\n"])
)
def test_two_numbers_are_not_one(left, right, between):
    assert answers.parse_number(f"{left}{between}{right}") is None


@given(texts)
def test_nothing_raises_and_strict_implies_flexible(text):
    strict = answers.strict(text)
    flexible = answers.flexible(text)
    if strict is not None:
        assert flexible == strict
    answers.parse_number(text)
    assert answers.published_is_correct(text, "5") in (True, False)
    assert answers.released_is_correct(text, "5") in (True, False)


@given(texts)
def test_a_reading_is_finite_and_has_a_normal_spelling(text):
    reading = answers.flexible(text)
    if reading is not None:
        assert reading.is_finite()
        assert answers.is_correct(reading, answers.normalise(format(reading, "f")))


@pytest.mark.parametrize(
    ("text", "flexible"),
    [
        ("9" * 1_000_000, None),
        ("1," * 50_000, None),
        ("." * 100_000 + "5", "5"),
        ("1" * 100_000 + "x", None),
        ("<" + " " * 100_000, None),
        ("<answer>" * 12_000, None),
        ("</answer><answer>" * 6_000, None),
        ("\\boxed{" * 14_000 + "}" * 14_000, None),
        ("\\frac{" * 16_000, None),
        ("1/3 " * 25_000, None),
        ("- " * 50_000, None),
        ("\\" * 100_000, None),
        ("<answer>" + "1 " * 50_000 + "</answer>", "1"),
    ],
    ids=lambda value: str(value)[:12],
)
def test_absurd_input_ends(text, flexible):
    """Time is linear in the text; quadratic readings of these would run into pytest's timeout."""
    assert answers.strict(text) is None
    assert answers.flexible(text) == expected(flexible)
    assert answers.parse_number(text) is None
    assert not answers.published_is_correct(text, "5")
    assert not answers.released_is_correct(text, "7")


def test_longest_number():
    assert answers.parse_number("9" * 100) == Decimal("9" * 100)
    assert answers.parse_number("9" * 101) is None
    assert answers.parse_number("-" + "1" * 60) == Decimal("-" + "1" * 60)  # no rounding to 28 digits


@pytest.mark.parametrize(
    ("text", "plain"),
    [
        ("1,080", "1080"),
        ("-3.50", "-3.5"),
        ("+5", "5"),
        ("007", "7"),
        ("-0", "0"),
        ("0.0", "0"),
        (" 10 ", "10"),
        ("100", "100"),
        ("\u22125", "-5"),
        ("-$2", "-2"),
        (".50", "0.5"),
    ],
)
def test_normalise(text, plain):
    assert answers.normalise(text) == plain


@pytest.mark.parametrize("text", ["", "x", "1/2", "3 or 4", "1,2", "1e5", "nan", "inf", "5 eggs", "--5", "٣"])
def test_normalise_refuses_what_is_no_number(text):
    with pytest.raises(ValueError, match="not a number"):
        answers.normalise(text)


@given(decimals)
def test_normalise_keeps_the_value_and_is_idempotent(value):
    plain = answers.normalise(f"{value:,f}")
    assert Decimal(plain) == value
    assert answers.normalise(plain) == plain


def test_is_correct_is_exact():
    assert answers.is_correct(Decimal("18.00"), "18")
    assert answers.is_correct(Decimal(1080), "1,080")
    assert not answers.is_correct(Decimal("18.0000000000000000000000000001"), "18")
    assert not answers.is_correct(Decimal(-5), "5")
    assert not answers.is_correct(None, "0")


@needs_gsm8k
@pytest.mark.parametrize(("split", "failures"), [("train", 82), ("test", 16)])
def test_published_parser_fails_gold_answers(split, failures):
    lines = (Path(GSM8K_DIR) / f"{split}.jsonl").read_text(encoding="utf-8").splitlines()
    golds = [json.loads(line)["answer"].rpartition("####")[2].strip() for line in lines]
    assert sum(not answers.published_is_correct(f"<answer>{gold}</answer>", gold) for gold in golds) == failures
    assert all(answers.is_correct(answers.strict(f"<answer>{gold}</answer>"), gold) for gold in golds)
    assert all(answers.is_correct(answers.flexible(f"The answer is {gold}."), gold) for gold in golds)
