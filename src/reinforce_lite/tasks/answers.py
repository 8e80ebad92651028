r"""Reading a number out of a completion: one parser for training and for evaluation.

Numbers are exact decimals. A text that does not name one number ("3 or 4", "10 - 5") has no reading: digits are never
glued together. Every reading is total and takes time linear in the text, whatever a policy may write.

- `strict`: the number in the last complete `<answer>...</answer>`.
- `flexible`: the strict reading, else the last `\boxed{}`, else the last number of the text.
- `published` and `released`: the article's parser and the released code's, faults included, for comparison.
"""

import re
from collections.abc import Iterator
from decimal import Decimal
from fractions import Fraction

LONGEST_CONTENT = 10_000  # characters of one tag or box; more than this is an essay, not an answer
LONGEST_NUMBER = 100  # characters of one number; a longer one is noise

_CURRENCY = "$€£¥₹"
# Minus signs and dashes that models write before a number; unbreakable and thin spaces. The em dash is punctuation.
_MINUS = "\u2212\u2010\u2011\u2012\u2013\ufe63\uff0d"
_CHARACTERS = str.maketrans({**dict.fromkeys(_MINUS, "-"), **dict.fromkeys("\u00a0\u2007\u2009\u202f", " ")})

# A run of everything that could belong to one number. Foreign digits, exponents, superscripts and vulgar fractions are
# in it so that they spoil the run they touch; otherwise "5²" would read as 5 and "1e5" as 1 and 5.
_ODD = "¼-¾⅐-⅞"
_RUN = rf"(?:(?<![\w.])\.)?[\d{_ODD}][\d.,²³¹⁰-⁹{_ODD}]*+(?:[eE][+-]?\d++)?"
_NUMBER = re.compile(rf"(?P<number>{_RUN})(?:\s*+/\s*+(?P<divisor>{_RUN}))?")
_WELL_FORMED = re.compile(r"(?:[1-9][0-9]{0,2}(?:,[0-9]{3})+|[0-9]+)(?:\.[0-9]+)?|\.[0-9]+")
_GOLD = re.compile(rf"[{_CURRENCY}]?(?P<sign>[+-]?)[{_CURRENCY}]?(?P<number>{_RUN})")
_SCALE = re.compile(r"[\s-]*+(?:hundred|thousand|million|billion|trillion)s?\b|k\b", re.IGNORECASE)
_COMPARISON = re.compile(r"[<>!]=|=[<>]|[≤≥≠]")
_OPERATION = re.compile(
    r"[<>^√π\u00d7÷∞]|\\[A-Za-z]"
)  # a LaTeX command that `_plain` does not know may be any function

_TAG = re.compile(r"<\s*+(?P<slash>/?+)\s*+answer\s*+>", re.IGNORECASE)
_BRACE = re.compile(r"(?P<box>\\boxed\s*+\{)|\\[\\{}]|(?P<open>\{)|(?P<close>\})")

_LATEX = [
    (re.compile(r"\{,\}|(?<=\d)\\,(?=\d{3}(?!\d))"), ","),  # 1{,}080 and 1\,080
    (re.compile(r"\\!"), ""),
    (re.compile(r"(?<=[\w}])(?=\\[dt]?frac)"), " "),  # 3\frac{1}{2} is not 31/2
    (re.compile(r"\\[dt]?frac\s*+\{([^{}]{1,50})\}\s*+\{([^{}]{1,50})\}"), r"\1/\2"),
    (re.compile(r"\\(?:text(?:bf|it|rm)?|math(?:rm|bf|it)|mbox|operatorname|displaystyle|left|right|q?quad)\b"), " "),
    (re.compile(r"\\([$%#&_€£])"), r"\1"),
    (re.compile(r"\\[\\\s,;:()\[\]{}]|[{}]"), " "),
]

_RELEASED_NUMBER = re.compile(r"\b\d++(?:\.\d++\b)?+\b")


def parse_number(text: str) -> Decimal | None:
    r"""Read a text that is meant to be one number, such as the content of an answer tag.

    Signs, currency, percent signs (dropped: "50%" is 50), thousands commas, words and units around the number, and
    LaTeX debris are allowed. With equals signs, what stands after the last one is read. A fraction is read if its
    decimal expansion is finite: "1/2" is 0.5, "1/3" has no reading. If the text holds `\boxed{}`, only that is read.

    Returns:
        The exact value, or None if the text holds no number, more than one, or an expression; also for "5 million",
        "2^3", "1e5", and numbers that are badly grouped ("1,2,3") or written with other than ASCII digits.
    """
    if len(text) > LONGEST_CONTENT:
        return None
    readings = {_read_single(content) for content in _boxes(text) or [text]}
    return readings.pop() if len(readings) == 1 else None


def strict(text: str) -> Decimal | None:
    """The number in the last complete `<answer>...</answer>`, in any letter case.

    Text may follow the tag. An unclosed tag is passed over, so an earlier complete one counts; of nested opening tags
    the innermost counts. If the content of that tag has no reading, there is none: earlier tags are not tried.
    """
    content = _last_answer(text)
    return None if content is None else parse_number(content)


def flexible(text: str) -> Decimal | None:
    r"""The strict reading if there is one, else that of the last `\boxed{}`, else the last number of the text.

    In the last resort a minus sign counts if it is a sign ("= -5", "-$5") and not a subtraction, range or hyphen
    ("10-5" ends in 5), and anything that is no number ("1,2,3", "1e5", "1/3") is passed over.
    """
    reading = strict(text)
    if reading is None and (boxes := _boxes(text)):
        reading = parse_number(boxes[-1])
    return _last_number(text) if reading is None else reading


