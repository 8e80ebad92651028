"""The text of a puzzle of knights and knaves, and the puzzle of a text.

Two forms: `english` is that of the published puzzles (AlphaPav/mem-kk-logic, MIT, (c) 2024 AlphaPav), `words` has one
token a word, for tiny policies.

>>> one = Puzzle(("ann", "ben"), (("and", ("knight", 0), ("knave", 1)), ("or", ("knave", 0), ("knight", 1))), (0, 1))
>>> write(one, "words")
'ann says ann knight and ben knave . ben says ann knave or ben knight .'
>>> read(write(one, "words")) == one
True
"""

import re
from collections.abc import Sequence
from itertools import chain
from typing import Literal

from reinforce_lite.tasks.knights_puzzles import KNIGHT_KNAVE, OTHER_ROLES, Puzzle, Statement

Form = Literal["english", "words"]

MOST_PEOPLE = 8
LONGEST = 20_000  # characters of a puzzle of eight people: far fewer

FRAMES = (
    "{name} said that {says}.", "{name} told you that {says}.", '{name} said, "{says}."', '{name} stated, "{says}".',
    'According to {name}, "{says}".', "In {name}'s words: \"{says}\".", '{name} remarked, "{says}".',
    '"{says}," {name} declared.', '{name} was heard saying, "{says}".', "{name} expressed that {says}.",
    '"{says}" - {name}.', 'As {name} put it, "{says}".', '{name} asserted: "{says}".', '"{says}," {name} mentioned.',
    '{name} commented, "{says}".', 'In a statement by {name}: "{says}".', '{name} noted, "{says}".',
    '"{says}," {name} claimed.',
)  # fmt: skip
NO_NAMES = {"is", "a", "an", "the", "and", "or", "not", "if", "then", *KNIGHT_KNAVE, *chain(*OTHER_ROLES)}
JOINED = {"and": "{} and {}", "or": "{} or {}", "if": "If {} then {}", "iff": "{} if and only if {}"}

_HEAD = re.compile(
    r"A very special island is inhabited only by (?P<knight>\w+)s and (?P<knave>\w+)s\. (?P<true>\w+)s always tell "
    r"the truth, and (?P=knave)s always lie\. You meet (?P<people>\d{1,3}) inhabitants: (?P<names>[^.\"]*)\. "
)
_TAIL = re.compile(r"So who is an? \w+ and who is an? \w+\?\s*")
_SPEECH = [
    re.compile(re.escape(frame).replace(r"\{name\}", r"(?P<name>\w+)").replace(r"\{says\}", r'(?P<says>[^".]*)') + " ")
    for frame in FRAMES
]
_LEAF = re.compile(r"(?P<name>\w+) is (?P<no>not )?an? (?P<role>\w+)")
_WORDS = re.compile(r"(?P<name>\w+) says (?P<says>[^.]*) \.(?: |$)")
_WORDS_LEAF = re.compile(r"(?P<name>\w+) (?P<no>not )?(?P<role>\w+)")
_JOINTS = (("iff", " if and only if "), ("if", " then "), ("and", " and "), ("or", " or "))


def write(puzzle: Puzzle, form: Form) -> str:
    """The text of a puzzle."""
    if form == "words":
        return " ".join(f"{puzzle.names[i]} says {say(puzzle, puzzle.statements[i], form)} ." for i in puzzle.order)
    knight, knave = puzzle.roles
    names = f"{', '.join(puzzle.names[:-1])}, and {puzzle.names[-1]}"
    spoken = (
        FRAMES[puzzle.frames[i]].format(name=puzzle.names[i], says=say(puzzle, puzzle.statements[i], form))
        for i in puzzle.order
    )
    return (
        f"A very special island is inhabited only by {knight}s and {knave}s. {knight.capitalize()}s always tell the "
        f"truth, and {knave}s always lie. You meet {len(puzzle.names)} inhabitants: {names}. {' '.join(spoken)} "
        f"So who is {article(knight)} and who is {article(knave)}?"
    )


def say(puzzle: Puzzle, statement: Statement, form: Form = "english") -> str:
    """A statement as its speaker puts it."""
    kind, *parts = statement
    if kind in KNIGHT_KNAVE or kind == "not":
        leaf, no = (parts[0], "not ") if kind == "not" else (statement, "")
        name, role = puzzle.names[leaf[1]], puzzle.role(leaf[0] == "knight")
        return f"{name} is {no}{article(role)}" if form == "english" else f"{name} {no}{role}"
    return JOINED[kind].format(*(say(puzzle, part, form) for part in parts))


def article(role: str) -> str:
    """A role with its article.

    >>> article("egoist"), article("sage")
    ('an egoist', 'a sage')
    """
    return f"an {role}" if role[0] in "aeiou" else f"a {role}"


