"""Arithmetic that a policy wrote: + - * / and parentheses over numbers, read by a grammar and computed exactly.

    equation   = expression { "=" expression }
    expression = term { ("+" | "-") term }
    term       = factor { ("*" | "/") factor }
    factor     = [ "+" | "-" ] ( number | "(" expression ")" )
    number     = digits [ "." digits ]

Letters of other alphabets are no digits; the usual signs for minus, times and division are operators. Reading takes
time linear in the text and no recursion, whatever stands there.

>>> parse("(1 + 2) / 3 × −4").value()
Fraction(-4, 1)
"""

import operator
import re
from dataclasses import dataclass
from fractions import Fraction

LONGEST = 100_000  # characters of an equation; more than this is an essay
LONGEST_NUMBER = 9  # digits before the point, and behind it
MOST_SIDES = 10

Number = int | Fraction

_SIGNS = str.maketrans("\u2212\u00d7\u2715\u2217\u22c5\u00b7\u00f7\u2215", "-*****//")
_STRAY = re.compile(r"[^-+*/()0-9.\s]")
_TOKENS = re.compile(r"[0-9]++(?>(?:\.[0-9]++)?)|[-+*/().]")
_RANK = {"(": 0, "+": 1, "-": 1, "*": 2, "/": 2, "negative": 3}
_COMPUTE = {"+": operator.add, "-": operator.sub, "*": operator.mul, "/": operator.truediv}


class UnreadableError(ValueError):
    """A text is no expression, or has no value; the message says why."""


@dataclass(frozen=True)
class Expression:
    """An expression that was read.

    Attributes:
        postfix: its numbers and operators, each operator behind its operands. A sign before a number belongs to the
            number, one before a parenthesis is the operator `negative`.
    """

    postfix: tuple[Number | str, ...]

    @property
    def size(self) -> int:
        """How many numbers it has."""
        return sum(not isinstance(item, str) for item in self.postfix)

    @property
    def numbers(self) -> list[Fraction]:
        """The numbers with their signs, in the order of the text."""
        return [Fraction(item) for item in self.postfix if not isinstance(item, str)]

    def value(self) -> Fraction:
        """What it comes to. Ask for few numbers only: the digits of a value grow with them.

        Raises:
            UnreadableError: something is divided by zero.
        """
        stack: list[Fraction] = []
        for item in self.postfix:
            if not isinstance(item, str):
                stack.append(Fraction(item))
            elif item == "negative":
                stack[-1] = -stack[-1]
            else:
                right = stack.pop()
                if item == "/" and not right:
                    raise UnreadableError("a division by zero")
                stack[-1] = _COMPUTE[item](stack[-1], right)
        return stack[0]


def plain(text: str) -> str:
    """The text with the operators of a keyboard."""
    return text.translate(_SIGNS)


def sides(text: str) -> list[Expression]:
    """The expressions of an equation, in order; one if there is no `=`.

    Raises:
        UnreadableError: the text is longer than LONGEST or has more than MOST_SIDES sides, or as `parse`.
    """
    if len(text) > LONGEST or text.count("=") >= MOST_SIDES:
        raise UnreadableError("longer than an expression")
    return [parse(side) for side in text.split("=")]


def parse(text: str) -> Expression:
    """Read one expression, by Dijkstra's shunting-yard algorithm (1961): operators wait until their operands stand.

    Raises:
        UnreadableError: the text is no expression of the grammar.
    """
    text = plain(text)
    if stray := _STRAY.search(text):
        raise UnreadableError(f"{stray[0]!r} is no part of an expression")
    postfix: list[Number | str] = []
    waiting: list[str] = []
    due, signed = True, False  # whether an operand has to come, and whether it has its sign
    for token in _TOKENS.findall(text):
        if not due:
            due, signed = _operator(token, postfix, waiting), False
        elif token[0].isdigit():
            negative = bool(waiting) and signed and waiting[-1] == "negative"
            postfix.append(-_number(token) if negative else _number(token))
            if negative:
                waiting.pop()
            due = False
        elif token == "(":
            waiting.append(token)
            signed = False
        elif token in "+-" and not signed:
            waiting += ["negative"] * (token == "-")
            signed = True
        else:
            raise UnreadableError(f"{token!r} stands where a number is due")
    if due:
        raise UnreadableError("it ends where a number is due")
    if "(" in waiting:
        raise UnreadableError("a parenthesis is not closed")
    return Expression((*postfix, *reversed(waiting)))


def _operator(token: str, postfix: list[Number | str], waiting: list[str]) -> bool:
    """Take what stands behind an operand; whether another operand is due."""
    if token not in ("+", "-", "*", "/", ")"):
        raise UnreadableError(f"no operator stands before {token[:20]!r}")
    rank = _RANK.get(token, 1)
    while waiting and waiting[-1] != "(" and _RANK[waiting[-1]] >= rank:
        postfix.append(waiting.pop())
    if token != ")":
        waiting.append(token)
        return True
    if not waiting:
        raise UnreadableError("a parenthesis is closed that was not opened")
    waiting.pop()
    return False


def _number(token: str) -> Number:
    whole, point, parts = token.partition(".")
    if len(whole) > LONGEST_NUMBER or len(parts) > LONGEST_NUMBER:
        raise UnreadableError(f"a number of more than {LONGEST_NUMBER} digits")
    return Fraction(token) if point else int(token)
