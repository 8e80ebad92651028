"""TinyZero's prompt and its reward, faults included, for comparison with ours.

Written from the behaviour of verl/utils/reward_score/countdown.py of Jiayi-Pan/TinyZero (Apache-2.0), which hands the
answer to Python's `eval`. Here Python's own parser reads it, and nothing is executed.
"""

import ast
import operator
import re
from collections.abc import Callable, Sequence
from typing import Any

# Word for word; the chat template's marks stand in the places of "User:" and "Assistant:".
CONVERSATION = (
    "A conversation between User and Assistant. The user asks a question, and the Assistant solves it. The assistant "
    "first thinks about the reasoning process in the mind and then provides the user with the answer."
)
INSTRUCT = (
    "You are a helpful assistant. You first thinks about the reasoning process in the mind and then provides the user "
    "with the answer."
)
QUESTION = "Using the numbers {numbers}, create an equation that equals {target}."
TASK = (
    " You can use basic arithmetic operations (+, -, *, /) and each number can only be used once. Show your work in "
    "<think> </think> tags. And return the final answer in <answer> </answer> tags, for example <answer> (1 + 2) / 3 "
    "</answer>."
)
PREFILL = "Let me solve this step by step.\n<think>"

TOLERANCE = 1e-5
LONGEST = 1000  # characters of an answer; the original takes more where Python's parser does
MOST_BITS = 10_000  # of a power; the original computes it, if it takes hours

_ALLOWED = re.compile(r"[\d+\-*/().\s]+")
_OPERATORS: dict[type[ast.AST], Callable[..., Any]] = {
    ast.Add: operator.add,
    ast.Sub: operator.sub,
    ast.Mult: operator.mul,
    ast.Div: operator.truediv,
    ast.FloorDiv: operator.floordiv,
    ast.Pow: lambda base, exponent: _power(base, exponent),
    ast.USub: operator.neg,
    ast.UAdd: operator.pos,
}


def reward(text: str, numbers: Sequence[int], target: int) -> float:
    """What TinyZero pays: 0 without an answer, 0.1 for one, 1 for one that is right.

    Only the last line is searched, and the last answer in it counts. It is right if its digit runs are the numbers,
    each once, and it is within 1e-5 of the target. So `**`, `//`, decimals (3.5 of a 3 and a 5) and signs are paid too;
    an equals sign, another sign for an operator, a zero before a number (03) are not.

    >>> [reward(f"<answer>{text}</answer>", [2, 3], 8) for text in ("2 ** 3", "2 × 3", "2 + 3")]
    [1.0, 0.1, 0.1]
    """
    answer = _last_answer(text.rpartition("\n")[2])
    if answer is None:
        return 0.0
    return 1.0 if _is_right(answer.strip(), numbers, target) else 0.1


def _last_answer(line: str) -> str | None:
    """What `<answer>(.*?)</answer>` matches last; without a regular expression, for its time may grow quadratically."""
    answer, end = None, 0
    while (start := line.find("<answer>", end)) >= 0 and (close := line.find("</answer>", start)) >= 0:
        answer, end = line[start + len("<answer>") : close], close
    return answer


def _is_right(answer: str, numbers: Sequence[int], target: int) -> bool:
    if len(answer) > LONGEST or sorted(map(int, re.findall(r"\d+", answer))) != sorted(numbers):
        return False
    if not _ALLOWED.fullmatch(answer):
        return False
    try:
        return bool(abs(_value(ast.parse(answer, mode="eval").body) - target) < TOLERANCE)
    except (SyntaxError, ValueError, TypeError, ArithmeticError, MemoryError, RecursionError):
        return False


def _value(node: ast.expr) -> Any:
    """What Python's `eval` makes of a node: a whole number, a float or a complex number."""
    match node:
        case ast.Constant(value=value):
            return value
        case ast.UnaryOp(op=op, operand=operand):
            return _OPERATORS[type(op)](_value(operand))
        case ast.BinOp(left=left, op=op, right=right):
            return _OPERATORS[type(op)](_value(left), _value(right))
    raise TypeError(f"{type(node).__name__} has no value")


def _power(base: Any, exponent: Any) -> Any:
    whole = isinstance(base, int) and isinstance(exponent, int) and abs(base) > 1
    if whole and base.bit_length() * exponent > MOST_BITS:
        raise OverflowError("a power of many digits")
    return base**exponent
