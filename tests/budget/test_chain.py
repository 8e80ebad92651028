"""Attacks on a ledger: lines that are changed, removed, added or moved, older copies, and files that are gone."""

import json
import re
import shutil
import signal
import subprocess
import sys
import warnings

import pytest

from full_disk import full_disk
from ledger_lines import HARDWARE, NOON, close, opened, touch, write
from reinforce_lite.budget import chain, gate
from reinforce_lite.budget.chain import head, head_path
from reinforce_lite.budget.events import Touch, append
from reinforce_lite.budget.ledger import Ledger, accept_loss, attempts, ledger_path
from reinforce_lite.budget.reader import check, torn_lines
from reinforce_lite.cli import main
from reinforce_lite.errors import UserError
from reinforce_lite.experiment.attempt import stage
from reinforce_lite.io.files import write_json


@pytest.fixture
def path(tmp_path):
    return tmp_path / "ledger.jsonl"


def fill(path, *stages):
    ledger = Ledger(path)
    for name in stages:
        attempt_id = ledger.open(name, HARDWARE)
        ledger.touch(attempt_id)
        ledger.close(attempt_id, "finished")
    return path


def lines(path):
    return path.read_bytes().splitlines(keepends=True)


def noticed(path):
    """Whether it is, and always: by whoever sums up, not only by a check."""
    try:
        attempts(path)
    except UserError as problem:
        assert "restore the ledger" in problem.fix
        return problem.problem
    return None


def test_every_flipped_bit_is_noticed_by_whoever_sums_up(path):
    whole = fill(path, "train", "evaluate_baseline").read_bytes()
    assert noticed(path) is None and check(path) == []
    flips, unseen, unnamed = 0, [], 0
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # a flip may make a line look torn; what follows it then tells
        for place in range(len(whole)):
            for bit in range(8):
                changed = bytearray(whole)
                changed[place] ^= 1 << bit
                path.write_bytes(changed)
                problem, flips = noticed(path), flips + 1
                if problem is None:
                    unseen.append((place, bit))
                unnamed += "line" not in (problem or "")
    assert unseen == [] and flips == 8 * len(whole)
    assert unnamed < flips / 100, "but for the very end of the last line, a line is named"


def test_a_changed_row_is_named_and_no_other(path):
    fill(path, "train", "evaluate_baseline")
    path.write_bytes(path.read_bytes().replace(b'"usd_per_hour":0.79', b'"usd_per_hour":0.19', 1))
    (problem,) = check(path)
    assert problem.startswith(f"{path}, line 1: its chain does not fit")


@pytest.mark.filterwarnings("ignore:.*torn by a killed writer")
@pytest.mark.parametrize("number", range(6))
def test_a_line_that_is_removed_doubled_or_moved(path, number):
    whole = lines(fill(path, "train", "evaluate_baseline"))
    other = (number + 1) % 6
    moved = list(whole)
    moved[number], moved[other] = moved[other], moved[number]
    for changed in (
        whole[:number] + whole[number + 1 :],
        whole[:number] + whole[number : number + 1] + whole[number:],
        [*whole[:number], b"\n", *whole[number:]],
        [*whole[:number], b'{"event":"tou\n', *whole[number:]],
        moved,
    ):
        path.write_bytes(b"".join(changed))
        assert noticed(path), changed


def test_a_row_without_a_chain_among_rows_that_have_one(path):
    fill(path, "train")
    write(path.with_name("other"), opened())
    path.write_bytes(path.read_bytes() + path.with_name("other").read_bytes())
    assert "line 4: it has no chain" in noticed(path)


@pytest.mark.parametrize("rows", range(6))
def test_rows_that_are_cut_off_at_the_end(path, rows):
    whole = lines(fill(path, "train", "evaluate_baseline"))
    path.write_bytes(b"".join(whole[:rows]))
    assert "has lost rows at its end" in noticed(path)
    with pytest.raises(UserError, match="has lost rows at its end"):
        Ledger(path).open("train", HARDWARE)
    path.write_bytes(b"".join(whole))
    assert noticed(path) is None


