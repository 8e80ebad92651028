"""Where people rent: the files of deploy/ and the profile for Slurm, and the guide that leads to them."""

import json
import os
import re
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
import yaml

from reinforce_lite.config import load
from reinforce_lite.experiment import places
from reinforce_lite.stages import STAGES

ROOT = Path(__file__).parents[1]
SKY, KUBERNETES, KEEP = (ROOT / "deploy" / name for name in ("sky.yaml", "kubernetes.yaml", "keep.sh"))
CHECKER = Path(os.environ.get("DEPLOY_PYTHON") or f"{sys.prefix}/deploy/bin/python")
checks = pytest.mark.skipif(not CHECKER.exists(), reason="SkyPilot is not installed; make test-deploy installs it")
keeps = pytest.mark.skipif(shutil.which("rsync") is None, reason="rsync is not installed")


def checked(sky: Path, kubernetes: Path, home: Path) -> subprocess.CompletedProcess[str]:
    script = Path(__file__).with_name("deploy_checker.py")
    environment = {**os.environ, "HOME": str(home), "SKYPILOT_DISABLE_USAGE_COLLECTION": "1"}
    return subprocess.run(
        [CHECKER, script, sky, kubernetes], capture_output=True, text=True, check=False, cwd=ROOT, env=environment
    )


@checks
def test_skypilot_and_the_schema_of_kubernetes_accept_the_files(tmp_path: Path) -> None:
    done = checked(SKY, KUBERNETES, tmp_path)
    assert done.returncode == 0, done.stderr[-3000:]
    found = json.loads(done.stdout.splitlines()[-1])
    task = found["task"]
    assert task["accelerators"] == {"L40S": 1} and task["spot"] is True and task["disk_size"] == 400
    assert task["recovery"]["max_restarts_on_errors"] == 0
    assert task["buckets"] == {"/kept": ["a-bucket", "MOUNT_CACHED"]}
    assert "deploy/keep.sh /kept snakemake" in task["run"]
    assert found["kinds"] == ["PersistentVolumeClaim", "Job"]


@checks
@pytest.mark.parametrize(
    ("file", "before", "after"),
    [
        (SKY, "use_spot: true", "use_sport: true"),
        (SKY, "disk_size: 400", "disk_size: large"),
        (KUBERNETES, "backoffLimit: 0", "backofLimit: 0"),
        (KUBERNETES, "runAsUser: 1000", "runAsUser: nobody"),
    ],
)
def test_a_fault_in_a_file_would_be_found(file: Path, before: str, after: str, tmp_path: Path) -> None:
    text = file.read_text()
    assert text.count(before) == 1
    wrong = tmp_path / file.name
    wrong.write_text(text.replace(before, after))
    done = checked(wrong if file == SKY else SKY, wrong if file == KUBERNETES else KUBERNETES, tmp_path)
    assert done.returncode != 0 and after.split(":")[0] in done.stderr, done.stderr[-3000:]


def test_the_profile_for_slurm_asks_for_a_gpu_where_a_stage_uses_the_device() -> None:
    profile = yaml.safe_load((ROOT / "profiles/slurm/profile.v9+.yaml").read_text())
    assert profile["set-resources"].keys() == {name for name, stage in STAGES.items() if stage.device}
    for resources in profile["set-resources"].values():
        assert resources["gres"] == "'gpu:1'" and "--signal=TERM@120" in resources["slurm_extra"]
    assert profile["executor"] == "slurm" and profile["slurm-requeue"] is True


