import random
import re
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from reinforce_lite.evaluation import behaviours as detectors
from reinforce_lite.evaluation import phrases, sums
from reinforce_lite.evaluation.behaviours import BEHAVIOURS, behaviours, foreign_share, repetition
from reinforce_lite.tasks.word_world import demonstrate, make_problem

SHOWS = {
    "verification": [
        "So 5 is left. Let's verify: 95 + 5 = 100.",
        "That is 12. To check this, 12 * 8 = 96.",
        "x = 5.\n**Check:** 3 * 5 = 15.",
        "Double-checking the heads: 4 + 5 = 9.",
        "Everything adds up.",
        "So 84. Let me check again: 7 * 12 = 84.",
        "That makes 96, which matches the number of rolls.",
        "I can verify this: 5589 * 3 = 16767.",
        "## 5: Verify the solution\n10 + 5 + 5 + 4 = 24.",
        "Wait, let me double-check that.",
        "Let's check if it is correct: 95 + 98 = 193.",
        "This satisfies all the conditions.",
        "Substituting x = 4 back into the equation, 2 * 4 = 8, which is true.",
        "We need to double check our calculations.",
        "Let's recheck our steps.",
    ],
    "backtracking": [
        "She has 180. Wait, it says 3.5 hours.",
        "So 35 cans.\nHmm, no, wait. It is 30.",
        "That's wrong, 5 * 6 is 30.",
        "That doesn\u2019t look right.",
        "I misread the question.",
        "Hold on, one is a tricycle.",
        "8 * 7 = 54, then 60. Actually 8 * 7 is 56.",
        "Half is 7 + 5 = 13, no, 7 + 5 = 12.",
        "4 + 9 = 14 wait <answer> 13 </answer>",
        "Oops, it is 30.",
        "Let me redo the sum.",
        "I've made a mistake.",
        "I **misread** the question.",
        "That is -8. However, this is not possible, so we need to reconsider our approach.",
        "We made a mistake in subtracting the equations.",
        "Let's try another approach.",
        "Let us try again.",
        "Let me think about it in a different way.",
        "13 * 9 is not valid, an alternative is 13 + 9.",
        "This contradicts our assumption.",
        "There must be a mistake in the calculations. Let's re-evaluate.",
        "However, this does not make sense.",
        "But we have double-counted the sour oranges.",
        "This doesn't work because 24 + 1 = 25.",
    ],
    "trial_and_error": [
        "Try x = 3: 9, too small.",
        "Let me try 3 goats: 24 (too few). Let me try 4 goats: 26.",
        "Let me try 3 goats: 24.\nLet me try 4 goats: 26.\nLet me try 5 goats: 28.",
        "If n = 4 we get 10, and that doesn't work. If n = 5 we get 12.",
        "69 + 64 is not valid, an alternative is: 69 + 61.",
        "- 9 * 8 = 72 (too high)\n- 9 + 8 = 17 (too low)\n- 9 + 9 = 18 (not 24)\n- 9 + 15 = 24",
        "181 is not divisible by 3, 181 is not divisible by 5, 181 is not divisible by 7.",
    ],
    "tables": [
        "| Day | Pages |\n|---|---|\n| Mon | 12 |",
        "Day | Pages\n--- | ---\nMon | 12",
        "| name | age |\n| Tom | 2 |",
        "+---+---+\n| a | b |\n+---+---+",
        "year  start  end\n1     100    110\n2     110    121",
        "day\tpens\tpads\nMon\t2\t3\nTue\t5\t6",
        "         2-door   4-door   Total\nWhite     8        12       20\nRed       7         3       10",
        r"\begin{tabular}{cc} day & 2 \end{tabular}",
        "\u2502 Mon \u2502 12 \u2502",
    ],
    "subgoals": [
        "Step 1: the shirts.\nStep 2: the shoes.",
        "1. 4 * 6 = 24.\n2. 24 / 2 = 12.",
        "1) 4 * 6 = 24\n2) 24 / 2 = 12",
        "First, count the cars. Then count the bikes.",
        "We first find the price, and then double it.",
        "Let's break the problem down into parts.",
    ],
    "equations": [
        "Let x be the number of balls.",
        "Let Tom's age be T.",
        r"Let's denote its price by \(c\).",
        "So 3x = 30.",
        "Now 5c + 3 is the price.",
        "The area is w + 4, so 2(w + w + 4) = 32.",
        "x = 10",
        "465*z = 36735\nz = 79",
    ],
    "repetition": [
        "He has 6 left. He has 6 left. He has 6 left.",
        "The answer is 6\nthe answer  is 6\nTHE ANSWER IS 6",
        "He pays. She pays.\n" * 3,
        "and then and then " * 20,
        "He pays " + "3 dollars and " * 30,
        "\u54c8" * 80,
    ],
    "language_mixing": [
        "Four boxes hold 24 eggs. \u7b54\u6848\u662f 24\u3002",
        "42. \u0421\u043b\u0435\u0434\u043e\u0432\u0430\u0442\u0435\u043b\u044c\u043d\u043e 42.",
        "Entonces el total es 24.",
        "also kostet das Fahrrad 240 Euro und nicht 300",
    ],
}

