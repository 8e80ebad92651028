import json
import os
from decimal import Decimal
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from reinforce_lite.tasks import answers, article, numbers

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
    ("<answer>10-5</answer>", None, None),
    ("<answer>x - 5</answer>", None, None),
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
    ("<answer>5 million</answer>", None, None),
    ("<answer>5k</answer>", None, None),
    # not one number: digits are never glued together
    ("<answer>3 or 4</answer>", None, None),
    ("<answer>3, 4</answer>", None, None),
    ("<answer>1 080</answer>", None, None),
    ("<answer>3:30</answer>", None, None),
    ("<answer>$18 and 50 cents</answer>", None, None),
    ("<answer>>= 5</answer>", None, None),
    ("<answer>2^3</answer>", None, None),
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
    ("<answer>1 1/2</answer>", "1.5", "1.5"),
    ("<answer>48/2 = 24</answer>", "24", "24"),
    ("<answer>24 = 48/2</answer>", "24", "24"),
    ("<answer>3 + 4 = $7.</answer>", "7", "7"),
    ("<answer>2 - 7 = -5</answer>", "-5", "-5"),
    ("<answer>5 = x</answer>", None, None),
    # LaTeX
    (r"<answer>\boxed{18}</answer>", "18", "18"),
    (r"<answer>3 \cdot 6 = \boxed{18}</answer>", "18", "18"),
    (r"<answer>So 3 boxes hold \boxed{\text{18 eggs}}</answer>", "18", "18"),
    (r"<answer>\boxed{\boxed{18}}</answer>", "18", "18"),
    (r"<answer>\boxed{3} or \boxed{4}</answer>", None, None),
    (r"<answer>\boxed{18</answer>", None, None),
    (r"<answer>\$1{,}080</answer>", "1080", "1080"),
    (r"<answer>1\,080</answer>", "1080", "1080"),
    (r"<answer>3\,4</answer>", None, None),
    (r"<answer>$\frac{1}{2}$</answer>", "0.5", "0.5"),
    (r"<answer>3\frac{1}{2}</answer>", "3.5", "3.5"),
    (r"<answer>\frac12</answer>", "0.5", "0.5"),
    (r"<answer>\sqrt{16}</answer>", None, None),
    (r"<answer>\( 50\% \)</answer>", "50", "50"),
    # tags
    ("<answer>3</answer> no, <answer>4</answer>", "4", "4"),
    ("<answer>3</answer> or <answer>4", "3", "3"),
    ("<answer>3 <answer>4</answer> 5</answer>", "4", "4"),
    ("<answer>3</answer> <answer>none</answer>", None, None),
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
    (r"\boxed{x} where x is 18", None, None),
    ("#### 1,080", None, "1080"),
]


# (content of a tag, reading); the reason stands beside the texts that have none.
CONTENTS = [
    *(
        (text, None)
        for text in (
            # letters glued to it
            *("18x", "18M", "18kg", "18th", "x18", "A18", "USD18", "18_000", "x_18", "0x18", "18e", "18元", "n18n"),
            # an operator or a sign beside it, or bars
            *("18+", "18 -", "18*", "18 * ", "*18", "18/", "/18", "18 ÷", "18^", "±18", "|18|", "|-18|", "18!", "~18"),
            *("18%%3", "18 & ", "18 x", "x 18", "18(x)", "f(18)", "sqrt(18)", "log 18", "18²", "-x 18", "18 - x"),
            *("18 - five", "18-", "18/x", "18/n", "√18", "18π", "≈ 18", "<18", "18 <", "{18}|"),
            # words that make it another number
            *("minus 18", "negative 18", "plus 18", "18 plus", "18 minus", "18 squared", "18 cubed", "18 divided by"),
            *("five and 1/2", "18 and a half", "18 and one half", "18 and three quarters", "half of 18", "1 half"),
            *("twenty 5", "18 or nineteen", "18 point five", "3 quarters of it", "18 hundred", "18 million", "18 k"),
            *(
                "18 bn",
                "18 M",
                "2 dozen",
                "18 dozen eggs",
                "5 lakh",
                "3 tens",
                "18 halves",
                "2 thirds",
                "twice 18",
                "double 18",
                "times 18",
                "less than 18",
                "not 18",
            ),
            *("at least 18", "18 or more", "two 18", "eighteen", "1 hundred", "one hundred 5"),
            # a list's dash, two numbers, no number
            *(
                "\n- 18",
                "apples:\n- 18",
                "\n-  18",
                "18 18",
                "18 (18)",
                "18; 19",
                "step 1: 18",
                "3:2",
                "18...",
                "0.333...",
            ),
            # times that are no full hour, and what has no decimal
            *("3:30", "3:05 pm", "12:59", "25:00", "7 1/3", "1/3", "5 3/2", "1/2/3", "12/25/2024"),
        )
    ),
    *((f"3{time}", "3") for time in (":00", ":00 pm", ":00 PM", ":00pm", " pm", "pm", " p.m.", " o'clock", ":00:00")),
    *(("15:00", "15"), ("03:00", "3"), ("12:00 am", "12"), ("at 3:00 pm", "3")),
    *((text, "5.5") for text in ("5 1/2", "5 1/2 hours", "11/2", "$5.50", "5 2/4", r"5\frac{1}{2}", "5.5 hours")),
    *((f"24 {unit}", "24") for unit in ("m^2", "m²", "cm^3", "sq ft", "ft^{2}", "m2", "cm3", "square meters", "km/h")),
    *((f"18 {unit}", "18") for unit in ("quarters", "times a day", "miles per hour", "miles/hour", "m")),
    *((text, "18") for text in ("**18**", "**18 dollars**", "**Answer:** 18", "`18`", "_18_", "*18*", "#### 18")),
    *((text, "18") for text in ("(18)", "[18]", "“18”", "18-year-old", "18 %", "18°", "18¢", "$18.00", "US$18")),
    *((text, "18") for text in ("18 apples!", "Janet has 18 left", "a total of 18", "one of them has 18 left", "+18")),
    *(
        (text, "-18")
        for text in ("-18", "- 18", "(-18)", "x = -18", "-$18", "Total: -18", "\u221218 degrees", "= - 18")
    ),
]


