"""`docker run`: the workflow under the tightest settings, what is in the image, what is said when it cannot run."""

import json
import os
import subprocess
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
from container_run import LOCKED, UID, WORLD, docker, models
from dag_runner import ROOT, Workflow
from leaving import LONG, assert_continued, assert_left_in_order, steps_taken, wait_for_steps

from reinforce_lite.io.files import read_json

pytestmark = [pytest.mark.slow, pytest.mark.timeout(1800)]
MINI = ("--configfile", "config/tiny.yaml", "/opt/reinforce-lite/tests/workflow/mini.yaml")


@pytest.fixture(scope="module")
def inspected(image: str) -> dict[str, Any]:
    (found,) = json.loads(docker("image", "inspect", image).stdout)
    return found


def run(image: str, *arguments: str, options: tuple[str, ...] = ()) -> str:
    """What a container that must succeed prints."""
    done = docker("run", "--rm", *LOCKED, *options, image, *arguments)
    assert done.returncode == 0, done.stdout[-3000:]
    return done.stdout


def given_away(workflow: Workflow) -> None:
    """Make the user that the container runs as the owner of all files."""
    for path in (workflow.folder, *workflow.folder.rglob("*")):
        os.chown(path, UID, UID, follow_symlinks=False)


def test_it_ends_with_its_results_in_the_mounted_folder(in_docker: Path) -> None:
    for name in ("summary.json", "report.html", "ledger.jsonl"):
        assert (in_docker / f"results/{WORLD.name}" / name).stat().st_size > 0
    owners = {(path.stat().st_uid, path.stat().st_gid) for path in in_docker.rglob("*")}
    assert owners == {(UID, UID)}


def test_it_gives_the_numbers_of_the_host(in_docker: Path, on_host: Path) -> None:
    assert models(in_docker / "results") == models(on_host)


def test_each_result_says_which_image_made_it(in_docker: Path, image: str, inspected: dict[str, Any]) -> None:
    (origin,) = read_json(in_docker / f"results/{WORLD.name}/summary.json")["provenance"]["origins"]
    assert origin["git_commit"] == inspected["Config"]["Labels"]["org.opencontainers.image.revision"]
    version = inspected["Config"]["Labels"]["org.opencontainers.image.version"]
    contents = docker("run", "--rm", image, "contents").stdout.splitlines()[-1]
    assert origin["image"] == f"reinforce-lite:{version}-cpu contents sha256:{contents}"
    assert len(origin["results"]) == WORLD.results
    assert contents in (in_docker / f"results/{WORLD.name}/report.html").read_text()


def test_outside_the_container_nothing_is_left_to_do(in_docker: Path) -> None:
    command = ("-n", "--snakefile", str(ROOT / "Snakefile"), "--directory", str(in_docker))
    overlays = str(ROOT / "tests/workflow")
    done = Workflow(ROOT).run(*command, config=WORLD.files(str(ROOT / "config"), overlays))
    assert "Nothing to be done" in done.stdout, done.stdout[-2000:]


def test_a_run_of_the_host_is_not_repeated_inside(image: str, mini: Workflow, tmp_path: Path) -> None:
    given_away(mini.copied(tmp_path))
    options = ("-v", f"{tmp_path}:/work")
    assert "Nothing to be done" in run(image, "reproduce", "-n", *MINI, options=options)


def test_the_image_says_what_it_is(inspected: dict[str, Any]) -> None:
    labels, variables = inspected["Config"]["Labels"], dict(v.split("=", 1) for v in inspected["Config"]["Env"])
    prefix = "org.opencontainers.image."
    assert labels[f"{prefix}licenses"] == "Apache-2.0" and labels[f"{prefix}source"].startswith("https://")
    assert f'version = "{labels[f"{prefix}version"]}"' in (ROOT / "pyproject.toml").read_text()
    assert len(labels[f"{prefix}revision"].removesuffix("-dirty")) == 40
    assert inspected["Config"]["User"] == "1000:1000"
    assert not any("TOKEN" in name for name in variables)


def test_nothing_is_where_it_should_not_be(image: str) -> None:
    names = " -o ".join(f"-name '{name}'" for name in ("*.safetensors", "*.gguf", "*.pt", "token"))
    weights = f"find / -xdev \\( -path /proc -o -path /sys \\) -prune -o -type f -size +1M \\( {names} \\) -print"
    strays = "find /root /home -mindepth 1 -type f ! -name '.*'; find /cache /work -type f"
    assert run(image, "shell", "bash", "-c", f"({weights}; {strays}) 2>/dev/null; true").splitlines() == []
    tools = run(image, "shell", "bash", "-c", "type -P gcc g++ make git curl; true")
    assert tools.split() == []
    unreadable = "find /opt ! -perm -o=r -o -type d ! -perm -o=x -o -perm -o=w ! -type l"
    assert run(image, "shell", "bash", "-c", unreadable).split() == []


def test_what_is_compiled_is_kept_with_what_is_downloaded(image: str, tmp_path: Path) -> None:
    """In the mounted cache; without one, where the container can write."""
    names = ("HF_HOME", "VLLM_CACHE_ROOT", "TRITON_CACHE_DIR", "TORCHINDUCTOR_CACHE_DIR")
    look = "; ".join(f"mkdir -p ${name}; echo ${name}" for name in names)
    os.chown(tmp_path, UID, UID)
    for options, root in (((), "/tmp/huggingface"), (("-v", f"{tmp_path}:/cache/huggingface"), "/cache/huggingface")):
        places = run(image, "shell", "bash", "-c", look, options=options).split()
        assert places == [root, *(f"{root}/compiled/{part}" for part in ("vllm", "triton", "inductor"))]
    assert sorted(part.name for part in (tmp_path / "compiled").iterdir()) == ["inductor", "triton", "vllm"]


