"""What Snakemake is told to do and must not: it says so in the package's words alone, on a dry run too."""

import json
from pathlib import Path
from typing import Any

import pytest
import yaml
from dag_runner import MINI, Workflow, copy_workflow
from test_without_the_package import call, host  # noqa: F401 a fixture

from reinforce_lite.config import load

pytestmark = pytest.mark.slow
MINE = (*MINI, "mine.yaml")
OWN_DATA = {"name": "jsonl", "train": "my.jsonl", "vocabulary": "word_world"}


@pytest.fixture
def flow(tmp_path: Path) -> Workflow:
    return copy_workflow(tmp_path)


def write(folder: Path, text: str) -> None:
    (folder / "mine.yaml").write_text(text)


def refused(flow: Workflow, *arguments: str, config: tuple[str, ...] = MINE) -> str:
    """What a dry run says that must be refused; nothing of it is Snakemake's."""
    done = flow.run("-n", *arguments, config=config)
    assert done.returncode == 1, done.stdout[-3000:]
    for foreign in ("WorkflowError", "Traceback", "in file", ".smk", "Building DAG"):
        assert foreign not in done.stdout, done.stdout[-3000:]
    assert done.stdout.rstrip().splitlines()[-1].startswith("  fix: "), done.stdout[-3000:]
    return done.stdout


def test_a_mistake_is_all_that_is_said(flow: Workflow) -> None:
    write(flow.folder, "training:\n  stepss: 3\nseeds: [1.0]\n")
    said = refused(flow).splitlines()
    assert "mine.yaml:2: training.stepss: unknown key; did you mean steps?" in said
    assert "mine.yaml:3: seeds.0: must be an integer, written without a point (it is 1.0)" in said


def test_a_key_on_the_command_line_is_explained(flow: Workflow) -> None:
    said = refused(flow, "--config", 'training={"stepss": 20}', config=())
    assert "--config: training.stepss: unknown key; did you mean steps?" in said


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["--config", "training.steps=20"], "--config: 'training.steps' is no key"),
        (["--configfile", "none.yaml"], "none.yaml does not exist"),
        (["--configfile", "latin.yaml"], "latin.yaml:2: not UTF-8 (byte 0xe9)"),
    ],
)
def test_an_option_that_snakemake_would_end_with_a_traceback_is_explained(
    flow: Workflow, arguments: list[str], said: str
) -> None:
    (flow.folder / "latin.yaml").write_bytes(b"seeds: [0]\ndescription: caf\xe9\n")
    assert said in refused(flow, *arguments, config=()).splitlines()


def test_quoted_texts_stay_texts(flow: Workflow) -> None:
    hardware = 'name: "4090", usd_per_hour: 0.3, price_source: "@home", price_date: 2026-11-01'
    write(flow.folder, f'experiment: "2025"\nhardware: {{{hardware}}}\n')
    done = flow.run("-n", config=MINE)
    assert done.returncode == 0 and "results/2025/preflight.json" in done.stdout, done.stdout[-3000:]


@pytest.mark.parametrize(
    ("overlay", "said"),
    [
        (
            "policies:\n  tiny-llama: {from_scratch: null, start: null, path: nil}\n",
            ":2: policies.tiny-llama.path: nil",
        ),
        ("task:\n  name: gsm8k\n  path: no/data\n", ":3: task.path: no/data"),
        ("training:\n  reward: no.py:score\n", ":2: training.reward: no.py"),
        (
            "training_variants:\n  leave_one_out: {reward: no.py:s}\n",
            ":2: training_variants.leave_one_out.reward: no.py",
        ),
    ],
)
def test_a_path_that_leads_nowhere_is_named_before_any_job(flow: Workflow, overlay: str, said: str) -> None:
    write(flow.folder, overlay)
    assert f"mine.yaml{said} does not exist\n  fix: correct the path; a relative one starts at" in refused(flow)


def test_own_data_that_are_not_there(flow: Workflow) -> None:
    small = {"train_size": 5, "test_size": 2, "dev_size": 1, "demonstrations": 5}
    mine = {
        "experiment": "mine",
        "models": ["tiny-llama"],
        "task": {**OWN_DATA, **small},
        "training": {"reward": "random"},
    }
    write(flow.folder, yaml.safe_dump(mine, sort_keys=False))
    said = refused(flow, config=("config/tiny.yaml", "mine.yaml"))
    assert "task.train: my.jsonl does not exist" in said
    (flow.folder / "my.jsonl").write_text("\n")
    assert flow.run("-n", config=("config/tiny.yaml", "mine.yaml")).returncode == 0


def results_of(flow: Workflow, **changes: Any) -> None:
    """Results that cost something lie in results/mini, of a configuration with other keys."""
    there = load([flow.folder / path for path in ("config/config.yaml", *MINI)]).model_dump(mode="json")
    flow.results().mkdir(parents=True)
    (flow.results() / "config.json").write_text(json.dumps({**there, **changes}))
    (flow.results() / "preflight.json").write_text("{}")


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"task": {"name": "jsonl", "train": "a.jsonl"}}, "whose task.name is jsonl and not word_world"),
        ({"models": ["tiny-phi"]}, "whose models is tiny-phi and not tiny-llama"),
    ],
)
def test_another_experiment_s_results_are_not_written_into(flow: Workflow, changes: dict[str, Any], said: str) -> None:
    results_of(flow, **changes)
    shown = refused(flow, config=MINI)
    assert "config/mini.yaml:2: experiment: results/mini holds the results of another experiment of this name" in shown
    assert said in shown and "fix: set `experiment` to a name of its own, or move results/mini away" in shown


def test_the_same_experiment_with_other_sizes_goes_on(flow: Workflow) -> None:
    results_of(flow, budget={"limit_usd": 99.0, "min_steps": 1})
    assert flow.run("-n", config=MINI).returncode == 0


def test_where_the_package_is_not_installed(host: Workflow) -> None:  # noqa: F811
    write(host.folder, "training: {reward: no.py:score}\n")
    said = call(host, "-n", config=MINE)
    assert "training.reward: no.py does not exist\n  fix: " in said and "WorkflowError" not in said
    write(host.folder, "seeds: [1.0]\n")
    assert "  - seeds: 1.0 is written with a point\n" in call(host, "-n", config=MINE)
    write(host.folder, "results: ~/x\n")
    assert "  - results: '~/x' does not match" in call(host, "-n", config=MINE)
    write(host.folder, "training: {steps: 3}\n")
    results_of(host, task={"name": "jsonl", "train": "a.jsonl"})
    assert "experiment: results/mini holds the results of another experiment" in call(host, "-n", config=MINE)
