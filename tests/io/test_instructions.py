"""What every x86 CPU with AVX2 computes alike, and how a process is told so."""

import os
import subprocess
import sys
from pathlib import Path

import pytest
import torch

from reinforce_lite.config import Settings
from reinforce_lite.experiment import frame, replay
from reinforce_lite.io.instructions import COMMON, are_common
from reinforce_lite.optim.optimizer import adamw
from reinforce_lite.stages import Job

SAYS = """
import sys
from reinforce_lite.io.instructions import take_common
assert "torch" not in sys.modules
if sys.argv[1] == "common":
    take_common()
import torch
print(torch.backends.cpu.get_cpu_capability())
"""


@pytest.fixture
def unset(monkeypatch: pytest.MonkeyPatch) -> None:
    torch.backends.cpu.get_cpu_capability()  # it is asked once in a process: this one keeps its own
    for name in COMMON:
        monkeypatch.setenv(name, "")


def test_torch_heeds_what_is_set_before_it_is_imported() -> None:
    environment = {**os.environ, "ATEN_CPU_CAPABILITY": "default"}

    def said(chosen: str) -> str:
        command = [sys.executable, "-c", SAYS, chosen]
        return subprocess.run(command, env=environment, capture_output=True, text=True, check=True).stdout.strip()

    assert (said("native"), said("common")) == ("DEFAULT", "AVX2")


@pytest.mark.usefixtures("unset")
@pytest.mark.parametrize(("chosen", "expected"), [("native", ""), ("common", "COMPATIBLE")])
def test_a_stage_sets_what_its_configuration_chooses(
    settings: Settings, chosen: str, expected: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    seen: list[str] = []

    class Body:
        @staticmethod
        def run(run: object) -> None:
            seen.append(os.environ["MKL_CBWR"])

    monkeypatch.setattr(frame, "import_module", lambda name: Body)
    hardware = settings.hardware.model_copy(update={"cpu_instructions": chosen})
    frame.execute(settings.model_copy(update={"hardware": hardware}), Job("prepare_dataset"))
    assert seen == [expected]


@pytest.mark.usefixtures("unset")
def test_answers_are_written_again_with_the_instructions_of_then(
    settings: Settings, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    hardware = settings.hardware.model_copy(update={"cpu_instructions": "common"})
    seen: list[bool] = []
    monkeypatch.setattr(replay.Experiment, "read", lambda folder: folder)
    monkeypatch.setattr(replay, "located", lambda experiment: settings.model_copy(update={"hardware": hardware}))
    for part in ("_answers", "_step"):
        monkeypatch.setattr(replay, part, lambda *arguments: seen.append(are_common()))
    replay.replay(tmp_path, 1)
    assert seen == [True, True]


@pytest.mark.usefixtures("unset")
def test_the_square_root_of_adamw_is_then_the_cpus_own(monkeypatch: pytest.MonkeyPatch) -> None:
    model = torch.nn.Linear(3, 2)
    assert not adamw(model, learning_rate=0.1).defaults["fused"], "the numbers of today stay as they are"
    for name, value in COMMON.items():
        monkeypatch.setenv(name, value)
    assert adamw(model, learning_rate=0.1).defaults["fused"]
