"""The workflow called by a Snakemake beside which the package is not installed, as on a host that has containers."""

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import yaml
from dag_runner import MINI, ROOT, Workflow, copy_workflow, rules_file
from snakemake.exceptions import WorkflowError
from snakemake.settings.types import DeploymentMethod

from reinforce_lite.config import merge

BLOCKER = """
import sys
class Absent:
    def find_spec(self, name, path=None, target=None):
        if name.split(".")[0] == "reinforce_lite":
            raise ModuleNotFoundError(f"No module named {name!r}", name=name)
sys.meta_path.insert(0, Absent())
"""


@pytest.fixture
def host(tmp_path: Path) -> Workflow:
    (tmp_path / "absent").mkdir()
    (tmp_path / "absent/sitecustomize.py").write_text(BLOCKER)
    return copy_workflow(tmp_path)


def call(host: Workflow, *arguments: str, config: tuple[str, ...] = MINI) -> str:
    """What Snakemake says where the package cannot be imported; never a traceback of Python's."""
    environment = {**os.environ, "PYTHONPATH": str(host.folder / "absent")}
    done = subprocess.run(
        host.command(*arguments, config=config), cwd=host.folder, env=environment,
        stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, check=False,
    )  # fmt: skip
    assert "Traceback" not in done.stdout, done.stdout[-3000:]
    return done.stdout


def configured() -> dict[str, Any]:
    """The mini configuration as Snakemake hands it to the check."""
    layers = [ROOT / "config/config.yaml", ROOT / "config/tiny.yaml", ROOT / "tests/workflow/mini.yaml"]
    config: dict[str, Any] = {}
    for path in layers:
        config = merge(config, yaml.safe_load(path.read_text()))
    loaded: dict[str, Any] = json.loads(json.dumps(config, default=str))
    return loaded


def complaint(config: dict[str, Any]) -> str:
    """What the check by schema says of a configuration; empty if nothing."""
    schema = json.loads((ROOT / "workflow/schemas/config.schema.json").read_text())
    try:
        rules_file("schema", config=config)["check_by_schema"](schema)
    except WorkflowError as error:
        return str(error)
    return ""


def jobs(said: str) -> dict[str, int]:
    """The table of a dry run: how many jobs each rule has."""
    rows = [line.split() for line in said.splitlines()]
    return {row[0]: int(row[1]) for row in rows if len(row) == 2 and row[0].isidentifier() and row[1].isdigit()}


def test_a_dry_run_plans_every_rule(host: Workflow) -> None:
    stages = json.loads((ROOT / "workflow/stages.json").read_text())
    rules = [stage["name"] for stage in stages if not stage["switch"]]
    assert jobs(call(host, "-n")) == {**dict.fromkeys([*rules, "all"], 1), "total": 10}


def test_a_dry_run_of_the_ablations_plans_every_variant(host: Workflow) -> None:
    variants = yaml.safe_load((ROOT / "config/tiny.yaml").read_text())["training_variants"]
    variants |= yaml.safe_load((ROOT / "config/config.yaml").read_text())["training_variants"]
    assert jobs(call(host, "-n", "ablations"))["train"] == len(variants)


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"budgett": 3}, "  - budgett: unknown key"),
        ({"training": {"steps": "many"}}, "  - training.steps: 'many' is not of type 'integer'"),
    ],
)
def test_a_bad_configuration_is_refused_before_any_rule(host: Workflow, change: dict[str, Any], said: str) -> None:
    (host.folder / "config/bad.yaml").write_text(yaml.safe_dump(change))
    output = call(host, "-n", config=(*MINI, "config/bad.yaml"))
    assert said in output.splitlines() and "fix: correct the key" in output, output[-3000:]
    assert "rule preflight" not in output


def find_command(*methods: DeploymentMethod) -> None:
    """What the workflow does before its first job, so that the rules find their command."""
    settings = SimpleNamespace(deployment_method=set(methods))
    rules_file("containers", workflow=SimpleNamespace(deployment_settings=settings))["find_command"]()


def test_the_absent_command_is_named_unless_it_is_in_a_container(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PATH", "/usr/bin")
    monkeypatch.setattr(sys, "executable", str(tmp_path / "python"))
    with pytest.raises(WorkflowError, match=r"command reinforce-lite.*not installed(?s:.*)fix:.*--use-singularity"):
        find_command()
    find_command(DeploymentMethod.APPTAINER)


def test_the_command_beside_this_snakemake_is_found_without_activation(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "reinforce-lite").write_text("#!/bin/sh\n")
    (tmp_path / "reinforce-lite").chmod(0o755)
    monkeypatch.setenv("PATH", "/usr/bin")
    monkeypatch.setattr(sys, "executable", str(tmp_path / "python"))
    find_command()
    assert shutil.which("reinforce-lite") == str(tmp_path / "reinforce-lite")


@pytest.mark.parametrize("overlay", ["", "tiny", "smollm", "as_published"])
def test_the_schema_takes_what_is_shipped(overlay: str) -> None:
    layers = [ROOT / "config/config.yaml"] + ([ROOT / f"config/{overlay}.yaml"] if overlay else [])
    config: dict[str, Any] = {}
    for path in layers:
        config = merge(config, yaml.safe_load(path.read_text()))
    assert complaint(json.loads(json.dumps(config, default=str))) == ""


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"training": {"lerning_rate": 1}}, "training.lerning_rate: unknown key"),
        ({"training": {"steps": -1}}, "training.steps: -1 is less than the minimum of 0"),
        ({"models": ["gpt"]}, "models: 'gpt' is not one of llama-3.2-3b-instruct, phi-3.5-mini-instruct, tiny-llama"),
        ({"models": 3}, "models: 3 is not of type 'array'"),
        ({"variants": ["x"]}, "variants: 'x' is not one of as_published, "),
        ({"seeds": []}, "seeds: [] should be non-empty"),
        ({"experiment": "../x"}, "experiment: '../x' does not match"),
        ({"hardware": {"device": "tpu"}}, "hardware.device: 'tpu' is not one of ['cuda', 'cpu']"),
        ({"hardware": {"cpu_threads": "x"}}, "hardware.cpu_threads: 'x' is not of type 'integer'"),
        ({"policies": {"tiny-llama": {"start": {"stepz": 3}}}}, "policies.tiny-llama.start.stepz: unknown key"),
        ({"policies": {"other": {"start": {}}}}, "policies.other.start.steps: this key is needed"),
        ({"training_variants": {"own": {"stepz": 3}}}, "training_variants.own.stepz: unknown key"),
        ({"training_variants": {"own": {"steps": "3x"}}}, "training_variants.own.steps: '3x' is not of type"),
    ],
)
def test_the_schema_names_the_key(change: dict[str, Any], said: str) -> None:
    told = complaint(merge(configured(), change))
    assert f"\n  - {said}" in told and "fix: correct the key" in told, told


def test_every_bad_key_is_told_at_once() -> None:
    told = complaint(merge(configured(), {"x": 1, "budget": {"limit_usd": -1}, "training": {"steps": "a"}}))
    assert [line.split(":")[0] for line in told.splitlines() if line.startswith("  - ")] == [
        "  - x",
        "  - budget.limit_usd",
        "  - training.steps",
    ]