def test_the_guide_has_the_figures_of_the_projects_own_commands(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    guide = (ROOT / "docs/rent-a-gpu.md").read_text()
    plans = (ROOT / "config/README.md").read_text()  # which `estimate` generates
    row = re.search(r"^a6000 +48 +0\.55 .*?(\d+\.\d) +(\$[\d.]+) - (\$[\d.]+) - (\$[\d.]+)", plans, re.MULTILINE)
    assert row is not None
    hours, low, expected, high = row.groups()
    assert f"{float(hours):.0f} hours on an A6000" in guide
    assert f"{expected} at $0.55 an hour, {low} to {high}" in guide
    monkeypatch.setenv("HF_HOME", str(tmp_path))  # nothing is downloaded yet
    monkeypatch.setattr(places, "_check_writable", lambda place: None)
    monkeypatch.setattr(shutil, "disk_usage", lambda place: shutil._ntuple_diskusage(10**13, 0, 10**13))  # type: ignore[attr-defined]
    said = sum(
        float(one) for one in re.findall(r"about ([\d.]+) GiB", places.disk(load([ROOT / "config/config.yaml"])))
    )
    named = re.search(r"about (\d+) GiB for results, checkpoints and downloads", guide)
    assert named is not None and abs(float(named[1]) - said) < 5


def test_the_guide_names_what_ends_the_bill_of_each_provider() -> None:
    sections = re.split(r"^## ", (ROOT / "docs/rent-a-gpu.md").read_text(), flags=re.MULTILINE)
    ends = {
        "Vast.ai": "vastai destroy instance", "RunPod": "runpodctl pod delete", "Lambda": "operations/terminate",
        "A Slurm cluster": "scancel", "SkyPilot": "sky jobs cancel", "Kubernetes": "kubectl delete job",
    }  # fmt: skip
    for name, command in ends.items():
        (section,) = (one for one in sections if one.startswith(f"{name}\n"))
        assert command in section and section.count("```bash") >= 1


@pytest.mark.skipif(not (ROOT / "results/README.md").exists(), reason="an image has no results")
def test_every_link_of_the_pages_leads_somewhere() -> None:
    pages = [ROOT / name for name in ("README.md", "CHANGELOG.md", "config/README.md", "results/README.md")]
    for page in [*pages, *(ROOT / "docs").rglob("*.md")]:
        for link in re.findall(r"\]\(([^)#\s:]+)[)#]", page.read_text()):
            assert (page.parent / link).exists(), f"{page.relative_to(ROOT)}: {link}"
    nav = yaml.safe_load((ROOT / "mkdocs.yml").read_text())["nav"]
    shown = {path for entry in nav for path in entry.values()}
    assert {str(path.relative_to(ROOT)) for path in [*pages, *(ROOT / "docs").rglob("*.md")]} == shown


def keep(folder: Path, kept: Path, script: str, seconds: int = 300) -> subprocess.Popen[str]:
    environment = {**os.environ, "KEEP_SECONDS": str(seconds)}
    command = [KEEP, kept, "bash", "-c", script]
    return subprocess.Popen(
        command, cwd=folder, env=environment, stderr=subprocess.PIPE, text=True, start_new_session=True
    )


@pytest.fixture
def machine(tmp_path: Path) -> Path:
    (tmp_path / "kept").mkdir()
    (tmp_path / "machine").mkdir()
    return tmp_path / "machine"


@keeps
def test_results_outlive_the_machine_and_come_back(machine: Path) -> None:
    kept = machine.parent / "kept"
    write = "mkdir -p results/a logs; echo 1 > results/a/b; echo x > results/c.tmp; echo l > logs/l; exit 7"
    first = keep(machine, kept, write)
    assert first.wait(timeout=30) == 7, "the command's own"
    assert (kept / "results/a/b").read_text() == "1\n" and (kept / "logs/l").exists()
    assert not (kept / "results/c.tmp").exists()
    shutil.rmtree(machine)
    machine.mkdir()
    second = keep(machine, kept, "cat results/a/b > results/seen && rm results/a/b")
    assert second.wait(timeout=30) == 0
    assert (kept / "results/seen").read_text() == "1\n" and not (kept / "results/a/b").exists()


@keeps
def test_results_are_kept_while_the_command_runs(machine: Path) -> None:
    kept = machine.parent / "kept"
    process = keep(machine, kept, "mkdir results; echo 1 > results/a; while true; do sleep 0.1; done", seconds=1)
    until = time.monotonic() + 30
    while not (kept / "results/a").exists():
        assert process.poll() is None and time.monotonic() < until
        time.sleep(0.1)
    os.killpg(process.pid, signal.SIGKILL)  # the machine is gone
    process.communicate()
    assert (kept / "results/a").read_text() == "1\n"


@keeps
@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_a_signal_is_passed_on_and_what_the_command_writes_then_is_kept(machine: Path, number: signal.Signals) -> None:
    script = (
        "mkdir results; trap 'echo checkpoint > results/a; exit 3' TERM; touch begun; while true; do sleep 0.1; done"
    )
    process = keep(machine, machine.parent / "kept", script)
    until = time.monotonic() + 30
    while not (machine / "begun").exists():
        assert process.poll() is None and time.monotonic() < until
        time.sleep(0.05)
    process.send_signal(number)
    assert process.wait(timeout=30) == 3
    assert (machine.parent / "kept/results/a").read_text() == "checkpoint\n"


@keeps
def test_without_the_folder_the_command_is_not_begun(machine: Path) -> None:
    process = keep(machine, machine / "none", "touch begun")
    said = process.communicate(timeout=30)[1]
    assert process.returncode == 2 and "is no folder that can be written" in said and not (machine / "begun").exists()
