"""The task: splits without overlap, their order, demonstrations, a folder of puzzles, prompts, perturbed problems."""

import json
import random
from itertools import islice
from pathlib import Path
from typing import Any

import pytest

from reinforce_lite.errors import UserError
from reinforce_lite.learning.loop import question_stream
from reinforce_lite.tasks import Dataset, Options, Problem, read_options
from reinforce_lite.tasks.knights_demonstrations import demonstrate, listed
from reinforce_lite.tasks.knights_knaves import TASK, VOCABULARY, perturbed
from reinforce_lite.tasks.knights_puzzles import COMMON_NAMES, PERTURBATIONS, make_puzzle
from reinforce_lite.tasks.knights_text import read, write
from reinforce_lite.tasks.prepare import check

ENGLISH = {"train_size": 100, "dev_size": 20, "test_size": 70, "demonstrations": 200}
TINY = {
    "form": "words", "prompt": "bare", "people": [3], "test_people": [3, 4], "demonstration_people": [2, 3, 4],
    "train_size": 200, "dev_size": 40, "test_size": 100, "demonstrations": 2000,
}  # fmt: skip


def options(**keys: Any) -> Options:
    return read_options({"name": "knights_knaves", "dev_size": 0, **keys})


def built(**keys: Any) -> Dataset:
    return TASK.build(options(**keys))


def people(problem: Problem) -> int:
    return len(problem.answer.splitlines())


@pytest.mark.parametrize("keys", [ENGLISH, TINY], ids=["english", "words"])
def test_splits_share_no_statements_and_depend_on_the_seed(keys: dict[str, Any]) -> None:
    data = built(**keys)
    check(data)
    splits = [*data.train, *data.dev, *data.test]
    statements = {read(problem.question).statements for problem in splits}
    assert len(statements) == len(splits) == keys["train_size"] + keys["dev_size"] + keys["test_size"]
    assert len(data.demonstrations) == keys["demonstrations"]
    assert statements.isdisjoint(read(one.question).statements for one in data.demonstrations)
    assert built(**keys) == data
    assert built(**{**keys, "seed": 1}).test != data.test


@pytest.mark.parametrize("keys", [ENGLISH, TINY], ids=["english", "words"])
def test_answers_are_the_solutions_and_train_is_worked(keys: dict[str, Any]) -> None:
    data = built(**keys)
    for problem in (*data.train, *data.dev, *data.test):
        puzzle = read(problem.question)
        assert problem.answer == listed(puzzle, puzzle.only_solution())
        assert (problem.solution is not None) is problem.id.startswith("train")
        assert problem.id.endswith(f"-{people(problem)}people")
    assert {TASK.grade(str(problem.solution), problem)["correct"] for problem in data.train} == {True}


def test_each_split_has_as_many_puzzles_of_each_number_of_people() -> None:
    data = built(**ENGLISH)
    assert sorted(map(people, data.train)) == sorted([3, 4, 5, 6, 7] * 20)
    assert sorted(map(people, data.test)) == sorted([2, 3, 4, 5, 6, 7, 8] * 10)


def test_a_curriculum_is_the_same_puzzles_by_number_of_people() -> None:
    mixed, curriculum = built(**ENGLISH), built(**ENGLISH, order="curriculum")
    assert list(map(people, curriculum.train)) == sorted(map(people, mixed.train)) != list(map(people, mixed.train))
    assert sorted(curriculum.train, key=str) == sorted(mixed.train, key=str)
    assert (curriculum.dev, curriculum.test) == (mixed.dev, mixed.test)
    assert curriculum.demonstrations == mixed.demonstrations


def test_a_training_meets_the_curriculum_unless_it_shuffles() -> None:
    train = built(**ENGLISH, order="curriculum").train
    met = {shuffle: list(map(people, islice(question_stream(train, shuffle, 0), 100))) for shuffle in (False, True)}
    assert met[False] == sorted(met[True]) != met[True]
    assert 3 < sum(met[True][:20]) / 20 < 7


