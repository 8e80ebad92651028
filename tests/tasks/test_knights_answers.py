"""What a completion says: our reading, Logic-RL's reward table, the language of the thinking, the cases it tries."""

import random
import sys
from collections.abc import Callable

import pytest
from hypothesis import given
from hypothesis import strategies as st

from reinforce_lite.tasks import Grade, Problem, reward, verdicts
from reinforce_lite.tasks.knights_answers import LONGEST_THINKING, REASONS, Cases, cases, gold_roles
from reinforce_lite.tasks.knights_demonstrations import demonstrate, listed
from reinforce_lite.tasks.knights_knaves import TASK
from reinforce_lite.tasks.knights_puzzles import COMMON_NAMES, make_puzzle
from reinforce_lite.tasks.knights_text import read, write

QUESTION = (
    "A very special island is inhabited only by knights and knaves. Knights always tell the truth, and knaves always "
    'lie. You meet 3 inhabitants: Zoey, Owen, and Mia. Zoey said that Owen is a knave. Owen said, "Mia is a knight and '
    'Zoey is a knight." "Zoey is a knave and Owen is a knave" - Mia. So who is a knight and who is a knave?'
)
PUZZLE = read(QUESTION)
RIGHT = "(1) Zoey is a knight\n(2) Owen is a knave\n(3) Mia is a knave"
WRONG = "(1) Zoey is a knight\n(2) Owen is a knave\n(3) Mia is a knight"
PROBLEM = Problem("test-0", QUESTION, RIGHT)


def grade(text: str) -> Grade:
    return TASK.grade(text, PROBLEM)


def answered(answer: str) -> Grade:
    return grade(f"so</think><answer>{answer}</answer>")


def test_the_problem_is_what_it_says() -> None:
    assert listed(PUZZLE, PUZZLE.only_solution()) == RIGHT


@pytest.mark.parametrize(
    ("text", "for_format", "for_answer"),
    [
        (f"<think>so</think><answer>{RIGHT}</answer>", 1, 2),
        (f"so</think><answer>{RIGHT}</answer>", 1, 2),  # the prompt has opened the thinking
        (f"so</think>\n<answer>\n{RIGHT}\n</answer> That is all.", 1, 2),
        ("</think><answer>(3) Mia is a knave (1) Zoey is a knight (2) Owen is a knave</answer>", 1, 2),
        ("</think><answer>ZOEY IS A KNIGHT, Owen is a Knave, and mia is a knave.</answer>", 1, 2),
        (f"Zoey is a knave, a knave!</think><answer>{RIGHT}</answer>", 1, 2),  # what is thought is not counted
        (f"so</think><answer>{WRONG}</answer>", 1, -1.5),
        ("so</think><answer>Zoey is a knave, Owen is a knave, Mia is a knave</answer>", 1, -1.5),
        ("so</think><answer></answer>", 1, -2),
        ("so</think><answer>Zoey is a knight, Owen is a knave</answer>", 1, -2),
        (f"so</think><answer>{RIGHT}, Bob is a knave</answer>", 1, -2),
        (f"so</think><answer>{RIGHT.replace('Mia', 'Bob')}</answer>", 1, -2),
        (f"so</think><answer>{RIGHT.replace('a knave', 'a knight or a knave')}</answer>", 1, -2),
        ("so</think><answer>Zoey is a knight or knave, Owen is a knave</answer>", 1, -2),  # as many words as people
        (f"so</think><answer>{RIGHT.replace('is a', 'is not a')}</answer>", 1, -2),
        ("so</think><answer>Zoey: knight, Owen: knave, Mia: knave</answer>", 1, -2),
        (f"so<answer>{RIGHT}</answer>", -1, -2),
        (f"so</think>{RIGHT}", -1, -2),
        (f"so</think><answer>{RIGHT}", -1, -2),
        (f"<answer>{RIGHT}</answer><think>so</think>", -1, -2),
        (f"so</think><answer>{RIGHT}</answer><answer>{RIGHT}</answer>", -1, -2),
        (f"so</think><answer><answer>{RIGHT}</answer></answer>", -1, -2),
        (f"<think>so</think>no<think>so</think><answer>{RIGHT}</answer>", -1, -2),
        (f"<think><think>so</think></think><answer>{RIGHT}</answer>", -1, -2),
        (f"so</THINK><ANSWER>{RIGHT}</ANSWER>", -1, -2),
        ("", -1, -2),
    ],
)
def test_the_reward_of_logic_rl(text: str, for_format: float, for_answer: float) -> None:
    found = grade(text)
    assert (found["logic_rl_format"], found["logic_rl_answer"]) == (for_format, for_answer)
    assert found["logic_rl"] == for_format + for_answer
    assert reward("logic_rl", found, random.Random(0)) == for_format + for_answer


