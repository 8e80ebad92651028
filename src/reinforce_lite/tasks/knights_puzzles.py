"""Puzzles of knights and knaves: statements, their solutions by exhaustion, a generator, and perturbations of a puzzle.

A knight's statement is true, a knave's is false. The generator draws what the published one draws (Xie et al. 2024,
arXiv:2410.23123, data of AlphaPav/mem-kk-logic): statements of depth 2 and width 2.

>>> puzzle = make_puzzle(random.Random(7), ("Zoey", "Owen"))
>>> puzzle.statements
(('and', ('knight', 0), ('knight', 1)), ('not', ('knight', 0)))
>>> puzzle.solutions()
[(False, True)]
"""

import random
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from functools import cache
from typing import Any, Literal, get_args

Statement = tuple[Any, ...]
"""("knight", i) or ("knave", i) of person i; ("not", s), ("and", s, t), ("or", s, t), ("if", s, t), ("iff", s, t)."""

Perturbation = Literal["statement", "leaf", "flipped_roles", "reordered", "uncommon_names", "random_roles"]
PERTURBATIONS: tuple[Perturbation, ...] = get_args(Perturbation)

OPERATORS = ("and", "or", "if", "iff")
WAYS = 18
"""In how many ways a text may say that somebody says something."""
KNIGHT_KNAVE = ("knight", "knave")
OTHER_ROLES = (
    ("pioneer", "laggard"), ("saint", "sinner"), ("hero", "villain"), ("angel", "devil"), ("altruist", "egoist"),
    ("sage", "fool"),
)  # fmt: skip
TRIES = 2000

# The names of the published puzzles (AlphaPav/mem-kk-logic, MIT, (c) 2024 AlphaPav).
COMMON_NAMES = (
    "Emma", "Liam", "Olivia", "Noah", "Ava", "Ethan", "Sophia", "Mason", "Isabella", "William", "Mia", "James",
    "Charlotte", "Benjamin", "Amelia", "Lucas", "Harper", "Henry", "Evelyn", "Alexander", "Abigail", "Michael",
    "Emily", "Daniel", "Elizabeth", "Jacob", "Sofia", "Logan", "Avery", "Jackson", "Ella", "Sebastian", "Scarlett",
    "Jack", "Grace", "Aiden", "Chloe", "Owen", "Victoria", "Samuel", "Riley", "Matthew", "Aria", "Joseph", "Lily",
    "Luke", "Aurora", "David", "Zoey", "Oliver", "Penelope",
)  # fmt: skip
UNCOMMON_NAMES = (
    "Zephyr", "Elowen", "Caspian", "Isolde", "Osiris", "Vesper", "Thaddeus", "Ondine", "Lysander", "Xanthe",
    "Oberon", "Calliope", "Leander", "Eulalia", "Florian", "Forsythe", "Nephele", "Peregrine", "Ianthe", "Lazarus",
    "Elodie", "Cillian", "Ottoline", "Evander", "Saffron", "Caius", "Zora", "Cyprian", "Amaryllis", "Theron",
    "Perdita", "Ignatius", "Zephyrine", "Balthazar", "Melisande", "Zinnia", "Sylvester", "Cosima", "Leocadio",
    "Percival", "Oceane", "Evanthe", "Zenobia", "Eurydice", "Quillan", "Aeronwen", "Thorsten", "Xiomara",
    "Zephyrus", "Ysolde",
)  # fmt: skip


@dataclass(frozen=True)
class Puzzle:
    """Who says what.

    Attributes:
        names: of the people.
        statements: what each of them says.
        order: in which order the text lets them speak.
        roles: what those are called who tell the truth, and those who lie.
        frames: in which way the text says that each of them speaks, below `WAYS`.
    """

    names: tuple[str, ...]
    statements: tuple[Statement, ...]
    order: tuple[int, ...]
    roles: tuple[str, str] = KNIGHT_KNAVE
    frames: tuple[int, ...] = field(default=(), compare=False)

    def solutions(self) -> list[tuple[bool, ...]]:
        """All assignments in which every person's statement is as true as its speaker; True is who tells the truth."""
        return assignments(consistent(self.statements), len(self.names))

    def only_solution(self) -> tuple[bool, ...]:
        """The solution.

        Raises:
            ValueError: there is none, or more than one.
        """
        found = self.solutions()
        if len(found) != 1:
            raise ValueError("no assignment of roles solves it" if not found else f"it has {len(found)} solutions")
        return found[0]

    def role(self, truthful: bool) -> str:
        """What somebody who tells the truth, or who lies, is called."""
        return self.roles[0] if truthful else self.roles[1]


def truths(statement: Statement, people: int) -> int:
    """The truth table of a statement.

    Returns:
        2**people bits. Bit a is the statement's truth under assignment a, in which person i tells the truth if bit i of
        a is set: all assignments are tried at once.
    """
    kind, *parts = statement
    every = (1 << (1 << people)) - 1
    if kind in ("knight", "knave"):
        return _truthful(parts[0], people) ^ (0 if kind == "knight" else every)
    left, right = truths(parts[0], people), truths(parts[-1], people)
    return {
        "not": every ^ left,
        "and": left & right,
        "or": left | right,
        "if": (every ^ left) | right,
        "iff": every ^ left ^ right,
    }[kind]


