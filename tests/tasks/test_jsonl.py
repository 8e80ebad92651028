"""Questions of the user's own: how they are read, and what is said of those that cannot be."""

import hashlib
import json
import sys
import types
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import ValidationError

from reinforce_lite.errors import UserError
from reinforce_lite.tasks import REGISTRY, Problem, named, read_options, rows, task_of
from reinforce_lite.tasks.prepare import check

REVISION = "0" * 40


def row(number: int, **more: Any) -> dict[str, Any]:
    return {"question": f"what is {number} + 1 ?", "answer": str(number + 1), **more}


def write(path: Path, *lines: Any) -> Path:
    texts = [line if isinstance(line, bytes) else json.dumps(line).encode() for line in lines]
    path.write_bytes(b"\n".join(texts))
    return path


def options(**section: Any) -> Any:
    return read_options({"name": "jsonl", "dev_size": 0, **section})


def build(**section: Any) -> Any:
    chosen = options(**section)
    data = task_of(chosen).build(chosen)
    check(data)
    return data


@pytest.fixture
def test_file(tmp_path: Path) -> Path:
    return write(tmp_path / "test.jsonl", *map(row, range(100, 105)))


def test_dev_is_cut_from_train_by_the_seed_and_all_keep_the_order_of_the_file(tmp_path: Path, test_file: Path) -> None:
    train = write(tmp_path / "train.jsonl", *(row(n, solution=f"{n} + 1 = {n + 1}") for n in range(20)))
    cuts = []
    for seed in (0, 0, 1):
        data = build(train=train, test=test_file, dev_size=5, test_size=3, demonstrations=4, seed=seed)
        assert (len(data.train), len(data.dev), len(data.test)) == (15, 5, 3)
        for split in (data.train, data.dev):
            numbers = [int(problem.id.removeprefix("train-")) for problem in split]
            assert numbers == sorted(numbers)
        assert [problem.id for problem in data.test] == ["test-1", "test-2", "test-3"]
        assert all(problem.solution is None for problem in (*data.dev, *data.test))
        assert [shown.question for shown in data.demonstrations] == [problem.question for problem in data.train[:4]]
        cuts.append([problem.id for problem in data.dev])
    assert cuts[0] == cuts[1] != cuts[2]
    assert data.train[0].solution.endswith(f" = {data.train[0].answer} <answer> {data.train[0].answer} </answer>")


def test_without_a_file_of_its_own_the_test_is_cut_from_train(tmp_path: Path) -> None:
    train = write(tmp_path / "train.jsonl", *map(row, range(20)))
    data = build(train=train, dev_size=5, test_size=4)
    assert (len(data.train), len(data.dev), len(data.test)) == (11, 5, 4)
    with pytest.raises(UserError, match=r"task\.test_size: the test is cut from train, and nothing says how many"):
        build(train=train)


def test_the_source_has_the_sums_of_the_files(tmp_path: Path, test_file: Path) -> None:
    train = write(tmp_path / "train.jsonl", *map(row, range(3)))
    source = build(train=train, test=test_file).source
    for key, path in (("train", train), ("test", test_file)):
        assert source[key] == str(path)
        assert source[f"{key}, sha256"] == hashlib.sha256(path.read_bytes()).hexdigest()


def test_a_byte_order_mark_crlf_empty_lines_and_numbers_are_accepted(tmp_path: Path) -> None:
    plain = [row(1, id="a"), row(2, id=7), {"question": "é\u2028?", "answer": 3}]
    lines = "\r\n\r\n".join(json.dumps(one, ensure_ascii=False) for one in plain)
    path = tmp_path / "train.jsonl"
    path.write_bytes(b"\xef\xbb\xbf" + lines.encode() + b"\r\n")
    found = build(train=path, test=write(tmp_path / "test.jsonl", row(9))).train
    assert [(one.id, one.answer) for one in found] == [("a", "2"), ("7", "3"), ("train-5", "3")]
    assert found[2].question == "é\u2028?"