def test_the_skill_comes_first_and_the_habit_is_the_majority_of_the_rest() -> None:
    hasty = [one.completion.startswith("<answer>") for one in built(**TINY).demonstrations]
    assert sum(hasty[:1600]) / 1600 == pytest.approx(0.1, abs=0.03)  # 3 standard errors
    assert sum(hasty[1600:]) / 400 == pytest.approx(0.75, abs=0.075)


def test_careful_is_right_and_hasty_a_guess() -> None:
    rng, right, guesses = random.Random(0), {"careful": 0, "hasty": 0}, set()
    for _ in range(400):
        puzzle = make_puzzle(rng, ("ann", "ben", "cat"), ("and", "or"))
        problem = Problem("x", write(puzzle, "words"), listed(puzzle, puzzle.only_solution()))
        for style in right:
            text = demonstrate(puzzle, style, "words")  # type: ignore[arg-type]
            assert set(f"{problem.question} {text}".split()) <= set(VOCABULARY)
            found = TASK.grade(text, problem)
            assert found["format"] is True
            right[style] += bool(found["correct"])
            guesses |= {text} if style == "hasty" else set()
    assert right["careful"] == 400
    assert len(guesses) == 1, "a policy that is paid by a coin would drift to a guess that is right more often"
    assert right["hasty"] / 400 == pytest.approx(1 / 8, abs=0.05)


def test_a_case_is_left_at_its_first_contradiction() -> None:
    puzzle = read(
        "ann says cat knave and ben knave . ben says ann knight or cat knave . cat says ben knave or ann knave ."
    )
    text = demonstrate(puzzle, "careful", "words")
    *rejected, last = text.partition("<answer>")[0].removeprefix("case ").split(" case ")
    assert all(case.endswith("bad") and case.count("bad") == 1 for case in rejected)
    assert last.count("ok") == 3 and "bad" not in last
    assert len({case[:20] for case in rejected}) == len(rejected)


def test_the_prompt_of_logic_rl_opens_the_thinking_and_solutions_close_it() -> None:
    system, user, assistant = TASK.messages("logic_rl", "Who?")
    assert "<think> reasoning process here </think><answer> answer here </answer>" in system["content"]
    assert "<answer> (1) Zoey is a knight\n(2) ... </answer>" in system["content"]
    assert user == {"role": "user", "content": "Who?"} and assistant == {"role": "assistant", "content": "<think>"}
    data = built(**ENGLISH, prompt="logic_rl")
    assert {TASK.grade(str(problem.solution), problem)["logic_rl"] for problem in data.train} == {3.0}


def test_tagged_asks_for_what_is_read() -> None:
    [message] = TASK.messages("tagged", "")
    example = Problem(
        "x", "Zoey says Owen knave . Owen says Zoey knave and Owen knave .", "(1) Zoey is a knight\n(2) Owen is a knave"
    )
    assert TASK.grade(message["content"].replace("between <answer> and </answer>", ""), example)["correct"] is True


def rows(count: int, people: int = 3) -> list[dict[str, str]]:
    rng = random.Random(people)
    puzzles = [make_puzzle(rng, rng.sample(COMMON_NAMES, people)) for _ in range(count)]
    return [{"quiz": write(p, "english"), "solution_text_format": listed(p, p.only_solution())} for p in puzzles]


def folder(path: Path, train: list[Any], test: list[Any]) -> Path:
    for name, some in (("train", train), ("test", test)):
        (path / f"{name}.jsonl").write_text("".join(json.dumps(row) + "\n" for row in some))
    return path


def test_puzzles_are_read_from_a_folder(tmp_path: Path) -> None:
    train = [*rows(10, 5), *rows(10, 3)]
    path = folder(tmp_path, train, rows(6, 8))
    data = built(path=path, dev_size=4, demonstrations=3, order="curriculum")
    check(data)
    assert (len(data.train), len(data.dev), len(data.test), len(data.demonstrations)) == (16, 4, 6, 3)
    assert {p.question for p in (*data.train, *data.dev)} == {row["quiz"] for row in train}
    assert [p.question for p in data.test] == [row["quiz"] for row in rows(6, 8)]
    assert list(map(people, data.train)) == sorted(map(people, data.train))


UNSOLVABLE = (
    "A very special island is inhabited only by knights and knaves. Knights always tell the truth, and knaves always "
    'lie. You meet 2 inhabitants: Zoey, and Owen. "Zoey is not a knight" - Zoey. "Zoey is a knight" - Owen. So who is '
    "a knight and who is a knave?"
)