def normalise(text: str) -> str:
    """The one spelling of a number: a plain decimal without commas, currency, plus sign or needless zeros.

    >>> [normalise(text) for text in ("1,080", "-3.50", "+5", "007", "-0")]
    ['1080', '-3.5', '5', '7', '0']

    Raises:
        ValueError: the text is not one number and nothing else.
    """
    match = _GOLD.fullmatch(text.strip().translate(_CHARACTERS))
    value = _decimal(match["number"]) if match else None
    if match is None or value is None:
        raise ValueError(f"not a number: {text[:50]!r}")
    if value == 0:
        return "0"
    plain = format(value, "f")
    plain = plain.rstrip("0").rstrip(".") if "." in plain else plain
    return f"-{plain}" if match["sign"] == "-" else plain


def is_correct(reading: Decimal | None, gold: str) -> bool:
    """True if the reading equals the gold answer exactly; there is no tolerance.

    Raises:
        ValueError: `gold` is no number.
    """
    return reading is not None and reading == Decimal(normalise(gold))


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


def _last_answer(text: str) -> str | None:
    """Content of the last complete pair of answer tags, None without one."""
    start, span = None, None
    for tag in _TAG.finditer(text):
        if not tag["slash"]:
            start = tag.end()
        elif start is not None:
            start, span = None, (start, tag.start())
    return None if span is None else text[slice(*span)]


def _boxes(text: str) -> list[str]:
    r"""Contents of the complete `\boxed{}`, in order; of nested ones, the innermost."""
    stack: list[int | None] = []
    spans: list[tuple[int, int]] = []
    for brace in _BRACE.finditer(text):
        if brace["box"]:
            stack.append(brace.end())
        elif brace["open"]:
            stack.append(None)
        elif brace["close"] and stack:
            start = stack.pop()
            if start is not None and not (spans and spans[-1][0] > start):
                spans.append((start, brace.start()))
    return [text[start:end] for start, end in spans]


def _plain(text: str) -> str:
    """The text with one kind of minus sign and space, and without the LaTeX that surrounds numbers."""
    text = text.translate(_CHARACTERS)
    if "\\" in text or "{" in text:
        for pattern, replacement in _LATEX:
            text = pattern.sub(replacement, text)
    return text


def _read_single(text: str) -> Decimal | None:
    """The one number of a text without boxes, None if there is none or it is ambiguous."""
    text = _plain(text)
    if _COMPARISON.search(text):
        return None
    text = text.rpartition("=")[2]
    numbers = list(_NUMBER.finditer(text))
    if len(numbers) != 1 or _OPERATION.search(text) or _SCALE.match(text, numbers[0].end()):
        return None
    value, sign = _value(numbers[0]), _sign(text, numbers[0].start())
    if value is None or sign is None or text[: numbers[0].start()].rstrip().endswith("/"):
        return None
    return value.copy_negate() if sign < 0 else value


def _last_number(text: str) -> Decimal | None:
    text = _plain(text)
    for number in reversed(list(_NUMBER.finditer(text))):
        if (value := _value(number)) is not None:
            return value.copy_negate() if _sign(text, number.start()) == -1 else value
    return None


def _value(number: re.Match[str]) -> Decimal | None:
    """Value of a match of `_NUMBER` without its sign, None if it is malformed or not a finite decimal."""
    value = _decimal(number["number"])
    if value is None or number["divisor"] is None:
        return value
    divisor = _decimal(number["divisor"])
    return None if divisor is None else _quotient(value, divisor)


def _decimal(run: str) -> Decimal | None:
    """Value of a run of digits, commas and dots; the full stop or comma of a sentence at its end is not part of it."""
    run = run.rstrip(".,")
    if len(run) > LONGEST_NUMBER or not _WELL_FORMED.fullmatch(run):
        return None
    return Decimal(run.replace(",", ""))


def _quotient(value: Decimal, divisor: Decimal) -> Decimal | None:
    """The exact quotient, None if it has no finite decimal expansion (its denominator has a factor besides 2 and 5)."""
    if divisor == 0:
        return None
    quotient = Fraction(value) / Fraction(divisor)
    rest, powers = quotient.denominator, {2: 0, 5: 0}
    for factor in powers:
        while rest % factor == 0:
            rest, powers[factor] = rest // factor, powers[factor] + 1
    if rest != 1:
        return None
    places = max(powers.values())
    digits = str(quotient.numerator * 10**places // quotient.denominator)
    return Decimal((0, tuple(map(int, digits)), -places))


def _sign(text: str, start: int) -> int | None:
    """Sign of the number that starts at `start`: 1, -1, or None if what stands before it is an operator or a hyphen."""
    left = text[max(0, start - 64) : start]
    head = left.rstrip(f" \t{_CURRENCY}")
    if not head.endswith(("-", "+")):
        return 1
    before, sign, gap = head[:-1], head[-1], left[len(head) :]
    line = before.rpartition("\n")[2].rstrip(f" \t{_CURRENCY}")
    if before[-1:].isalnum() or before.endswith((".", ")", "]", "%", "-", "+")) or line[-1:].isdigit():
        return None
    if line.endswith((")", "]", "%")):
        return None
    # "- 5" with a space is a bullet or a subtraction unless an opening or an equals sign leads to it.
    leads = line.endswith(("=", "(", "[", ":")) or (not before.strip() and start <= len(left))
    return None if gap.startswith((" ", "\t")) and not leads else (-1 if sign == "-" else 1)
