r"""The grammar of a number: what a text that is meant to be one quantity may hold, and why another text is none.

A *quantity* is digits with what belongs to them: `1,080`, `.5`, `3/4`, the mixed `5 1/2`, a time `3:00 pm` (a full hour
is its hour). A quantity that has no exact finite decimal (`1/3`, `3:30`, `1e5`, `5 million`) is still one quantity: it
is read as nothing, never in part. Numbers are exact decimals, and every reading takes time linear in the text.

- `single`: a text that holds one quantity, words and units around it, and nothing that makes it an expression.
- `last`: the last quantity of a text of any kind.
"""

import re
from collections.abc import Iterator
from dataclasses import dataclass
from decimal import Decimal
from fractions import Fraction

LONGEST_NUMBER = 100
"""Characters of one number; a longer one is noise."""

CURRENCY = "$€£¥₹₩₽₪₺₫₴₦₱฿"
# Minus signs and dashes that models write before a number; unbreakable and thin spaces. The em dash is punctuation.
_MINUS = "\u2212\u2010\u2011\u2012\u2013\ufe63\uff0d"
_CHARACTERS = str.maketrans({**dict.fromkeys(_MINUS, "-"), **dict.fromkeys("\u00a0\u2007\u2009\u202f", " ")})

# What nobody sees: zero-width characters, soft hyphens, marks that change the direction of a text or the digit before.
_INVISIBLE = "\u00ad\u0300-\u036f\u061c\u180e\u200b-\u200f\u202a-\u202e\u2060-\u206f\u20d0-\u20ff\ufe00-\ufe0f\ufeff"
_OVERRIDE = re.compile("[\u202d\u202e]")
"""After one of them a text is shown in another order than it is written."""

# A run of everything that could belong to one number. Foreign digits, exponents, superscripts, vulgar fractions, other
# marks of thousands and what is invisible are in it so that they spoil the run they touch; otherwise "5²" would read as
# 5, "1e5" as 1 and 5, and "1'234" as 234.
_ODD = f"¼-¾⅐-⅞①-⓿❶-➓{_INVISIBLE}"
_RUN = rf"(?:(?<![\w.])\.)?[\d{_ODD}](?>(?:[\d.,²³¹⁰-⁹{_ODD}]|['\u2019_](?=\d))*)(?:[eE][+-]?\d++)?"
_OVER = r"[ \t]*+/[ \t]*+"
_QUANTITY = re.compile(
    rf"(?P<number>{_RUN})(?:"
    rf"(?P<clock>(?>(?::\d++)+))"
    rf"|[ \t]++(?P<part>\d++){_OVER}(?P<of>\d++)(?![\d.,]*+\d|{_OVER}\d)"
    rf"|{_OVER}(?P<divisor>{_RUN})(?P<more>(?>(?:{_OVER}{_RUN})*))"
    rf"|(?P<grouped>(?>(?:[ ]\d{{3}}(?!\d))+)(?:[.,]\d++)?)"
    rf")?(?P<hour>[ \t]?+(?:[aApP]\.[mM]\b\.?|[aApP][mM]\b|o'clock\b))?"
)
_BETWEEN = re.compile(rf"[^\w{_ODD}.,'\u2019:/+\- \t]")  # what stands in no quantity
PIECE = 1_000
"""Characters that are searched first, at the end of a text."""
_WELL_FORMED = re.compile(r"(?:[1-9][0-9]{0,2}(?:,[0-9]{3})+|[0-9]+)(?:\.[0-9]+)?|\.[0-9]+")
_VISIBLE = re.compile(rf"[^{_INVISIBLE}]")
_SECTION = re.compile(r"[0-9]{1,2}(?:\.[0-9]{1,2}){2,}")
_GOLD = re.compile(rf"[{CURRENCY}]?(?P<sign>[+-]?)[{CURRENCY}]?(?P<number>{_RUN})")

