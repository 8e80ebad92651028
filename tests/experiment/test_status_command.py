"""`reinforce-lite status`: before, beside and after a run, and on a copy."""

import fcntl
import json
import os
import pty
import re
import signal
import subprocess
import sys
import tarfile
import time
import zlib
from pathlib import Path

import pytest

from ledger_lines import at, close, opened, touch, write
from reinforce_lite.budget import status as survey
from reinforce_lite.budget.device_lock import hold, lock_path
from reinforce_lite.budget.forecast import Duration, Interval
from reinforce_lite.budget.ledger import Ledger, ledger_path
from reinforce_lite.budget.plan import Entry, make
from reinforce_lite.budget.reader import Reader
from reinforce_lite.budget.standing import WORKFLOW_LOCK, Observer
from reinforce_lite.cli import main
from reinforce_lite.config import Settings
from reinforce_lite.experiment import frame
from reinforce_lite.experiment.status_command import screen, sparkline
from reinforce_lite.io import clock
from reinforce_lite.stages import Job, Layout, jobs

STORED = Path(__file__).parents[1] / "stored/0.1.0.tar.gz"
TRAIN = Job("train", "m", "v", 0)


@pytest.fixture
def small(settings: Settings) -> Settings:
    """An experiment with a training of 200 steps, that was started."""
    settings = settings.model_copy(update={"training": settings.training.model_copy(update={"steps": 200})})
    settings.folder.mkdir()
    Layout.of(settings).config.write_text(settings.model_dump_json())
    return settings


@pytest.fixture
def stored(tmp_path: Path) -> Path:
    """Finished results of an earlier version, under another name than they had."""
    with tarfile.open(STORED) as archive:
        archive.extractall(tmp_path, filter="data")
    return (tmp_path / "results/stored").rename(tmp_path / "a copy")


def journal(path: Path, rows: list[dict]) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    texts = [json.dumps(row, ensure_ascii=False).encode() for row in rows]
    path.write_bytes(b"".join(b"%08x %s\n" % (zlib.crc32(text), text) for text in texts))


def step(number: int, reward: float | None) -> dict:
    metrics = {"step": number, "reward_mean": reward, "seconds_rollout": 1.5, "seconds_update": 0.5}
    return {"metrics": metrics, "completions": [{"completion": 'a "metrics": text'}]}


def plan(settings: Settings) -> None:
    """At $3.60 a device-hour: everything is pending, 100 s each, the training 400."""
    entries = [
        Entry(job, "pending", Duration(Interval.exactly(400 if job == TRAIN else 100))) for job in jobs(settings)
    ]
    survey.keep_plan(settings, str(TRAIN), make(10.0, 0.0, 0.001, entries, 1))


def shown(settings: Settings) -> dict[str, str]:
    lines = screen(settings, Observer(settings).look())
    return {one[:12].strip(): one[12:] for one in lines if one[:12].strip()}