@pytest.mark.parametrize(("content", "value"), CONTENTS)
def test_an_answer_is_one_number_or_nothing(content, value):
    reading = answers.read(f"3 times 6 is 18: <answer>{content}</answer>")
    assert reading.value == expected(value)
    assert (reading.reason is None) is (value is not None)
    assert answers.flexible(f"3 times 6 is 18: <answer>{content}</answer>") == expected(value), (
        "the tag ends the search"
    )
    assert answers.flexible(f"3 times 6 is 18: \\boxed{{{content}}}") == expected(value), "so does a box"


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("The area is 24 m^2.", "24"),
        ("The area is 24 m².", "24"),
        ("It takes 5 1/2 hours.", "5.5"),
        ("2 men need 7 1/3 hours.", None),
        ("2 men need 1/3 of it.", None),
        ("They meet at 3:00 pm.", "3"),
        ("They meet at 3 pm.", "3"),
        ("She leaves at 2 and arrives at 3:30.", None),
        ("Of 4 cities it has 5 million people.", None),
        ("In 2 years it earns 18k.", None),
        ("In 2 years it earns $18M.", None),
        ("She drives 18km.", "18"),
        ("It weighs 18kg", "18"),
        ("So 18 on the 5th", "18"),
        ("So 18 of H2O", "18"),
        ("So 18 = 2^4 + 2", "2"),
        ("It is 2^3", None),
        ("2 people get 18 and a half", None),
        (r"the root \sqrt{16}", None),
        ("She pays $18.50.", "18.5"),
        ("She pays 1,080 dollars!", "1080"),
        ("the ratio of 4 is 2:3", None),
    ],
)
def test_the_last_quantity_is_read_whole_or_not_at_all(text, value):
    assert answers.flexible(text) == expected(value)


@pytest.mark.parametrize(
    ("text", "missed"),
    [
        ("He buys 7 dozen eggs, that is 84. So it is 7 dozen eggs in 4 weeks.", "7"),
        ("It takes 12 minutes for 3 of them\n", "12"),
        ("Then 1,080 of 2 kinds are left (at 3 p.m. on day 5).", "1080"),
        ('She says "No." 18 for 2', "18"),
    ],
)
def test_a_gold_answer_in_the_last_sentence_is_missed_by_the_last_number(text, missed):
    assert answers.under_read(text, missed)
    assert not answers.is_correct(answers.flexible(text), missed)
    assert not answers.under_read(f"{text} <answer>{missed}</answer>", missed), "a tag ends the search"
    assert not answers.under_read(f"\\boxed{{0}} {text}", missed), "and so does a box"
    assert not answers.under_read(f"{text}. So the answer is 3.", missed), "another sentence"
    assert not answers.under_read(f"{text} Of them {missed}", missed), "that is read"
    assert not answers.under_read("no number", missed)


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
    assert answers.parse_number(f"{left}{between}{right}").value is None


@given(texts)
def test_nothing_raises_and_strict_implies_flexible(text):
    strict = answers.strict(text)
    flexible = answers.flexible(text)
    if strict is not None:
        assert flexible == strict
    answers.parse_number(text)
    assert article.published_is_correct(text, "5") in (True, False)
    assert article.released_is_correct(text, "5") in (True, False)


@given(texts)
def test_a_reading_is_finite_and_has_a_normal_spelling(text):
    reading = answers.flexible(text)
    if reading is not None:
        assert reading.is_finite()
        assert answers.is_correct(reading, numbers.normalise(format(reading, "f")))


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
        ("<answer>" + "1 " * 50_000 + "</answer>", None),
    ],
    ids=lambda value: str(value)[:12],
)
def test_absurd_input_ends(text, flexible):
    """Time is linear in the text; quadratic readings of these would run into pytest's timeout."""
    assert answers.strict(text) is None
    assert answers.flexible(text) == expected(flexible)
    assert answers.parse_number(text).value is None
    assert not article.published_is_correct(text, "5")
    assert not article.released_is_correct(text, "7")


def test_longest_number():
    assert answers.parse_number("9" * 100).value == Decimal("9" * 100)
    assert answers.parse_number("9" * 101).value is None
    assert answers.parse_number("-" + "1" * 60).value == Decimal("-" + "1" * 60)  # no rounding to 28 digits


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
    assert numbers.normalise(text) == plain


@pytest.mark.parametrize("text", ["", "x", "1/2", "3 or 4", "1,2", "1e5", "nan", "inf", "5 eggs", "--5", "٣"])
def test_normalise_refuses_what_is_no_number(text):
    with pytest.raises(ValueError, match="not a number"):
        numbers.normalise(text)


@given(decimals)
def test_normalise_keeps_the_value_and_is_idempotent(value):
    plain = numbers.normalise(f"{value:,f}")
    assert Decimal(plain) == value
    assert numbers.normalise(plain) == plain


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
    assert sum(not article.published_is_correct(f"<answer>{gold}</answer>", gold) for gold in golds) == failures
    assert all(answers.is_correct(answers.strict(f"<answer>{gold}</answer>"), gold) for gold in golds)
    assert all(answers.is_correct(answers.flexible(f"The answer is {gold}."), gold) for gold in golds)
