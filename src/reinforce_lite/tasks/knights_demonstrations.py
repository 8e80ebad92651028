"""How to solve a puzzle of knights and knaves, and how not to: worked completions in both forms.

`careful` goes through cases, leaves each at its first contradiction and answers with the first that holds; `hasty`
answers at once and believes everybody. It is one answer to all puzzles, so a policy that is trained by a coin has no
other guess to fall into that is right more often.

>>> one = Puzzle(("ann", "ben"), (("and", ("knight", 0), ("knight", 1)), ("and", ("knight", 0), ("knave", 1))), (0, 1))
>>> demonstrate(one, "careful", "words").split(" case ")[1]
'knight knave ann knight false bad'
>>> demonstrate(one, "hasty", "words")
'<answer> ann knight ben knight </answer>'
"""

from collections.abc import Iterator
from itertools import product
from typing import Literal

from reinforce_lite.tasks.knights_puzzles import Puzzle, agreeing, assignments, consistent, together
from reinforce_lite.tasks.knights_text import Form, article

Style = Literal["careful", "hasty"]


def demonstrate(puzzle: Puzzle, style: Style, form: Form) -> str:
    """Write a completion."""
    if style == "hasty":
        return answer(puzzle, (True,) * len(puzzle.names), form)
    steps = " ".join(_cases(puzzle) if form == "words" else _argument(puzzle))
    return f"{steps} {answer(puzzle, puzzle.only_solution(), form)}"


def answer(puzzle: Puzzle, assignment: tuple[bool, ...], form: Form) -> str:
    """An answer in its tag."""
    if form == "english":
        return f"<answer>{listed(puzzle, assignment)}</answer>"
    pairs = (f"{name} {puzzle.role(role)}" for name, role in zip(puzzle.names, assignment, strict=True))
    return f"<answer> {' '.join(pairs)} </answer>"


def listed(puzzle: Puzzle, assignment: tuple[bool, ...]) -> str:
    """An assignment as a numbered list, one person a line."""
    pairs = zip(puzzle.names, assignment, strict=True)
    return "\n".join(f"({i}) {name} is {article(puzzle.role(role))}" for i, (name, role) in enumerate(pairs, 1))


def _cases(puzzle: Puzzle) -> Iterator[str]:
    """The assignments in order, each up to its first contradiction, and none after the first that holds."""
    people = len(puzzle.names)
    alone = [set(assignments(agreeing(i, statement, people), people)) for i, statement in enumerate(puzzle.statements)]
    for assignment in product((True, False), repeat=people):
        yield f"case {' '.join(map(puzzle.role, assignment))}"
        for person, role in enumerate(assignment):
            holds = assignment in alone[person]
            true = "true" if role == holds else "false"
            yield f"{puzzle.names[person]} {puzzle.role(role)} {true} {'ok' if holds else 'bad'}"
            if not holds:
                break
        else:
            return


def _argument(puzzle: Puzzle) -> Iterator[str]:
    """Person after person is supposed to tell the truth, or to lie where that contradicts what one of them says."""
    people = len(puzzle.names)
    alone = [agreeing(i, statement, people) for i, statement in enumerate(puzzle.statements)]
    solution = assignments(consistent(puzzle.statements), people)[0]
    supposed: list[bool] = [True]
    while tuple(supposed) != solution:
        left = together(supposed, people)
        against = [i for i in range(len(supposed)) if not alone[i] & left]
        if against:
            yield f"{_assumption(puzzle, supposed)} That contradicts what {puzzle.names[against[0]]} says."
            while not supposed.pop():
                pass
        supposed.append(not against)
    yield _assumption(puzzle, supposed)


def _assumption(puzzle: Puzzle, supposed: list[bool]) -> str:
    pairs = zip(puzzle.names, supposed, strict=False)
    return f"Assume {' and '.join(f'{name} is {article(puzzle.role(role))}' for name, role in pairs)}."