def test_an_older_copy_is_noticed_also_once_it_was_written_to_elsewhere(path, tmp_path):
    fill(path, "train")
    older = shutil.copytree(tmp_path, tmp_path.parent / "older") / path.name
    fill(path, "evaluate_baseline")
    fill(older, "evaluate_trained", "compare")
    shutil.copy(older, path)  # longer than it was, and every chain fits
    assert "older copy" in noticed(path)


def test_of_an_older_ledger_with_its_own_head_the_results_tell(path):
    fill(path, "train")
    older = path.read_bytes(), head_path(path).read_bytes()
    fill(path, "evaluate")
    result = path.parent / "train/m/v/seed0/training.json"
    result.parent.mkdir(parents=True)
    result.write_text(json.dumps({"ledger": head(path)._asdict()}))
    assert noticed(path) is None
    path.write_bytes(older[0])
    head_path(path).write_bytes(older[1])
    assert f"is an older copy, or was changed: it lacks a row that it had for {result}" in noticed(path)
    accept_loss(path, HARDWARE, 0.5)
    assert noticed(path) is None, "the loss was accepted"


def test_of_a_ledger_that_is_gone_the_head_tells(path):
    fill(path, "train")
    path.unlink()
    assert "has lost rows at its end" in noticed(path)
    with pytest.raises(UserError, match="has lost rows"):
        Ledger(path).open("train", HARDWARE)


@pytest.mark.parametrize("record", ["preflight.json", "policies/m/policy.json", "train/m/v/seed0/training.json"])
def test_of_a_ledger_and_a_head_that_are_gone_the_results_tell(path, record):
    fill(path, "train")
    path.unlink()
    head_path(path).unlink()
    assert noticed(path) is None  # so far nothing was paid for
    (path.parent / record).parent.mkdir(parents=True, exist_ok=True)
    write_json(path.parent / record, {})
    assert "does not exist or is empty, though" in noticed(path) and record in noticed(path)
    path.touch()
    assert record in noticed(path)


@pytest.mark.parametrize("damage", [None, b"", b"0" * 54])
def test_without_its_head_a_ledger_is_not_trusted(path, damage):
    fill(path, "train")
    head_path(path).unlink() if damage is None else head_path(path).write_bytes(damage)
    assert "absent or damaged" in noticed(path)
    with pytest.raises(UserError, match="absent or damaged"):
        Ledger(path).open("train", HARDWARE)


def test_rows_of_an_earlier_version_come_first_and_are_covered(path):
    write(path, opened(), touch(10), close(20))
    assert noticed(path) is None
    older = path.read_bytes()
    fill(path, "evaluate_baseline")
    whole = path.read_bytes()
    assert noticed(path) is None and [a.stage for a in attempts(path)] == ["train", "evaluate_baseline"]
    path.write_bytes(whole.replace(b'"usd_per_hour": 0.79', b'"usd_per_hour": 0.19', 1))
    assert "line 4: its chain does not fit" in noticed(path)
    path.write_bytes(older)
    assert "has lost rows" in noticed(path)


@pytest.mark.survives("power loss while writing the ledger")
def test_a_crash_before_the_head_was_written_costs_nothing(path):
    fill(path, "train")
    before = head_path(path).read_bytes()
    fill(path, "evaluate_baseline")
    head_path(path).write_bytes(before)  # as if only the rows had reached the disk
    assert noticed(path) is None and len(attempts(path)) == 2
    fill(path, "compare")
    assert noticed(path) is None and head(path).bytes == path.stat().st_size


@pytest.mark.survives("power loss while writing the ledger")
def test_a_crash_before_the_first_row_was_written_costs_nothing(path, tmp_path):
    fill(tmp_path / "other" / path.name, "train")
    first = lines(tmp_path / "other" / path.name)[0]
    chain.write_head(path, chain.Head(0, chain.NONE))
    assert noticed(path) is None
    for written in (b"", first[:20], first):
        path.write_bytes(written)
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            assert noticed(path) is None


