"""Which behaviours a completion shows, by detectors that everyone can read.

Every detector is a pure function of the text, total, linear in its length, and made for English prose of GSM8K's kind
and for the generated word world. It sees words, not meaning: each docstring opens with the rule by which a reader
labelled 787 real texts, says what counts and what does not, and `detector_accuracy.measured` says how often that is
right. Where the text has an exact check (a sum that is stated again with another result) the check counts, not a word.
verification, backtracking and subgoals are behaviours of Gandhi et al. 2025 ("Cognitive behaviors that enable
self-improving reasoners"); the others are what the article says it saw, and two ways in which trained policies go
wrong.

>>> sorted(behaviours("Let x be the price. Then 2x = 8, so x = 4. Check: 2 * 4 = 8."))
['equations', 'verification']
>>> sorted(behaviours("2 * 6 = 13 wait 2 * 6 = 12 . 12 - 3 = 9 . <answer> 9 </answer>"))
['backtracking']
"""

import re
import unicodedata
from collections import defaultdict
from collections.abc import Callable, Hashable, Sequence
from functools import lru_cache
from itertools import pairwise

from reinforce_lite.evaluation.phrases import REFUSED, TAKES_BACK, TESTS, TRIED, TRIES, plain
from reinforce_lite.evaluation.sums import taken_back

MANY = 3
"""So many rejections, or values that the text says it tries, need no other sign that something was tried."""

COPIES = 3
"""A passage that stands so many times, one copy after the other, is a loop."""

LOOP_TOKENS = 3
"""Shorter passages ("Yes.", "|---|") may stand as often as they like."""

NGRAM = 32
"""Tokens of an n-gram; two passages of a text that does not loop seldom share one."""

NGRAM_SHARE = 0.5
"""A larger share of n-grams that stood before is a loop."""

FOREIGN_LETTERS = 2
"""So many letters of another script side by side are a word; one alone is a symbol, such as pi."""

FUNCTION_WORDS = 3
"""So many different function words of one other language are a sentence of it; fewer may belong to a name."""


def _any(*patterns: str) -> re.Pattern[str]:
    """One pattern of several; case is ignored, ^ and $ stand for the ends of lines."""
    return re.compile("|".join(f"(?:{pattern})" for pattern in patterns), re.IGNORECASE | re.MULTILINE)


_START = r"(?:^|[.!?:;\u2026]\s)[^\w\n]{0,8}+"  # of a sentence or a line

_RULED_TABLE = _any(
    r"^[ \t]*+\|?[ \t]*+:?-{2,}+:?[ \t]*+(?>(?:\|[ \t]*+:?-{2,}+:?[ \t]*+)+)\|?[ \t]*+$",  # of markdown
    r"^[ \t]*+\+(?:[-=]++\+){2}",
    r"\\begin\{tabular\}",
    "\u2502[^\u2502\n]*+\u2502",
)
_GAPS = re.compile(r"\n{3,}+")
_WIDE = re.compile(r"\t++| {2,}+")
_NAMED = re.compile(r"[^\W\d_]{2}")

_STEP = _any(r"\bstep ?#?([0-9]{1,2}|one|two|three|four|five)\b", r"^#{1,4} ?(?:step )?([0-9]{1,2})[:.]")
_NUMBERED = _any(r"^[ \t]{0,8}(?:\*\*)?([0-9]{1,2})[.):]\W{0,4}\S", r"\*\*round ([0-9]{1,2})\b")
_FIRST = _any(
    rf"{_START}(?:first(?:ly|,| we| I| let| find| calculate|:|\b)|(?:to|let's) (?:start|begin)\b)",
    r"\b(?:we|let's|let us|can|should|to) first(?:ly)? [a-z]",
)
_THEN = _any(
    rf"{_START}(?:then|next|now|second(?:ly)?|after that|finally|lastly)\b", r"[,;] (?:and )?(?:then|finally) [a-z]"
)
_PLAN = _any(
    r"\b(?:break|split|divide) (?:it|this|the problem|the \w{1,20}) (?:down )?into\b",
    r"\bbreak (?:it|this|the problem|the \w{1,20}|this problem)? ?down\b[^.\n]{0,40}(?:step|:|by )",
)

