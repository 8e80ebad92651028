"""`reinforce-lite ui`: it waits until the server answers, and prints addresses that open on figures."""

import os
import signal
import socket
import subprocess
import sys
import urllib.request
from pathlib import Path

import pytest

from reinforce_lite.cli import main
from reinforce_lite.experiment.tracking import open_experiment
from reinforce_lite.experiment.ui_command import addresses
from reinforce_lite.stages import Job, Layout


def database(folder: Path) -> Path:
    return folder / "mlflow.db"


@pytest.fixture
def shown(settings, tmp_path):
    """A database with one experiment, whose report is written."""
    tracking = settings.tracking.model_copy(update={"uri": f"sqlite:///{database(tmp_path)}"})
    settings = settings.model_copy(update={"tracking": tracking})
    open_experiment(settings)
    report = Layout.of(settings).path(Job("report"), "html")
    report.parent.mkdir(exist_ok=True)
    report.write_text("")
    return tmp_path


def test_without_a_database_or_a_port_it_says_so(tmp_path, capsys):
    assert main(["ui", "--results", str(tmp_path)]) == 2
    assert "nothing has been run" in capsys.readouterr().err
    database(tmp_path).touch()
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = str(taken.getsockname()[1])
        assert main(["ui", "--results", str(tmp_path), "--port", port]) == 2
    assert f"port {port} is taken" in capsys.readouterr().err


@pytest.mark.slow
def test_the_addresses_come_when_the_server_answers(shown):
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = free.getsockname()[1]
    command = [sys.executable, "-m", "reinforce_lite.cli", "ui", "--results", str(shown), "--port", str(port)]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as served:
        lines = []
        while not lines or "file://" not in lines[-1]:
            lines.append(served.stdout.readline())
            assert lines[-1], lines
        with urllib.request.urlopen(f"http://127.0.0.1:{port}/health", timeout=10) as answer:
            assert answer.status == 200
        assert [line.strip() for line in lines[-2:]] == [line.strip() for line in addresses(database(shown), port)]
        assert f"http://127.0.0.1:{port}/#/experiments/1/runs?viewStateShareKey=figures&" in lines[-2]
        assert lines[-1].strip() == (shown / "small/report.html").as_uri()
        os.kill(served.pid, signal.SIGINT)
        assert served.wait(60) == 0