@pytest.mark.parametrize(
    ("answer", "reason"),
    [
        (RIGHT, None),
        (WRONG, None),
        ("Zoey: knight; Owen: knave; Mia: knave", None),
        ("**Zoey** is the knight\n- Owen is a knave\n- and Mia is a knave.", None),
        ("zoey knight owen knave mia knave", None),
        ("Zoey is a knight or a knave, Owen is a knave, Mia is a knave", "hedged"),
        ("Zoey is a knight/knave, Owen is a knave, Mia is a knave", "hedged"),
        (f"{RIGHT}\n(4) Zoey is a knave", "hedged"),
        (f"{RIGHT}\n{RIGHT}", "hedged"),
        (f"{RIGHT}\n(4) Bob is a knave", "stranger"),
        (RIGHT.replace("Mia", "Bob"), "stranger"),
        ("Zoey is a knight, Owen is a knave", "missing"),
        ("", "missing"),
        ("knight, knave, knave", "missing"),
        ("Zoey and Owen are knights, Mia is a knave", "missing"),
        (RIGHT.replace("is a", "is not a"), "unreadable"),
        (f"Perhaps {RIGHT}", "unreadable"),
        (f"{RIGHT}, or the other way round", "unreadable"),
        (f"It is false that {RIGHT}", "unreadable"),
        ("Zoey Owen Mia " + RIGHT, "unreadable"),
        (RIGHT + " " * 10_000, "unreadable"),
    ],
)
def test_an_answer_names_one_role_for_each_person_or_the_reason_is_a_score(answer: str, reason: str | None) -> None:
    found = answered(answer)
    assert [name for name in REASONS if found[name]] == ([reason] if reason else [])
    assert found["format"] is (reason is None)
    assert found["correct"] is (reason is None and answer != WRONG)
    assert TASK.unread(f"<answer>{answer}</answer>") is None


def test_what_no_tag_holds_is_no_answer() -> None:
    for text in ("", RIGHT, f"<answer>{RIGHT}", f"{RIGHT}</answer>", f"</answer>{RIGHT}<answer>"):
        assert grade(text)["no_answer"] is True and TASK.unread(text) == "no complete answer tag"


def test_the_last_complete_tag_counts_and_a_second_one_is_a_score() -> None:
    twice = grade(f"<think></think><answer>{WRONG}</answer><think></think><answer>{RIGHT}</answer>")
    assert twice["correct"] is True and twice["repeated_tag"] is True
    assert answered(RIGHT)["repeated_tag"] is False
    assert grade(f"<answer>{RIGHT}<answer>{WRONG}</answer></answer>")["correct"] is False
    assert grade(f"<answer>{WRONG}<answer>{RIGHT}</answer></answer>")["correct"] is True
    assert grade(f"<ANSWER>{RIGHT}</Answer>")["correct"] is True
    assert grade(f"<answer>{RIGHT}</answer><answer>{WRONG}")["correct"] is True


