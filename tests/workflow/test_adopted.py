"""Finished results are not bought again because their files have lost their times: copied, or of an older release.

`tests/stored/<version>.tar.gz` holds the results of each release as it made them, of the world in stored.yaml.
"""

import json
import os
import random
import shutil
import stat
import subprocess
import sys
from base64 import urlsafe_b64encode
from pathlib import Path
from typing import Any

import pytest
from dag_runner import ROOT, Workflow, copy_workflow
from test_without_the_package import BLOCKER

from reinforce_lite.config import load
from reinforce_lite.io.files import read_json, write_json
from reinforce_lite.io.provenance import sha256_file
from reinforce_lite.resources import keys
from reinforce_lite.stages import Job, Layout

STORED = sorted((ROOT / "tests/stored").glob("*.tar.gz"))
CONFIG = ("config/tiny.yaml", "config/stored.yaml")
EVERY = 9
"""Results: one of each stage."""


def jobs(said: str) -> set[str]:
    """The rules of a dry run's table."""
    table = said.partition("Job stats:")[2].partition("\n\n")[0]
    return {line.split()[0] for line in table.splitlines()[3:]} - {"total", "all"}


@pytest.fixture(params=STORED, ids=lambda path: path.name)
def copied(request: pytest.FixtureRequest, tmp_path: Path) -> Workflow:
    """A fresh clone with the results of a release, whose times say nothing."""
    workflow = copy_workflow(tmp_path)
    shutil.copy(ROOT / "tests/stored/stored.yaml", tmp_path / "config")
    shutil.unpack_archive(request.param, tmp_path)
    shuffle(workflow)
    return workflow


def shuffle(workflow: Workflow) -> None:
    chance = random.Random(0)
    for path in workflow.results("stored").rglob("*"):
        moment = 1_700_000_000 + chance.randrange(10_000)
        os.utime(path, (moment, moment))


def contents(workflow: Workflow) -> dict[str, str]:
    folder = workflow.results("stored")
    return {str(path): sha256_file(path) for path in folder.rglob("*") if path.is_file() and path.name[0] != "."}


def dry_run(workflow: Workflow, *arguments: str) -> str:
    done = workflow.run("-n", *arguments, config=CONFIG)
    assert done.returncode == 0, done.stdout[-3000:]
    return done.stdout


def test_a_copy_without_times_is_adopted(copied: Workflow) -> None:
    before = contents(copied)
    said = dry_run(copied)
    assert f"adopts {EVERY} results of results/stored" in said and "Nothing to be done" in said, said
    done = copied.run(config=CONFIG)
    assert done.returncode == 0 and "Nothing to be done" in done.stdout, done.stdout[-3000:]
    assert contents(copied) == before, "nothing was spent and nothing written"


@pytest.mark.parametrize(
    ("change", "again", "reason"),
    [
        ('training={"steps": 5}', "preflight train evaluate_trained compare report crate", "training.steps 3 (now 5)"),
        ('evaluation={"batch_size": 7}', "preflight evaluate_baseline evaluate_trained compare report crate",
         "evaluation.batch_size 250 (now 7)"),
        ('task={"train_size": 13}', "preflight prepare_dataset fetch_policy evaluate_baseline train evaluate_trained "
         "compare report crate", "task.train_size 12 (now 13)"),
        ('policies={"tiny-llama": {"start": {"steps": 5}}}', "preflight fetch_policy evaluate_baseline train "
         "evaluate_trained compare report crate", "policies.tiny-llama.start.steps 4 (now 5)"),
        ('evaluation={"bootstrap_resamples": 300}', "compare report crate", "evaluation.bootstrap_resamples"),
        ('hardware={"usd_per_hour": 0.5}', "preflight report crate", "checked under another configuration"),
        ('training={"kl_every": 1}', "preflight report crate", "checked under another configuration"),
        ('checkpoint={"every_seconds": 9}', "", ""),
    ],
)  # fmt: skip
def test_a_change_makes_again_what_depends_on_it_and_is_named(
    copied: Workflow, change: str, again: str, reason: str
) -> None:
    said = dry_run(copied, "--config", change)
    assert jobs(said) == set(again.split()) and reason in said, said
    assert f"adopts {EVERY - len(again.split())} result" in said
    assert "Nothing to be done" in dry_run(copied), "the old configuration still holds"


@pytest.mark.parametrize("times", ["lost", "kept"])
def test_a_change_is_seen_whatever_the_times(copied: Workflow, times: str) -> None:
    """Snakemake knows a copy by its times alone, and if they happen to be in order, it would see no change."""
    if times == "kept":
        dry_run(copied)
    assert "train" in jobs(dry_run(copied, "--config", 'training={"learning_rate": 0.5}'))


def test_another_policy_is_seen(copied: Workflow) -> None:
    tokenizer = copied.results("stored") / "policies/tiny-llama/weights/tokenizer.json"
    tokenizer.write_text(tokenizer.read_text() + " ")
    said = dry_run(copied)
    assert jobs(said) == {"train", "evaluate_baseline", "evaluate_trained", "compare", "report", "crate"}, said


