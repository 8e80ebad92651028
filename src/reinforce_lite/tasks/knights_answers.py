"""What a completion says of knights and knaves: our reading of its answer, Logic-RL's reward, and the cases it tries.

Every reading is total, and takes time linear in the text.
"""

import re
from collections.abc import Iterator, Mapping
from itertools import pairwise
from typing import Literal, NamedTuple, get_args

from reinforce_lite.tasks.answers import last_answer
from reinforce_lite.tasks.knights_puzzles import Puzzle
from reinforce_lite.tasks.knights_text import article, pair_of

Reason = Literal["no_answer", "hedged", "stranger", "missing", "unreadable"]
REASONS: tuple[Reason, ...] = get_args(Reason)

LONGEST_ANSWER = 10_000  # characters of one tag; more than this is an essay, not an answer
LONGEST_THINKING = 50_000  # characters of the thinking that are looked at: twice what 4,096 tokens hold
TAGS = ("<think>", "</think>", "<answer>", "</answer>")

Roles = dict[str, str]
"""The role of each person, all in lower case."""

_TOKEN = re.compile(r"[^\W\d_]+")
_FILLERS = {"is", "a", "an", "the", "and"}
_CLAIM = re.compile(r"\b([^\W\d_]+)\s+is\s+(?:an?\s+)?([^\W\d_]+)")
_LATIN, _SIGNS = "A-Za-z\u00c0-\u024f", "\u3040-\u30ff\u3400-\u9fff\uac00-\ud7af"
_WORD = re.compile(rf"([{_LATIN}]+)|[{_SIGNS}]|(?:(?![{_LATIN}{_SIGNS}])[^\W\d_])+")

_SUPPOSED = re.compile(
    r"\b(?:assum\w*|suppos\w*|if|consider|case)\b(?>(?:\s+that\b|[\s\d:(),.]){0,3})\s*"
    r"(?P<roles>(?:\w+\s+is\s+an?\s+\w+(?:,\s*(?:and\s+)?|\s+and\s+)?){1,8})(?P<then>(?<=\w)\s+then\b)?",
    re.IGNORECASE,
)
_CASE = re.compile(r"\bcase (?=(?P<roles>(?:\w+ ){2,8}))")
_ONE = re.compile(r"\b(\w+)\s+is\s+an?\s+(\w+)", re.IGNORECASE)
_AGAINST = re.compile(
    r"\b(?P<no>no|not a|without(?: any| a)?|any)?\s*\b(?:contradict\w*|impossible|inconsisten\w*|conflicts?|bad|"
    r"(?:cannot|can't|can not) be|(?:does not|doesn't|not) (?:hold|work)|not possible)\b",
    re.IGNORECASE,
)


class Answer(NamedTuple):
    """The roles that an answer names; None with the reason why it does not name one for each person."""

    roles: Roles | None
    reason: Reason | None = None


class Cases(NamedTuple):
    """What a text supposes of the people.

    Attributes:
        tried: assignments that are supposed, of all people or of some.
        rejected: those of them that the text rejects, and rightly: no solution agrees with them.
        wrongly: those that it rejects though a solution agrees with them.
    """

    tried: int
    rejected: int
    wrongly: int


def gold_roles(answer: str) -> Roles:
    """The roles of a gold answer, lines like `(1) Zoey is a knight`.

    Raises:
        ValueError: it is none.
    """
    claims = [_CLAIM.search(line) for line in answer.lower().splitlines()]
    roles = {claim[1]: claim[2] for claim in claims if claim}
    if not roles or len(roles) < len(claims) or not set(roles.values()) <= set(pair_of(next(iter(roles.values())))):
        raise ValueError(f"{answer[:60]!r} names no roles")
    return roles


def read_answer(text: str, gold: Mapping[str, str]) -> Answer:
    """The roles that the last answer of a completion names.

    They are named one after the other: `(1) Zoey is a knight, and Owen: knave`. Numbers, punctuation, articles, `is`
    and `and` may stand between them; any other word could turn the meaning round, so that nothing is read.

    Args:
        text: the completion, in lower case.
        gold: the roles that are right, for the names of the people and the words for the two roles.
    """
    content = last_answer(text)
    if content is None or len(content) > LONGEST_ANSWER:
        return Answer(None, "no_answer" if content is None else "unreadable")
    pair = pair_of(next(iter(gold.values())))
    words = [word for word in _TOKEN.findall(content) if word not in _FILLERS]
    named, person = [], ""
    for word in words:
        if word in pair:
            named.append((person, word))
        elif word in gold:
            person = word
    if any(role in pair and name not in gold and name not in _FILLERS for name, role in _CLAIM.findall(content)):
        return Answer(None, "stranger")
    people = [name for name, _ in named if name]
    if len(people) > len(set(people)):
        return Answer(None, "hedged")
    if {name for name, _ in named} != set(gold):
        return Answer(None, "missing")
    in_order = [word for pair_of_words in named for word in pair_of_words]
    return Answer(dict(named)) if words == in_order else Answer(None, "unreadable")


