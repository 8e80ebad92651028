"""Which behaviours a completion shows, by detectors that everyone can read.

Every detector is a pure function of the text, total and made for English prose of GSM8K's kind and for the generated
word world. It sees words, not meaning: each docstring says what counts and what does not, and the labelled completions
of tests/evaluation/test_labelled_traces.py say how often that is right. verification, backtracking and subgoals are
behaviours of Gandhi et al. 2025 ("Cognitive behaviors that enable self-improving reasoners"); the others are what the
article says it saw, and two ways in which trained policies go wrong.

>>> sorted(behaviours("Let x be the price. Then 2x = 8, so x = 4. Check: 2 * 4 = 8."))
['equations', 'verification']
>>> sorted(behaviours("2 * 6 = 13 wait 2 * 6 = 12 . 12 - 3 = 9 . <answer> 9 </answer>"))
['backtracking']
"""

import re
import unicodedata
from collections import Counter
from collections.abc import Callable
from functools import lru_cache
from itertools import pairwise

from reinforce_lite.evaluation.sums import corrected, turned_round

LOOPS = 3
"""A sentence that stands so many times is a loop."""

LOOP_TOKENS = 3
"""Shorter sentences ("Yes.", "|---|") may stand as often as they like."""

NGRAM = 4
"""Tokens of an n-gram; a completion that does not loop repeats few of them."""

NGRAM_SHARE = 0.5
"""A larger share of n-grams that stood before is a loop."""

NGRAM_TOKENS = 20
"""Fewer tokens are too few to speak of a share."""

FOREIGN_LETTERS = 2
"""So many letters of another script side by side are a word; one alone is a symbol, such as pi."""

FUNCTION_WORDS = 3
"""So many different function words of one other language are a sentence of it; fewer may belong to a name."""


def _any(*patterns: str) -> re.Pattern[str]:
    """One pattern of several; case is ignored, ^ and $ stand for the ends of lines."""
    return re.compile("|".join(f"(?:{pattern})" for pattern in patterns), re.IGNORECASE | re.MULTILINE)


_START = r"(?:^|[.!?:;\u2026]\s|\n)\W{0,8}"  # of a sentence or a line

_VERIFICATION = _any(
    r"\bdouble[- ]?check(?:s|ed|ing)?\b",
    r"\blet(?:'s| us| me) (?:\w+ )?(?:check|verify|confirm)\b(?! (?:out|in)\b)",
    r"\b(?:to|(?:we|I)(?:'ll| can| should| will)?) (?:check|verify|confirm)\b"
    r"(?=[,:]| (?:this|that|it|if|whether|by|our|my|the (?:answer|result|total|sum|solution|calculation|work)))",
    rf"{_START}(?:(?:quick |sanity )?check(?:ing)?|verif(?:y|ying|ication)|proof)\W*[:.]",
    r"\b(?:plugging|putting|substituting)\b[^.\n]{0,30}\bback(?: in(?:to)?\b|\s*[,:])",
    r"\b(?:this|that|it|which|everything) (?:all )?(?:checks out|adds up)\b",
    r"\b(?:this|which) (?:matches|agrees with|is consistent with) (?:the|what|our)\b",
)

_BACKTRACKING = _any(
    rf"(?:{_START}|[,(\u2014] ?|\b(?:oh|but|no|hmm) )wait\b(?=\s*(?:[,.!?:\u2026\u2014-]|no\b|I\b|that\b|the\b|$))",
    r"=\s*[0-9][0-9.,]* wait\b",
    r"\bhold on\b(?=[,.!\u2026](?!\"))",
    r"\b(?:oops|scratch that|on second thought|my mistake|correction:)",
    r"\blet me (?:rethink|reconsider|redo|recalculate|correct|fix|start over|start again|try again)\b",
    r"\bI(?:'ve| have)? made an? (?:mistake|error)\b",
    r"\bI(?:'ve| have)? (?:forgot|misread|miscounted|miscalculated|misunderstood|overlooked)\b",
    r"\bthat(?:'s| is| was| can't be| cannot be) (?:wrong|incorrect|not right|not correct|not possible|impossible)\b",
    r"\bthat (?:doesn't|does not|can't) (?:seem|look|be) (?:right|correct)\b",
    rf"{_START}(?:no, )?actually\b",
)