# What makes the quantity before it another one.
_SCALE = re.compile(
    r"[\s-]*+(?:(?:hundred|thousand|million|billion|trillion|mio|mil|bil|mln|bn|dozen|ten|lakh|crore)s?+\b|(?-i:[kKMB])\b(?!&))",
    re.IGNORECASE,
)
_AND_A_HALF = re.compile(
    r"\s*+(?:(?:and|&|\+)\s+(?>(?:(?:a|an|one|two|three|\d+)\s+)?)(?:half|third|quarter|fourth|fifth|sixth|eighth|tenth)s?+\b"
    r"|(?:half\b(?!-)|halves|thirds|fourths|fifths|sixths|eighths|tenths|hundredths)\b"
    r"|quarters?+\s+of\b|point\s+(?:zero|one|two|three|four|five|six|seven|eight|nine)\b)",
    re.IGNORECASE,
)
_UNIT_POWER = re.compile(
    r"(?<=[A-Za-z])(?:\s?+(?:\^|\*\*)\s?+\{?[23]\}?|<sup>[23]</sup>|[²³])|(?<=\bm)[23]\b|(?<=\b(?:[cdkm]m|ft|in|yd|mi))[23]\b"
)
_GLUED_UNITS = re.compile(
    r"(?:[ckm]?ms?|[km]?gs?|lbs?|oz|ft|in|yd|mi|mph|kph|km/h|hrs?|h|min|mins|secs?|s|[cm]?[lL]|gal|usd|c)\b",
    re.IGNORECASE,
)
_ORDINAL = re.compile(r"(?:st|nd|rd|th)\b", re.IGNORECASE)

# What makes a text with one quantity an expression, or says less than the quantity alone would.
_NUMERALS = (
    "zero|two|three|four|five|six|seven|eight|nine|ten|eleven|twelve|(?:thir|four|fif|six|seven|eigh|nine)teen|twenty|"
    "thirty|forty|fifty|sixty|seventy|eighty|ninety|hundred|thousand|million|billion|half|halves"
)
_ANYWHERE = re.compile(
    rf"\b(?:{_NUMERALS}|plus|minus|negative|positive|multiplied|divided|squared|cubed|sqrt|root|log|ln|factorial|modulo|"
    r"pi|infinity|or|nor|nan|(?:less|more|fewer)\s+than)\b",
    re.IGNORECASE,
)
_BEFORE = re.compile(
    r"\b(?:times|twice|double|triple|square|cube|not|no|than|at\s+least|at\s+most|up\s+to|under|over|below|above|"
    r"abs|exp|sin|cos|tan|max|min|floor|ceil|(?:third|quarter|fourth|fifth|sixth|eighth|tenth)s?\s+(?:of|past|to)|"
    r"(?-i:[a-z]|[XYZN]))\s*+\(?\s*+$",
    re.IGNORECASE,
)
_AFTER = re.compile(r"\s*+(?:[ixyznkXYZNKMB]\b|\(|-(?![^\W\d_]{2})|/(?![^\W\d_]{2}|\s?+[hs]\b))|!|\.\.|\u2026")
_WORDS = re.compile(rf"[\w\s.,;:'\"\u2019\u201c\u201d()\[\]#?!%°¢/{CURRENCY}\u2014\u2026\-]*+")
_WORD_END = re.compile(r"[\w'\u2019]$")
_WORD_START = re.compile(r"[\w'\u2019]")
_PLUS = re.compile(rf"\+[ \t{CURRENCY}]*$")
_UNCLEAR_SIGN = re.compile(r"\n[ \t]*[-+][ \t]+$|[-+]\s*+[(\[]\s*+$|\u2014$|^\s*+\u2014\s*+$")
"""What may be a bullet, a sign of a bracket, or a dash between words and not a minus."""
_COMPARISON = re.compile(r"[<>!]=|=[<>]|[≤≥≠]")

# What makes a quantity in running text a part of something else, or of another value than its digits.
_OTHER_DASH = re.compile(
    rf"[\u2796\u2795\u2043\u207b\u207a\u208b\u208a\ufe58\u2e3a\u2e3b\u2015\u30fc±\u2213][ \t{CURRENCY}]*$"
)
_OPERATED = re.compile(
    r"\\(?:sqrt|log|ln|overline|bar|dot)\s*+(?:\[\d{1,9}\]\s*+)?$|[\u221a\u221b\u221c\u2044\u2215]\s*+$|\^\s*+-?\s*+$"
    r"|\d(?:\.\(|/|(?:\*\*|__|`){1,9})$"
    r"|(?<!\d)(?<!\d\s)\b(?:minus|negative)\s+$",
    re.IGNORECASE,
)
_RUN_ON = re.compile(r"\d[.,]$")
"""The start of a number that is longer than one: `3:30.2`, `1e5.2`."""
_MIXED = re.compile(r"\d(?:-|\s+(?:and|&)\s+)$")
_OPERATING = re.compile(r"\^|\s?\\pi\b|[‰‱]|\s?[\u2044\u2215]")


