import hashlib
import json
import os
import subprocess
import sys
import types
from pathlib import Path

import pytest

from reinforce_lite.errors import UserError
from reinforce_lite.tasks import Problem, answers, gsm8k

GSM8K_DIR = os.environ.get("GSM8K_DIR")
needs_gsm8k = pytest.mark.skipif(not GSM8K_DIR, reason="GSM8K_DIR names no folder with the original files")


def make_rows(split, count):
    return [
        {
            "question": f"{split}: {i} + 1000?",
            "answer": f"It is {i}+1000=<<{i}+1000={i + 1000}>>{i + 1000}.\n#### 1,{i:03}",
        }
        for i in range(count)
    ]


ROWS = {"train": make_rows("train", 20), "test": make_rows("test", 6)}


def settings(**changes):
    return gsm8k.Gsm8kOptions(**{"name": "gsm8k", "dev_size": 5, **changes})


def write(folder, rows=None, monkeypatch=None):
    """Write both files; with `monkeypatch`, make them the originals."""
    for split, values in (rows or ROWS).items():
        path = folder / f"{split}.jsonl"
        path.write_text("".join(json.dumps(value) + "\n" for value in values), encoding="utf-8")
        if monkeypatch:
            declare(monkeypatch, split, path.read_bytes(), values)
    return folder


def declare(monkeypatch, split, content, values):
    digest = gsm8k.content_digest((value["question"], value["answer"]) for value in values)
    original = gsm8k.Original(len(values), hashlib.sha256(content).hexdigest(), digest)
    monkeypatch.setitem(gsm8k.ORIGINALS, split, original)


@pytest.fixture
def folder(tmp_path, monkeypatch):
    return write(tmp_path, monkeypatch=monkeypatch)


def serve(monkeypatch, load):
    """Put a module in the place of the hub's client."""
    module = types.ModuleType("datasets")
    module.load_dataset = load
    monkeypatch.setitem(sys.modules, "datasets", module)


def test_splits(folder):
    data = gsm8k.TASK.build(settings(path=folder, train_size=7, test_size=4))
    assert (len(data.train), len(data.dev), len(data.test)) == (7, 5, 4)
    assert [problem.id for problem in data.test] == ["test-0", "test-1", "test-2", "test-3"]
    assert data.test[2] == Problem("test-2", "test: 2 + 1000?", "1002")
    for split in (data.train, data.dev):
        positions = [int(problem.id.removeprefix("train-")) for problem in split]
        assert positions == sorted(positions)
    assert not {problem.id for problem in data.train} & {problem.id for problem in data.dev}


def test_null_sizes_take_everything(folder):
    data = gsm8k.TASK.build(settings(path=folder))
    assert (len(data.train), len(data.test)) == (15, 6)
    assert {problem.id for problem in data.train + data.dev} == {f"train-{i}" for i in range(20)}


def test_seed_moves_dev_and_nothing_else_does(folder):
    dev = gsm8k.TASK.build(settings(path=folder)).dev
    assert gsm8k.TASK.build(settings(path=folder, train_size=3, demonstrations=2)).dev == dev
    assert any(gsm8k.TASK.build(settings(path=folder, seed=seed)).dev != dev for seed in (1, 2, 3))


def test_demonstrations_are_worked_solutions_in_the_tag_format(folder):
    data = gsm8k.TASK.build(settings(path=folder, demonstrations=4))
    assert [item.question for item in data.demonstrations] == [problem.question for problem in data.train[:4]]
    for item, problem in zip(data.demonstrations, data.train, strict=False):
        i = int(problem.id.removeprefix("train-"))
        assert item.completion == f"It is {i}+1000={i + 1000}.\n<answer>1,{i:03}</answer>"
        assert answers.is_correct(answers.strict(item.completion), problem.answer)
    assert gsm8k.TASK.build(settings(path=folder)).demonstrations == []


def test_source_says_where_the_rows_came_from(folder):
    source = gsm8k.TASK.build(settings(path=folder)).source
    assert source["path"] == str(folder)
    assert source["content"]["test"] == gsm8k.ORIGINALS["test"].content


@pytest.mark.parametrize(
    ("key", "value", "available"),
    [("train_size", 16, 15), ("dev_size", 20, 19), ("test_size", 7, 6), ("demonstrations", 16, 15)],
)
def test_asking_for_more_than_there_is(folder, key, value, available):
    for check in (gsm8k.TASK.preflight, gsm8k.TASK.build):
        with pytest.raises(UserError, match=rf"task\.{key}: {value} .*{available}"):
            check(settings(path=folder, **{key: value}))


def test_absent_file(folder):
    (folder / "test.jsonl").unlink()
    for check in (gsm8k.TASK.preflight, gsm8k.TASK.build):
        with pytest.raises(UserError, match=r"task\.path: cannot read .*test\.jsonl"):
            check(settings(path=folder))


def test_changed_file(folder):
    path = folder / "train.jsonl"
    path.write_text(path.read_text(encoding="utf-8").replace("1,003", "1,004"), encoding="utf-8")
    for check in (gsm8k.TASK.preflight, gsm8k.TASK.build):
        with pytest.raises(UserError, match=r"train\.jsonl is not the original file"):
            check(settings(path=folder))


def test_check_source_accepts_good_files_and_asks_no_network(folder, monkeypatch):
    serve(monkeypatch, lambda *_, **__: pytest.fail("the network was asked"))
    gsm8k.TASK.preflight(settings(path=folder))
    gsm8k.TASK.preflight(settings())


