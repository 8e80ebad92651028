"""Frauds with money: in a row of the ledger, before the report and after it."""

from pathlib import Path

import pytest

from planted import change_line, found, named
from reinforce_lite.config import Settings, load
from reinforce_lite.io.files import read_json, write_json
from reinforce_lite.report.build import build
from reinforce_lite.report.verify import agree, verify


def test_seconds_of_a_ledger_row(folder: Path) -> None:
    # Line 8 closes the training that finished after 130 s; its clock began at 100 + 186, so it ends at 416.
    change_line(folder / "ledger.jsonl", 7, '"clock":416.0', '"clock":316.0')
    one = next(one for one in found(folder) if one.file == "ledger.jsonl")
    place = "line 7, attempt 3 (train tiny-llama leave_one_out 0)"
    assert (one.place, one.key, one.stated, one.derived) == (place, "seconds", 30.0, 130.0)
    told = named(folder)
    assert ("ledger.jsonl", place, "usd") in told and ("summary.json", "", "cost.usd") in told
    assert {one.place for one in found(folder) if one.file == "ledger.jsonl"} == {place}, "no other attempt is accused"


def test_a_longer_ledger_line_accuses_no_other_attempt(folder: Path) -> None:
    change_line(folder / "ledger.jsonl", 7, '"clock":416.0', '"clock":41600.125')
    assert {one.place for one in found(folder) if one.file == "ledger.jsonl"} == {
        "line 7, attempt 3 (train tiny-llama leave_one_out 0)"
    }


def test_the_price_of_a_ledger_row(folder: Path) -> None:
    change_line(folder / "ledger.jsonl", 0, '"usd_per_hour":0.05', '"usd_per_hour":0.01')
    one = next(one for one in found(folder) if one.file == "ledger.jsonl")
    assert (one.key, one.stated, one.derived) == (
        "usd",
        pytest.approx(140 / 3600 * 0.01),
        pytest.approx(140 / 3600 * 0.05),
    )


def test_a_ledger_row_that_was_dropped_and_one_that_was_added(folder: Path) -> None:
    path = folder / "ledger.jsonl"
    lines = path.read_text().splitlines(keepends=True)
    path.write_text("".join(lines[2:]))
    told = named(folder)
    assert ("ledger.jsonl", "attempt 0 (fetch_policy tiny-llama)", "attempt") in told
    path.write_text("".join(lines) + lines[0].replace('"id":"0"', '"id":"later"'))
    told = named(folder)
    assert told == {("ledger.jsonl", "line 13, attempt later (fetch_policy tiny-llama)", "attempt")}


def test_a_changed_line_without_a_changed_figure(folder: Path) -> None:
    change_line(folder / "ledger.jsonl", 4, '"pid":7', '"pid":8')
    assert named(folder) == {("ledger.jsonl", "an unknown line: no attempt differs", "SHA-256")}


def test_an_event_that_cannot_be(folder: Path) -> None:
    path = folder / "ledger.jsonl"
    lines = path.read_text().splitlines(keepends=True)
    path.write_text("".join([*lines, lines[1]]))
    (one,) = found(folder)
    assert (one.file, one.place, one.key) == ("ledger.jsonl", "line 13", "event") and "after its close" in one.stated


def test_a_torn_line_is_no_fraud(folder: Path, ready: Settings) -> None:
    path = folder / "ledger.jsonl"
    path.write_text(path.read_text() + '{"event":"tou')
    with pytest.warns(UserWarning, match="torn"):
        build(ready, folder)
        checks = verify(folder)
    assert agree(checks)
    assert any("line 13: torn" in note for check in checks for note in check.notes)


@pytest.mark.parametrize(("seconds", "caught"), [(30.0, True), (125.0, True), (127.0, False), (500.0, False)])
def test_a_report_of_a_ledger_that_was_too_short_before(
    folder: Path, ready: Settings, seconds: float, caught: bool
) -> None:
    """The report itself was made of the changed ledger, so only Snakemake's clock knows: 131 s, less at most 5 s."""
    change_line(folder / "ledger.jsonl", 7, '"clock":416.0', f'"clock":{286.0 + seconds}')
    build(ready, folder)
    told = found(folder)
    assert len(told) == caught
    for one in told:
        place = "line 7, attempt 3 (train tiny-llama leave_one_out 0)"
        assert (one.file, one.place, one.key, one.stated) == ("ledger.jsonl", place, "seconds", seconds)
        assert one.derived == "131 s by benchmarks/train/tiny-llama/leave_one_out/seed0.jsonl"


def test_a_launcher_may_take_longer(folder: Path) -> None:
    change_line(folder / "ledger.jsonl", 7, '"clock":416.0', '"clock":391.0')  # 105 s of 131 s
    told = read_json(folder / "config.json")
    write_json(folder / "config.json", {**told, "hardware": {**told["hardware"], "count": 2}})
    build(load([folder / "config.json"]), folder)
    assert [one for one in found(folder) if one.file == "ledger.jsonl"] == []


def test_time_that_a_process_waited_for_the_device_is_not_missed(folder: Path, ready: Settings) -> None:
    # The process was created at 286 and has the device since 386: 30 s of use, 131 s in all.
    change_line(folder / "ledger.jsonl", 6, '"age":5.0', '"age":0.0')
    change_line(folder / "ledger.jsonl", 6, '"clock":291.0', '"clock":386.0')
    build(ready, folder)
    assert found(folder) == []


def test_a_job_that_the_ledger_lacks(folder: Path, ready: Settings) -> None:
    path = folder / "ledger.jsonl"
    kept = [
        line for line in path.read_text().splitlines(keepends=True) if '"id":"2"' not in line and '"id":"3"' not in line
    ]
    path.write_text("".join(kept))
    build(ready, folder)
    (one,) = found(folder)
    assert (one.file, one.place, one.key) == ("ledger.jsonl", "train tiny-llama leave_one_out seed0", "attempt")