_CANDIDATE = _any(
    r"(?<!to )\b(?:try(?:ing)?|guess(?:ing)?|testing|suppose)\b[^.\n]{0,40}?[0-9]",
    r"\b(?:if|for|with|when) [a-z] ?= ?[0-9]",
)
_VERDICT = _any(
    r"\btoo (?:small|big|large|high|low|many|few|much|little)\b",
    r"\b(?:doesn't|does not|didn't|won't|that|this|which|it) works?\b",
    r"\bnot enough\b",
)
_SEARCH = _any(
    r"\btrial[- ]and[- ]error\b",
    r"\bguess[- ]and[- ]check\b",
    r"\b(?:try|trying|test|testing) (?:out )?(?:some|different|several|other|all) (?:values|numbers|combinations)\b",
)

_RULED_TABLE = _any(
    r"^[ \t]*+\|?[ \t]*+:?-{2,}+:?[ \t]*+(?:\|[ \t]*+:?-{2,}+:?[ \t]*+)++\|?[ \t]*+$",  # of markdown
    r"^[ \t]*+\+(?:[-=]++\+){2,}",
    r"\\begin\{(?:tabular|array)\}",
    "\u2502.*\u2502",
)

_STEP = _any(r"\bstep ?#?([0-9]{1,2}|one|two|three|four|five)\b")
_NUMBERED = _any(r"^[ \t]*([0-9]{1,2})[.)] \S")
_FIRST = _any(rf"{_START}(?:first(?:ly|,| we| I| let|\b)|(?:to|let's) (?:start|begin)\b)")
_THEN = _any(rf"{_START}(?:then|next|second(?:ly)?|after that|finally|lastly)\b")
_PLAN = _any(r"\b(?:break|split) (?:it|this|the problem) (?:down )?into\b")

_COEFFICIENT = r"(?<![\w'])[0-9]+[a-fijn-rt-z]"  # 3x, but not 3 g, 3h, 3k, 3l, 3m, 3s
_EQUATIONS = _any(
    r"\blet(?:'s| us)? (?:[\w']+ ){0,8}?(?:be|equal|represent|denote)\b[^.\n]{0,40}?(?<![\w'])[b-hj-z]\b(?!')",
    r"\blet [$\\(]*[a-z][$\\)]* (?:be|=|represent|denote|stand)",
    rf"{_COEFFICIENT} [-+=] [$0-9(]",
    r"[-+] [0-9]*[xyznw]\b",  # ... + 2x, but not + 2 x 3
    rf"(?:{_COEFFICIENT}|(?<![\w'])[xyzn]) ?= ?[$\\(]*[0-9]",  # 3x = 30, x = 10
)

_WORD = re.compile(r"[\u3040-\u30ff\u3400-\u9fff\uac00-\ud7af]|\w+|[^\w\s]")
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
    """A result that was reached is tested: recomputed, put back into the question, turned round.

    Counts: "let me check", "to verify, ...", "Check: ...", "this adds up"; a last sum that undoes an earlier one and
    does not lead to the answer (9 + 4 = 13 . 13 - 4 = 9 . answer 13). Does not: a bank check, checking in, a ticket
    that somebody verifies. Misses most tests that are not called one, such as an estimate.
    """
    return bool(_VERIFICATION.search(_plain(text))) or turned_round(text)


def backtracking(text: str) -> bool:
    """Something that was said is taken back.

    Counts: "wait" as an interjection (the word world's "= 13 wait"), "that's wrong", "scratch that", "I misread", a
    sentence that begins with "Actually"; a sum that stands again with another result. Does not: somebody who has to
    wait. A "wait" that takes nothing back counts all the same.
    """
    return bool(_BACKTRACKING.search(_plain(text))) or corrected(text)


