"""A disk that is full: the limit on a file's size makes writes short, and then fail, as a full disk does."""

import json
import signal
import subprocess
import sys
from contextlib import ExitStack

import pytest

from full_disk import full_disk
from in_process import stage
from reinforce_lite.budget import device_lock
from reinforce_lite.budget.device_lock import lock_path, look
from reinforce_lite.budget.ledger import Ledger, attempts, ledger_path
from reinforce_lite.budget.reader import check
from reinforce_lite.errors import UserError


@pytest.fixture
def long_ledger(settings):
    """A ledger that is longer than the lock's record, so that only it meets the limit."""
    path = ledger_path(settings)
    while not path.exists() or path.stat().st_size <= device_lock.RECORD_BYTES:
        with pytest.raises(ValueError), stage(settings, "earlier"):
            raise ValueError("x" * 1900)
    return path


def own(path):
    return [attempt for attempt in attempts(path) if attempt.stage != "earlier"]


@pytest.mark.filterwarnings("ignore:.*torn by a killed writer")
@pytest.mark.parametrize("room", [0, 1, 100])
@pytest.mark.survives("disk full while writing the ledger")
def test_nothing_runs_that_cannot_be_recorded(settings, long_ledger, room):
    with full_disk(long_ledger, room), pytest.raises(UserError, match="cannot write the ledger"):  # noqa: SIM117
        with stage(settings, "train"):
            pytest.fail("the block ran")
    assert own(long_ledger) == []


@pytest.mark.filterwarnings("ignore:.*torn by a killed writer")
@pytest.mark.parametrize("room", [0, 60])
@pytest.mark.survives("disk full while writing the ledger")
def test_a_stage_whose_end_has_no_room_keeps_its_results_and_its_cost(settings, long_ledger, room, capsys, tmp_path):
    full = ExitStack()
    with stage(settings, "train"):
        (tmp_path / "result").write_text("made")
        full.enter_context(full_disk(long_ledger, room))
    with full:
        (attempt,) = own(long_ledger)
        assert attempt.outcome == "finished" and attempt.seconds > 0
        assert "cannot write the ledger" in capsys.readouterr().err
        with pytest.raises(UserError, match="cannot write the ledger"), stage(settings, "evaluate"):
            pytest.fail("the next stage ran")
    assert own(long_ledger) == [attempt], "the refused stage lost nothing"
    with stage(settings, "evaluate"):
        pass
    assert own(long_ledger)[0] == attempt and len(own(long_ledger)) == 2
    assert look(lock_path(long_ledger)).holder.unwritten is None
    assert [problem for problem in check(long_ledger) if "torn" not in problem] == []


@pytest.mark.survives("disk full while writing the ledger")
def test_a_failure_is_told_and_not_the_full_disk_instead(settings, long_ledger):
    with ExitStack() as full, pytest.raises(ValueError, match="why"), stage(settings, "train"):
        full.enter_context(full_disk(long_ledger, 0))
        raise ValueError("why")
    (attempt,) = own(long_ledger)
    assert (attempt.outcome, attempt.error) == ("failed", "ValueError: why")


@pytest.mark.survives("SIGKILL on a full disk")
def test_a_stage_that_is_killed_on_a_full_disk_is_paid_for_until_its_last_sign_of_life(settings, long_ledger):
    code = (
        "import os, resource, signal, sys, time; from pathlib import Path\n"
        "from reinforce_lite.config import Settings\n"
        "from reinforce_lite.experiment.attempt import stage\n"
        "from reinforce_lite.experiment import watch\n"
        "signal.signal(signal.SIGXFSZ, signal.SIG_IGN)\n"
        "path = Path(sys.argv[2])\n"
        "def go_on(account):\n    time.sleep(1); os.kill(os.getppid(), signal.SIGKILL); time.sleep(60)\n"
        "settings = Settings.model_validate_json(sys.argv[1])\n"
        "with stage(settings, 'train') as row:\n"
        "    size = path.stat().st_size\n"
        "    resource.setrlimit(resource.RLIMIT_FSIZE, (size, size))\n"
        "    watch.work(settings, row, go_on, touch_seconds=0.05)"
    )
    command = [sys.executable, "-c", code, settings.model_dump_json(), str(long_ledger)]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == -signal.SIGKILL and done.stderr.count("cannot write the ledger") == 1
    (attempt,) = own(long_ledger)
    written = [json.loads(line) for line in long_ledger.read_text().splitlines()]
    kept = look(lock_path(long_ledger)).holder.unwritten
    assert attempt.outcome == "killed" and kept.event == "touch" and kept.id == attempt.id
    assert kept.clock - max(event["clock"] for event in written) > 0.5
    assert attempt.clock + attempt.seconds == pytest.approx(kept.clock, abs=1e-5)
    with stage(settings, "evaluate"):
        pass
    assert own(long_ledger)[0] == attempt and check(long_ledger) == []


def test_when_there_is_room_again_nothing_stays_beside_the_ledger(settings, long_ledger):
    with stage(settings, "train") as running:
        opened = Ledger(long_ledger, spare=(kept := []).append)
        with full_disk(long_ledger, 0):
            opened.touch(running.attempt.id)
        opened.touch(running.attempt.id)
    assert [event and event.event for event in kept] == ["touch", None]
    assert check(long_ledger) == []


def test_if_not_even_the_record_can_be_written_the_results_count(settings, long_ledger, capsys, monkeypatch):
    def refuse(*arguments):
        raise OSError(5, "Input/output error")

    with ExitStack() as full, stage(settings, "train"):
        monkeypatch.setattr(device_lock.os, "pwrite", refuse)
        full.enter_context(full_disk(long_ledger, 0))
    assert "will end at its last sign of life" in capsys.readouterr().err
    (attempt,) = own(long_ledger)
    assert attempt.outcome == "killed"
