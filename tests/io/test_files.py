import os
import stat
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from reinforce_lite.errors import UserError
from reinforce_lite.io.files import (
    atomic_folder,
    atomic_text,
    check_folder,
    read_json,
    read_jsonl,
    write_json,
    write_jsonl,
)

values = st.dictionaries(st.text(), st.one_of(st.text(), st.integers(), st.booleans(), st.none()), max_size=4)


@given(st.lists(values, max_size=5))
def test_rows_come_back_whatever_is_in_them(tmp_path_factory: Any, rows: list[dict[str, Any]]) -> None:
    path = tmp_path_factory.mktemp("rows") / "x.jsonl"
    write_jsonl(path, rows)
    assert read_jsonl(path) == rows


def test_line_separators_inside_a_text_do_not_cut_a_row(tmp_path: Path) -> None:
    rows = [{"completion": "a\u2028b\x0bc\x85d\r\ne"}]
    write_jsonl(tmp_path / "x.jsonl", rows)
    assert read_jsonl(tmp_path / "x.jsonl") == rows


def test_a_failed_write_leaves_the_old_file_and_nothing_else(tmp_path: Path) -> None:
    path = tmp_path / "x.json"
    write_json(path, {"a": 1})
    with pytest.raises(RuntimeError), atomic_text(path) as handle:
        handle.write("half")
        raise RuntimeError("killed")
    assert read_json(path) == {"a": 1}
    assert [p.name for p in tmp_path.iterdir()] == ["x.json"]


def test_a_failed_folder_leaves_the_old_one(tmp_path: Path) -> None:
    for text in ("old", "new"):
        with atomic_folder(tmp_path / "weights") as folder:
            (folder / "x").write_text(text)
    assert (tmp_path / "weights/x").read_text() == "new"
    with pytest.raises(RuntimeError), atomic_folder(tmp_path / "weights") as folder:
        (folder / "x").write_text("half")
        raise RuntimeError("killed")
    assert (tmp_path / "weights/x").read_text() == "new"
    assert [p.name for p in tmp_path.iterdir()] == ["weights"]


@pytest.mark.survives("disk full while writing results")
def test_a_full_disk_is_told_in_words(tmp_path: Path) -> None:
    if not Path("/dev/full").exists():
        pytest.skip("no /dev/full here")
    (tmp_path / f".x.json.{os.getpid()}.tmp").symlink_to("/dev/full")
    with pytest.raises(
        UserError, match=r"cannot write .*x\.json: No space left on device\n  fix: free some disk space"
    ):
        write_json(tmp_path / "x.json", {"a": 1})
    assert not (tmp_path / "x.json").exists()


@pytest.mark.skipif(os.geteuid() == 0, reason="root may write anywhere")
def test_a_read_only_folder_is_told_in_words(tmp_path: Path) -> None:
    tmp_path.chmod(stat.S_IRUSR | stat.S_IXUSR)
    with pytest.raises(UserError, match="cannot write"):
        write_json(tmp_path / "x.json", {})


def test_numbers_that_json_does_not_have_are_refused(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="not JSON compliant"):
        write_json(tmp_path / "x.json", {"a": float("nan")})
    assert not (tmp_path / "x.json").exists()


def test_bad_files_are_named(tmp_path: Path) -> None:
    path = tmp_path / "x.jsonl"
    with pytest.raises(UserError, match=r"x\.jsonl does not exist"):
        read_jsonl(path)
    path.write_text('{"a": 1}\n{"a": \n')
    with pytest.raises(UserError, match=r"x\.jsonl, line 2: not valid JSON"):
        read_jsonl(path)
    with pytest.raises(UserError, match=r"x\.jsonl: not valid JSON"):
        read_json(path)


def test_what_cannot_be_a_folder_is_named(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("x")
    (tmp_path / "dangling").symlink_to(tmp_path / "nowhere")
    (tmp_path / "loop").symlink_to("loop")
    (tmp_path / "good").symlink_to(tmp_path)
    for path, said in (
        ("file", "is a file"),
        ("file/mini", "file is a file"),
        ("dangling/mini", "is a link to"),
        ("loop", "is a link to loop"),
    ):
        with pytest.raises(UserError, match=rf"{said}.*\n  fix: move it away"):
            check_folder(tmp_path / path)
    for path in ("good", "good/mini", "absent/mini"):
        check_folder(tmp_path / path)


def test_what_cannot_be_read_is_no_traceback(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("x")
    for path in (tmp_path, tmp_path / "file/x.json"):
        with pytest.raises(UserError, match=r"cannot read .*\n  fix: make it a file"):
            read_json(path)
