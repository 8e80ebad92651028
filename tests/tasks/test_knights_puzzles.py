"""The puzzles: solved by a brute force of the test's own, changed as published, written and read back."""

import random
from itertools import product
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from reinforce_lite.tasks.knights_puzzles import (
    COMMON_NAMES,
    OTHER_ROLES,
    PERTURBATIONS,
    UNCOMMON_NAMES,
    Perturbation,
    Puzzle,
    make_puzzle,
    perturb,
)
from reinforce_lite.tasks.knights_text import read, write

# An example of mem-kk's own (data_prep/lib_kk.py of AlphaPav/mem-kk-logic, MIT, (c) 2024 AlphaPav).
PUBLISHED = (
    "A very special island is inhabited only by knights and knaves. Knights always tell the truth, and knaves always "
    "lie. You meet 5 inhabitants: David, Zoey, Alexander, Aurora, and Isabella. In David's words: \"Alexander is a "
    'knight and Aurora is a knave". Zoey expressed that Alexander is a knight. Alexander said, "Isabella is a knave if '
    'and only if Isabella is a knight." Aurora commented, "Alexander is a knave and Isabella is a knave". According to '
    'Isabella, "Alexander is a knave". So who is a knight and who is a knave?'
)


def true(statement: Any, roles: tuple[bool, ...]) -> bool:
    """Whether a statement is true, written apart from the truth tables that are tested."""
    kind, *parts = statement
    if kind in ("knight", "knave"):
        return roles[parts[0]] is (kind == "knight")
    values = [true(part, roles) for part in parts]
    if kind == "not":
        return not values[0]
    first, second = values
    return {"and": first and second, "or": first or second, "if": not first or second, "iff": first is second}[kind]


def brute_force(puzzle: Puzzle) -> list[tuple[bool, ...]]:
    return [
        roles
        for roles in product((False, True), repeat=len(puzzle.names))
        if all(true(statement, roles) is role for statement, role in zip(puzzle.statements, roles, strict=True))
    ]


def drawn(seed: int, people: int) -> Puzzle:
    rng = random.Random(seed)
    return make_puzzle(rng, rng.sample(COMMON_NAMES, people))


@pytest.mark.parametrize("people", range(2, 9))
def test_every_puzzle_has_one_solution_and_the_text_has_the_puzzle(people: int) -> None:
    rng = random.Random(people)
    for _ in range(1_430):  # 10,010 in all
        puzzle = make_puzzle(rng, rng.sample(COMMON_NAMES, people))
        assert brute_force(puzzle) == [puzzle.only_solution()]
        text = write(puzzle, "english")
        assert read(text) == puzzle and write(read(text), "english") == text


def test_statements_have_depth_and_width_two_and_every_kind_occurs() -> None:
    kinds: dict[str, int] = {}
    for seed in range(300):
        puzzle = drawn(seed, 3)
        for speaker, (kind, *parts) in enumerate(puzzle.statements):
            kinds[kind] = kinds.get(kind, 0) + 1
            leaves = [(kind, *parts)] if kind in ("knight", "knave") else parts
            assert len(leaves) == (2 if kind in ("and", "or", "if", "iff") else 1)
            assert all(leaf[0] in ("knight", "knave") and leaf != ("knave", speaker) for leaf in leaves)
            assert len(set(leaves)) == len(leaves)
    assert set(kinds) == {"knight", "knave", "not", "and", "or", "if", "iff"}


def test_a_published_puzzle_is_read_and_solved() -> None:
    puzzle = read(PUBLISHED)
    assert brute_force(puzzle) == puzzle.solutions() == [(False, False, False, False, True)]
    assert write(puzzle, "english") == PUBLISHED


@pytest.mark.parametrize("kind", PERTURBATIONS)
@pytest.mark.parametrize("people", range(2, 9))
def test_a_perturbed_puzzle_is_new_and_has_one_solution(people: int, kind: Perturbation) -> None:
    rng, changed = random.Random(people), 0
    for seed in range(40):
        puzzle = drawn(seed, people)
        other = perturb(puzzle, kind, rng)
        if other is None:
            assert kind == "leaf"
            continue
        changed += 1
        assert write(other, "english") != write(puzzle, "english")
        assert read(write(other, "english")) == other
        old, [new] = puzzle.only_solution(), brute_force(other)
        different = [a != b for a, b in zip(puzzle.statements, other.statements, strict=True)]
        if kind in ("statement", "leaf"):
            assert sum(different) == 1 and new != old
            assert other.names == puzzle.names and other.roles == puzzle.roles and other.order == puzzle.order
        else:
            assert not any(different) and new == old
    assert changed >= (20 if kind == "leaf" else 40)


def test_a_leaf_leaves_the_rest_of_a_statement_alone() -> None:
    for seed in range(100):
        puzzle = drawn(seed, 5)
        other = perturb(puzzle, "leaf", random.Random(seed))
        if other is None:
            continue
        [(before, after)] = [(a, b) for a, b in zip(puzzle.statements, other.statements, strict=True) if a != b]
        if before[0] in ("knight", "knave"):
            assert after[0] in ("knight", "knave")
        else:
            assert after[0] == before[0] and sum(a != b for a, b in zip(before, after, strict=True)) == 1


