"""From an empty folder beside a clone: two files of the user, the commands of config/README.md, a verified report."""

import re
import shlex
import subprocess
import sys
from pathlib import Path

import pytest
import yaml
from dag_runner import ROOT, Workflow, copy_workflow
from test_own_dag import questions, written

from reinforce_lite.io.files import read_json, write_jsonl

SMALLER = {
    "policies": {"tiny-llama": {"from_scratch": {"hidden_size": 64, "layers": 2}, "start": {"steps": 20}}},
    "training": {"steps": 2, "questions_per_step": 4},
    "evaluation": {"bootstrap_resamples": 200},
    "hardware": {"cpu_threads": 1},
}


def commands() -> list[list[str]]:
    """The block of config/README.md's section."""
    section = (ROOT / "config/README.md").read_text().partition("**From an empty folder.**")[2]
    block = re.search(r"\n\n((?:    .+\n)+)", section)
    assert block
    return [shlex.split(line) for line in block[1].splitlines()]


@pytest.mark.slow
def test_the_documented_commands_end_with_a_verified_report(tmp_path: Path) -> None:
    copy_workflow(tmp_path / "reinforce-lite")
    mine = Workflow(tmp_path / "mine")
    mine.folder.mkdir()
    write_jsonl(mine.folder / "my.jsonl", questions(200))
    (mine.folder / "my_reward.py").write_text(written("python"))
    (mine.folder / "small.yaml").write_text(yaml.safe_dump(SMALLER))
    programs = {"reinforce-lite": "reinforce_lite.cli", "snakemake": "snakemake"}
    said = ""
    for program, *words in commands():
        more = ["small.yaml"] if "--configfile" in words else []
        done = subprocess.run(
            [sys.executable, "-m", programs[program], *words, *more], cwd=mine.folder, env=mine.environment(),
            stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, check=False,
        )  # fmt: skip
        assert done.returncode == 0 and "Traceback" not in done.stdout, done.stdout[-3000:]
        said += done.stdout
    assert "\nfits     " in said and "my_reward.py:score: {'right': 1.0" in said
    results = mine.results("mine")
    assert read_json(results / "data/manifest.json")["counts"]["test"] == 40
    assert read_json(results / "summary.json")["experiment"] == "mine"
    logs = "".join(path.read_text() for path in (mine.folder / "logs").rglob("*.log"))
    for leak in ("fatal: not a git repository", "Custom kwargs", "INFO mlflow", "specified through cli"):
        assert leak not in logs, leak
    assert "fatal: not a git repository" not in said