@pytest.mark.survives("SIGKILL of a stage")
def test_killed_at_any_moment_of_its_writing_the_ledger_stays_sound(path):
    code = (
        "import sys; from pathlib import Path; from reinforce_lite.config import Hardware\n"
        "from reinforce_lite.budget.ledger import Ledger\n"
        "ledger = Ledger(Path(sys.argv[1]))\n"
        "attempt = ledger.open('train', Hardware.model_validate_json(sys.argv[2]))\n"
        "print(flush=True)\n"
        "while True: ledger.touch(attempt)\n"
    )
    for _ in range(3):
        command = [sys.executable, "-c", code, str(path), HARDWARE.model_dump_json()]
        with subprocess.Popen(command, stdout=subprocess.PIPE) as process:
            process.stdout.readline()
            process.send_signal(signal.SIGKILL)
            process.wait()
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            assert noticed(path) is None
    assert [attempt.outcome for attempt in attempts(path)] == ["killed"] * 3


@pytest.mark.filterwarnings("ignore:.*torn by a killed writer")
def test_torn_lines_of_a_chained_ledger_are_covered_too(path):
    fill(path, "train")
    with path.open("ab") as handle:
        handle.write(b'{"event":"touch","id":"x')
    assert torn_lines(path) == [4]
    fill(path, "evaluate_baseline")
    with pytest.warns(UserWarning, match="line 4: skipped"):
        assert noticed(path) is None
    path.write_bytes(path.read_bytes().replace(b'"id":"x\n', b'"id":"y\n'))
    assert "line 5: its chain does not fit" in noticed(path)


def test_appending_reads_only_the_end(path, monkeypatch):
    line = path.with_name("touch")
    write(line, touch(1))
    write(path, opened())
    path.write_bytes(path.read_bytes() + line.read_bytes() * 3000)
    fill(path, "evaluate_baseline")
    read, pread = [], chain.os.pread
    monkeypatch.setattr(chain.os, "pread", lambda *what: read.append(what[1]) or pread(*what))
    ledger = Ledger(path)
    ledger.touch(ledger.open("train", HARDWARE))
    monkeypatch.undo()
    assert sum(read) < 40_000 < path.stat().st_size and noticed(path) is None


DESTROY = {
    "deleted": lambda path: path.unlink(),
    "deleted with its head": lambda path: (path.unlink(), head_path(path).unlink()),
    "an older copy": lambda path: path.write_bytes(b"".join(lines(path)[:-1])),
    "its open removed": lambda path: path.write_bytes(b"".join(lines(path)[:2])),
    "older copies of both": lambda path: [
        shutil.copy(path.parent / "older" / name, path.with_name(name)) for name in ("ledger.jsonl", ".ledger.head")
    ],
}


@pytest.mark.parametrize("way", DESTROY)
def test_a_ledger_destroyed_in_mid_stage_is_noticed_by_the_stage_and_stops_the_next(settings, way, capsys):
    path = ledger_path(settings)
    with stage(settings, "preflight"):
        write_json(path.parent / "preflight.json", {})
    (path.parent / "older").mkdir()
    for name in ("ledger.jsonl", ".ledger.head"):
        shutil.copy(path.with_name(name), path.parent / "older" / name)
    with stage(settings, "train"):
        kept = path.read_bytes(), head_path(path).read_bytes()
        DESTROY[way](path)
    told = capsys.readouterr().err
    assert "the attempt's end is kept" in told and re.search("deleted or replaced|has lost rows", told)
    with pytest.raises(UserError, match=r"ledger") as caught, stage(settings, "evaluate_baseline"):
        pytest.fail("the next stage ran")
    assert "--accept-loss" in caught.value.fix
    path.write_bytes(kept[0])
    head_path(path).write_bytes(kept[1])
    with stage(settings, "evaluate_baseline"):
        pass
    assert [a.outcome for a in attempts(path)] == ["finished"] * 3 and check(path) == []