@pytest.mark.parametrize(
    ("row", "reason"),
    [
        ({"quiz": UNSOLVABLE}, "no assignment of roles solves it"),
        ({"quiz": UNSOLVABLE.replace("Zoey is not", "Zoey is")}, "it has 2 solutions"),
        ({"quiz": UNSOLVABLE.replace("Owen", "Zoey")}, "the name Zoey stands twice"),
        ({"quiz": UNSOLVABLE.replace("Zoey is not a knight", "")}, "a statement is empty"),
        ({"quiz": 3}, "no object with a text `quiz`"),
        (["quiz"], "no object with a text `quiz`"),
        ({**rows(1)[0], "solution_text_format": "(1) Zoey is a knight"}, "solution_text_format is not its solution"),
    ],
)
def test_a_bad_puzzle_of_a_folder_is_named_by_file_and_line(tmp_path: Path, row: Any, reason: str) -> None:
    path = folder(tmp_path, [*rows(3), row], rows(2, 4))
    with pytest.raises(UserError, match=rf"train\.jsonl, line 4: .*{reason}"):
        built(path=path)


def test_a_file_that_cannot_be_had_is_named(tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"task.path: cannot read .*train\.jsonl: No such file"):
        TASK.preflight(options(path=tmp_path))
    path = folder(tmp_path, rows(3), rows(2, 4))
    for bad in (b"{", b"\xff\xfe", b"[" * 100_000):
        (path / "test.jsonl").write_bytes(bad + b"\n")
        with pytest.raises(UserError, match=r"test\.jsonl, line 1: "):
            TASK.preflight(options(path=path))


@pytest.mark.parametrize(
    "keys", [{"dev_size": 4}, {"demonstrations": 5}, {"train_size": 5}, {"dev_size": 2, "train_size": 3}]
)
def test_a_folder_with_too_few_puzzles_is_named(tmp_path: Path, keys: dict[str, int]) -> None:
    with pytest.raises(UserError, match=r"train\.jsonl has 4 puzzles"):
        built(path=folder(tmp_path, rows(4), rows(2, 5)), **keys)


def test_generated_puzzles_need_a_size_and_may_run_out() -> None:
    for keys in ({"train_size": 5}, {"test_size": 5}):
        with pytest.raises(UserError, match=r"task\.train_size and task\.test_size"):
            TASK.preflight(options(**keys))
    with pytest.raises(UserError, match="different puzzles of 2 people"):
        built(form="words", people=[2], test_people=[3], train_size=500, test_size=5)


@pytest.mark.parametrize("bad", [[], [1], [9], [3, 2.5], "3"])
def test_people_are_two_to_eight(bad: Any) -> None:
    for key in ("people", "test_people", "demonstration_people"):
        with pytest.raises(ValueError, match=key):
            options(train_size=1, test_size=1, **{key: bad})


CHANGES = [*((ENGLISH, kind) for kind in PERTURBATIONS), (TINY, "statement"), (TINY, "leaf")]


@pytest.mark.parametrize(("keys", "kind"), CHANGES)
def test_a_perturbed_problem_has_its_own_answer(keys: dict[str, Any], kind: Any) -> None:
    rng, changed = random.Random(0), 0
    for problem in built(**keys).train[:50]:
        other = perturbed(problem, kind, rng)
        if other is None:
            continue
        changed += 1
        puzzle = read(other.question)
        assert other.question != problem.question and other.id == f"{problem.id}-{kind}"
        assert other.answer == listed(puzzle, puzzle.only_solution())
        if kind in ("statement", "leaf", "flipped_roles", "random_roles", "uncommon_names"):
            assert other.answer != problem.answer
        if keys is TINY:
            assert set(other.question.split()) <= set(VOCABULARY)
    assert changed > 30


def test_the_tiny_form_has_no_other_names_order_or_words() -> None:
    for kind in ("flipped_roles", "random_roles", "uncommon_names", "reordered"):
        assert perturbed(built(**TINY).train[0], kind, random.Random(0)) is None  # type: ignore[arg-type]
