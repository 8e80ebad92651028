import hashlib
import json

import pytest

from reinforce_lite.errors import UserError
from reinforce_lite.tasks import Dataset, Demonstration, Problem, gsm8k, read_options
from reinforce_lite.tasks.prepare import load_demonstrations, load_manifest, load_split, prepare

SETTINGS = read_options({"name": "gsm8k", "dev_size": 1})


def problem(name, question):
    return Problem(name, question, "5")


def dataset(**changes):
    parts = {
        "train": [problem("train-0", "a\u2028 é?"), problem("train-2", "b?")],
        "dev": [problem("train-1", "c?")],
        "test": [problem("test-0", "d?")],
        "demonstrations": [Demonstration("a\u2028 é?", "so\n<answer>5</answer>")],
        "source": {"dataset": "handmade"},
    }
    return Dataset(**{**parts, **changes})


def offer(monkeypatch, data):
    monkeypatch.setattr(gsm8k.TASK, "build", lambda settings: data)


@pytest.fixture
def folder(tmp_path, monkeypatch):
    offer(monkeypatch, dataset())
    prepare(SETTINGS, tmp_path / "task")
    return tmp_path / "task"


def test_what_is_written_is_what_is_read(folder):
    data = dataset()
    assert load_split(folder, "train") == data.train
    assert load_split(folder, "dev") == data.dev
    assert load_split(folder, "test") == data.test
    assert load_demonstrations(folder) == data.demonstrations


def test_manifest(tmp_path, monkeypatch):
    offer(monkeypatch, dataset())
    manifest = prepare(SETTINGS, tmp_path)
    assert load_manifest(tmp_path) == manifest
    assert manifest["counts"] == {"train": 2, "dev": 1, "test": 1, "demonstrations": 1}
    assert manifest["source"] == {"dataset": "handmade"}
    assert read_options(manifest["settings"]) == SETTINGS
    assert {path.name for path in tmp_path.iterdir()} == {*manifest["sha256"], "manifest.json"}
    for name, digest in manifest["sha256"].items():
        assert hashlib.sha256((tmp_path / name).read_bytes()).hexdigest() == digest


def test_the_same_data_give_the_same_bytes(tmp_path, monkeypatch):
    offer(monkeypatch, dataset())
    for name in ("one", "two"):
        prepare(SETTINGS, tmp_path / name)
    for path in (tmp_path / "one").iterdir():
        assert path.read_bytes() == (tmp_path / "two" / path.name).read_bytes()


def test_no_demonstrations_is_an_empty_file(tmp_path, monkeypatch):
    offer(monkeypatch, dataset(demonstrations=[]))
    prepare(SETTINGS, tmp_path)
    assert load_demonstrations(tmp_path) == []


@pytest.mark.parametrize("name", ["train", "dev", "test", "demonstrations"])
def test_a_changed_file_is_refused(folder, name):
    path = folder / f"{name}.jsonl"
    path.write_text(path.read_text(encoding="utf-8").replace("5", "6"), encoding="utf-8")
    with pytest.raises(UserError, match=rf"{name}\.jsonl was changed"):
        load_demonstrations(folder) if name == "demonstrations" else load_split(folder, name)


def test_an_absent_file_is_refused(folder):
    (folder / "test.jsonl").unlink()
    with pytest.raises(UserError, match=r"test\.jsonl does not exist"):
        load_split(folder, "test")


def test_a_folder_without_manifest_is_incomplete(folder):
    (folder / "manifest.json").unlink()
    with pytest.raises(UserError, match=r"manifest\.json does not exist"):
        load_split(folder, "test")


@pytest.mark.parametrize("content", [[], {"sha256": 5}, {}])
def test_a_manifest_that_is_none(folder, content):
    (folder / "manifest.json").write_text(json.dumps(content), encoding="utf-8")
    with pytest.raises(UserError, match="is no manifest"):
        load_manifest(folder)


def test_unknown_split(folder):
    with pytest.raises(UserError, match="no split 'validation'"):
        load_split(folder, "validation")


def test_a_run_that_dies_halfway_leaves_no_manifest(folder, monkeypatch):
    offer(monkeypatch, dataset(dev=[Problem("train-1", "\ud800", "5")]))  # a lone surrogate cannot be written as UTF-8
    with pytest.raises(UnicodeEncodeError):
        prepare(SETTINGS, folder)
    with pytest.raises(UserError, match=r"manifest\.json does not exist"):
        load_manifest(folder)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"test": [problem("test-0", "b?")]}, "test-0 asks the same question as train-2"),
        ({"train": [problem("train-0", "a?"), problem("train-9", "a?")]}, "train-9 asks the same question as train-0"),
        ({"demonstrations": [Demonstration("d?", "5")]}, "a demonstration asks the question of test-0"),
        ({"demonstrations": [Demonstration("c?", "5")]}, "a demonstration asks the question of train-1"),
    ],
)
def test_a_question_in_two_places_is_refused(tmp_path, monkeypatch, changes, message):
    offer(monkeypatch, dataset(**changes))
    with pytest.raises(UserError, match=message):
        prepare(SETTINGS, tmp_path)
    assert not list(tmp_path.iterdir())


def test_the_generated_world_goes_through(tmp_path):
    settings = read_options(
        {"name": "word_world", "train_size": 12, "dev_size": 4, "test_size": 6, "demonstrations": 5}
    )
    manifest = prepare(settings, tmp_path)
    assert manifest["counts"] == {"train": 12, "dev": 4, "test": 6, "demonstrations": 5}
    assert len(load_split(tmp_path, "test")) == 6
    assert len(load_demonstrations(tmp_path)) == 5
