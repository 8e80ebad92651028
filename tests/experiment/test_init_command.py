"""`reinforce-lite init` writes what the loader accepts, and says whether it fits."""

import json
import shutil
import sys
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import yaml

from reinforce_lite.cli import main
from reinforce_lite.config import Settings, named
from reinforce_lite.errors import UserError
from reinforce_lite.experiment import init_sections, machine
from reinforce_lite.policy import hub
from reinforce_lite.resources.memory import GIB

COMMIT = "0123456789abcdef0123456789abcdef01234567"


@pytest.fixture(autouse=True)
def _here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """An empty folder on a machine without a GPU, with a large disk; nobody at the terminal."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(machine, "gpus", lambda: [])
    monkeypatch.setattr(sys, "stdin", SimpleNamespace(isatty=lambda: False))
    monkeypatch.setattr(shutil, "disk_usage", lambda place: SimpleNamespace(free=2000 * GIB))
    monkeypatch.setenv("HF_TOKEN", "hf_x")


def with_gpu(monkeypatch: pytest.MonkeyPatch, driver: str = "580.95.05") -> None:
    monkeypatch.setattr(machine, "gpus", lambda: [machine.Gpu("NVIDIA RTX A6000", 48.0, driver)])


def on_hub(monkeypatch: pytest.MonkeyPatch, billions: float, gated: Any = False, **kinds: int) -> None:
    def ask(repo: str, revision: str, kind: str) -> Any:
        assert (repo, kind) == ("some/Model-3B", "model")
        known = SimpleNamespace(total=int(billions * 1e9), parameters=kinds)
        return SimpleNamespace(sha=COMMIT, gated=gated, safetensors=known if billions else None)

    monkeypatch.setattr(hub, "ask", ask)


def folder(path: Path, billions: float, dtype: str = "BF16") -> Path:
    """Files of a model whose weights take no room: the header is real, and behind it the file has a hole."""
    path.mkdir(parents=True)
    for name in ("config.json", "tokenizer.json"):
        (path / name).write_text("{}")
    count = int(billions * 1e9)
    size = count * (4 if dtype == "F32" else 2)
    header = json.dumps({"w": {"dtype": dtype, "shape": [count], "data_offsets": [0, size]}}).encode()
    with (path / "model.safetensors").open("wb") as file:
        file.write(len(header).to_bytes(8, "little") + header)
        file.truncate(8 + len(header) + size)
    return path


def init(*arguments: str, code: int = 0) -> Settings:
    """The settings that were written as mine.yaml."""
    assert main(["init", "--name", "mine", *arguments]) == code
    return named([Path("mine.yaml")])


def test_a_folder_on_a_cpu(capsys: pytest.CaptureFixture[str]) -> None:
    folder(Path("My Model.v1"), 0.0135)
    settings = init("--model", "My Model.v1", "--task", "gsm8k")
    (name,) = settings.models
    policy = settings.policies[name]
    assert name == "my-model.v1" and policy.path == Path("My Model.v1") and policy.parameters == 0.0135
    assert (policy.dtype, settings.hardware.device, settings.hardware.usd_per_hour) == ("float32", "cpu", 0)
    text, shown = Path("mine.yaml").read_text(), capsys.readouterr().out
    assert "# its files hold BF16" in text and "in billions, counted" in text
    assert isinstance(yaml.safe_load(text)["training"]["learning_rate"], float)
    assert "\nfits     " in shown and "my-model.v1 needs about 0.7 of" in shown
    assert "snakemake -n --cores 1 --snakefile " in shown and "--configfile mine.yaml" in shown


def test_the_gpu_that_is_here_and_its_price(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    with_gpu(monkeypatch)
    folder(Path("model"), 3.21)
    assert main(["init", "--model", "model", "--task", "gsm8k"]) == 2
    assert "--price is needed" in capsys.readouterr().err and not list(Path().glob("*.yaml"))
    settings = init("--model", "model", "--task", "gsm8k", "--price", "0.6", "--price-source", "a shop", "--limit", "7")
    hardware = settings.hardware
    assert (hardware.device, hardware.name, hardware.memory_gib) == ("cuda", "NVIDIA RTX A6000", 48.0)
    assert (hardware.usd_per_hour, hardware.price_source, settings.budget.limit_usd) == (0.6, "a shop", 7)
    assert settings.policies["model"].dtype == "bfloat16" and settings.training.learning_rate == 3e-6
    shown = capsys.readouterr().out
    assert "(training.weights: stochastic)" in shown and "driver 580.95.05" in shown
    assert "costs    about $" in shown and "computed from data sheets" in shown


@pytest.mark.parametrize(
    ("billions", "driver", "said"),
    [
        (72.7, "580.95.05", "does not fit, because model needs about "),
        (0.5, "535.10", "does not fit, because NVIDIA's driver is 535.10\n  fix: CUDA 13 needs 580 or later"),
    ],
)
def test_what_does_not_fit_is_written_and_said(
    billions: float, driver: str, said: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    with_gpu(monkeypatch, driver)
    on_hub(monkeypatch, billions, BF16=int(billions * 1e9))
    settings = init("--model", "some/Model-3B", "--task", "gsm8k", "--price", "1", code=1)
    assert settings.policies["model-3b"].parameters == billions
    shown = capsys.readouterr().out
    assert said.replace("model needs", "model-3b needs") in shown and "\nfits" not in shown


def test_the_hub_says_size_precision_and_commit(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    on_hub(monkeypatch, 3.0, gated="manual", F32=int(3e9))
    settings = init("--model", "some/Model-3B@v2", "--task", "gsm8k", "--gpu", "h100")
    policy = settings.policies["model-3b"]
    assert (policy.repo, policy.revision, policy.gated, policy.dtype) == ("some/Model-3B", COMMIT, True, "float32")
    assert "# what v2 was on " in Path("mine.yaml").read_text()
    assert settings.hardware.usd_per_hour == 1.99 and "table of cards (2026, quoted" in settings.hardware.price_source
    assert "(to be rented)" in capsys.readouterr().out


def test_without_the_hub_the_cache_pins_and_counts(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def ask(*_: Any) -> Any:
        raise UserError("cannot reach some/Model-3B", "check the network")

    monkeypatch.setattr(hub, "ask", ask)
    monkeypatch.setattr(hub, "cache", lambda: tmp_path / "hub")
    assert main(["init", "--model", "some/Model-3B", "--task", "gsm8k"]) == 2
    kept = tmp_path / "hub/models--some--Model-3B"
    folder(kept / "snapshots" / COMMIT, 0.0135)
    (kept / "refs").mkdir()
    (kept / "refs/main").write_text(COMMIT)
    policy = init("--model", "some/Model-3B", "--task", "gsm8k").policies["model-3b"]
    assert (policy.revision, policy.parameters) == (COMMIT, 0.0135)


def test_a_model_whose_size_nobody_says_is_refused(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    on_hub(monkeypatch, 0)
    assert main(["init", "--model", "some/Model-3B", "--task", "gsm8k"]) == 2
    assert "has no safetensors files" in capsys.readouterr().err and not list(Path().glob("*.yaml"))


def test_on_a_terminal_it_asks(monkeypatch: pytest.MonkeyPatch) -> None:
    answers = {"model": "tiny-phi", "task": "word_world", "price": ""}
    asked = []

    def answer(question: str) -> str:
        asked.append(question)
        return answers[question.partition(":")[0]]

    monkeypatch.setattr(sys, "stdin", SimpleNamespace(isatty=lambda: True))
    monkeypatch.setattr("builtins.input", answer)
    settings = init()
    assert [question.partition(":")[0] for question in asked] == ["model", "task", "price"] and "[0]" in asked[2]
    assert settings.models == ["tiny-phi"] and settings.task.demonstrations == 32000


@pytest.mark.parametrize(
    ("answers", "grade"), [(["5", "1,080"], "numeric"), (["B", "(c)"], "choice"), (["Paris", "5"], "exact")]
)
def test_the_grade_is_what_all_answers_are(answers: list[str], grade: str) -> None:
    rows = [{"question": f"what is {i} ?", "answer": answers[i % len(answers)]} for i in range(40)]
    Path("my.jsonl").write_text("\n".join(map(json.dumps, rows)))
    folder(Path("model"), 0.0135)
    settings = init("--model", "model", "--task", "my.jsonl")
    assert settings.task.grade == grade and settings.test_problems == 8  # type: ignore[attr-defined]


def test_a_reward_of_its_own_is_tried(capsys: pytest.CaptureFixture[str]) -> None:
    Path("my_reward.py").write_text("def score(completion, problem):\n    return 1 / 0\n")
    arguments = ("--model", "tiny-llama", "--task", "word_world", "--reward", "my_reward.py")
    assert init(*arguments, code=1).training.reward == "my_reward.py:score"
    assert "does not fit, because " in (shown := capsys.readouterr().out) and "ZeroDivisionError" in shown


@pytest.mark.parametrize(
    ("written", "found"),
    [
        ("NVIDIA H100 80GB HBM3, 81559, 580.95.05\nNVIDIA H100 80GB HBM3, 81559, 580.95.05", 2),
        ("", 0),
        ("NVIDIA-SMI has failed because it couldn't communicate with the NVIDIA driver.", 0),
    ],
)
def test_what_nvidia_smi_says(written: str, found: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.undo()
    program = tmp_path / "nvidia-smi"
    program.write_text(f"#!/bin/sh\ncat <<'END'\n{written}\nEND\n")
    program.chmod(0o755)
    monkeypatch.setenv("PATH", f"{tmp_path}:/usr/bin:/bin")
    gpus = machine.gpus()
    assert len(gpus) == found
    assert not found or (gpus[0].name, gpus[0].memory_gib, gpus[0].driver) == (
        "NVIDIA H100 80GB HBM3",
        79.6,
        "580.95.05",
    )


def test_numbers_are_numbers_for_yaml() -> None:
    for value in (3e-06, 5e-05, 1e22, 0.003, None, True, "a: 'b'", ["x"], {"a": 1.5}):
        assert yaml.safe_load(init_sections.in_yaml(value)) == value