@pytest.mark.parametrize(
    ("line", "message"),
    [
        ("not json", "line 3: not valid JSON"),
        ("[1]", "line 3: a row needs"),
        ('{"question": "q"}', "line 3: a row needs"),
        ('{"question": "q", "answer": 5}', "line 3: a row needs"),
        ('{"question": "q", "answer": "no mark"}', "line 3: the answer must end"),
        ('{"question": "q", "answer": "5"}', "line 3: the answer has no line"),
        ('{"question": "q", "answer": "w\\n#### five"}', "line 3: the answer must end"),
    ],
)
def test_bad_rows_name_file_and_line(folder, monkeypatch, line, message):
    path = folder / "train.jsonl"
    lines = path.read_text(encoding="utf-8").splitlines()
    lines[2] = line
    path.write_text("\n".join(lines), encoding="utf-8")
    declare(monkeypatch, "train", path.read_bytes(), ROWS["train"])
    with pytest.raises(UserError, match=rf"train\.jsonl, {message}"):
        gsm8k.TASK.build(settings(path=folder))


def test_hub_gives_what_the_files_give(folder, monkeypatch):
    calls = []

    def load(repo, name, *, revision):
        calls.append((repo, name, revision))
        return ROWS

    serve(monkeypatch, load)
    from_hub = gsm8k.TASK.build(settings(demonstrations=3))
    from_files = gsm8k.TASK.build(settings(path=folder, demonstrations=3))
    assert (from_hub.train, from_hub.dev, from_hub.test) == (from_files.train, from_files.dev, from_files.test)
    assert from_hub.demonstrations == from_files.demonstrations
    assert set(calls) == {("openai/gsm8k", "main", "e53f048856ff4f594e959d75785d2c2d37b678ee")}
    assert from_hub.source["revision"] == "e53f048856ff4f594e959d75785d2c2d37b678ee"


def test_unreachable_hub_names_the_way_out(folder, monkeypatch):
    def load(*_, **__):
        raise ConnectionError("no route to host\nand a long story")

    serve(monkeypatch, load)
    with pytest.raises(UserError, match=r"openai/gsm8k.*no route to host") as caught:
        gsm8k.TASK.build(settings())
    assert "task.path" in caught.value.fix
    assert "long story" not in str(caught.value)


@pytest.mark.parametrize("change", ["other question", "row less", "other order"])
def test_hub_with_other_content(folder, monkeypatch, change):
    rows = list(ROWS["test"])
    if change == "other question":
        rows[0] = {**rows[0], "question": "changed?"}
    elif change == "row less":
        rows.pop()
    else:
        rows.reverse()
    serve(monkeypatch, lambda *_, **__: {**ROWS, "test": rows})
    with pytest.raises(UserError, match="does not hold the original test split"):
        gsm8k.TASK.build(settings())


def test_content_digest_is_the_documented_one():
    """One line of JSON a pair, by hand."""
    by_hand = hashlib.sha256(b'["a?", "1\\n#### 1"]\n["\xc3\xa9", "2"]\n').hexdigest()
    assert gsm8k.content_digest([("a?", "1\n#### 1"), ("é", "2")]) == by_hand
    assert gsm8k.content_digest([("a", "bc")]) != gsm8k.content_digest([("ab", "c")])


def test_tasks_import_neither_torch_nor_datasets():
    code = (
        "import sys, reinforce_lite.tasks.prepare\n"
        "from reinforce_lite.tasks import REGISTRY, named\n"
        "[named(name) for name in REGISTRY]\n"
        "sys.exit(bool({'torch', 'datasets', 'numpy', 'transformers'} & set(sys.modules)))"
    )
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0


@needs_gsm8k
def test_the_original_files():
    data = gsm8k.TASK.build(settings(path=Path(GSM8K_DIR), dev_size=500, demonstrations=1000))
    assert (len(data.train), len(data.dev), len(data.test)) == (6973, 500, 1319)
    assert data.test[0].question.startswith("Janet\u2019s ducks lay 16 eggs per day.")
    assert data.test[0].answer == "18"
    assert len({problem.question for problem in data.train + data.dev + data.test}) == 8792
    golds = {problem.question: problem.answer for problem in data.train}
    for item in data.demonstrations:
        assert "<<" not in item.completion
        assert "####" not in item.completion
        assert answers.is_correct(answers.strict(item.completion), golds[item.question])


@needs_gsm8k
@pytest.mark.parametrize("split", ["train", "test"])
def test_content_digest_of_the_original_files(split):
    lines = (Path(GSM8K_DIR) / f"{split}.jsonl").read_bytes().splitlines()
    pairs = [(row["question"], row["answer"]) for row in map(json.loads, lines)]
    assert len(pairs) == gsm8k.ORIGINALS[split].count
    assert gsm8k.content_digest(pairs) == gsm8k.ORIGINALS[split].content


@needs_gsm8k
def test_every_gold_answer_reads_back_through_the_strict_parser():
    count = 0
    for split in ("train", "test"):
        for number, line in enumerate((Path(GSM8K_DIR) / f"{split}.jsonl").read_bytes().splitlines()):
            problem = gsm8k.parse_row(json.loads(line), f"{split}-{number}", f"line {number + 1}")
            assert answers.is_correct(answers.strict(problem.solution), problem.answer)
            count += 1
    assert count == 8792