def test_words_and_order_change_as_published() -> None:
    puzzle, rng = drawn(1, 4), random.Random(1)
    flipped, renamed = perturb(puzzle, "flipped_roles", rng), perturb(puzzle, "uncommon_names", rng)
    others, moved = perturb(puzzle, "random_roles", rng), perturb(puzzle, "reordered", rng)
    assert flipped and flipped.roles == ("knave", "knight")
    assert write(flipped, "english").startswith(
        "A very special island is inhabited only by knaves and knights. Knaves "
    )
    assert renamed and set(renamed.names) <= set(UNCOMMON_NAMES)
    assert others and others.roles in OTHER_ROLES
    assert moved and moved.order != puzzle.order and sorted(moved.order) == [0, 1, 2, 3]
    texts = write(moved, "english"), write(puzzle, "english")
    assert texts[0] != texts[1] and sorted(texts[0]) == sorted(texts[1])


@given(st.integers(0, 10_000), st.integers(2, 5))
def test_the_tiny_form_is_read_back(seed: int, people: int) -> None:
    puzzle = make_puzzle(random.Random(seed), ("ann", "ben", "cat", "dan", "eva")[:people], ("and", "or"))
    text = write(puzzle, "words")
    assert read(text) == puzzle
    assert len(text.split()) == 8 * people


HEAD = (
    "A very special island is inhabited only by knights and knaves. Knights always tell the truth, and knaves always "
    "lie. You meet 2 inhabitants: Zoey, and Owen. "
)
TAIL = " So who is a knight and who is a knave?"
SAYS = 'Zoey said that Owen is a knave. "Zoey is a knight" - Owen.'


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        (HEAD + SAYS.replace("Owen is a knave", "") + TAIL, "a statement is empty"),
        (HEAD.replace("Owen", "Zoey") + SAYS + TAIL, "the name Zoey stands twice"),
        (HEAD.replace("Owen", "zoey") + SAYS + TAIL, "stands twice"),
        (HEAD.replace("Owen", "Knight") + SAYS + TAIL, "'Knight' cannot be a name"),
        (HEAD.replace("Owen", "R2D2") + SAYS + TAIL, "'R2D2' cannot be a name"),
        (HEAD.replace("2", "3") + SAYS + TAIL, "speaks of 3 people and names 2"),
        (HEAD + SAYS.replace("- Owen", "- Zoey") + TAIL, "Zoey speaks twice"),
        (HEAD + SAYS.partition(' "')[0] + TAIL, "Owen says nothing"),
        (HEAD + SAYS.replace("Owen is a", "Bob is a") + TAIL, "nobody is called Bob"),
        (HEAD + SAYS.replace("- Owen", "- Bob") + TAIL, "nobody is called Bob"),
        (HEAD + SAYS.replace("a knave", "a spy") + TAIL, "no statement: 'Owen is a spy'"),
        (HEAD.replace("knaves", "spys") + SAYS + TAIL, "knight and spy are no pair of roles"),
        (HEAD.replace("knaves", "knights") + SAYS + TAIL, "knight and knight are no pair of roles"),
        (HEAD.replace("Knights", "Knaves") + SAYS + TAIL, "knight and knave are no pair of roles"),
        (HEAD.replace("knaves always", "knights always") + SAYS + TAIL, "it is no puzzle"),
        (HEAD + SAYS.replace("a knave", "a knave and Zoey is a knave or Owen is a knight") + TAIL, "no statement: 'Z"),
        (HEAD + SAYS.replace("a knave", "a knave and Zoey is a knave and Owen is a knave") + TAIL, "no statement: 'Z"),
        (HEAD + SAYS, "no statement and no question"),
        (HEAD + SAYS + TAIL + " Answer quickly!", "no statement and no question"),
        (HEAD.replace("2", "1").replace(", and Owen", "") + "Zoey said that Zoey is a knight." + TAIL, "1 people"),
        (" ".join(f"{name} says ann knight ." for name in ("ann", *COMMON_NAMES[:8])), "has 9 people"),
        ("", "it has 0 people"),
        ("What is 2 + 2?", "it is no puzzle"),
        ("x" * 1_000_000, "longer than a puzzle"),
        ("ann says .", "it is no puzzle"),
        ("ann says ben knave or . ben says ann knight .", "no statement"),
    ],
)  # fmt: skip
def test_a_text_that_is_no_puzzle_is_named(text: str, reason: str) -> None:
    with pytest.raises(ValueError, match=reason):
        read(text)
    assert read(HEAD + SAYS + TAIL).names == ("Zoey", "Owen")


@pytest.mark.parametrize(
    ("says", "solutions"),
    [
        ("ann says ann knave and ben knave . ben says ann knight or ben knight .", 1),
        ("ann says ann knight or ben knight . ben says ben knight or ann knight .", 2),
        ("ann says ann knight . ben says ben knight .", 4),
        ("ann says ann not knight . ben says ann knight .", 0),
    ],
)
def test_how_many_solutions_there_are_is_said(says: str, solutions: int) -> None:
    puzzle = read(says)
    assert sorted(puzzle.solutions()) == brute_force(puzzle)
    assert len(puzzle.solutions()) == solutions
    if solutions == 1:
        assert puzzle.only_solution() == brute_force(puzzle)[0]
        return
    with pytest.raises(ValueError, match=f"it has {solutions} solutions" if solutions else "no assignment of roles"):
        puzzle.only_solution()
