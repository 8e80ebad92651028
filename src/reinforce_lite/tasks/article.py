"""The article's own parser and the released code's, faults included, for comparison."""

import re
from collections.abc import Iterator

_RELEASED_NUMBER = re.compile(r"\b\d++(?>(?:\.\d++\b)?)\b")


def published(text: str) -> float | None:
    """The article's reading: of the last `<answer>...</answer>` every character but digits and dots is dropped.

    So "3 or 4" is 34, "-5" is 5 and "48/2 = 24" is 48224. None without a tag or if the rest is no float.
    """
    end = text.rfind("</answer>")
    start = text.rfind("<answer>", 0, max(end, 0))
    return None if start < 0 else _float(re.sub(r"[^0-9.]", "", text[start + len("<answer>") : end]))


def published_is_correct(text: str, raw_gold: str) -> bool:
    """The article's verdict: its reading against the gold string as a float.

    With GSM8K's raw answers, a gold with a comma is no float and a negative one cannot be read: both always fail, on
    82 of 7,473 train and 16 of 1,319 test answers. With a normalised gold (`Problem.answer`) those with commas can be
    earned; negative ones still fail.
    """
    gold = _float(raw_gold)
    return gold is not None and published(text) == gold


def released_is_correct(text: str, gold: str) -> bool:
    """The released code's verdict: the gold number stands before the first tag, within a pair, or after the last.

    What stands before the first tag is the whole reasoning, so a right number on the way to a wrong answer is paid.
    Minus signs are not read. Rewritten from the behaviour of qflow/data_processor.py of Raj-08/Q-Flow (MIT).
    """
    target = _float(gold)
    if target is None:
        return False
    numbers = (_float(match[0]) for span in _released_spans(text.lower()) for match in _RELEASED_NUMBER.finditer(span))
    return any(number is not None and abs(number - target) < 1e-6 for number in numbers)


def _released_spans(text: str) -> Iterator[str]:
    """What the released code searches: before the first `<answer>`, between pairs, after the last `</answer>`."""
    opening, closing = "<answer>", "</answer>"
    first, last = text.find(opening), text.rfind(closing)
    if first >= 0:
        yield text[:first]
    if last >= 0:
        yield text[last + len(closing) :]
    while first >= 0 and (end := text.find(closing, first)) >= 0:
        yield text[first + len(opening) : end]  # opening tags inside pair with the same end: nothing new in them
        first = text.find(opening, end)


def _float(text: str) -> float | None:
    try:
        return float(text)
    except ValueError:
        return None