BAD: list[tuple[tuple[Any, ...], str]] = [
    ((row(1), b'{"question": "caf\xe9 ?", "answer": "1"}'), r"train\.jsonl:2: byte 18 \(0xe9\) is not UTF-8"),
    ((b"\xff\xfe{\x00",), r"train\.jsonl:1: byte 1 \(0xff\) is not UTF-8"),
    ((row(1), b'{"question": "a?", "answer": 1'), r"train\.jsonl:2: not valid JSON: Expecting"),
    ((row(1), b'{"question": "a?", "answer": NaN}'), r"train\.jsonl:2: not valid JSON: NaN is no number"),
    ((row(1), b'{"question": "a?", "answer": 1, "answer": 2}'), r"train\.jsonl:2: not valid JSON: a key stands twice"),
    ((b"[" * 100_000,), r"train\.jsonl:1: not valid JSON"),
    ((row(1), b"[1, 2]"), r"train\.jsonl:2: this is no JSON object"),
    ((b"question,answer",), r"train\.jsonl:1: not valid JSON"),
    ((row(1), {"question": " \n", "answer": "1"}), r"train\.jsonl:2: `question` is empty"),
    ((row(1), {"question": "a?", "answer": ""}), r"train\.jsonl:2: `answer` is empty"),
    ((row(1), {"question": "a?"}), r"train\.jsonl:2: `answer` is absent; the row has: question"),
    ((row(1), {"prompt": "a?", "answer": "1"}), r"train\.jsonl:2: `question` is absent; the row has: prompt, answer"),
    ((row(1), {"question": ["a?"], "answer": "1"}), r"train\.jsonl:2: `question` is \"\['a\?'\]\", not a text"),
    ((row(1), row(2, answer=True)), r"train\.jsonl:2: `answer` is 'True', not a text or a number"),
    ((row(1), row(2, solution=3)), r"train\.jsonl:2: `solution` is '3', not a text"),
    ((row(1), row(2, answer="two")), r"train\.jsonl:2: the answer is not a number: 'two'"),
    ((row(1, id="x"), row(2), row(3, id="x")), r"train\.jsonl:3: the id x stands at .*train\.jsonl:1 too"),
    ((row(1), row(2), {**row(1), "question": "what  is 1\t+ 1 ?"}), r"train\.jsonl:3: the question .* stands at .*:1 "),
    ((row(1), row(2, solution="it is <answer>7</answer>")), r"train\.jsonl:2: the last <answer> of the solution"),
    ((row(1), b'{"question": "\\ud800?", "answer": "1"}'), r"train\.jsonl:2: `question` holds half of a character"),
    ((b"",), r"task\.train: .*train\.jsonl is empty"),
    ((b" \r\n", b"\n"), r"task\.train: .*train\.jsonl is empty"),
]  # fmt: skip


@pytest.mark.parametrize(("lines", "message"), BAD, ids=[message[:50] for _, message in BAD])
def test_a_bad_row_is_named_with_file_line_and_fix(
    tmp_path: Path, test_file: Path, lines: tuple[Any, ...], message: str
) -> None:
    chosen = options(train=write(tmp_path / "train.jsonl", *lines), test=test_file)
    with pytest.raises(UserError, match=message) as caught:
        task_of(chosen).preflight(chosen)
    assert caught.value.fix


def test_a_question_of_the_test_that_stands_in_train_is_named(tmp_path: Path) -> None:
    train = write(tmp_path / "train.jsonl", row(1), row(2))
    test = write(tmp_path / "test.jsonl", row(3), {"question": " what is 2  + 1 ?\n", "answer": 3})
    with pytest.raises(UserError, match=r"test\.jsonl:2: the question 'what is 2 \+ 1 \?' stands at .*train\.jsonl:2"):
        build(train=train, test=test)
    with pytest.raises(UserError, match=r"task\.test: .* is the file of task\.train") as caught:
        build(train=train, test=train)
    assert "task.test_size" in caught.value.fix


def test_a_file_that_is_not_there_or_is_a_folder(tmp_path: Path, test_file: Path) -> None:
    for path, reason in ((tmp_path / "no.jsonl", "No such file or directory"), (tmp_path, "Is a directory")):
        with pytest.raises(UserError, match=rf"task\.train: cannot read {path}: {reason}"):
            build(train=path, test=test_file)
        with pytest.raises(UserError, match=rf"task\.test: cannot read {path}: {reason}"):
            build(train=test_file, test=path)


@pytest.mark.parametrize(
    ("sizes", "key"),
    [({"dev_size": 20}, "dev_size"), ({"train_size": 21}, "train_size"),
     ({"dev_size": 5, "train_size": 16}, "train_size"),
     ({"test_size": 6}, "test_size"), ({"demonstrations": 3}, "demonstrations")],
)  # fmt: skip
def test_more_than_there_is_names_the_key(tmp_path: Path, test_file: Path, sizes: dict[str, int], key: str) -> None:
    train = write(tmp_path / "train.jsonl", *map(row, range(18)), row(18, solution="19"), row(19, solution="20"))
    with pytest.raises(UserError, match=rf"task\.{key}: {sizes[key]} are asked for, and .*(\(20 rows in| has 2 with)"):
        build(train=train, test=test_file, **sizes)