_COEFFICIENT = r"(?<![\w'])[0-9]{1,9}[a-fijn-rt-z]"  # 3x, but not 3 g, 3h, 3k, 3l, 3m, 3s
_EQUATIONS = _any(
    r"\blet(?:'s| us)? (?:[\w']{1,20} ){0,8}?(?:be|equal|represent|denote)\b[^.\n]{0,40}?(?<![\w'])[b-hj-z]\b(?!')",
    r"\blet [$\\(]{0,4}[a-z][$\\)]{0,4} (?:be|=|represent|denote|stand)",
    rf"{_COEFFICIENT} [-+=] [$0-9(]",
    r"[-+] [0-9]{0,9}[xyznw]\b",  # ... + 2x, but not + 2 x 3
    rf"(?:{_COEFFICIENT}|(?<![\w'])(?-i:[xyzn])) ?= ?[$\\(]{{0,4}}[0-9]",  # 3x = 30, x = 10, but not Y=0
    r"(?<![\w'])[0-9]{1,9}\*(?-i:[a-z])(?![\w(*])[^\n=]{0,30}=",  # 5 * y as a program writes it: 465*z - 6 = 12
    r"(?:^|= )[ \t$\\(]{0,6}(?-i:[a-df-hj-z]) ?= ?-?[($]?[0-9]",  # a line of its own: k = 65/39
    r"\u03b8 ?[)=\u2248]",  # theta
)

_WORD = re.compile(r"[\u3040-\u30ff\u3400-\u9fff\uac00-\ud7af]|\w+|[^\w\s]")
_BOARD = re.compile(r"^(?>(?:[0-9](?!\w)|[^\w\n+*/=()-])+)$", re.MULTILINE)  # of digits or signs alone
_SENTENCE_END = re.compile(r"(?<=[.!?])\s+|\n+|[\u3002\uff01\uff1f]")

# Frequent words, without those that English has too (also, die, hat; con, hay, son; on; per; do).
_FUNCTION_WORDS = {
    language: frozenset(words.split())
    for language, words in {
        "de": "und nicht ist das der ein eine einen mit von auf f\u00fcr wir sind wird kostet insgesamt",
        "es": "el los las una que por para es entonces cada tiene m\u00e1s cu\u00e1ntos del como",
        "fr": "le les des une est et pour dans avec donc nous chaque sur elle il sont combien du",
        "it": "il gli che \u00e8 sono una quindi ogni del della nel di pi\u00f9 abbiamo",
        "pt": "os uma que \u00e9 por para com ent\u00e3o cada tem s\u00e3o portanto ela ele n\u00e3o mais",
    }.items()
}
_SENTENCE_HEAD = re.compile(r"(?:^|[.!?]\s|\n)\s{0,8}\w")


def verification(text: str) -> bool:
    """A result that the text has reached is tested, and the text marks this as a test: the result is worked out once
    more, put back into the question, or held against what must be true.

    Counts: "let me verify", "double-check", "Check: ...", "let's check if it is correct", "this satisfies all the
    conditions". Does not: an inverse or a total that the solution needs anyway, a divisor that is tried ("check if 17
    divides it"), a bank check, a ticket that somebody verifies. Misses a test that is not called one.
    """
    return bool(TESTS.search(plain(text)))


def backtracking(text: str) -> bool:
    """The text says in words that something it wrote itself (a statement, a result, an attempt) is wrong, impossible or
    leads nowhere, and goes on differently.

    Counts: "that's wrong", "is not valid", "let's try another approach", "we made a mistake", "wait" as an
    interjection, a sentence that begins with "Actually"; by the check and not by a word, a sum that stands again with
    another result or is not used after "wait". Does not: somebody who has to wait, a bare mark beside a tried value
    ("too big").
    """
    return taken_back(text) or bool(TAKES_BACK.search(plain(text)))