@dataclass(frozen=True)
class Reading:
    """What a text says: a value, or the reason why it has none."""

    value: Decimal | None
    reason: str | None = None

    @classmethod
    def none(cls, reason: str) -> "Reading":
        """No value, and why."""
        return cls(None, reason)


def plain(text: str) -> str:
    """The text with one kind of minus sign and of space."""
    return text.translate(_CHARACTERS)


def single(text: str) -> Reading:
    """The one quantity of a text that is meant to be an answer.

    Words, units, currency and percent signs may stand beside it ("50%" is 50). With equals signs, what stands after the
    last one is read. Everything else has no reading: an operator, a function, a numeral in words, letters or an
    underscore glued to the digits, a second number, bars, a list's dash.
    """
    text = plain(text)
    if _COMPARISON.search(text):
        return Reading.none("a comparison")
    text = _UNIT_POWER.sub("", _unmarked(text.rpartition("=")[2]))
    found = list(_QUANTITY.finditer(text))
    if len(found) != 1:
        return Reading.none("several numbers" if found else "no number")
    before, after = text[: found[0].start()], text[found[0].end() :]
    sign = _sign(text, found[0].start())
    if (reason := _no_answer(before, after, found[0])) is not None:
        return Reading.none(reason)
    if sign is None or _UNCLEAR_SIGN.search(before):
        return Reading.none("a dash that may be a list's or an operator")
    return _signed(_value(found[0]), sign)


def _no_answer(before: str, after: str, found: re.Match[str]) -> str | None:
    """Why a text with one quantity is not that quantity; None if it is."""
    unsigned = _PLUS.sub("", before)
    if not _WORDS.fullmatch(f"{unsigned} {after}") or before.rstrip().endswith("/"):
        return "a sign or operator beside the number"
    if _WORD_END.search(before) or _WORD_START.match(after):
        return "letters glued to the number"
    if _SCALE.match(after) or _AND_A_HALF.match(after) or _ANYWHERE.search(f"{before} {after}"):
        return "a number or an operation in words"
    if _BEFORE.search(before) or _AFTER.match(after) or found["number"].endswith(".."):
        return "an expression"
    return None


def last(text: str) -> Reading:
    """The last quantity of a text; no part of it is read if the whole has no value.

    A minus sign counts if it is a sign ("= -5", "-$5") and not a subtraction, a range or a hyphen ("10-5" ends in 5).
    What is no quantity is passed over: digits inside a word ("H2O"), ordinals ("5th"), and numbers of sections
    ("1.2.3"). A number that this grammar does not know ("1.234,56", "１８") is one all the same: nothing is read.
    """
    return next(_from_the_end(text), Reading.none("no number"))


def values(text: str) -> set[Decimal]:
    """The values of all numbers of a text of any kind, whatever stands beside them."""
    text = plain(text)
    readings = (_signed(_value(found), _sign(text, found.start()) or 1) for found in _QUANTITY.finditer(text))
    return {reading.value for reading in readings if reading.value is not None}


def _from_the_end(text: str) -> Iterator[Reading]:
    """The quantities of a text of any kind, the last one first."""
    if _OVERRIDE.search(text):
        yield Reading.none("a change of the direction of writing")
    text = _UNIT_POWER.sub("", plain(text))
    for start, end in _pieces(text):
        for found in reversed(list(_QUANTITY.finditer(text, start, end))):
            reading = _in_running_text(text, found)
            if reading is not None:
                yield reading


def _pieces(text: str) -> Iterator[tuple[int, int]]:
    """(start, end) of pieces of the text that no quantity crosses, the last one first, each longer than the one before.

    Mostly the first is enough.
    """
    end, width = len(text), PIECE
    while end > 0:
        between = None
        while between is None and width < 2 * end:
            between = _BETWEEN.search(text, max(0, end - width), end)
            width *= 2
        yield (between.end() if between else 0), end
        end = between.start() if between else 0