def test_who_has_no_copy_accepts_the_loss_and_the_ledger_says_so(settings, tmp_path, capsys):
    path = ledger_path(settings)
    with stage(settings, "preflight"):
        write_json(path.parent / "preflight.json", {})
    with stage(settings, "train"):
        path.unlink()
    config = tmp_path / "config.json"
    config.write_text(settings.model_dump_json())
    command = ["ledger", "--config", str(config)]
    for options in ([], ["--rebuild-mlflow"]):
        assert main([*command, *options]) == 2
        assert "has lost rows" in capsys.readouterr().err
    with pytest.raises(SystemExit, match="1"):
        main([*command, "--check"])
    assert main([*command, "--accept-loss", "0.25"]) == 0
    assert main([*command, "--check"]) == 0
    with stage(settings, "evaluate_baseline"):
        pass
    lost, _ = attempts(path)
    assert (lost.stage, lost.outcome) == ("unrecorded", "failed") and lost.usd == pytest.approx(0.25)
    assert "has lost rows at its end" in lost.error
    assert main(command) == 0 and "unrecorded (1 attempt)" in capsys.readouterr().out


def test_what_is_accepted_is_what_was_there_and_nothing_later(path):
    whole = lines(fill(path, "train", "evaluate_baseline"))
    path.write_bytes(b"".join([*whole[:2], b"hello\n", *whole[3:]]))
    accept_loss(path, HARDWARE, 0.0)
    assert noticed(path) is None and [a.outcome for a in attempts(path)] == ["running", "finished", "failed"]
    fill(path, "compare")
    accepted = path.read_bytes()
    path.write_bytes(accepted.replace(b"hello", b"hallo"))
    assert noticed(path)
    path.write_bytes(accepted.replace(b'"stage":"compare"', b'"stage":"compute"'))
    assert noticed(path)


@pytest.mark.parametrize("usd", [-1.0, float("nan"), float("inf")])
def test_a_loss_is_a_sum_of_money(path, usd):
    with pytest.raises(UserError, match="no sum"):
        accept_loss(path, HARDWARE, usd)


def test_a_sign_of_life_of_an_unknown_attempt_is_refused(path):
    fill(path, "train")
    append(path, Touch(id="ghost", time=NOON, clock=1.0, boot="b"))
    assert "line 4: touch of attempt ghost, which was never opened" in noticed(path)


def test_a_row_after_the_close_is_refused(path):
    attempt_id = Ledger(path).open("train", HARDWARE)
    for _ in range(2):
        append(path, Touch(id=attempt_id, time=NOON, clock=1.0, boot="b"))
    ledger = Ledger(path)
    closed = ledger.close(ledger.open("evaluate", HARDWARE), "finished")
    append(path, Touch(id=closed.id, time=NOON, clock=1.0, boot="b"))
    assert "after its close" in noticed(path)


def test_a_full_disk_does_not_stop_the_head(settings):
    path = ledger_path(settings)
    fill(path, "train")
    with full_disk(path, 2000):
        fill(path, "evaluate_baseline")
    assert noticed(path) is None and head(path).bytes == path.stat().st_size


def test_the_meter_reads_only_what_was_added_and_remembers_what_is_gone(settings):
    path = ledger_path(settings)
    ledger = Ledger(path)
    first = ledger.close(ledger.open("train", settings.hardware), "failed")
    own = ledger.attempt(ledger.open("train", settings.hardware))
    meter = gate.LedgerMeter(settings, own)
    spent = meter.spent()
    path.write_bytes(path.read_bytes().replace(b'"train"', b'"trail"', 1))  # what was read is not read again
    other = ledger.close(ledger.open("evaluate_baseline", settings.hardware), "finished")
    assert meter.spent() >= spent + other.usd
    path.unlink()
    assert meter.spent() >= first.usd + other.usd + own.usd