def test_other_words_for_the_roles_are_read() -> None:
    question = QUESTION.replace("a knight", "an angel").replace("knight", "angel").replace("Knight", "Angel")
    problem = Problem(
        "x", question.replace("knave", "devil"), RIGHT.replace("a knight", "an angel").replace("knave", "devil")
    )
    found = TASK.grade(f"</think><answer>{problem.answer}</answer>", problem)
    assert found["correct"] is True and found["logic_rl"] == 3
    assert TASK.grade(f"</think><answer>{RIGHT}</answer>", problem)["correct"] is False


@pytest.mark.parametrize(
    ("thought", "share"),
    [
        ("Zoey is a knight", 1.0), ("", 1.0), ("1 + 1 = 2", 1.0), ("café naïve", 1.0), ("So 他 is a knave", 0.8),
        ("他是骑士", 0.0), ("Зоя is", 0.5), ("Зоя и Owen", 1 / 3), ("\u3042 x", 0.5),
    ],
)  # fmt: skip
def test_the_language_of_the_thinking(thought: str, share: float) -> None:
    assert grade(f"{thought}</think><answer>他</answer>")["language"] == pytest.approx(share)


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("", Cases(0, 0, 0)),
        (f"<answer>{RIGHT}</answer>", Cases(0, 0, 0)),
        ("Assume Zoey is a knave. Then Owen is a knight, but that is a contradiction.", Cases(1, 1, 0)),
        ("Assume Zoey is a knight. Contradiction!", Cases(1, 0, 1)),
        ("Assume Zoey is a knight. There is no contradiction.", Cases(1, 0, 0)),
        ("Suppose that Zoey is a knave. A contradiction arises. Now assume Zoey is a knight. It works.", (2, 1, 0)),
        ("Case 1: Zoey is a knave. Impossible. Case 2: Zoey is a knight.", (2, 1, 0)),
        ("If Zoey is a knave, then Owen is a knight. That is inconsistent.", (1, 1, 0)),
        ("Owen says: If Zoey is a knave then Mia is a knight. A contradiction.", (0, 0, 0)),  # how people speak
        ("Assume Zoey is a knight and Owen is a knight. That contradicts what Zoey says.", (1, 1, 0)),
        ("Assume Zoey is a knave. Assume Mia is a knave. Contradiction.", (2, 1, 0)),  # the first one stands
        ("Assume Zoey is a knave. Contradiction. Assume Mia is a knave. Contradiction.", (2, 1, 1)),
        ("Assume Bob is a knave. Contradiction. Assume Zoey is a spy. Contradiction.", (0, 0, 0)),
        ("zoey is a knave contradiction", (0, 0, 0)),
        ("<answer>Assume Zoey is a knave. Contradiction.</answer>", (0, 0, 0)),
    ],
)  # fmt: skip
def test_cases_are_counted_by_the_puzzle_and_not_by_words_alone(text: str, expected: tuple[int, int, int]) -> None:
    assert cases(text, PUZZLE) == expected
    found = grade(text)
    assert (found["cases_tried"], found["rejected_attempts"]) == expected[:2]


@given(st.integers(0, 10_000), st.integers(2, 5), st.sampled_from(["english", "words"]))
def test_the_cases_of_a_careful_demonstration_are_all_found(seed: int, people: int, form: str) -> None:
    rng = random.Random(seed)
    names = rng.sample(COMMON_NAMES, people) if form == "english" else ("ann", "ben", "cat", "dan", "eva")[:people]
    puzzle = make_puzzle(rng, names, ("and", "or"))
    text = demonstrate(puzzle, "careful", form)
    marks = ("Assume", "contradicts") if form == "english" else ("case ", " bad")
    assert cases(text, puzzle) == (text.count(marks[0]), text.count(marks[1]), 0)
    assert cases(demonstrate(puzzle, "hasty", form), puzzle) == (0, 0, 0)