SHOWS_NOT = {
    "verification": [
        "She wrote a check for $45.",
        "They check in at 3. It costs $2 to check out a film.",
        "Let me check out the first one.",
        "13 - 4 = 9 . 9 + 4 = 13 . <answer> 13 </answer>",
        "9 + 4 = 13 . 13 - 4 = 9 . <answer> 13 </answer>",
        "He has 15 apples and 25 pears, which adds up to 40.",
        "An inspector needs 4 minutes to verify one ticket.",
        "Let me check if 433 is divisible by 3.",
        "A number is prime; we need to verify that it has no divisors.",
        "Is 87 divisible by 3? Let me check: 8 + 7 = 15.",
        "I write a check. It says $5.",
    ],
    "backtracking": [
        "He has to wait 15 minutes.",
        "Wait time is 20 minutes.",
        "The tank actually holds 40.",
        "He can hold on for 5 minutes.",
        "The clerk made a mistake.",
        "10 / 3 = 3.333, or 10 / 3 = 3.33.",
        "4 + 9 = 13 wait <answer> 13 </answer>",
        "4 + 9 = 13 wait 4 + 9 = 13 . <answer> 13 </answer>",
        "83 * 7 = 581 (too big)\n85 * 7 = 595",
        "The number of microphones that won't fit is 10.",
        "It is not possible to buy half a pen.",
        "There is a mistake in the problem statement.",
        "20 answers are incorrect and 5 are wrong.",
    ],
    "trial_and_error": [
        "She wants to try 3 cakes, and to try 5 pies.",
        "They try the room for 45 minutes, then try another for 30 minutes.",
        "He tried 3 and tries 5 more.",
        "That is too small for 6 people.",
        "He made 3 too many cookies and sold 2 too few.",
        "She got 8 in the first test and 9 in test 2.",
        "Suppose there are 30 days in a month.",
        "Suppose there are 6. Suppose there are 7.",
        "We find it by trial and error.",
        "Let x = 4.",
        "He doesn't work on Sunday, and she doesn't work on Monday.",
    ],
    "tables": [
        "A table for 4 costs $12.",
        "|3 - 11| = 8\n|11 - 5| = 6",
        "|3a + b| |3b + c|\n|3a + c| |3b + a|",
        "- 3 pens\n- 4 pads\n- 5 cups",
        "a  b\nc  d\ne  f",
        "R  O  B\nW  Y  R\nR  R  B",
        "---\ntext\n---",
        "  9275.140\n+ 5786.543\n-----------\n15061.683",
        r"\begin{array}{cc} 1 & 2 \end{array}",
    ],
    "subgoals": [
        "On the first day 3 miles, then 5 miles.",
        "Step 1: the shirts.",
        "1. The only one.",
        "Then 5 more. First of all, 3.",
        "2 * 6 = 12 . 12 - 3 = 9 .",
    ],
    "equations": [
        "3 x 14 = 42, and 2 + 3 x 4 = 14.",
        "It weighs 5g + 3g and is 2m = 200cm long.",
        "Let's find the total to be paid in a week.",
        "Plan A = $30.",
        "A=1,Y=0,X=6",
    ],
    "repetition": [
        "Yes. Yes. Yes.",
        "3 3 3 3 3 3 3 3",
        "He has 6 left. He has 6 left.",
        "Monday: 4 * 3 = 12.\nTuesday: 4 * 3 = 12.\nWednesday: 4 * 3 = 12.",
        "Way = speed * time.\n60 * 2 = 120.\nWay = speed * time.\n30 * 1 = 30.\nWay = speed * time.\n5 * 2 = 10.",
        "Mr. Smith has 6. Mr. Smith buys 3. Mr. Smith eats 2. Mr. Jones has 1.",
        "## Check\n6 is right.\n## Check\n8 is right.\n## Check\n9 is right.",
        "[0, 0, 0, 0, 0, 0]\n" * 9,
        "\u274c\u2705\u274c\u2705\u274c\u2705\n" * 9,
        "| a | b |\n|---|---|\n| 1 | 2 |",
        "",
    ],
    "language_mixing": [
        "The area is \u03c0 r^2, the angle \u03b8.",
        "Jos\u00e9 and Zo\u00eb are na\u00efve.",
        "He said: el Paso, las Vegas.",
        "From Los Angeles to Las Vegas, and from El Paso to La Jolla.",
        "\U0001d465 + \U0001d466\U0001d467 = 3",  # mathematical italics
        "Two hats per box, or a pro and a con: also make hay, my son, as they do on the sea.",
    ],
}