def read(text: str) -> Puzzle:
    """The puzzle of a text in either form.

    Raises:
        ValueError: it is not written as `write` does; a name stands twice, is unknown or does not speak exactly once; a
            statement is empty; there are fewer than two people, or more than eight. Whether the puzzle has a solution
            is another question.
    """
    if len(text) > LONGEST:
        raise ValueError("it is longer than a puzzle")
    head = _HEAD.match(text)
    if head is not None and {head["knave"], head["true"].lower()} != set(pair_of(head["knight"])):
        raise ValueError(f"{head['knight']} and {head['knave']} are no pair of roles")
    if head is None:
        names, spoken = _read_words(text)
        return _puzzle(names, spoken, KNIGHT_KNAVE, "words")
    names = re.split(r", and |, ", head["names"])
    if int(head["people"]) != len(names):
        raise ValueError(f"it speaks of {head['people']} people and names {len(names)}")
    return _puzzle(names, _read_english(text, head.end()), (head["knight"], head["knave"]), "english")


def _read_english(text: str, start: int) -> list[tuple[str, str, int]]:
    """Who says what, and by which frame, from `start` on to the question at the end."""
    spoken: list[tuple[str, str, int]] = []
    while not _TAIL.fullmatch(text, start):
        found = ((frame, pattern.match(text, start)) for frame, pattern in enumerate(_SPEECH))
        frame, match = next(((frame, match) for frame, match in found if match), (0, None))
        if match is None:
            raise ValueError(f"what follows is no statement and no question: {text[start : start + 60]!r}")
        spoken.append((match["name"], match["says"], frame))
        start = match.end()
    return spoken


def _read_words(text: str) -> tuple[list[str], list[tuple[str, str, int]]]:
    spoken, start = [], 0
    while start < len(text):
        match = _WORDS.match(text, start)
        if match is None:
            raise ValueError(f"it is no puzzle: {text[start : start + 60]!r}")
        spoken.append((match["name"], match["says"], 0))
        start = match.end()
    return [name for name, _, _ in spoken], spoken


def _puzzle(names: Sequence[str], spoken: list[tuple[str, str, int]], roles: tuple[str, str], form: Form) -> Puzzle:
    lower = [name.lower() for name in names]
    for name in names:
        if lower.count(name.lower()) > 1:
            raise ValueError(f"the name {name} stands twice")
        if not name.isalpha() or name.lower() in NO_NAMES:
            raise ValueError(f"{name[:60]!r} cannot be a name")
    if not 2 <= len(names) <= MOST_PEOPLE:
        raise ValueError(f"it has {len(names)} people, and not 2 to {MOST_PEOPLE}")
    statements: dict[int, tuple[Statement, int]] = {}
    for name, says, frame in spoken:
        person = _person(name, names)
        if person in statements:
            raise ValueError(f"{name} speaks twice")
        statements[person] = (_statement(says.strip(), names, roles, form), frame)
    if len(statements) < len(names):
        raise ValueError(f"{next(name for i, name in enumerate(names) if i not in statements)} says nothing")
    said = [statements[i] for i in range(len(names))]
    return Puzzle(tuple(names), tuple(s for s, _ in said), tuple(statements), roles, tuple(frame for _, frame in said))


def _person(name: str, names: Sequence[str]) -> int:
    if name not in names:
        raise ValueError(f"nobody is called {name}")
    return names.index(name)


def _statement(says: str, names: Sequence[str], roles: tuple[str, str], form: Form) -> Statement:
    """What is said; of several joints in one statement nobody could tell which comes first, so there is at most one."""
    if not says:
        raise ValueError("a statement is empty")
    for kind, joint in _JOINTS:
        left, found, right = says.partition(joint)
        if found:
            left = left.removeprefix("If ") if kind == "if" else left
            return (kind, *(_leaf(part, names, roles, form) for part in (left, right)))
    return _leaf(says, names, roles, form)


def _leaf(says: str, names: Sequence[str], roles: tuple[str, str], form: Form) -> Statement:
    match = (_LEAF if form == "english" else _WORDS_LEAF).fullmatch(says)
    if match is None or match["role"] not in roles:
        raise ValueError(f"it is no statement: {says[:60]!r}")
    leaf = (KNIGHT_KNAVE[roles.index(match["role"])], _person(match["name"], names))
    return ("not", leaf) if match["no"] else leaf


def pair_of(role: str) -> tuple[str, str]:
    """The two roles of which one is this, whoever of them tells the truth.

    Raises:
        ValueError: it is no role.
    """
    for pair in (KNIGHT_KNAVE, *OTHER_ROLES):
        if role in pair:
            return pair
    raise ValueError(f"{role!r} is no role")
