"""`snakemake --use-singularity`: every rule in the container. What the host needs: test_host_only.py."""

import json
import os
import shutil
import subprocess
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path

import pytest
from container_run import WORLD, bare_environment, models, with_image
from dag_runner import MINI, ROOT, Workflow, copy_workflow
from leaving import LONG, assert_continued, assert_left_in_order, wait_for_steps

from reinforce_lite.io.files import read_json

pytestmark = [pytest.mark.slow, pytest.mark.timeout(1800)]


def snakemake(workflow: Workflow, *arguments: str, config: tuple[str, ...]) -> subprocess.CompletedProcess[str]:
    """Snakemake called where the package's own command is not on PATH."""
    return subprocess.run(
        workflow.command(*arguments, config=config), cwd=workflow.folder, env=bare_environment(),
        stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, check=False,
    )  # fmt: skip


def test_it_gives_the_numbers_of_the_host(in_apptainer: Workflow, on_host: Path) -> None:
    assert models(in_apptainer.folder / "results") == models(on_host)


def test_each_result_says_which_image_made_it(in_apptainer: Workflow, sif: str) -> None:
    (origin,) = read_json(in_apptainer.results(WORLD.name) / "summary.json")["provenance"]["origins"]
    assert origin["image"].startswith(f"{sif} contents sha256:")


def test_outside_and_with_another_image_nothing_is_left_to_do(in_apptainer: Workflow, sif: str) -> None:
    for arguments in ((), ("--use-singularity", *with_image(sif)), with_image("docker://another/image:2")):
        done = in_apptainer.run("-n", *arguments, config=WORLD.config)
        assert "Nothing to be done" in done.stdout, (arguments, done.stdout[-2000:])


def test_local_data_are_seen_inside(sif: str, tmp_path: Path) -> None:
    source = os.environ.get("GSM8K_DIR")
    if not source:
        pytest.skip("GSM8K_DIR names no folder with the original files")
    outside = Path("/srv/reinforce-lite-test") if os.getuid() == 0 else tmp_path  # not among what Apptainer mounts
    outside.mkdir(parents=True, exist_ok=True)
    try:
        for name in ("train.jsonl", "test.jsonl"):
            shutil.copy(Path(source, name), outside)
        workflow = copy_workflow(tmp_path / "w")
        arguments = ("results/smollm/data/manifest.json", "--use-singularity")
        overlay = ("--config", f"container={json.dumps({'image': sif})}", f"task={json.dumps({'path': str(outside)})}")
        done = snakemake(workflow, *arguments, *overlay, config=("config/smollm.yaml",))
        assert done.returncode == 0, done.stdout[-3000:]
        assert read_json(workflow.results("smollm") / "data/manifest.json")["counts"]["test"] == 1319
    finally:
        if outside != tmp_path:
            shutil.rmtree(outside)


def test_the_caches_are_the_same_inside(sif: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A rule that says which caches it has and what lies there; the workflow's own preparation around it."""
    workflow = copy_workflow(tmp_path / "w")
    outside = Path("/srv/reinforce-lite-cache") if os.getuid() == 0 else tmp_path / "cache"
    names = ("HF_HOME", "VLLM_CACHE_ROOT", "TRITON_CACHE_DIR", "TORCHINDUCTOR_CACHE_DIR")
    look = "; ".join(f"echo ${name}; ls ${name}; touch ${name}/made" for name in names)
    rule = f'rule look:\n    output: "seen"\n    shell: "({look}) > {{output}}"\n'
    (workflow.folder / "Snakefile").write_text((ROOT / "Snakefile").read_text() + "\n\n" + rule)
    try:
        for name in names:
            monkeypatch.setenv(name, str(outside / name))
            (outside / name).mkdir(parents=True)
            (outside / name / f"of_{name}").write_text("")
        done = snakemake(workflow, "seen", "--use-singularity", *with_image(sif), config=("config/tiny.yaml",))
        assert done.returncode == 0, done.stdout[-3000:]
        seen = (workflow.folder / "seen").read_text().split()
        assert seen == [word for name in names for word in (str(outside / name), f"of_{name}")]
        assert all((outside / name / "made").exists() for name in names)
    finally:
        shutil.rmtree(outside)


@pytest.mark.parametrize("arguments", [("-n",), ()])
def test_without_apptainer_it_says_so(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, arguments: tuple[str]) -> None:
    parts = os.environ["PATH"].split(os.pathsep)
    without = [part for part in parts if not any(Path(part, name).exists() for name in ("apptainer", "singularity"))]
    monkeypatch.setenv("PATH", os.pathsep.join(without))
    done = copy_workflow(tmp_path).run(*arguments, "--use-singularity", config=("config/tiny.yaml",))
    assert done.returncode != 0 and "Traceback" not in done.stdout
    assert "none is on PATH" in done.stdout and "fix:" in done.stdout and "make setup" in done.stdout


def test_an_absent_image_file_is_named(tmp_path: Path) -> None:
    if not shutil.which("apptainer") and not shutil.which("singularity"):
        pytest.skip("Apptainer is not installed")
    done = copy_workflow(tmp_path).run("-n", "--use-singularity", *with_image("no.sif"), config=("config/tiny.yaml",))
    assert done.returncode != 0
    assert "container.image: no.sif does not exist" in done.stdout and "make sif" in done.stdout


def test_an_archive_is_given_to_apptainer_by_its_whole_path(tmp_path: Path) -> None:
    if not shutil.which("apptainer") and not shutil.which("singularity"):
        pytest.skip("Apptainer is not installed")
    workflow = copy_workflow(tmp_path)
    (tmp_path / "image.tar").write_bytes(b"")
    done = workflow.run("-n", "--use-singularity", *with_image("image.tar"), config=("config/tiny.yaml",))
    assert f"docker-archive:{tmp_path}/image.tar will be pulled" in done.stdout


@pytest.mark.survives("SIGTERM of Snakemake whose rules run under Apptainer")
def test_sigterm_ends_in_a_checkpoint_and_the_same_command_goes_on(
    sif: str, before_training: Workflow, record_property: Callable[[str, object], None]
) -> None:
    workflow = before_training
    changes = ("--config", f"container={json.dumps({'image': sif})}", LONG[1])
    command = workflow.command("--use-singularity", *changes)
    first = subprocess.Popen(
        command,
        cwd=workflow.folder,
        env=bare_environment(),
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    )
    wait_for_steps(workflow.results(), lambda: first.poll() is not None)
    told = datetime.now(UTC)
    first.terminate()
    output, _ = first.communicate(timeout=120)
    assert first.returncode != 0, output[-3000:]
    assert_left_in_order(workflow.results(), told, record_property)
    done = snakemake(workflow, "--use-singularity", *changes, config=MINI)
    assert done.returncode == 0, done.stdout[-3000:]
    assert_continued(workflow.results(), done.stdout)
