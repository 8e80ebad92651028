"""`snakemake --use-singularity` on a host that has Snakemake and Apptainer, and nothing of this project installed."""

import re
import subprocess
from dataclasses import dataclass
from pathlib import Path

import pytest
from container_run import PATIENT, WORLD, bare_environment, with_image
from dag_runner import Workflow

pytestmark = [pytest.mark.slow, pytest.mark.timeout(1800)]


@dataclass(frozen=True)
class Host:
    """The folder in which the workflow ran, and the Python of an environment with Snakemake alone."""

    folder: Path
    python: Path
    sif: str

    def call(self, *command: str, first_on_path: str = "") -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            command, cwd=self.folder, env={**bare_environment(first_on_path), **PATIENT},
            stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, check=False,
        )  # fmt: skip

    def outside(self, *arguments: str, first_on_path: str = "") -> str:
        """What Snakemake, which must fail in plain words, prints where it is to run the rules on the host."""
        command = (str(self.python.parent / "snakemake"), "--cores", "1", *arguments)
        done = self.call(*command, first_on_path=first_on_path)
        assert done.returncode != 0 and "Traceback" not in done.stdout, done.stdout[-3000:]
        return done.stdout

    def snakemake(self, *arguments: str) -> str:
        """What Snakemake, which must succeed, prints where it is to run the rules in the container."""
        done = self.call(
            str(self.python.parent / "snakemake"), "--cores", "1", "--use-singularity", *arguments,
            "--configfile", *WORLD.config, *with_image(self.sif),
        )  # fmt: skip
        assert done.returncode == 0, done.stdout[-3000:]
        return done.stdout


@pytest.fixture
def host(alone: Path | None, sif: str, in_apptainer: Workflow, tmp_path: Path) -> Host:
    if alone is None:
        pytest.skip("pip cannot install Snakemake into an environment of its own here")
    return Host(in_apptainer.copied(tmp_path).folder, alone, sif)


def test_it_ends_with_a_report_and_nothing_but_snakemake_was_there(host: Host) -> None:
    assert host.call(str(host.python), "-c", "import reinforce_lite").returncode != 0
    assert "reinforce-lite" in (host.folder / f"results/{WORLD.name}/report.html").read_text()
    assert (host.folder / f"results/{WORLD.name}/summary.json").stat().st_size > 0


@pytest.mark.parametrize("arguments", [(), ("-n",)])
def test_a_second_call_has_nothing_to_do(host: Host, arguments: tuple[str, ...]) -> None:
    assert "Nothing to be done" in host.snakemake(*arguments)


def test_a_dry_run_of_the_ablations_plans_them(host: Host) -> None:
    assert re.search(r"^train +[1-9]\d*$", host.snakemake("-n", "ablations"), re.MULTILINE)


def test_snakemakes_own_report_is_made(host: Host) -> None:
    host.snakemake("--report", "report.html")
    assert (host.folder / "report.html").stat().st_size > 100_000


@pytest.mark.parametrize("argument", ["--unlock", "--summary"])
def test_snakemakes_other_calls_work(host: Host, argument: str) -> None:
    assert "Traceback" not in host.snakemake(argument)


def test_the_packages_own_commands_are_in_the_image(host: Host) -> None:
    done = host.call("apptainer", "exec", host.sif, "reinforce-lite", "verify", f"results/{WORLD.name}")
    assert done.returncode == 0, done.stdout[-3000:]


def test_a_bad_configuration_is_refused_with_its_key(host: Host) -> None:
    said = host.outside("-n", "--config", 'training={"stepz": 3}')
    assert "training.stepz: unknown key" in said and "fix:" in said


def test_without_the_flag_the_absent_command_is_named(host: Host) -> None:
    said = host.outside("--configfile", *WORLD.config, "--forcerun", "report")
    assert "command reinforce-lite" in said and "--use-singularity" in said


def test_the_decoy_would_be_met_outside(host: Host) -> None:
    decoy = str(host.folder / "decoy")
    said = host.outside("--configfile", *WORLD.config, "--forcerun", "report", first_on_path=decoy)
    assert "this ran outside of the container" in said