def test_nothing_was_started(settings: Settings, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    config = tmp_path / "mine.json"
    config.write_text(settings.model_dump_json())
    assert main(["status", "--config", str(config)]) == 0
    text = "".join(capsys.readouterr().out.split())  # a long path takes several lines
    assert "small:notstarted" in text and "`reinforce-liteestimate`" in text and f"--configfile{config}" in text
    assert not settings.folder.exists()


def test_without_a_folder_it_is_the_last_experiment(
    small: Settings, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    assert main(["status"]) == 2 and "results/ holds no experiment" in capsys.readouterr().err
    for name, age in (("old", 60), ("new", 0)):
        path = tmp_path / "results" / name / "config.json"
        path.parent.mkdir(parents=True)
        path.write_text(small.model_copy(update={"experiment": name}).model_dump_json())
        os.utime(path, (time.time() - age,) * 2)
    assert main(["status"]) == 0 and "new: not started" in capsys.readouterr().out
    assert main(["status", "results"]) == 2 and "holds no config.json" in capsys.readouterr().err


def test_beside_a_training(small: Settings) -> None:
    plan(small)
    job, path = TRAIN, ledger_path(small)
    folder = Layout.of(small).resume(job)
    journal(folder / "steps.jsonl", [step(n, n / 136 if n % 10 else None) for n in range(137)])
    (folder / "step-00000130").mkdir()
    with hold(lock_path(path), "now", "train"):
        Ledger(path).open("train", small.hardware, **job.run, attempt_id="now")
        rows = shown(small)
        look = Observer(small).look()
    assert rows["experiment"].startswith("small: running") and rows["stage"] == "train m v seed0"
    assert "137/200 (68%)" in rows["step"] and rows["step"].startswith("█" * 27 + ".")
    assert rows["reward"].startswith("▁") and "█ " in rows["reward"]
    assert "$10.00 limit" in rows["dollars"] and "expected in all" in rows["dollars"]
    assert "this stage at " in rows["ends"] and "all of it at " in rows["ends"]
    assert rows["checkpoint"].startswith("after step 130, ") and rows["next"] == "nothing: it runs"
    assert look.stage_seconds == pytest.approx(63 * 2.0)  # by the last steps, not by the plan
    assert look.all_seconds == pytest.approx(63 * 2.0 + 100 * (len(jobs(small)) - 1), abs=1)


def test_beside_two_trainings(small: Settings) -> None:
    hardware = small.hardware.model_copy(update={"count": 2, "side_by_side": True})
    small = small.model_copy(update={"models": ["m", "n"], "hardware": hardware,
                                     "policies": {**small.policies, "n": small.policies["m"]}})  # fmt: skip
    plan(small)
    both = TRAIN, Job("train", "n", "v", 0)
    for job, done in zip(both, (136, 50), strict=True):
        journal(Layout.of(small).resume(job) / "steps.jsonl", [step(n, n / 136) for n in range(done)])
    path, with_one = lock_path(ledger_path(small)), {"places": 2, "one": True}
    ledger = Ledger(ledger_path(small))
    ids = [ledger.open("train", hardware, **job.run, since=clock.steady_seconds()) for job in both]
    second = (
        "import sys; from pathlib import Path; from reinforce_lite.budget.device_lock import hold\n"
        f"with hold(Path(sys.argv[1]), {ids[1]!r}, 'train n', places=2, one=True): print(1, flush=True); input()"
    )
    with hold(path, ids[0], "train m", **with_one):
        command = [sys.executable, "-c", second, str(path)]
        with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as other:
            assert other.stdout.readline() == "1\n"
            lines, look = screen(small, Observer(small).look()), Observer(small).look()
            other.communicate("go\n")
    text = "\n".join(lines)
    assert "train m v seed0" in text and "136/200" in text and "train n v seed0" in text and "50/200" in text
    assert "the first stage at " in text and len([one for one in lines if one.startswith("stage ")]) == 2
    assert look.job == TRAIN and [job for job, _ in look.beside] == [both[1]]
    left = 64 * 2.0 + 150 * 2.0  # by the last steps of each
    others = 100 * (len(jobs(small)) - 2)
    assert look.all_seconds == pytest.approx((left + others) / 2, abs=1)
    usd = small.hardware.usd_per_hour / 3600
    assert look.expected_usd == pytest.approx(look.spent_usd + (left + others) * usd, rel=0.01)


def test_after_a_crash_the_command_that_goes_on_is_named(small: Settings) -> None:
    plan(small)
    (small.folder / WORKFLOW_LOCK).write_text("process 7 on elsewhere\nsnakemake --cores 1 --configfile mine.yaml\n")
    write(ledger_path(small), opened(model="m", variant="v"), touch(15))
    journal(Layout.of(small).resume(TRAIN) / "steps.jsonl", [step(0, 0.5)])
    rows = shown(small)
    assert rows["experiment"].startswith("small: stopped") and rows["stage"] == "train m v seed0"
    assert "1/200" in rows["step"] and "ends" not in rows
    assert rows["last"] == "train m v seed0 killed: its process has gone without a word"
    assert rows["next"] == "snakemake --cores 1 --configfile mine.yaml"
    (small.folder / WORKFLOW_LOCK).unlink()
    assert shown(small)["next"].startswith("snakemake --cores 1 --configfile")


def test_what_failed_is_named(small: Settings) -> None:
    failed = close(3600, outcome="failed", error="UserError: no GPU\n  fix: rent one")
    write(ledger_path(small), opened(stage="preflight", model=None, seed=None), failed)
    assert shown(small)["last"] == "preflight failed: UserError: no GPU"


def test_between_two_stages_it_runs_as_long_as_snakemake_does(small: Settings) -> None:
    with (small.folder / WORKFLOW_LOCK).open("a") as handle:
        fcntl.flock(handle, fcntl.LOCK_EX)
        rows = shown(small)
    assert rows["experiment"].startswith("small: running") and rows["stage"] == "none on the device just now"
    assert shown(small)["experiment"].startswith("small: not started")


@pytest.fixture
def preflighted(small: Settings) -> Settings:
    """The same, with a preflight that was paid for."""
    write(ledger_path(small), opened(stage="preflight", model=None, seed=None), close(1))
    return small


def test_refused_by_the_gate(preflighted: Settings) -> None:
    small = preflighted
    frame.record_not_run(small, Job("preflight"), "not run: $3.00 is expected", None)
    rows = shown(small)
    assert rows["experiment"].startswith("small: refused") and "$3.00 is expected" in rows["budget"]
    assert rows["next"].startswith("change the budget as said above, then")
    dearer = small.model_copy(update={"budget": small.budget.model_copy(update={"limit_usd": 20.0})})
    assert "budget" not in shown(dearer)


def test_a_finished_experiment_elsewhere(stored: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["status", str(stored)]) == 0
    text = capsys.readouterr().out
    assert "a copy: finished" in text and f"{stored}/report.html".replace(" ", "") in "".join(text.split())
    assert re.search(r"reward +█▁█ tiny-llama seed0 \+0\.0 \[\+0\.0, \+0\.0\] points", text)
    assert main(["status", "--watch", str(stored)]) == 0  # ends by itself, and has no terminal
    assert re.fullmatch(r"\d\d:\d\d:\d\d finished, \$0\.0010 spent in .* limit\n", capsys.readouterr().out)


@pytest.mark.parametrize("columns", [80, 40, 20])
def test_no_line_is_wider_than_the_terminal(preflighted: Settings, columns: int) -> None:
    frame.record_not_run(preflighted, Job("preflight"), "not run: " + "$3.00 is expected " * 9, None)
    lines = screen(preflighted, Observer(preflighted).look(), columns)
    assert max(map(len, lines)) <= columns
    if columns > 20:
        assert " ".join(one[12:] for one in lines if "expected" in one or one.startswith(" ")).count("$3.00") == 9


def test_a_refresh_reads_only_what_was_added(small: Settings, monkeypatch: pytest.MonkeyPatch) -> None:
    lines = [opened(), *(touch(n) for n in range(1, 50))]
    write(ledger_path(small), *lines)
    read: list[bytes] = []
    event = Reader._event
    monkeypatch.setattr(Reader, "_event", lambda self, line: (read.append(line), event(self, line))[1])
    observer = Observer(small)
    observer.look()
    assert len(read) == 50
    with ledger_path(small).open("a") as handle:
        handle.write(json.dumps(at(60, event="touch", id="a")) + "\n")
    observer.look()
    assert len(read) == 51


def test_steps_that_are_taken_again_are_counted_once(small: Settings) -> None:
    write(ledger_path(small), opened(model="m", variant="v"), touch(15))
    path, observer = Layout.of(small).resume(TRAIN) / "steps.jsonl", Observer(small)
    journal(path, [step(n, 0.5) for n in range(9)])
    assert observer.look().steps.done == 9
    journal(path, [step(n, 0.5) for n in range(4)])
    with path.open("ab") as handle:
        handle.write(b"0badc0de {")  # being written
    assert observer.look().steps.done == 4


def test_a_sparkline_has_a_blank_where_no_step_has_a_number(monkeypatch: pytest.MonkeyPatch) -> None:
    assert sparkline([]) == "" and sparkline([1.0, 1.0]) == "▁▁" and sparkline([None, float("nan")]) == "  "
    assert len(sparkline([float(n) for n in range(1000)])) == 40
    with Path(os.devnull).open("w", encoding="ascii") as output:
        monkeypatch.setattr(sys, "stdout", output)
        assert sparkline([0.0, 1.0]) == "_#"


def test_it_imports_no_torch(stored: Path) -> None:
    code = "import sys; from reinforce_lite.cli import main; main(sys.argv[1:]); assert 'torch' not in sys.modules"
    assert subprocess.run([sys.executable, "-c", code, "status", str(stored)], check=False).returncode == 0


@pytest.mark.parametrize("terminal", [True, False])
def test_watching_ends_with_ctrl_c(small: Settings, terminal: bool) -> None:
    command = [sys.executable, "-m", "reinforce_lite.cli", "status", "--watch", str(small.folder)]
    ours, theirs = pty.openpty() if terminal else os.pipe()
    if terminal:
        watching = subprocess.Popen(command, stdin=theirs, stdout=theirs, stderr=theirs)
    else:
        watching = subprocess.Popen(command, stdout=theirs, stderr=theirs)
    os.close(theirs)
    seen = b""
    while b"not started" not in seen:
        seen += os.read(ours, 1000)
    watching.send_signal(signal.SIGINT)
    while True:
        try:
            some = os.read(ours, 1000)
        except OSError:  # a terminal whose other end is closed
            break
        if not some:
            break
        seen += some
    assert watching.wait(30) == 0 and b"Traceback" not in seen
    assert (b"\x1b[H\x1b[J" in seen) == terminal and (seen.count(b"\x1b[?1049l") == terminal)
    os.close(ours)
