"""A task is one file and one line: nothing else of the package knows it by name."""

import ast
import pickle
from pathlib import Path

import pytest

import reinforce_lite
from reinforce_lite.errors import UserError
from reinforce_lite.tasks import REGISTRY, Options, Problem, Task, json_schema, named, own_sums, read_options

THIRD = str(Path(__file__).with_name("third_task.py"))
SOURCE = Path(reinforce_lite.__file__).parent


@pytest.mark.parametrize("name", REGISTRY)
def test_no_other_file_names_a_task(name: str) -> None:
    for path in SOURCE.rglob("*.py"):
        if path.parent == SOURCE / "tasks":
            continue
        for node in ast.walk(ast.parse(path.read_text())):
            assert not (isinstance(node, ast.Constant) and node.value == name), f"{path}, line {node.lineno}"
            assert not (isinstance(node, ast.ImportFrom) and REGISTRY[name] == node.module), path


def test_a_file_outside_of_the_package_is_a_task() -> None:
    task = named(THIRD)
    assert isinstance(task, Task) and named(THIRD) is task
    chosen = read_options(
        {"name": THIRD, "prompt": "plain", "train_size": 5, "dev_size": 2, "test_size": 3, "letters": 3}
    )
    data = task.build(chosen)
    assert (len(data.train), len(data.dev), len(data.test)) == (5, 2, 3)
    assert {task.grade(str(p.solution), p)["correct"] for p in data.train} == {True}
    assert task.messages("plain", "c a b") == [{"role": "user", "content": "sort c a b"}]
    assert len(own_sums(chosen)["task file, sha256"]) == 64
    assert own_sums(read_options({"name": "gsm8k", "dev_size": 1})) == {}


def test_options_reach_another_process_with_their_class() -> None:
    for chosen in ({"name": THIRD, "prompt": "plain", "dev_size": 2, "letters": 3}, {"name": "gsm8k", "dev_size": 2}):
        assert pickle.loads(pickle.dumps(read_options(chosen))) == read_options(chosen)


@pytest.mark.parametrize(
    ("text", "problem"),
    [(None, "No such file"), ("x = 1\n", "defines no TASK"), ("TASK = 3\n", "defines no TASK"),
     ("import nothing_at_all\n", r"py:1 cannot be loaded: ModuleNotFoundError: No module named"),
     ("x = (\n", r"py:1 cannot be loaded: SyntaxError")],
)  # fmt: skip
def test_a_file_that_is_no_task_is_named(tmp_path: Path, text: str | None, problem: str) -> None:
    path = tmp_path / "mine.py"
    if text is not None:
        path.write_text(text)
    with pytest.raises(UserError, match=rf"mine\.{problem}|mine\.py.* {problem}"):
        named(str(path))


@pytest.mark.parametrize(
    ("section", "valid"),
    [
        ({"name": "gsm8k", "dev_size": 1, "path": "/x"}, True),
        ({"name": "word_world", "dev_size": 1, "path": "/x"}, False),
        ({"name": "word_world", "dev_size": 1, "prompt": "one_shot_bare"}, True),
        ({"name": "gsm8k", "dev_size": 1, "prompt": "one_shot_bare"}, False),
        ({"name": "mine.py", "dev_size": 1, "prompt": "own", "letters": 3}, True),
        ({"name": "mine.py", "dev_size": -1}, False),
        ({"name": "mine", "dev_size": 1}, False),
        ({"dev_size": 1}, False),
    ],
)
def test_the_schema_knows_the_keys_of_each_task(section: dict[str, object], valid: bool) -> None:
    from jsonschema import Draft202012Validator

    assert Draft202012Validator(json_schema()).is_valid(section) is valid


def test_common_keys_are_common() -> None:
    for name in REGISTRY:
        assert set(Options.model_fields) <= set(named(name).options.model_fields)


@pytest.mark.parametrize(
    ("name", "problem", "kind"),
    [
        ("countdown", Problem("", "make 14 from 3 4 2", "14 from 3 4 2"), "3 numbers up to 9"),
        ("countdown", Problem("", "", "24 from 1 2 3 4"), "4 numbers up to 9"),
        ("knights_knaves", Problem("", "", "(1) Zoey is a knight\n(2) Owen is a knave"), "2 people"),
        ("gsm8k", Problem("", "", "3"), None),
    ],
)
def test_a_task_may_tell_kinds_of_problems(name: str, problem: Problem, kind: str | None) -> None:
    assert named(name).kind(problem) == kind


@pytest.mark.parametrize("name", ["countdown", "knights_knaves"])
def test_what_is_no_problem_has_no_kind(name: str) -> None:
    with pytest.raises(ValueError, match="'nobody'"):
        named(name).kind(Problem("", "", "nobody"))
