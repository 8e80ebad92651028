"""Characters that a reader would not see, or that would move what he sees, are shown by their code."""

import re

_UNSEEN = re.compile(
    "[\0-\x08\x0b-\x1f\x7f-\x9f\xad\u0600-\u0605\u061c\u06dd\u070f\u180e\u200b-\u200f\u2028-\u202e\u2060-\u206f"
    "\ud800-\udfff\ufeff\ufff0-\ufffb\U000e0000-\U000e007f]"
)
"""Control and format characters but for tab and newline, and halves of surrogate pairs: Cc, Cf, Zl, Zp and Cs."""


def shown(text: str, one_line: bool = False) -> str:
    r"""A text whose unseen characters stand there by their codes: NUL, escape, bidi marks, zero-width ones.

    Args:
        text: of anybody.
        one_line: show tabs and newlines likewise, so that a text cannot pretend to be a line of its own.

    >>> shown("1\u200b8 \u202e81\x1b[2J")
    '1<U+200B>8 <U+202E>81<U+001B>[2J'
    >>> shown("a\nb", one_line=True)
    'a<U+000A>b'
    """
    seen = _UNSEEN.sub(_code, text)
    return re.sub("[\t\n]", _code, seen) if one_line else seen


def _code(found: re.Match[str]) -> str:
    return f"<U+{ord(found[0]):04X}>"