def trial_and_error(text: str) -> bool:
    """Two or more different candidates for what is asked are put forward one after another, and at least one of them is
    rejected.

    Counts: a rejection ("too big", "is not valid", "not divisible by 3") and something that was tried ("try 3", "for
    n = 5", "an alternative is"); `MANY` rejections, or "let's try" with a number so many times. Does not: somebody who
    wants to try something for 45 minutes; candidates that are only listed.
    """
    straight = plain(text)
    refused = len(REFUSED.findall(straight))
    tried = refused and TRIED.search(straight)
    return refused >= MANY or bool(tried) or len(TRIES.findall(straight)) >= MANY


def tables(text: str) -> bool:
    """Values stand in rows and columns, and the rows or the columns have names.

    Counts: markdown and ASCII tables, LaTeX's tabular, two rows between bars or three with two blanks or a tab between
    their columns below a row of words. Does not: a table to sit at, absolute values, lists, matrices, boards.
    """
    return bool(_RULED_TABLE.search(text)) or _rows_below_names(_GAPS.sub("\n\n", text).splitlines())


def _rows_below_names(lines: Sequence[str]) -> bool:
    """Whether a row between bars, or two rows between blanks that end with a number, stand below a row of names."""
    barred = [_cells(line, "|") for line in lines]
    blank = [_cells(line, "") for line in lines]
    between_bars = any(_names(head) and len(row) == len(head) for head, row in pairwise(barred))
    rows = zip(blank, blank[1:], blank[2:], strict=False)
    return between_bars or any(
        _names(head) and 3 <= len(head) <= len(one) == len(two) and one[-1].strip("$%.,").isdigit()
        for head, one, two in rows
    )


def _names(cells: Sequence[str]) -> bool:
    return sum(bool(_NAMED.search(cell)) for cell in cells) >= 2


def _cells(line: str, bar: str) -> list[str]:
    """What stands between the bars of a line that has one at each end, or between its wide blanks; else nothing."""
    stripped = line.strip()
    if bar:
        return stripped[1:-1].split(bar) if stripped[:1] == stripped[-1:] == bar else []
    return _WIDE.split(stripped) if stripped and stripped[0] != "|" else []


def subgoals(text: str) -> bool:
    """The solution is divided into two or more steps or parts that are numbered, announced, or ordered by words such as
    first and then.

    Counts: two steps by number, a list from 1 to 2, "first" with a later sentence that begins with "Then", "Next",
    "Now" or the like, "break it into". Does not: ordinals in a sentence ("the first day, then"). A numbered list of
    facts counts all the same; a chain of sums without a word does not.
    """
    straight = plain(text)
    steps = {step for match in _STEP.findall(straight) for step in match if step}
    numbers = [int(number) for match in _NUMBERED.findall(straight) for number in match if number]
    if len(steps) >= 2 or any(later == earlier + 1 for earlier, later in pairwise(numbers)):
        return True
    first = _FIRST.search(straight)
    return bool(first and _THEN.search(straight, first.end())) or bool(_PLAN.search(straight))


def equations(text: str) -> bool:
    """A letter stands for an unknown number, and an equation holds it.

    Counts: "let x be", "3x = 30", "x = 10". Does not: sums of numbers alone (with x for times neither), names such as
    plan A. A letter that is only tried ("for n = 2") counts all the same; misses an unknown that has no letter.
    """
    return bool(_EQUATIONS.search(text.replace("\u2019", "'").replace("**", "")))


