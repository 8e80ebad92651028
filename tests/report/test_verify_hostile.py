"""A folder that is rotten, or that was made to hurt who verifies it: a message names the place, never a traceback."""

import json
import random
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from planted import TRAIN, TRAINED, change_row
from reinforce_lite.errors import UserError
from reinforce_lite.io.files import read_json, write_json
from reinforce_lite.report.verify import agree, verify

FILES = (
    "config.json", "summary.json", "verdicts.json", "traces.json", "data/manifest.json", f"{TRAINED}/evaluation.json",
    f"{TRAIN}/training.json", "compare/tiny-llama/leave_one_out/seed0.json", "policies/tiny-llama/policy.json",
)  # fmt: skip
ROWS = (
    "data/test.jsonl",
    f"{TRAINED}/items.jsonl",
    f"{TRAIN}/completions.jsonl",
    f"{TRAIN}/metrics.jsonl",
    "ledger.jsonl",
)
OTHERS = (None, [], {}, "x", 3, -1.5, True, [[1]], {"a": 1})


ROTTEN = {
    "bytes": (b'{"a": "\xff"}\n', "not UTF-8 (byte 0xff)"),
    "deep": (b"[" * 200_000, "not valid JSON"),
    "digits": (b'{"a": ' + b"9" * 6000 + b"}\n", "not valid JSON"),
    "cut": (b'{"a":\n', "not valid JSON"),
    "list": (b"[3]\n", "not a JSON object"),
    "number": (b"3\n", "not a JSON object"),
}


@pytest.mark.parametrize("kind", ROTTEN)
@pytest.mark.parametrize("name", ["summary.json", f"{TRAINED}/items.jsonl"])
def test_a_rotten_file_is_named_with_the_reason(folder: Path, name: str, kind: str) -> None:
    content, reason = ROTTEN[kind]
    (folder / name).write_bytes(content)
    with pytest.raises(UserError, match=rf"{re.escape(name)}.*{re.escape(reason)}"):
        verify(folder)


@pytest.mark.parametrize("name", [*FILES, *ROWS])
def test_every_file_may_be_rotten(folder: Path, name: str) -> None:
    (folder / name).write_bytes(ROTTEN["bytes"][0])
    try:
        named = {one.file for check in verify(folder) for one in check.differences}
    except UserError as error:
        named = {name} if name in error.problem else set()
    assert name in named


@pytest.mark.parametrize("name", ["../../outside.txt", "/etc/hostname", "sub/../../../outside.txt"])
@pytest.mark.parametrize("record", [f"{TRAINED}/evaluation.json", "data/manifest.json", "summary.json"])
def test_a_sum_names_no_file_outside_of_the_folder(folder: Path, name: str, record: str) -> None:
    (folder.parent / "outside.txt").write_text("secret")
    content = read_json(folder / record)
    deep = "../" * len(Path(record).parent.parts)
    place = content.setdefault("sha256", {}) if "manifest" in record else content.setdefault("sums", {})
    place = content["provenance"]["files"] if record == "summary.json" else place
    place[name if name.startswith("/") else deep + name] = "0" * 64
    write_json(folder / record, content)
    with pytest.raises(UserError, match="outside"):
        verify(folder)


def test_a_link_that_leads_out_is_not_followed(folder: Path) -> None:
    (folder.parent / "outside.txt").write_text("secret")
    (folder / TRAINED / "link").symlink_to(folder.parent / "outside.txt")
    record = folder / TRAINED / "evaluation.json"
    content = read_json(record)
    write_json(record, {**content, "sums": {**content["sums"], "link": "0" * 64}})
    with pytest.raises(UserError, match="outside"):
        verify(folder)


def places(value: Any, at: tuple[Any, ...] = ()) -> Iterator[tuple[Any, ...]]:
    if at:
        yield at
    inner = value.items() if isinstance(value, dict) else enumerate(value[:2]) if isinstance(value, list) else ()
    for key, part in inner:
        yield from places(part, (*at, key))


def replaced(value: Any, at: tuple[Any, ...], new: Any) -> Any:
    if not at:
        return new
    copy = value.copy()
    copy[at[0]] = replaced(value[at[0]], at[1:], new)
    return copy


@pytest.mark.parametrize("name", FILES)
def test_no_value_of_another_kind_is_a_traceback(folder: Path, name: str) -> None:
    """Some of the keys of each file, drawn by a fixed seed, get some value of another kind."""
    rng, content = random.Random(name), read_json(folder / name)
    keys = list(places(content))
    for at in rng.sample(keys, min(4, len(keys))):
        changed = replaced(content, at, rng.choice(OTHERS))
        if json.dumps(changed) != json.dumps(content):
            write_json(folder / name, changed)
            try:
                assert not agree(verify(folder)), at
            except UserError as error:
                assert "fix:" in str(error)


@pytest.mark.parametrize("name", ROWS[1:4])
def test_a_value_of_another_kind_in_a_row_is_named_with_its_line(folder: Path, name: str) -> None:
    key = {"items.jsonl": "length", "completions.jsonl": "reward", "metrics.jsonl": "step"}[Path(name).name]
    change_row(folder / name, 4, lambda row: {key: "many"})
    with pytest.raises(UserError, match=rf"{re.escape(name)}, line 5: {key} is many"):
        verify(folder)