def trial_and_error(text: str) -> bool:
    """Several values are tried for what is asked.

    Counts: two candidates ("try 3", "suppose there were 4", "for n = 5"), or one with a verdict ("too big", "that
    works"); "trial and error", "guess and check". Does not: somebody who wants to try, tries or tried something.
    """
    plain = _plain(text)
    candidates = len(_CANDIDATE.findall(plain))
    return candidates >= 2 or bool(candidates and _VERDICT.search(plain)) or bool(_SEARCH.search(plain))


def tables(text: str) -> bool:
    """Values stand in rows and columns.

    Counts: markdown and ASCII tables, LaTeX's tabular and array, three lines in a row of three or more columns with two
    blanks or a tab between them. Does not: a table to sit at, absolute values, lists.
    """
    if _RULED_TABLE.search(text):
        return True
    columns = [len(re.split(r"\t+| {2,}", line.strip())) for line in text.splitlines()]
    bars = [line.count("|") if line.lstrip().startswith("|") else 0 for line in text.splitlines()]
    aligned = any(a == b == c >= 3 for a, b, c in zip(columns, columns[1:], columns[2:], strict=False))
    return aligned or any(a == b >= 3 for a, b in pairwise(bars))


def subgoals(text: str) -> bool:
    """The solution is told as several parts in order.

    Counts: two steps by number, a list from 1 to 2, a sentence that begins with "First" and a later one with "Then",
    "Next" or the like, "break it into". Does not: ordinals in a sentence ("the first day, then"). A numbered list of
    facts counts all the same; a chain of sums without a word does not.
    """
    plain = _plain(text)
    if len({step.lower() for step in _STEP.findall(plain)}) >= 2 or {"1", "2"} <= set(_NUMBERED.findall(plain)):
        return True
    first = _FIRST.search(plain)
    return bool(first and _THEN.search(plain, first.end())) or bool(_PLAN.search(plain))


def equations(text: str) -> bool:
    """Algebra: what is asked has a letter, and equations hold it.

    Counts: "let x be", "3x = 30", "x = 10". Does not: sums of numbers alone (with x for times neither), names such as
    plan A. A letter that is only tried ("for n = 2") counts all the same; misses an unknown that has no letter.
    """
    return bool(_EQUATIONS.search(_plain(text)))


def repetition(text: str) -> bool:
    """The text is stuck in a loop.

    Counts: a sentence or line of at least `LOOP_TOKENS` tokens that stands `LOOPS` times; more than `NGRAM_SHARE` of
    the n-grams of `NGRAM` tokens stood before. Case and the width of blanks do not matter. A table whose
    rules stand three times counts all the same, and so do equal purchases; misses loops in other words.
    """
    folded = text.casefold()
    sentences = Counter(tuple(_WORD.findall(sentence)) for sentence in _SENTENCE_END.split(folded))
    if any(count >= LOOPS and len(sentence) >= LOOP_TOKENS for sentence, count in sentences.items()):
        return True
    tokens = _WORD.findall(folded)
    grams = list(zip(*(tokens[offset:] for offset in range(NGRAM)), strict=False))
    return len(tokens) >= NGRAM_TOKENS and 1 - len(set(grams)) / len(grams) > NGRAM_SHARE


def language_mixing(text: str) -> bool:
    """Part of the text is not English.

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
    letters = [(c.isalpha(), "LATIN" in unicodedata.name(c, "")) for c in unicodedata.normalize("NFKC", text)]
    marks = "".join("l" if latin else "f" if letter else " " for letter, latin in letters)
    foreign = sum(len(run) for run in re.findall("f+", marks) if len(run) >= FOREIGN_LETTERS)
    return foreign / max(1, len(marks) - marks.count(" "))


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


def _plain(text: str) -> str:
    """The text with straight apostrophes and without markdown's emphasis."""
    return text.replace("\u2019", "'").replace("**", "")
