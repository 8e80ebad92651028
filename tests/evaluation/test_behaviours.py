import random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from reinforce_lite.evaluation.behaviours import BEHAVIOURS, behaviours, foreign_share, repetition
from reinforce_lite.tasks.word_world import demonstrate, make_problem

SHOWS = {
    "verification": [
        "So 5 is left. Let's verify: 95 + 5 = 100.",
        "That is 12. To check this, 12 * 8 = 96.",
        "x = 5.\n**Check:** 3 * 5 = 15.",
        "Double-checking the heads: 4 + 5 = 9.",
        "Everything adds up.",
        "Putting 84 back: 7 weeks, as given.",
        "That makes 96, which matches the number of rolls.",
        "9 + 4 = 13 . 13 - 4 = 9 . <answer> 13 </answer>",
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
    ],
    "trial_and_error": [
        "Try x = 3: 9, too small.",
        "Let me try 3 goats: 24. Let me try 4 goats: 26.",
        "Suppose there are 6. Suppose there are 7.",
        "If n = 4 we get 10, and that works.",
        "Try 3 goats: 24, not enough.",
        "We find it by trial and error.",
        "Guess and check.",
        "We test all combinations.",
    ],
    "tables": [
        "| Day | Pages |\n|---|---|\n| Mon | 12 |",
        "Day | Pages\n--- | ---\nMon | 12",
        "| a | b |\n| 1 | 2 |",
        "+---+---+\n| a | b |\n+---+---+",
        "year  start  end\n1     100    110\n2     110    121",
        "a\tb\tc\n1\t2\t3\n4\t5\t6",
        r"\begin{array}{cc} 1 & 2 \end{array}",
        "\u2502 Mon \u2502 12 \u2502",
    ],
    "subgoals": [
        "Step 1: the shirts.\nStep 2: the shoes.",
        "1. 4 * 6 = 24.\n2. 24 / 2 = 12.",
        "First, count the cars. Then count the bikes.",
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
    ],
    "repetition": [
        "He has 6 left. He has 6 left. He has 6 left.",
        "The answer is 6\nthe answer  is 6\nTHE ANSWER IS 6",
        "and then and then " * 10,
        "He pays " + "3 dollars and " * 6,
        "\u54c8" * 40,
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
    ],
    "backtracking": [
        "He has to wait 15 minutes.",
        "Wait time is 20 minutes.",
        "The tank actually holds 40.",
        "He can hold on for 5 minutes.",
        "The clerk made a mistake.",
        "10 / 3 = 3.333, or 10 / 3 = 3.33.",
    ],
    "trial_and_error": [
        "She wants to try 3 cakes, and to try 5 pies.",
        "He tried 3 and tries 5 more.",
        "That is too small for 6 people.",
        "She got 8 in the first test and 9 in test 2.",
        "Suppose there are 30 days in a month.",
        "Let x = 4.",
    ],
    "tables": [
        "A table for 4 costs $12.",
        "|3 - 11| = 8\n|11 - 5| = 6",
        "- 3 pens\n- 4 pads\n- 5 cups",
        "a  b\nc  d\ne  f",
        "---\ntext\n---",
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
    ],
    "repetition": [
        "Yes. Yes. Yes.",
        "3 3 3 3 3 3 3 3",
        "He has 6 left. He has 6 left.",
        "Monday: 4 * 3 = 12.\nTuesday: 4 * 3 = 12.\nWednesday: 4 * 3 = 12.",
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
def test_a_sentence_that_stands_three_times_is_a_loop_wherever_it_stands(
    sentence: list[str], before: str, after: str
) -> None:
    line = " ".join(sentence)
    assert repetition(f"{line}\n{before}\n{line}\n{after}\n{line}")


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