def logic_rl(text: str, gold: Mapping[str, str]) -> tuple[float, float]:
    """Logic-RL's reward: for the format, and for the answer.

    Format: 1 if each of the four tags stands exactly once and they are in order, else -1. Answer: 2 if it is right,
    -1.5 if it is wrong, -2 if it cannot be read or the format is bad. It can be read if the words for the roles stand
    in it as often as there are people, and `NAME is a ROLE` for each of them: so a list of both roles is not paid. The
    original's prompt opens the thinking; a completion that opens it itself is read as one whose prompt did not.
    Rewritten from the behaviour of verl/utils/reward_score/kk.py of Unakar/Logic-RL (Apache-2.0; arXiv:2502.14768).

    >>> logic_rl("so</think><answer>(1) Zoey is a knave</answer>", {"zoey": "knight"})
    (1.0, -1.5)
    """
    text = text if "<think>" in text else f"<think>{text}"
    places = [text.find(tag) for tag in TAGS]
    if any(text.count(tag) != 1 for tag in TAGS) or places != sorted(places):
        return -1.0, -2.0
    content = text[places[2] + len("<answer>") : places[3]].strip().lower()
    pair = pair_of(next(iter(gold.values())))
    if sum(content.count(role) for role in pair) != len(gold):
        return 1.0, -2.0
    role = "|".join(
        rf"{article(role).partition(' ')[0]}\s+(?P<{side}>{role})" for side, role in zip("ab", pair, strict=True)
    )
    claims = [re.search(rf"\b{re.escape(name)}\s+is\s+(?:{role})\b", content) for name in gold]
    if not all(claims):
        return 1.0, -2.0
    right = all(claim and (claim["a"] or claim["b"]) == role for claim, role in zip(claims, gold.values(), strict=True))
    return 1.0, 2.0 if right else -1.5


def thinking(text: str) -> str:
    """What stands before the answer, as far as it is looked at."""
    return text[:LONGEST_THINKING].partition("<answer>")[0]


def language(text: str) -> float:
    """Share of the words of the thinking that are in Latin letters, as the puzzles are; 1 if there is none.

    A sign of Chinese, Japanese or Korean counts as a word. Logic-RL's authors ask for such a score: mixed languages
    went with lower rewards.

    >>> language("So 他 is a knave")
    0.8
    """
    if (thought := thinking(text).partition("</think>")[0].replace("<think>", "")).isascii():
        return 1.0
    latin = [bool(word) for word in _WORD.findall(thought)]
    return sum(latin) / len(latin) if latin else 1.0


def cases(text: str, puzzle: Puzzle) -> Cases:
    """The cases that a completion distinguishes, each checked against the puzzle.

    A case is an assumption (`Assume Zoey is a knight and Owen is a knave`, or the tiny form's `case knight knave`); it
    is rejected if words of contradiction stand between it and the next one. What was supposed of other people before
    still stands, until one of them is supposed to be something else; of one person who was rejected as a knight it
    stands that he is a knave. `If ... then`, without a comma, is how people in the puzzle speak, and no assumption.
    """
    thought, solutions = thinking(text), puzzle.solutions()
    tried = sorted(_supposed(thought, puzzle), key=lambda case: case[0])
    rejected = wrongly = 0
    standing: list[tuple[int, bool]] = []
    for (_, begin, case), (end, _, _) in pairwise([*tried, (len(thought), 0, {})]):
        again = [place for place, (person, _) in enumerate(standing) if person in case]
        standing = [*standing[: min(again, default=len(standing))], *case.items()]
        if any(not match["no"] for match in _AGAINST.finditer(thought, begin, end)):
            possible = any(all(solution[i] == role for i, role in standing) for solution in solutions)
            rejected, wrongly = rejected + (not possible), wrongly + possible
            other = [(person, not role) for person, role in case.items()]
            standing = standing[: -len(case)] + (other if len(case) == 1 else [])
    return Cases(len(tried), rejected, wrongly)


def _supposed(text: str, puzzle: Puzzle) -> Iterator[tuple[int, int, dict[int, bool]]]:
    """Where each assumption begins and ends, and who tells the truth in it."""
    names = {name.lower(): i for i, name in enumerate(puzzle.names)}
    truthful = {puzzle.roles[0]: True, puzzle.roles[1]: False}
    for match in _CASE.finditer(text):
        roles = [truthful[word] for word in match["roles"].split()[: len(names)] if word in truthful]
        if len(roles) == len(names):
            yield match.start(), match.end(), dict(enumerate(roles))
    for match in _SUPPOSED.finditer(text):
        claims = [(name.lower(), role.lower()) for name, role in _ONE.findall(match["roles"])]
        case = {names[name]: truthful[role] for name, role in claims if name in names and role in truthful}
        if case and not match["then"]:
            yield match.start(), match.end(), case
