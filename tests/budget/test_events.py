"""Lines that are cut, corrupt, or written by several processes at once."""

import fcntl
import itertools
import json
import multiprocessing
import os
import shutil
import threading
import warnings

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ledger_lines import HARDWARE, close, opened, touch, write
from reinforce_lite.budget.chain import head_path
from reinforce_lite.budget.ledger import Ledger, attempts
from reinforce_lite.budget.reader import check, torn_lines
from reinforce_lite.errors import UserError


@pytest.fixture
def path(tmp_path):
    return tmp_path / "made" / "ledger.jsonl"


@pytest.mark.survives("a torn line in the ledger")
def test_wherever_a_line_is_cut_at_most_one_touch_interval_is_lost(tmp_path):
    lines = [opened(), touch(15), touch(30), close(40)]
    text = [json.dumps(line, separators=(",", ":")) for line in lines]
    paid = [0, 5, 20, 35, 45]  # after so many whole lines
    for whole, line in enumerate(text):
        for cut in range(len(line) + 1):
            path = tmp_path / "cut"
            head_path(path).unlink(missing_ok=True)
            path.write_text("".join(done + "\n" for done in text[:whole]) + line[:cut])
            with warnings.catch_warnings(record=True) as told:
                warnings.simplefilter("always")
                seconds = sum(attempt.seconds for attempt in attempts(path))
            assert seconds == paid[whole + (cut == len(line))], line[:cut]
            torn = 0 < cut < len(line)
            assert len(told) == torn == len(torn_lines(path)) == len(check(path))
        other = Ledger(path).open("evaluate", HARDWARE)  # the next writer, after the longest piece
        assert [attempt.id for attempt in attempts(path)] == ["a", other]
    assert max(later - sooner for sooner, later in itertools.pairwise(paid[1:])) == 15


@pytest.mark.parametrize("kind", ["open", "touch", "close"])
@pytest.mark.survives("a torn line in the ledger")
def test_the_next_writer_ends_a_torn_line_of_any_kind(path, kind):
    line = json.dumps({"open": opened(), "touch": touch(1), "close": close(2)}[kind], separators=(",", ":"))
    for cut in range(1, len(line)):
        shutil.rmtree(path.parent, ignore_errors=True)
        path.parent.mkdir()
        path.write_text(line[:cut])
        ledger = Ledger(path)
        closed = ledger.close(ledger.open("train", HARDWARE), "finished")
        with pytest.warns(UserWarning, match="line 1: skipped"):
            assert attempts(path) == [closed]
        assert path.read_text().split("\n")[0] == line[:cut] and torn_lines(path) == [1]


@pytest.mark.survives("a torn line in the ledger")
def test_a_torn_last_line_stops_nobody(path):
    ledger = Ledger(path)
    first = ledger.open("train", HARDWARE)
    with path.open("a") as handle:
        handle.write('{"event":"touch","id":"' + first[:9])
    with pytest.warns(UserWarning, match="line 2"):
        assert len(attempts(path)) == 1
    closed = ledger.close(first, "finished")
    assert torn_lines(path) == [2] and [problem.split(": ")[1] for problem in check(path)] == ["torn"]
    assert path.read_text().splitlines()[1] == '{"event":"touch","id":"' + first[:9]  # still there
    with pytest.warns(UserWarning, match="line 2"):
        assert attempts(path) == [closed]


def test_a_line_that_lacks_only_its_newline_counts(tmp_path):
    path = write(tmp_path / "l", opened(), close(10))
    path.write_bytes(path.read_bytes().rstrip(b"\n"))
    assert torn_lines(path) == [] and attempts(path)[0].outcome == "finished"
    other = Ledger(path).open("evaluate", HARDWARE)
    assert [a.id for a in attempts(path)] == ["a", other]