def repetition(text: str) -> bool:
    """The same passage stands three times or more with nothing new in between: the text is stuck.

    Counts: `COPIES` copies of a line, a sentence or several of them, one after the other, of at least `LOOP_TOKENS`
    tokens; more than `NGRAM_SHARE` of the n-grams of `NGRAM` tokens stood before. Case and the width of blanks do not
    matter. Does not: a formula or a heading that recurs, "Mr.", the rows of a board; misses loops in other words.
    """
    folded = _BOARD.sub("", text.casefold())
    units = [tuple(_WORD.findall(sentence)) for sentence in _SENTENCE_END.split(folded)]
    units = [unit for unit in units if unit]
    if any(sum(map(len, units[end - width : end])) >= LOOP_TOKENS for end, width in _copied(units)):
        return True
    numbers: dict[str, int] = {}
    # One character a token, so that an n-gram is a slice.
    signs = "".join(chr(numbers.setdefault(token, len(numbers))) for token in _WORD.findall(folded))
    grams = [signs[at : at + NGRAM] for at in range(len(signs) - NGRAM + 1)]
    return bool(grams) and 1 - len(set(grams)) / len(grams) > NGRAM_SHARE


def _copied(units: Sequence[Hashable]) -> list[tuple[int, int]]:
    """(end, width) of every passage of `width` units that stands `COPIES` times, the copies side by side.

    A copy is seen by the distance to the last unit like it: that distance stays the same for all units of two copies.
    """
    last: dict[Hashable, int] = defaultdict(lambda: -1)
    found, distance, run = [], 0, 0
    for at, unit in enumerate(units):
        now = at - last[unit] if last[unit] >= 0 else 0
        run = run + 1 if now and now == distance else int(bool(now))
        distance, last[unit] = now, at
        if distance and run >= (COPIES - 1) * distance:
            found.append((at + 1, distance))
    return found


def language_mixing(text: str) -> bool:
    """Words of another language than English stand in the text, and the question does not ask for them.

    Counts: `FOREIGN_LETTERS` letters of another script than Latin side by side; `FUNCTION_WORDS` different function
    words of German, Spanish, French, Italian or Portuguese. Does not: a Greek letter of a formula, accents, names
    (words with a capital, unless a sentence begins with them). Misses every other language in Latin script.
    """
    if foreign_share(text) > 0:
        return True
    heads_lowered = _SENTENCE_HEAD.sub(lambda head: head[0].lower(), text)
    words = set(re.findall(r"[^\W\d_]+", heads_lowered))
    return any(len(words & own) >= FUNCTION_WORDS for own in _FUNCTION_WORDS.values())


def foreign_share(text: str) -> float:
    """Share of the letters that are of another script than Latin, as a fraction; 0 for a text without letters.

    Letters are taken in their compatibility form (NFKC), so mathematical italics are Latin. Of the others only those
    in runs of `FOREIGN_LETTERS` or more count.

    >>> foreign_share("ab \u4e2d\u6587 \u03c0")  # 2 of 5
    0.4
    """
    if text.isascii():
        return 0.0
    compatible = unicodedata.normalize("NFKC", text)
    kinds = {ord(c): _kind(c) for c in set(compatible)}
    marks = compatible.translate(kinds)
    foreign = sum(len(run) for run in re.findall("f+", marks) if len(run) >= FOREIGN_LETTERS)
    return foreign / max(1, len(marks) - marks.count(" "))


def _kind(letter: str) -> str:
    return " " if not letter.isalpha() else "l" if "LATIN" in unicodedata.name(letter, "") else "f"


BEHAVIOURS: dict[str, Callable[[str], bool]] = {
    detector.__name__: detector
    for detector in (
        verification,
        backtracking,
        trial_and_error,
        tables,
        subgoals,
        equations,
        repetition,
        language_mixing,
    )
}
"""The detectors by name."""


@lru_cache(maxsize=2**16)  # a report asks twice: for its gallery, and to compare before and after
def behaviours(text: str) -> frozenset[str]:
    """The names of the behaviours that a text shows."""
    return frozenset(name for name, shows in BEHAVIOURS.items() if shows(text))