@cache
def _truthful(person: int, people: int) -> int:
    """The assignments, as bits, in which a person tells the truth.

    >>> bin(_truthful(0, 2)), bin(_truthful(1, 2))
    ('0b1010', '0b1100')
    """
    block = 1 << person
    one = ((1 << block) - 1) << block
    return sum(one << start for start in range(0, 1 << people, 2 * block))


def agreeing(person: int, statement: Statement, people: int) -> int:
    """The assignments, as bits, in which what a person says is as true as the person."""
    return ((1 << (1 << people)) - 1) ^ _truthful(person, people) ^ truths(statement, people)


def consistent(statements: Sequence[Statement]) -> int:
    """The assignments, as bits, in which all statements are as true as their speakers."""
    people = len(statements)
    left = (1 << (1 << people)) - 1
    for person, statement in enumerate(statements):
        left &= agreeing(person, statement, people)
    return left


def together(roles: Sequence[bool], people: int) -> int:
    """The assignments, as bits, that begin with these roles."""
    left = every = (1 << (1 << people)) - 1
    for person, role in enumerate(roles):
        left &= _truthful(person, people) ^ (0 if role else every)
    return left


def assignments(table: int, people: int) -> list[tuple[bool, ...]]:
    """The assignments whose bit is set."""
    chosen = (a for a in range(1 << people) if table >> a & 1)
    return [tuple(bool(a >> person & 1) for person in range(people)) for a in chosen]


def make_statement(rng: random.Random, speaker: int, people: int, operators: Sequence[str] = OPERATORS) -> Statement:
    """Draw a statement: one time in six who somebody is or is not, else two different ones joined.

    Args:
        rng: source of the draw.
        speaker: nobody says of himself that he lies.
        people: how many there are.
        operators: what may join two; without all four, two are always joined.
    """
    dice = rng.randrange(6) if len(operators) == len(OPERATORS) else 2
    if dice == 0:
        return make_leaf(rng, speaker, people)
    if dice == 1:
        return ("not", make_leaf(rng, speaker, people))
    left = right = make_leaf(rng, speaker, people)
    while right == left:
        right = make_leaf(rng, speaker, people)
    return (rng.choice(operators), left, right)


def make_leaf(rng: random.Random, speaker: int, people: int) -> Statement:
    """Draw who somebody is."""
    while True:
        leaf = (rng.choice(KNIGHT_KNAVE), rng.randrange(people))
        if leaf != ("knave", speaker):
            return leaf


def make_puzzle(rng: random.Random, names: Sequence[str], operators: Sequence[str] = OPERATORS) -> Puzzle:
    """Draw statements for these people until exactly one assignment of roles agrees with them."""
    people = len(names)
    while True:
        statements = tuple(make_statement(rng, speaker, people, operators) for speaker in range(people))
        if consistent(statements).bit_count() == 1:
            frames = tuple(rng.randrange(WAYS) for _ in names)
            return Puzzle(tuple(names), statements, tuple(range(people)), frames=frames)


def perturb(
    puzzle: Puzzle, kind: Perturbation, rng: random.Random, operators: Sequence[str] = OPERATORS
) -> Puzzle | None:
    """The puzzle, changed in one respect.

    Args:
        puzzle: one with a single solution.
        kind: `statement` draws what one person says anew, `leaf` one part of it; both have a new, single solution. The
            others change the text alone: `flipped_roles` calls those who tell the truth knaves, `random_roles` draws
            other words for both, `uncommon_names` other names, `reordered` lets the people speak in another order.
        rng: source of the draw.
        operators: as in `make_statement`.

    Returns:
        None if no such change was found: a leaf of a puzzle of two often has none.
    """
    if kind in ("statement", "leaf"):
        return _other_statement(puzzle, rng, () if kind == "leaf" else operators)
    if kind == "flipped_roles":
        return replace(puzzle, roles=puzzle.roles[::-1])
    if kind == "random_roles":
        return replace(puzzle, roles=rng.choice([pair for pair in OTHER_ROLES if pair != puzzle.roles]))
    if kind == "uncommon_names":
        others = [name for name in UNCOMMON_NAMES if name not in puzzle.names]
        return replace(puzzle, names=tuple(rng.sample(others, len(puzzle.names))))
    order = list(puzzle.order)
    while tuple(order) == puzzle.order:
        rng.shuffle(order)
    return replace(puzzle, order=tuple(order))


def _other_statement(puzzle: Puzzle, rng: random.Random, operators: Sequence[str]) -> Puzzle | None:
    """Another statement of one person, or without operators another leaf of it."""
    people, old = len(puzzle.names), puzzle.only_solution()
    for _ in range(TRIES):
        statements, speaker = list(puzzle.statements), rng.randrange(people)
        if operators:
            statements[speaker] = make_statement(rng, speaker, people, operators)
        else:
            statements[speaker] = _other_leaf(statements[speaker], speaker, people, rng)
        table = consistent(statements)
        if table.bit_count() == 1 and assignments(table, people) != [old]:
            return replace(puzzle, statements=tuple(statements))
    return None


def _other_leaf(statement: Statement, speaker: int, people: int, rng: random.Random) -> Statement:
    """The statement with one of its leaves drawn anew."""
    kind, *parts = statement
    if kind in ("knight", "knave"):
        return make_leaf(rng, speaker, people)
    chosen = rng.randrange(len(parts))
    parts[chosen] = _other_leaf(parts[chosen], speaker, people, rng)
    return (kind, *parts)
