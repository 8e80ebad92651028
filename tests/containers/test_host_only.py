"""`snakemake --use-singularity` on a host that has Snakemake and Apptainer, and nothing of this project installed."""

import os
import re
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path

import pytest
from container_run import PATIENT, with_image
from dag_runner import MINI, ROOT, copy_workflow

pytestmark = [pytest.mark.slow, pytest.mark.timeout(1800)]
LOCK = ROOT / "envs/runtime.txt"


@dataclass(frozen=True)
class Host:
    """A folder with the workflow, and the program folder of an environment with Snakemake alone."""

    folder: Path
    programs: Path
    sif: str

    def call(self, *command: str) -> subprocess.CompletedProcess[str]:
        own = str(Path(sys.executable).parent)
        path = [str(self.programs), *(part for part in os.environ["PATH"].split(os.pathsep) if part != own)]
        environment = {name: value for name, value in os.environ.items() if name != "PYTHONPATH"}
        return subprocess.run(
            command, cwd=self.folder, env={**environment, **PATIENT, "PATH": os.pathsep.join(path)},
            stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, check=False,
        )  # fmt: skip

    def snakemake(self, *arguments: str) -> str:
        """What Snakemake, which must succeed, prints of the mini world."""
        done = self.call(
            "snakemake", "--cores", "1", "--use-singularity", *arguments,
            "--configfile", *MINI, *with_image(self.sif),
        )  # fmt: skip
        assert done.returncode == 0, done.stdout[-3000:]
        return done.stdout


@pytest.fixture(scope="module")
def programs(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """An environment as README has the host make it, with the versions of the lock."""
    folder = tmp_path_factory.mktemp("snakemake")
    constraints = folder / "versions.txt"
    constraints.write_text("\n".join(re.findall(r"^[a-z0-9._-]+==[^\\\n]+", LOCK.read_text(), re.MULTILINE)))
    subprocess.run([sys.executable, "-m", "venv", folder / "venv"], check=True)
    pip = [folder / "venv/bin/python", "-m", "pip", "--quiet", "install", "--constraint", constraints]
    done = subprocess.run([*pip, "snakemake", "pygments"], capture_output=True, text=True, check=False)
    if done.returncode:
        pytest.skip(f"pip cannot install Snakemake: {done.stderr.strip()[-300:]}")
    return folder / "venv/bin"


@pytest.fixture(scope="module")
def host(programs: Path, sif: str, tmp_path_factory: pytest.TempPathFactory) -> Host:
    """The mini world, from preflight to the report."""
    made = Host(copy_workflow(tmp_path_factory.mktemp("host")).folder, programs, sif)
    assert made.call("python", "-c", "import reinforce_lite").returncode, "this is no host without the package"
    output = made.snakemake()
    assert output.count("Activating singularity image") == 9, output[-3000:]
    return made


def test_it_ends_with_a_report(host: Host) -> None:
    assert "reinforce-lite" in (host.folder / "results/mini/report.html").read_text()
    assert (host.folder / "results/mini/summary.json").stat().st_size > 0


@pytest.mark.parametrize("arguments", [(), ("-n",)])
def test_a_second_call_has_nothing_to_do(host: Host, arguments: tuple[str, ...]) -> None:
    assert "Nothing to be done" in host.snakemake(*arguments)


def test_a_dry_run_of_the_ablations_plans_them(host: Host) -> None:
    assert re.search(r"^train +[2-9]$", host.snakemake("-n", "ablations"), re.MULTILINE)


def test_snakemakes_own_report_is_made(host: Host) -> None:
    host.snakemake("--report", "report.html")
    assert (host.folder / "report.html").stat().st_size > 100_000


@pytest.mark.parametrize("arguments", [("--unlock",), ("--summary",), ("--forcerun", "compare")])
def test_snakemakes_other_calls_work(host: Host, arguments: tuple[str, ...]) -> None:
    assert "Traceback" not in host.snakemake(*arguments)


def test_the_packages_own_commands_are_in_the_image(host: Host) -> None:
    done = host.call("apptainer", "exec", host.sif, "reinforce-lite", "verify", "results/mini")
    assert done.returncode == 0, done.stdout[-3000:]


def test_without_the_flag_the_absent_command_is_named(host: Host) -> None:
    done = host.call("snakemake", "--cores", "1", "--configfile", *MINI, "--forcerun", "report")
    assert done.returncode != 0 and "Traceback" not in done.stdout
    assert "command reinforce-lite" in done.stdout and "--use-singularity" in done.stdout


def test_a_bad_configuration_is_refused_with_its_key(host: Host) -> None:
    done = host.call("snakemake", "--cores", "1", "-n", "--config", 'training={"stepz": 3}')
    assert done.returncode != 0 and "Traceback" not in done.stdout
    assert "training.stepz: unknown key" in done.stdout and "fix:" in done.stdout