@given(st.data(), st.text(), st.floats(allow_nan=False, allow_infinity=False))
def test_every_beginning_of_a_line_is_torn_and_no_whole_line_is(tmp_path_factory, data, error, reading):
    path = tmp_path_factory.getbasetemp() / "torn.jsonl"
    event = {**close(0, error=error), "clock": reading, "more": None}
    whole = json.dumps(event, separators=(",", ":"), ensure_ascii=data.draw(st.booleans())).encode()
    path.write_bytes(whole[: data.draw(st.integers(1, len(whole) - 1))])
    assert torn_lines(path) == [1]
    path.write_bytes(whole)
    assert torn_lines(path) == [] and len(check(path)) == 1  # whole, and wrong: no event has "more"


@pytest.mark.survives("power loss while writing the ledger")
def test_power_loss_leaves_nul_bytes(tmp_path):
    path = tmp_path / "l"
    path.write_bytes(json.dumps(opened()).encode() + b'\n{"event":"tou' + b"\0" * 40)
    assert torn_lines(path) == [2]
    path.write_bytes(json.dumps(opened()).encode() + b"\n" + b"\0" * 40)
    assert torn_lines(path) == [2]


@pytest.mark.parametrize(
    ("line", "reason"),
    [
        ("hello", "JSON"),
        ('{"event": "touch", "id": a}', "JSON"),
        (json.dumps({**touch(1), "event": "pause"}), "pause"),
        (json.dumps({**touch(1), "clock": "soon"}), "clock"),
        (json.dumps({key: value for key, value in touch(1).items() if key != "time"}), "time"),
        (json.dumps(opened(usd_per_hour=-1.0)), "usd_per_hour"),
        (json.dumps(opened(count=0)), "count"),
    ],
)
def test_a_corrupt_line_is_named(tmp_path, line, reason):
    path = write(tmp_path / "ledger.jsonl", opened(), line, close(5))
    with pytest.raises(UserError) as caught:
        attempts(path)
    assert f"{path}, line 2" in caught.value.problem and reason in caught.value.problem
    assert "restore the ledger" in caught.value.fix
    assert check(path) == [caught.value.problem] and torn_lines(path) == []


def test_a_full_disk_is_told_and_nothing_is_left_open(path, monkeypatch):
    ledger = Ledger(path)
    attempt_id = ledger.open("train", HARDWARE)
    write_all = os.write
    monkeypatch.setattr(os, "write", lambda descriptor, line: write_all(descriptor, line[:20]))
    with pytest.raises(UserError, match=r"cannot write the ledger .*No space left"):
        ledger.touch(attempt_id)
    monkeypatch.undo()
    ledger.close(attempt_id, "finished")
    with pytest.warns(UserWarning, match="line 2"):
        assert attempts(path)[0].outcome == "finished"


def test_a_folder_in_the_way_is_told(tmp_path):
    with pytest.raises(UserError, match="cannot write the ledger"):
        Ledger(tmp_path).open("train", HARDWARE)


def _append_many(path, number):
    ledger = Ledger(path)
    for seed in range(10):
        attempt_id = ledger.open(f"stage{number}", HARDWARE, seed=seed)
        for _ in range(5):
            ledger.touch(attempt_id)
        ledger.close(attempt_id, "finished")


@pytest.mark.survives("several writers of the ledger at once")
def test_several_writers_lose_no_line(path):
    context = multiprocessing.get_context("fork")
    writers = [context.Process(target=_append_many, args=(path, number)) for number in range(4)]
    for writer in writers:
        writer.start()
    for writer in writers:
        writer.join()
    assert [writer.exitcode for writer in writers] == [0] * 4
    assert check(path) == [] and torn_lines(path) == [] and len(path.read_text().splitlines()) == 4 * 10 * 7
    found = {(attempt.stage, attempt.seed, attempt.outcome) for attempt in attempts(path)}
    assert found == {(f"stage{number}", seed, "finished") for number in range(4) for seed in range(10)}


def test_a_writer_waits_for_its_turn(path):
    ledger = Ledger(path)
    attempt_id = ledger.open("train", HARDWARE)
    before = path.read_bytes()
    with path.open("rb") as other:
        fcntl.flock(other, fcntl.LOCK_EX)
        writer = threading.Thread(target=ledger.touch, args=(attempt_id,))
        writer.start()
        writer.join(0.3)
        assert path.read_bytes() == before
    writer.join()
    assert path.read_bytes() != before and check(path) == []
