"""A generated world of word problems, on which a tiny policy shows in minutes what reinforcement learning elicits.

Every question needs one or two sums. The demonstrations first teach the sums, written out ("careful"), and then a
habit: most of the later demonstrations answer at once with the result of the *first* sum ("hasty"), which is right
for the one-step questions only. A policy that has learnt from them knows more than its habit shows.

>>> import random
>>> problem = make_problem(random.Random(24), steps=2)
>>> problem.text
'leo has 3 boxes of 5 nuts each . then leo sells 2 . how many nuts now ?'
>>> demonstrate(problem, "careful", random.Random(0))
'3 * 5 = 15 . 15 - 2 = 13 . <answer> 13 </answer>'
>>> demonstrate(problem, "hasty", random.Random(0))
'<answer> 15 </answer>'
"""

import random
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Literal

from reinforce_lite.errors import UserError
from reinforce_lite.tasks import Dataset, Demonstration, Options, Problem
from reinforce_lite.tasks.numeric import PROMPTS, NumericTask, dialogue

Style = Literal["careful", "wait", "hasty"]

NAMES = ("tom", "ana", "ben", "mia", "sam", "eva", "leo", "zoe")
THINGS = ("apples", "pens", "books", "coins", "nuts", "eggs")
GAINS = ("buys", "finds", "gets")
LOSSES = ("eats", "loses", "sells")
LARGEST = 60
VOCABULARY = (
    *NAMES, *THINGS, *GAINS, *LOSSES,
    "has", "boxes", "of", "each", "then", "how", "many", "now", ".", "?", "+", "-", "*", "=", "wait", "<answer>",
    "</answer>", *map(str, range(LARGEST + 1)),
)  # fmt: skip

# A worked example for the prompt that shows one; in the words of the world, and no question of it.
EXAMPLE_QUESTION = "leo has 4 boxes of 6 nuts each . then leo sells 9 . then leo sells 6 . how many nuts now ?"
EXAMPLE_REPLY = "4 * 6 = 24 . 24 - 9 = 15 . 15 - 6 = 9 . <answer> 9 </answer>"

TWO_STEP_SHARE = 0.6
# The first part of the demonstrations teaches the skill, the rest the habit.
SKILL_SHARE = 0.7
SKILL_MIX: dict[Style, float] = {"careful": 0.85, "wait": 0.15}
HABIT_MIX: dict[Style, float] = {"careful": 0.13, "wait": 0.02, "hasty": 0.85}


@dataclass(frozen=True)
class WorldProblem:
    """A question and the sums that solve it, in order: (left, operator, right, result)."""

    text: str
    sums: tuple[tuple[int, str, int, int], ...]

    @property
    def answer(self) -> int:
        """The result of the last sum."""
        return self.sums[-1][3]


def make_problem(rng: random.Random, steps: int) -> WorldProblem:
    """Draw a question of one or two steps; amounts start at 20 or less, boxes at 5 or less."""
    name, thing = rng.choice(NAMES), rng.choice(THINGS)
    sums: list[tuple[int, str, int, int]] = []
    if rng.random() < 0.4:
        boxes, each = rng.randint(2, 5), rng.randint(2, 9)
        text = f"{name} has {boxes} boxes of {each} {thing} each . "
        sums.append((boxes, "*", each, boxes * each))
    else:
        have = rng.randint(2, 20)
        text = f"{name} has {have} {thing} . "
        words, result = _change(rng, name, have)
        text, sums = text + words, [result]
    if steps == 2:
        words, result = _change(rng, name, sums[-1][3])
        text, sums = text + words, [*sums, result]
    return WorldProblem(f"{text}how many {thing} now ?", tuple(sums))


def _change(rng: random.Random, name: str, have: int) -> tuple[str, tuple[int, str, int, int]]:
    """One sentence that adds to or takes from `have`, with its sum."""
    if rng.random() < 0.5 and have > 1:
        amount = rng.randint(1, min(9, have - 1))
        return f"then {name} {rng.choice(LOSSES)} {amount} . ", (have, "-", amount, have - amount)
    amount = rng.randint(1, 9)
    return f"then {name} {rng.choice(GAINS)} {amount} . ", (have, "+", amount, have + amount)


def demonstrate(problem: WorldProblem, style: Style, rng: random.Random) -> str:
    """Write a completion in one of the three styles; "wait" slips once and mends it."""
    if style == "hasty":
        return f"<answer> {problem.sums[0][3]} </answer>"
    slip = rng.randrange(len(problem.sums)) if style == "wait" else -1
    written = []
    for index, (left, operator, right, result) in enumerate(problem.sums):
        if index == slip:
            wrong = max(0, min(LARGEST, result + rng.choice((-2, -1, 1, 2))))
            written.append(f"{left} {operator} {right} = {wrong} wait")
        written.append(f"{left} {operator} {right} = {result} .")
    return f"{' '.join(written)} <answer> {problem.answer} </answer>"


def _questions(rng: random.Random) -> Iterator[WorldProblem]:
    """Questions without end, none twice."""
    seen: set[str] = set()
    while True:
        problem = make_problem(rng, steps=2 if rng.random() < TWO_STEP_SHARE else 1)
        if problem.text not in seen:
            seen.add(problem.text)
            yield problem


class WordWorld(NumericTask[Options]):
    """The world as a task; its demonstrations come in the order in which they are meant to be learnt."""

    prompts = PROMPTS | {"one_shot_bare": dialogue(EXAMPLE_QUESTION, EXAMPLE_REPLY, "{question}")}
    vocabulary = VOCABULARY

    def build(self, options: Options) -> Dataset:
        """Draw the splits and the demonstrations; no question stands in two of them.

        Raises:
            UserError: as `preflight`.
        """
        self.preflight(options)
        rng = random.Random(options.seed)
        questions = _questions(rng)

        def split(name: str, size: int | None, solved: bool = False) -> list[Problem]:
            drawn = ((i, next(questions)) for i in range(size or 0))
            return [
                Problem(f"{name}-{i}", p.text, str(p.answer), demonstrate(p, "careful", rng) if solved else None)
                for i, p in drawn
            ]

        test = split("test", options.test_size)
        dev = split("dev", options.dev_size)
        train = split("train", options.train_size, solved=True)
        demonstrations = []
        for index in range(options.demonstrations):
            mix = SKILL_MIX if index < SKILL_SHARE * options.demonstrations else HABIT_MIX
            style = rng.choices(list(mix), list(mix.values()))[0]
            problem = next(questions)
            demonstrations.append(Demonstration(problem.text, demonstrate(problem, style, rng)))
        source = {"generator": "word_world", "seed": options.seed, "two_step_share": TWO_STEP_SHARE, "habit": HABIT_MIX}
        return Dataset(train, dev, test, demonstrations, source)

    def preflight(self, options: Options) -> str:
        """Every split needs a size.

        Raises:
            UserError: one has none.
        """
        if options.train_size is None or options.test_size is None:
            raise UserError("task.train_size and task.test_size: the word world has no end", "set both")
        return "the word world is generated"


TASK = WordWorld()