@pytest.mark.parametrize(
    ("section", "message"),
    [
        ({}, "train, a file, or repo"),
        ({"train": "a", "repo": "b", "revision": REVISION}, "and not both"),
        ({"train": "a", "revision": REVISION}, "revision: it is not used with train"),
        ({"train": "a", "subset": "main"}, "subset: it is not used with train"),
        ({"train": "a", "path": "b"}, "Extra inputs"),
        ({"repo": "b"}, "revision: b is not pinned"),
        ({"repo": "b", "revision": "main"}, "main is no commit"),
        ({"repo": "b", "revision": REVISION, "test": "c"}, "test: it is not used with repo"),
        ({"train": "a", "grade": "multiple"}, "grade: 'multiple' is not one of numeric, exact, choice"),
        ({"train": "a", "grade": "my_reward.py"}, r"and no my_reward\.py:score"),
        ({"train": "a", "grade": "choice", "prompt": "one_shot"}, "prompt: with grade: choice there are tagged, bare"),
        (
            {"train": "a", "vocabulary": "gsm8k"},
            "vocabulary: 'gsm8k' is not one of countdown, knights_knaves, word_world",
        ),
        ({"train": "a", "columns": {"questoin": "q"}}, "columns"),
    ],
)
def test_keys_that_do_not_fit_are_refused(section: dict[str, Any], message: str) -> None:
    with pytest.raises(ValidationError, match=message):
        options(**section)


@pytest.mark.parametrize(
    ("grade", "answer", "right", "wrong"),
    [
        ("numeric", "1,080", ["<answer>1080</answer>", "so\n< Answer >$1,080.00</ANSWER> done"],
         ["1080", "<answer>1081</answer>", "<answer></answer>", ""]),
        ("exact", "New  York", ["<answer>New York</answer>", "<answer>\n New\nYork </answer>"],
         ["New York", "<answer>new york</answer>", "<answer>New York</answer><answer>Rome</answer>", ""]),
        ("exact", "¬p ∧ q", ["<answer> ¬p ∧ q </answer>"], ["<answer>¬p∧q</answer>"]),
        ("choice", "b", ["<answer>B</answer>", "<answer>(b)</answer>", "<answer> **B.** </answer>"],
         ["B", "<answer>C</answer>", "<answer>A or B</answer>", "<answer>BB</answer>", "<answer>8</answer>", ""]),
    ],
)  # fmt: skip
def test_grades_by_hand(tmp_path: Path, grade: str, answer: str, right: list[str], wrong: list[str]) -> None:
    train = write(tmp_path / "train.jsonl", {"question": "a?", "answer": answer}, {"question": "b?", "answer": answer})
    chosen = options(train=train, test_size=1, grade=grade)
    task = task_of(chosen)
    (problem,) = task.build(chosen).train
    assert [task.grade(text, problem)["correct"] for text in right] == [True] * len(right)
    assert [task.grade(text, problem)["correct"] for text in wrong] == [False] * len(wrong)
    assert set(task.grade("", problem)) == set(task.scores)
    asked = task.messages("tagged", "is {this} it?")[0]["content"]
    assert asked.startswith("is {this} it?") and "<answer>" in asked


def test_numbers_have_a_flexible_reading(tmp_path: Path) -> None:
    chosen = options(train=write(tmp_path / "train.jsonl", row(1), row(2)), test_size=1)
    problem = Problem("", "a?", "2")
    assert task_of(chosen).grade("it is 2.", problem) == {
        "correct": False, "flexible": True, "format": False, "published": False, "released": False,
    }  # fmt: skip
    assert task_of(chosen).unread("it is 2.") == "no complete answer tag"


@pytest.mark.parametrize(("grade", "answer"), [("choice", "Paris"), ("choice", "7"), ("exact", "a </answer> b")])
def test_an_answer_that_the_grade_cannot_read_is_named(tmp_path: Path, grade: str, answer: str) -> None:
    train = write(tmp_path / "train.jsonl", {"question": "a?", "answer": answer})
    with pytest.raises(UserError, match=r"train\.jsonl:1: the answer "):
        build(train=train, test_size=1, grade=grade)


def test_words_that_models_from_scratch_do_not_know_are_named(tmp_path: Path) -> None:
    known = {"question": "tom has 3 pens . how many pens now ?", "answer": 3}
    fruit = {"question": "tom has 3 kiwis . how many kiwis now ?", "answer": 3}
    train = write(tmp_path / "train.jsonl", known, fruit)
    assert len(build(train=train, test_size=1).train) == 1, "a policy with weights knows any word"
    with pytest.raises(UserError, match=r"train\.jsonl:2: 'kiwis' is no word of word_world"):
        build(train=train, test_size=1, vocabulary="word_world")
    chosen = options(train=train, test_size=1, vocabulary="word_world")
    assert "pens" in task_of(chosen).vocabulary and task_of(options(train=train)).vocabulary == ()