def test_the_bill_of_materials_is_what_is_installed(image: str) -> None:
    document = json.loads(run(image, "sbom"))
    assert document["bomFormat"] == "CycloneDX"
    listed = {(part["name"].lower().replace("_", "-"), part["version"]) for part in document["components"]}
    script = "from importlib.metadata import distributions\nfor d in distributions(): print(d.name, d.version)"
    installed = {tuple(line.split()) for line in run(image, "shell", "python", "-c", script).splitlines()}
    names = {(name.lower().replace("_", "-"), version) for name, version in installed}
    assert names - listed == {("reinforce-lite", "0.1.0")}, "installed after the list is made"
    assert {"torch", "transformers", "mlflow", "snakemake"} <= {name for name, _ in listed}


def test_the_image_tests_itself(image: str) -> None:
    said = run(image, "test", "-q", "tests/tasks", "tests/learning/test_estimators.py", "tests/test_config.py")
    assert " passed" in said and "failed" not in said


def test_help_names_every_word(image: str) -> None:
    said = run(image, "help")
    words = ("reproduce", "tiny", "ui", "test", "shell", "sbom", "contents", "help")
    assert [word for word in words if f"\n  {word} " not in said] == []


def refused(*arguments: str) -> str:
    """What a container says that must refuse: one screen, no traceback."""
    done = docker("run", "--rm", *arguments)
    assert done.returncode != 0
    assert "fix:" in done.stdout and "Traceback" not in done.stdout, done.stdout[-3000:]
    return done.stdout


def test_without_a_mount_it_refuses(image: str) -> None:
    assert 'add -v "$PWD:/work"' in refused(*LOCKED, image, "tiny")


@pytest.mark.skipif(os.getuid() != 0, reason="needs root to make a folder that another user cannot write")
def test_a_folder_of_another_user_is_named(image: str, tmp_path: Path) -> None:
    said = refused(*LOCKED, "-v", f"{tmp_path}:/work", image, "tiny")
    assert f"/work cannot be written by {UID}:{UID}; it belongs to 0:0" in said and "--user" in said
    os.chown(tmp_path, UID, UID)
    (tmp_path / "results").mkdir()
    assert "/work/results cannot be written" in refused(*LOCKED, "-v", f"{tmp_path}:/work", image, "tiny")


@pytest.mark.parametrize(("size", "said"), [("8m", "MiB free"), ("400m", "GiB free, and about 1.")])
def test_a_full_disk_is_told_before_anything_is_spent(image: str, size: str, said: str) -> None:
    assert said in refused(*LOCKED, "--tmpfs", f"/work:size={size},mode=1777", image, "tiny")


def test_without_a_gpu_the_paid_run_says_what_to_do(image: str, work: Path) -> None:
    said = refused(*LOCKED, "-v", f"{work}:/work", image)
    assert "hardware.device is 'cuda'" in said and "CPU build" in said and "without -cpu" in said
    assert "is gated and no token is set" in said and "HF_TOKEN" in said
    assert not (work / "results/paper/ledger.jsonl").exists()


def test_an_unknown_word_lists_the_known_ones(image: str) -> None:
    said = refused(image, "train-please")
    assert "'train-please' is not one of these words" in said and "\n  reproduce " in said


def test_ui_without_a_run_says_so(image: str, work: Path) -> None:
    assert "no run has been recorded here" in refused(*LOCKED, "-v", f"{work}:/work", image, "ui")


@pytest.mark.skipif(os.getuid() != 0, reason="needs root to make a folder that another user cannot write")
def test_a_cache_of_another_user_is_named(image: str, work: Path, tmp_path_factory: pytest.TempPathFactory) -> None:
    cache = tmp_path_factory.mktemp("cache")
    mounts = ("-v", f"{work}:/work", "-v", f"{cache}:/cache/huggingface")
    assert "mkdir -p" in refused(*LOCKED, *mounts, image)


@pytest.mark.survives("SIGTERM from docker stop")
@pytest.mark.survives("SIGKILL of the whole container")
def test_a_container_that_is_killed_or_stopped_goes_on_by_the_same_command(
    image: str, before_training: Workflow, record_property: Callable[[str, object], None]
) -> None:
    given_away(before_training)
    work, results = before_training.folder, before_training.results()

    def start(name: str) -> subprocess.Popen[str]:
        command = ["docker", "run", "--rm", "--name", name, *LOCKED, "-v", f"{work}:/work", image, "reproduce"]
        return subprocess.Popen([*command, *MINI, *LONG], stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)

    for name, order in (("killed", ("kill",)), ("stopped", ("stop", "-t", "60"))):
        container = f"reinforce-lite-{os.getpid()}-{name}"
        running = start(container)
        more = steps_taken(results) + 3
        wait_for_steps(results, lambda running=running: running.poll() is not None, more)  # type: ignore[misc]
        told = datetime.now(UTC)
        docker(*order, container)
        running.communicate()
        # 137: killed. A container that is stopped must have ended before its time was over.
        assert (running.returncode == 137) == (name == "killed") and running.returncode
    assert_left_in_order(results, told, record_property, before=("killed",))
    last = start(f"reinforce-lite-{os.getpid()}-last")
    output, _ = last.communicate()
    assert last.returncode == 0, output[-3000:]
    assert_continued(results, output, before=("killed",))