def _in_running_text(text: str, found: re.Match[str]) -> Reading | None:
    """The quantity at a place of a longer text; None for what is no quantity."""
    (start, end), run = found.span(), found["number"]
    touching = text[start - 1 : start]
    if touching.isalpha() or touching == "_" or not _VISIBLE.search(run):
        return None
    before, after = text[max(0, start - 32) : start], text[end : end + 32]
    if _RUN_ON.search(before):
        return Reading.none("a badly formed number")
    if run == found[0] and _SECTION.fullmatch(run.rstrip(".,")):
        return None
    if after[:1].isalpha() and not found[0].endswith((".", ",")):
        if _ORDINAL.match(after):
            return None
        if not _GLUED_UNITS.match(after) or after[:1] in "MK":
            return Reading.none("letters glued to the number")
    if _OTHER_DASH.search(before):
        return Reading.none("a dash that may be a minus")
    if _OPERATED.search(before) or _OPERATING.match(after) or (found["divisor"] and _MIXED.search(before)):
        return Reading.none("an expression")
    if _SCALE.match(after) or _AND_A_HALF.match(after):
        return Reading.none("a number or an operation in words")
    if run.endswith("..") and "." in run.rstrip("."):
        return Reading.none("no finite decimal")
    return _signed(_value(found), -1 if _sign(text, start) == -1 else 1)


def normalise(text: str) -> str:
    """The one spelling of a number: a plain decimal without commas, currency, plus sign or needless zeros.

    >>> [normalise(text) for text in ("1,080", "-3.50", "+5", "007", "-0")]
    ['1080', '-3.5', '5', '7', '0']

    Raises:
        ValueError: the text is not one number and nothing else.
    """
    match = _GOLD.fullmatch(plain(text.strip()))
    value = _decimal(match["number"]) if match else None
    if match is None or value is None:
        raise ValueError(f"not a number: {text[:50]!r}")
    if value == 0:
        return "0"
    spelling = format(value, "f")
    spelling = spelling.rstrip("0").rstrip(".") if "." in spelling else spelling
    return f"-{spelling}" if match["sign"] == "-" else spelling


def _unmarked(text: str) -> str:
    """Without Markdown's emphasis where it comes in pairs, and not in the middle of a number."""
    for mark in ("**", "__", "`"):
        if text.count(mark) % 2 == 0 and not re.search(rf"[\d.,](?:{re.escape(mark)})+[.,]?\d", text):
            text = text.replace(mark, "")
    stripped = text.strip()
    emphasised = len(stripped) > 2 and stripped[0] == stripped[-1] and stripped[0] in "*_"
    return stripped[1:-1] if emphasised else text


def _value(found: re.Match[str]) -> Reading:
    """Value of a quantity without its sign."""
    number = _decimal(found["number"])
    if number is None or found["more"] or found["grouped"]:
        return Reading.none("a badly formed number")
    if found["hour"] and not (found["clock"] or (number <= 24 and number == int(number))):
        return Reading.none("no hour")
    if found["clock"]:
        full = re.fullmatch(r"(?::00)+", found["clock"]) and number <= 24 and number == int(number)
        return Reading(number) if full else Reading.none("a time that is no full hour, or a ratio")
    if found["part"]:
        part, of = Decimal(found["part"][:LONGEST_NUMBER]), Decimal(found["of"][:LONGEST_NUMBER])
        if not 0 < part < of or number != int(number):
            return Reading.none("several numbers")
        fraction = _quotient(part, of)
        return Reading.none("no finite decimal") if fraction is None else Reading(number + fraction)
    if found["divisor"]:
        divisor = _decimal(found["divisor"])
        quotient = None if divisor is None else _quotient(number, divisor)
        return Reading.none("no finite decimal") if quotient is None else Reading(quotient)
    return Reading(number)


def _signed(reading: Reading, sign: int) -> Reading:
    return Reading(reading.value.copy_negate()) if sign < 0 and reading.value is not None else reading


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
    head = left.rstrip(f" \t{CURRENCY}")
    if not head.endswith(("-", "+")):
        return 1
    before, sign, gap = head[:-1], head[-1], left[len(head) :]
    line = before.rpartition("\n")[2].rstrip(f" \t{CURRENCY}")
    if before[-1:].isalnum() or before.endswith((".", ")", "]", "%", "-", "+")) or line[-1:].isdigit():
        return None
    if line.endswith((")", "]", "%", "-", "+")):
        return None
    # "- 5" with a space is a bullet or a subtraction unless an opening or an equals sign leads to it.
    leads = line.endswith(("=", "(", "[", ":")) or (not before.strip() and start <= len(left))
    return None if gap.startswith((" ", "\t")) and not leads else (-1 if sign == "-" else 1)