NUMBERS = ["0", "1", "12", "3.5", "1,000", "$", "%", "+", "-", "*", "x", "=", "(", ")", r"\div", r"\DIV", r"\times"]
MARKS = ["|", "---", "|---|", "+---+", ".", ",", "!", "?", ":", "\u2026", "\u2014", '"', "'", "\u2019", "1.", "2)"]
WORDS = ["wait", "Wait,", "check", "Let", "me", "try", "to", "be", "first", "then", "step", "if", "n", "und", "el"]
# Letters that change their length or their class when they are folded, a digit that is none of ours, other scripts.
ODD = ["\u03c0", "\u7b54", "\u7b54\u6848", "\u0130", "\u0131", "\u017f", "\u212a", "\u0663", "\ufdfa"]
FRAGMENTS = NUMBERS + MARKS + WORDS + ODD
texts = st.one_of(
    st.text(),
    st.lists(st.sampled_from([*FRAGMENTS, " ", "  ", "\n", "\t"]), max_size=60).map("".join),
    st.lists(st.sampled_from([*FRAGMENTS, "\n"]), max_size=60).map(" ".join),
)
words = st.lists(st.sampled_from(["he", "has", "6", "pens", "+", "3", "so", "left"]), min_size=3, max_size=8)


def listed(cases: dict[str, list[str]]) -> list[tuple[str, str]]:
    return [(name, text) for name, several in cases.items() for text in several]


@pytest.mark.parametrize(("name", "text"), listed(SHOWS))
def test_detector_fires(name: str, text: str) -> None:
    assert BEHAVIOURS[name](text)


@pytest.mark.parametrize(("name", "text"), listed(SHOWS_NOT))
def test_detector_is_silent(name: str, text: str) -> None:
    assert not BEHAVIOURS[name](text)


def test_every_detector_has_cases_of_both_kinds() -> None:
    assert set(SHOWS) == set(SHOWS_NOT) == set(BEHAVIOURS)


@given(texts)
def test_any_text_has_behaviours(text: str) -> None:
    assert behaviours(text) == {name for name, shows in BEHAVIOURS.items() if shows(text) is True}


@pytest.mark.parametrize(
    "unit", [". ", " ", "\n", "|", "- ", "-", "3 + ", "3 - ", "let ", "\u7b54", "<answer>", "try ", "\t"]
)
def test_a_completion_that_ran_away_is_read_to_its_end(unit: str) -> None:
    text = unit * 10_000 + "\nWait, let x = 3. Double-check."
    assert {"verification", "backtracking"} <= behaviours(text)


@given(st.integers(0, 10**6), st.integers(1, 2), st.sampled_from(["careful", "wait", "hasty"]))
def test_in_the_word_world_the_style_is_recognised(seed: int, steps: int, style: str) -> None:
    rng = random.Random(seed)
    text = demonstrate(make_problem(rng, steps), style, rng)  # type: ignore[arg-type]
    assert behaviours(text) == ({"backtracking"} if style == "wait" else set())


@given(st.lists(words, max_size=8), st.sampled_from([str.upper, str.title, lambda text: text.replace(" ", "\t  ")]))
def test_repetition_does_not_see_case_and_blanks(sentences: list[list[str]], rewrite) -> None:
    text = ". ".join(map(" ".join, sentences))
    assert repetition(text) == repetition(rewrite(text))