PIECES = [
    "<think>", "</think>", "<answer>", "</answer>", "Zoey", "Owen", "Mia", "Bob", " is a ", "knight", "knave", " or ",
    "(1)", "\n", "assume ", "contradiction", "case ", "if ", "他", "<ANSWER>", "İ", "\x00", " not ", "then",
]  # fmt: skip


@given(st.one_of(st.text(), st.lists(st.sampled_from(PIECES), max_size=40).map("".join)))
def test_every_text_has_a_grade(text: str) -> None:
    found = grade(text)
    assert tuple(found) == TASK.scores
    assert verdicts(found)["strict"] is found["correct"]
    assert sum(bool(found[name]) for name in REASONS) == (not found["format"])
    assert found["format"] or not found["correct"]
    assert 0 <= found["language"] <= 1
    assert found["rejected_attempts"] <= found["cases_tried"]
    assert found["logic_rl_answer"] in (2, -1.5, -2) and found["logic_rl_format"] in (1, -1)
    assert found["logic_rl_answer"] == -2 or found["logic_rl_format"] == 1
    assert (TASK.unread(text) is not None) is found["no_answer"]


HOSTILE: list[Callable[[int], str]] = [
    lambda n: "<answer>" * (n // 8),
    lambda n: "</answer><answer>" * (n // 17),
    lambda n: f"</think><answer>{'Zoey is a knight ' * (n // 17)}</answer>",
    lambda n: f"</think><answer>Zoey{' ' * n}</answer>",
    lambda n: f"<answer>{'a' * 9_000}</answer>" * (n // 9_017),
    lambda n: f"<answer>{'a is ' * 1_900}</answer>" * (n // 9_517),
    lambda n: "assume" * (n // 6),
    lambda n: "assume " + "a" * n,
    lambda n: "assume Zoey" + " " * n,
    lambda n: "assume Zoey is a knave, and " * (n // 28),
    lambda n: "assume Zoey is a knave. contradiction. " * (n // 39),
    lambda n: "case knave " * (n // 11),
    lambda n: "no " * (n // 3),
    lambda n: "他" * n,
    lambda n: "я " * (n // 2),
    lambda n: " " * n,
]


@pytest.mark.parametrize("hostile", HOSTILE)
def test_a_megabyte_is_graded(hostile: Callable[[int], str]) -> None:
    """Time is linear in the text; quadratic readings of these would run into pytest's timeout."""
    assert grade(hostile(1_000_000))["correct"] is False


@pytest.mark.parametrize("hostile", HOSTILE)
def test_the_work_grows_no_faster_than_the_text(hostile: Callable[[int], str]) -> None:
    size = LONGEST_THINKING // 4
    small, large = operations(hostile(size)), operations(hostile(2 * size))
    assert large <= 2.2 * small
    assert operations(hostile(1_000_000)) <= 5 * large  # no more is looked at than the longest thinking


def operations(text: str) -> int:
    """Lines of Python and calls that a grade takes."""
    count = 0

    def seen(*_: object) -> Callable[..., object]:
        nonlocal count
        count += 1
        return seen

    before = sys.gettrace()
    sys.settrace(seen)
    try:
        grade(text)
    finally:
        sys.settrace(before)
    return count


@pytest.mark.parametrize("answer", ["", "42", "(1) Zoey is a spy", "(1) Zoey is a knight\n(2) who knows"])
def test_a_gold_answer_that_is_none_is_named(answer: str) -> None:
    with pytest.raises(ValueError, match=r"role"):
        gold_roles(answer)
    with pytest.raises(ValueError, match=r"role"):
        TASK.grade("", Problem("x", QUESTION, answer))


def test_a_puzzle_of_eight_is_graded() -> None:
    rng = random.Random(8)
    puzzle = make_puzzle(rng, rng.sample(COMMON_NAMES, 8))
    problem = Problem("x", write(puzzle, "english"), listed(puzzle, puzzle.only_solution()))
    found = TASK.grade(demonstrate(puzzle, "careful", "english"), problem)
    assert found["correct"] is True and found["rejected_attempts"] > 0