def test_an_edited_input_makes_again_what_reads_it(copied: Workflow) -> None:
    test = copied.results("stored") / "data/test.jsonl"
    test.write_text(test.read_text().replace("?", " ?", 1))
    said = dry_run(copied)
    assert jobs(said) == {"evaluate_baseline", "evaluate_trained", "compare", "report", "crate"}, said
    assert f"{test.relative_to(copied.folder)} was changed" in said


def test_an_edited_result_makes_again_what_is_made_of_it(copied: Workflow) -> None:
    dry_run(copied)
    items = copied.results("stored") / "trained/tiny-llama/leave_one_out/seed0/items.jsonl"
    items.write_text(items.read_text().replace('"length": ', '"length":  ', 1))
    assert jobs(dry_run(copied)) == {"compare", "report", "crate"}


def test_a_deleted_result_is_made_again(copied: Workflow) -> None:
    shutil.rmtree(copied.results("stored") / "baseline")
    said = dry_run(copied)
    assert jobs(said) == {"evaluate_baseline", "compare", "report", "crate"}, said


def test_what_is_forced_is_run(copied: Workflow) -> None:
    assert {"train", "evaluate_trained"} <= jobs(dry_run(copied, "--forcerun", "train"))


def test_what_was_computed_otherwise_is_adopted_and_told(copied: Workflow, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(copied.folder)
    job, settings = Job("evaluate_baseline", "tiny-llama"), load([copied.results("stored") / "config.json"])
    path, key = Layout.of(settings).path(job), keys.asked(settings, job).digest
    other = {"torch": "1.0", "CPU capability": "AVX9"}
    write_json(path, {**read_json(path), "key": key, "computed_with": other})
    said = dry_run(copied)
    assert "evaluate_baseline tiny-llama: computed with torch 1.0 (here " in said and "AVX9 (here " in said
    assert not {"evaluate_baseline", "train", "evaluate_trained"} & jobs(said)


def test_another_task_file_is_seen(copied: Workflow, tmp_path: Path) -> None:
    manifest = copied.results("stored") / "data/manifest.json"
    write_json(manifest, {**read_json(manifest), "settings": {**read_json(manifest)["settings"], "name": "own.py"}})
    assert "prepare_dataset" in jobs(dry_run(copied))


def hosted(workflow: Workflow, *arguments: str, path: str = "") -> str:
    """What a Snakemake says beside which the package is not installed."""
    absent = workflow.folder / "absent"
    absent.mkdir(exist_ok=True)
    (absent / "sitecustomize.py").write_text(BLOCKER)
    environment: dict[str, Any] = {**workflow.environment(), "PYTHONPATH": str(absent)}
    environment["PATH"] = f"{path}{os.pathsep}{environment['PATH']}"
    command = workflow.command("-n", *arguments, config=CONFIG)
    done = subprocess.run(command, cwd=workflow.folder, env=environment, capture_output=True, text=True, check=False)
    return done.stdout + done.stderr


def test_a_host_without_the_package_says_what_it_cannot_tell(copied: Workflow) -> None:
    said = hosted(copied)
    assert "note: whether the results in results/stored agree with their keys cannot be told" in said, said


def test_a_host_without_the_package_asks_the_image(copied: Workflow, tmp_path: Path) -> None:
    """A program in Apptainer's place runs what it is asked to run, with the package."""
    program, image = tmp_path / "bin/apptainer", tmp_path / "small.sif"
    program.parent.mkdir()
    image.touch()
    script = f"""#!/bin/sh
[ "$1" = exec ] || {{ echo apptainer version 1.4.0; exit; }}
while [ "$1" != {image.name} ]; do shift; done
shift 2
PYTHONPATH={ROOT / "src"} exec {sys.executable} "$@"
"""
    program.write_text(script)
    program.chmod(program.stat().st_mode | stat.S_IXUSR)
    container = f"container={json.dumps({'image': image.name})}"
    said = hosted(copied, "--use-singularity", "--config", container, path=str(program.parent))
    assert f"adopts {EVERY} results of results/stored" in said and "Nothing to be done" in said, said


def test_where_snakemake_has_records_an_edit_is_seen_as_ever(copied: Workflow) -> None:
    """Its records are those of a whole run; here they say no more than that they are there."""
    dry_run(copied)
    records = copied.folder / ".snakemake/metadata"
    for path in [path for path in copied.results("stored").rglob("*") if path.is_file()]:
        name = urlsafe_b64encode(str(path.relative_to(copied.folder)).encode()).decode()
        write_json(records / name, {"record_format_version": 1})
    assert "adopts" not in dry_run(copied)
    test = copied.results("stored") / "data/test.jsonl"
    test.write_text(test.read_text().replace("?", " ?", 1))
    said = dry_run(copied)
    assert {"evaluate_baseline", "evaluate_trained"} <= jobs(said) and "train" not in jobs(said), said
    assert "not adopted: evaluate_baseline tiny-llama: it was made before results/stored/data/test.jsonl" in said