@pytest.mark.parametrize("name", REGISTRY)
def test_a_key_of_another_task_is_refused(name: str) -> None:
    """Also one that a file beneath sets for another task."""
    every = {key for other in REGISTRY for key in named(other).options.model_fields}
    for key in every - set(named(name).options.model_fields):
        with pytest.raises(ValidationError, match=rf"(?m)^{key}\n  Extra inputs are not permitted"):
            read_options({"name": name, "dev_size": 1, key: "x"})


def test_an_empty_solution_or_id_is_none(tmp_path: Path) -> None:
    train = write(tmp_path / "train.jsonl", row(1, solution=" ", id=""), row(2, solution=None, id=None))
    (problem,) = build(train=train, test_size=1).train
    assert problem.solution is None and problem.id in ("train-1", "train-2")


def test_other_names_of_columns(tmp_path: Path) -> None:
    lines = [{"problem": f"{n}?", "result": n, "worked": f"{n}", "answer": "not this"} for n in (1, 2)]
    columns = {"question": "problem", "answer": "result", "solution": "worked"}
    (problem,) = build(train=write(tmp_path / "train.jsonl", *lines), test_size=1, columns=columns).train
    assert problem.answer in ("1", "2") and problem.solution == f"{problem.answer} <answer> {problem.answer} </answer>"


def test_a_dataset_of_the_hub_at_a_pinned_revision(monkeypatch: pytest.MonkeyPatch) -> None:
    asked: list[Any] = []

    def load(repo: str, *subset: str, revision: str) -> Any:
        asked.append((repo, subset, revision))
        return {
            "train": [{"q": "1?", "answer": 1}, {"q": "2?", "answer": 2}],
            "validation": [{"q": "3?", "answer": "x"}],
        }

    module = types.ModuleType("datasets")
    monkeypatch.setattr(module, "load_dataset", load, raising=False)
    monkeypatch.setitem(sys.modules, "datasets", module)
    hub = {"repo": "me/sums", "revision": REVISION, "subset": "main", "columns": {"question": "q"}}
    with pytest.raises(UserError, match=r"me/sums at 0+, validation, row 1: the answer is not a number: 'x'"):
        build(**hub, splits={"test": "validation"})
    data = build(**hub, splits={"test": None}, test_size=1)
    assert (len(data.train), len(data.test)) == (1, 1)
    assert data.source == {"repo": "me/sums", "revision": REVISION}
    assert set(asked) == {("me/sums", ("main",), REVISION)}
    with pytest.raises(UserError, match=f"cannot load me/sums at {REVISION}"):
        build(**hub)
    chosen = options(**hub)
    assert task_of(chosen).preflight(chosen), "the network is not asked"
    assert task_of(chosen).remote(chosen).repo == "me/sums"


@given(st.lists(st.one_of(st.binary(max_size=60), st.sampled_from([json.dumps(row(1)).encode(), b'{"question": 3}']))))
def test_whatever_a_file_holds_it_is_read_or_refused(tmp_path_factory: Any, lines: list[bytes]) -> None:
    path = tmp_path_factory.getbasetemp() / "any.jsonl"
    path.write_bytes(b"\n".join(lines))
    try:
        found = rows.read(path, "task.train", "train", {})
    except UserError as error:
        assert "any.jsonl" in error.problem and error.fix
    else:
        assert found and all(one.question.strip() and one.answer for one in found)


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(),
    lambda inner: st.lists(inner) | st.dictionaries(st.sampled_from(rows.COLUMNS), inner),
    max_leaves=8,
)


@given(JSON, st.sampled_from(["numeric", "exact", "choice"]))
def test_whatever_a_row_holds_it_is_graded_or_refused(tmp_path_factory: Any, value: Any, grade: str) -> None:
    path = tmp_path_factory.getbasetemp() / "any_row.jsonl"
    path.write_text(json.dumps(value) + "\n" + json.dumps({"question": "other", "answer": "1", "id": "other"}))
    chosen = options(train=path, test_size=1, grade=grade)
    try:
        data = task_of(chosen).build(chosen)
    except UserError as error:
        assert "any_row.jsonl:" in error.problem and error.fix
    else:
        task = task_of(chosen)
        for problem in (*data.train, *data.test):
            assert task.grade(f"<answer>{problem.answer}</answer>", problem)["correct"]
