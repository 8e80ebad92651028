import os
from pathlib import Path

import pytest

from reinforce_lite.io.journal import Journal

ROWS = [{"step": 0, "text": "a\u2028b\r\nc\x85"}, {"step": 1, "x": 0.1}, [1, 2]]


@pytest.fixture
def journal(tmp_path: Path) -> Journal:
    made = Journal(tmp_path / "deep/rows.jsonl")
    for row in ROWS:
        made.append(row)
    return made


def test_rows_are_on_the_disk_at_once_and_come_back(journal: Journal) -> None:
    assert Journal(journal.path).rows() == ROWS
    assert Journal(journal.path.with_name("nothing")).rows() == []


def test_cut_anywhere_only_whole_rows_count_and_more_can_follow(journal: Journal) -> None:
    whole = journal.path.read_bytes()
    ends = [i + 1 for i, byte in enumerate(whole) if byte == ord("\n")]
    for size in range(len(whole)):
        journal.path.write_bytes(whole[:size])
        left = sum(end <= size for end in ends)
        assert journal.rows() == ROWS[:left]
        journal.cut(left)
        journal.append("next")
        assert journal.rows() == [*ROWS[:left], "next"]


def test_a_flipped_bit_ends_what_is_read(journal: Journal) -> None:
    whole = journal.path.read_bytes()
    for place in range(len(whole)):
        changed = bytearray(whole)
        changed[place] ^= 1
        journal.path.write_bytes(changed)
        assert journal.rows() == ROWS[: whole[:place].count(b"\n")]


def test_cutting_forgets_the_rows_behind(journal: Journal) -> None:
    journal.cut(1)
    assert journal.rows() == ROWS[:1]
    journal.append(ROWS[1])
    assert journal.rows() == ROWS[:2]
    journal.remove()
    assert journal.rows() == []


def test_on_a_full_disk_rows_wait_for_room(journal: Journal, monkeypatch: pytest.MonkeyPatch) -> None:
    real, room = os.write, 10

    def write(handle: int, data: bytes) -> int:
        nonlocal room
        if not room:
            raise OSError(28, "No space left on device")
        done = real(handle, data[:room])
        room -= done
        return done

    monkeypatch.setattr(os, "write", write)
    journal.append("late")
    journal.append("later")
    assert journal.rows() == ROWS
    with pytest.raises(OSError, match="No space left"):
        journal.sync()
    monkeypatch.undo()
    journal.append("last")
    assert journal.rows() == [*ROWS, "late", "later", "last"]