@given(words, texts, texts)
def test_a_sentence_that_stands_three_times_in_a_row_is_a_loop_wherever_it_stands(
    sentence: list[str], before: str, after: str
) -> None:
    line = " ".join(["he", *sentence])  # a line of digits alone may be a row of a board
    assert repetition(f"{before}\n{line}\n{line}\n{line}\n{after}")


@pytest.mark.parametrize(
    ("text", "share"),
    [
        ("", 0),
        ("12 + 3", 0),
        ("abc", 0),
        ("ab \u7b54\u6848", 0.5),
        ("\u7b54\u6848", 1),
        ("abc \u03c0", 0),  # alone
        ("abc \u03c0\u03c1\u03c2", 0.5),
        ("\U0001d465\U0001d466", 0),
    ],
)
def test_foreign_share_worked(text: str, share: float) -> None:
    assert foreign_share(text) == share


@given(texts)
def test_foreign_share_is_a_share_that_english_lowers(text: str) -> None:
    share = foreign_share(text)
    assert 0 <= share <= 1
    assert foreign_share(text + " plain words") <= share


UNBOUNDED = {
    "behaviours._WORD": "it cannot fail once it has begun",
    "behaviours._SENTENCE_END": "it cannot fail once it has begun",
    "sums._BLANKS": "it cannot fail once it has begun",
    "sums._NUMBERS": "it cannot fail once it has begun",
    "sums._TERMS": "it cannot fail once it has begun",
}
"""Patterns that may have a repeat without a bound that gives back, and why that costs nothing."""


def patterns() -> list[tuple[str, re.Pattern[str]]]:
    own = [
        (f"{module.__name__.rsplit('.', 1)[1]}.{name}", value)
        for module in (detectors, phrases, sums)
        for name, value in vars(module).items()
    ]
    return [(name, value) for name, value in own if isinstance(value, re.Pattern)]


def gives_back(parsed: Any) -> bool:
    """Whether a parsed pattern has a repeat without a bound that the search may shorten again."""
    for operation, argument in parsed:
        if str(operation) in ("MAX_REPEAT", "MIN_REPEAT"):
            if argument[1] == re._parser.MAXREPEAT or gives_back(argument[2]):  # type: ignore[attr-defined]
                return True
        elif isinstance(argument, tuple | list):
            inner = [part for part in argument if isinstance(part, re._parser.SubPattern)]  # type: ignore[attr-defined]
            several = [part for part in argument if isinstance(part, list)]
            if any(map(gives_back, [*inner, *(one for part in several for one in part)])):
                return True
    return False


@pytest.mark.parametrize(("name", "pattern"), patterns())
def test_what_one_position_of_a_text_costs_does_not_grow_with_the_text(name: str, pattern: re.Pattern[str]) -> None:
    """A search without such a repeat takes a bounded number of steps from each position, so it is linear."""
    assert gives_back(re._parser.parse(pattern.pattern, pattern.flags)) <= (name in UNBOUNDED)  # type: ignore[attr-defined]


def test_a_repeat_without_a_bound_is_seen() -> None:
    seen = [gives_back(re._parser.parse(p)) for p in ("a*", "(b|c+)", "(?:x(?=d*?))", "a*+", "a{0,9}", "(b|c++)")]  # type: ignore[attr-defined]
    assert seen == [True, True, True, False, False, False]


class Counted:
    """A unit of a text that counts how often it is looked at."""

    looks = 0

    def __init__(self, value: int) -> None:
        self.value = value

    def __hash__(self) -> int:
        Counted.looks += 1
        return hash(self.value)

    def __eq__(self, other: object) -> bool:
        Counted.looks += 1
        return isinstance(other, Counted) and self.value == other.value


@pytest.mark.parametrize("kinds", [1, 2, 7, 10**9])
def test_copies_are_found_by_looks_in_proportion_to_the_text(kinds: int) -> None:
    looks = []
    for length in (1_000, 4_000):
        Counted.looks = 0
        detectors._copied([Counted(at * at % kinds) for at in range(length)])
        looks.append(Counted.looks)
    assert looks[1] <= 4 * looks[0] + 100 and looks[1] <= 10 * 4_000
