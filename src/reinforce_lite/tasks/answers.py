r"""Where the answer of a completion stands, and what it says: one parser for training and for evaluation.

Every reading is total and takes time linear in the text, whatever a policy may write; `numbers` has the grammar.

- `strict`: the number in the last complete `<answer>...</answer>`.
- `flexible`: that number, else the one in the last `\boxed{}`, else the last quantity of the text. A tag or a box that
  holds no number ends the search: what stands before it is not the answer.
"""

import re
from decimal import Decimal

from reinforce_lite.tasks import numbers
from reinforce_lite.tasks.numbers import Reading, normalise

LONGEST_SENTENCE = 2_000
NO_TAG = "no complete answer tag"
"""The reason of a text without an answer that could be read."""
LONGEST_CONTENT = 10_000  # characters of one tag or box; more than this is an essay, not an answer

_TAG = re.compile(r"<\s*+(?=([/a]))/?+\s*+answer\s*+>", re.IGNORECASE)  # its group tells closing tags from opening ones
_BRACE = re.compile(r"(?P<box>\\boxed\s*+\{)|\\[\\{}]|(?P<open>\{)|(?P<close>\})")
_SENTENCE_END = re.compile(r"""\n|(?<!\b[A-Za-z])[.!?]["')\]*]*+\s""")

_GLUED = "\u2215"  # a sign beside which no number is read: without it two digits would become one number
_LATEX = [
    (re.compile(r"\{,\}|(?<=\d)\\,(?=\d{3}(?!\d))"), ","),  # 1{,}080 and 1\,080
    (re.compile(r"\\!"), ""),
    (re.compile(r"(?<=\d[.,])(?=\\[dt]?frac)"), _GLUED),  # 3.\frac{1}{2} is not 3.1/2
    (re.compile(r"(?<=[\w}.,])(?=\\[dt]?frac)"), " "),  # 3\frac{1}{2} is not 31/2
    (re.compile(r"\\[dt]?frac\s*+\{([^{}]{1,50})\}\s*+\{([^{}]{1,50})\}([.,]?)(?=\d)"), rf"\1/\2\3{_GLUED}"),
    (re.compile(r"\\[dt]?frac\s*+\{([^{}]{1,50})\}\s*+\{([^{}]{1,50})\}"), r"\1/\2"),
    (re.compile(r"\\[dt]?frac\s*+(\d)(\d)([.,])(?=\d)"), rf"\1/\2\3{_GLUED}"),
    (re.compile(r"\\[dt]?frac\s*+(\d)(\d)(?!\d)"), r"\1/\2"),
    (re.compile(r"(?<=[\d.,])[{}]++(?=[.,]?\d)"), _GLUED),  # 1{2} is shown as 12
    (re.compile(r"\\(?:text(?:bf|it|rm)?|math(?:rm|bf|it)|mbox|operatorname|displaystyle|left|right|q?quad)\b"), " "),
    (re.compile(r"\\([$%#&_€£])"), r"\1"),
    (re.compile(r"\\[\\\s,;:()\[\]{}]|[{}]"), " "),
]


def strict(text: str) -> Decimal | None:
    """The number in the last complete `<answer>...</answer>`, in any letter case."""
    return read(text).value


def read(text: str) -> Reading:
    """The number in the last complete `<answer>...</answer>`, or why it names none.

    Text may follow the tag. An unclosed tag is passed over, so an earlier complete one counts; of nested opening tags
    the innermost counts. If the content of that tag has no reading, there is none: earlier tags are not tried.
    """
    content = last_answer(text)
    return Reading.none(NO_TAG) if content is None else parse_number(content)


def flexible(text: str) -> Decimal | None:
    r"""The number in the last complete answer tag, else in the last `\boxed{}`, else the last quantity of the text."""
    content = last_answer(text)
    if content is None and (boxes := _boxes(text)):
        content = boxes[-1]
    return (numbers.last(_without_latex(text)) if content is None else parse_number(content)).value


def under_read(text: str, gold: str) -> bool:
    """Whether the last-number rule misses a gold answer that stands in the last sentence ("7 dozen in 4 weeks").

    Raises:
        ValueError: `gold` is no number.
    """
    if last_answer(text) is not None or _boxes(text):
        return False
    text, value = _without_latex(text).rstrip(), Decimal(normalise(gold))
    *_, sentence = _SENTENCE_END.split(text[-LONGEST_SENTENCE:])
    return numbers.last(text).value != value and value in numbers.values(sentence)


def parse_number(text: str) -> Reading:
    r"""Read a text that is meant to be one number, such as the content of an answer tag.

    LaTeX that only surrounds a number is dropped. If the text holds `\boxed{}`, only that is read.
    """
    if len(text) > LONGEST_CONTENT:
        return Reading.none("longer than an answer")
    readings = {numbers.single(_without_latex(content)) for content in _boxes(text) or [text]}
    return readings.pop() if len(readings) == 1 else Reading.none("several numbers")


def is_correct(reading: Decimal | None, gold: str) -> bool:
    """True if the reading equals the gold answer exactly; there is no tolerance.

    Raises:
        ValueError: `gold` is no number.
    """
    return reading is not None and reading == Decimal(normalise(gold))


def last_answer(text: str) -> str | None:
    """Content of the last complete pair of answer tags, None without one.

    >>> last_answer("<answer>1</answer> or < Answer >2</answer></answer><answer>")
    '2'
    """
    parts = _TAG.split(text)  # text, kind of a tag, text, and so on: a closing tag right after an opening one is a pair
    pair = "".join(parts[1::2]).lower().rfind("a/")
    return None if pair < 0 else parts[2 * pair + 2]


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


def _without_latex(text: str) -> str:
    """The text without the LaTeX that surrounds numbers."""
    text = numbers.plain(text)
    if "\\" in text or "{" in text:
        for pattern, replacement in _LATEX:
            text = pattern.sub(replacement, text)
    return text
