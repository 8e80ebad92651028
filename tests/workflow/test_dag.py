"""The DAG itself: run end to end, repeated, changed, killed, and refused."""

import json
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any
from urllib.parse import unquote

import commands
import pytest
import yaml
from dag_runner import MINI, Workflow, copy_workflow
from mlflow import MlflowClient

from reinforce_lite.budget import ledger
from reinforce_lite.config import load
from reinforce_lite.experiment import tracking
from reinforce_lite.experiment.replay import replay
from reinforce_lite.io.files import read_json, read_jsonl, write_jsonl
from reinforce_lite.io.provenance import sha256_file
from reinforce_lite.report.manifest import Manifest
from reinforce_lite.report.summary import reconcile
from reinforce_lite.report.summary_model import Summary
from reinforce_lite.report.verify import verify

DEVICE_RULES = ("preflight", "fetch_policy", "evaluate_baseline", "train", "evaluate_trained")


def jobs(output: str) -> dict[str, int]:
    """The table of jobs that a dry run prints."""
    lines = output.partition("Job stats:")[2].splitlines()[3:]
    rows = [line.split() for line in lines]
    return {row[0]: int(row[1]) for row in rows[: next((i for i, r in enumerate(rows) if not r), len(rows))]}


def assert_clocks_agree(workflow: Workflow, experiment: str) -> None:
    """Ledger, MLflow and Snakemake's own benchmarks measure the same seconds: within 2%, or 2 s a job."""
    folder = workflow.results(experiment)
    config = load([folder / "config.json"])
    config = config.model_copy(
        update={
            "tracking": config.tracking.model_copy(update={"uri": f"sqlite:///{workflow.folder}/results/mlflow.db"})
        }
    )
    attempts = ledger.attempts(folder / "ledger.jsonl")
    seconds = tracking.stage_seconds(config)
    rows = {row["stage"]: row for row in reconcile(attempts, folder / "benchmarks", seconds)}
    for stage in DEVICE_RULES:
        count = sum(attempt.stage == stage for attempt in attempts)
        row = rows[stage]
        assert row["mlflow"] == pytest.approx(row["ledger"], abs=0.01 * count)
        assert row["snakemake"] == pytest.approx(row["ledger"], rel=0.02, abs=2 * count), stage


@pytest.mark.slow
def test_every_result_is_there_and_valid(finished: Workflow) -> None:
    folder = finished.results()
    summary = read_json(folder / "summary.json")
    Summary.model_validate(summary)
    figures = summary["models"]["tiny-llama"]
    assert figures["n"] == 40
    assert figures["delta"] == pytest.approx(figures["trained"]["strict"] - figures["baseline"]["strict"])
    items = read_jsonl(folder / "trained/tiny-llama/leave_one_out/seed0/items.jsonl")
    assert figures["trained"]["strict"] == sum(item["strict"] for item in items) / 40
    attempts = ledger.attempts(folder / "ledger.jsonl")
    assert [a.stage for a in attempts].count("train") == 1
    assert {a.stage for a in attempts} == set(DEVICE_RULES) and all(a.outcome == "finished" for a in attempts)
    assert summary["cost"]["usd"] == pytest.approx(sum(a.usd for a in attempts))
    assert "<html" in (folder / "report.html").read_text()
    crate = {entity["@id"]: entity for entity in read_json(folder / "ro-crate-metadata.json")["@graph"]}
    for name in ("report.html", "workflow/rules/stages.smk", "train/tiny-llama/leave_one_out/seed0/metrics.jsonl"):
        assert crate[name]["sha256"] == sha256_file(folder / name), name
    assert all((folder / unquote(part["@id"])).is_file() for part in crate["./"]["hasPart"])
    assert (finished.folder / "logs/mini/train/tiny-llama/leave_one_out/seed0.log").stat().st_size > 0


@pytest.mark.slow
def test_three_clocks_agree(finished: Workflow) -> None:
    assert_clocks_agree(finished, "mini")


@pytest.mark.slow
def test_its_figures_are_derived_again_and_a_changed_point_is_named(finished: Workflow, tmp_path: Path) -> None:
    copy = Path(shutil.copytree(finished.results(), tmp_path / "elsewhere"))
    assert [str(one) for check in verify(copy) for one in check.differences] == []
    curve = copy / "train/tiny-llama/leave_one_out/seed0/metrics.jsonl"
    rows = read_jsonl(curve)
    write_jsonl(curve, [rows[0], {**rows[1], "reward_mean": rows[1]["reward_mean"] + 0.01}, *rows[2:]])
    named = [one for check in verify(copy) for one in check.differences if one.key == "reward_mean"]
    assert [(one.file, one.place) for one in named] == [(str(curve.relative_to(copy)), "line 2 (step 1)")]


@pytest.mark.slow
def test_answers_and_a_step_are_written_again(finished: Workflow, tmp_path: Path) -> None:
    """From the bound weights, elsewhere; and a consistent forgery of one answer is named."""
    copy = Path(shutil.copytree(finished.results(), tmp_path / "elsewhere"))
    answers, step = replay(copy, 80, seed=1)
    assert [str(one) for check in (answers, step) for one in check.differences] == []
    assert answers.looked_at == "80 greedy answers written again (--seed 1), 80 are the same"
    assert step.looked_at.startswith("the first step of train tiny-llama") and not step.unverified
    for name in ("baseline/tiny-llama/items.jsonl", "train/tiny-llama/leave_one_out/seed0/completions.jsonl"):
        rows = read_jsonl(copy / name)
        write_jsonl(copy / name, [{**rows[0], "completion": "forged"}, *rows[1:]])
    named = [one for check in replay(copy, 80, seed=1) for one in check.differences]
    assert {(one.file.partition("/")[0], one.key, one.stated) for one in named} == {
        ("baseline", "completion", "forged"), ("train", "completion", "forged"),
    }  # fmt: skip


@pytest.mark.slow
def test_the_root_was_published_at_the_end_of_every_stage(finished: Workflow) -> None:
    """In MLflow, in the crate and in the report; every result holds the head of the ledger as it was then."""
    folder = finished.results()
    written, summary = Manifest.read(folder), read_json(folder / "summary.json")
    assert written is not None and written.results.root == summary["provenance"]["manifest"]["root"]
    assert written.results.root in (folder / "ro-crate-metadata.json").read_text()
    assert verify(folder, published=written.root)[-1].unverified == []
    client = MlflowClient(f"sqlite:///{finished.folder}/results/mlflow.db")
    experiment = client.get_experiment_by_name("mini")
    runs = client.search_runs([experiment.experiment_id], "tags.`manifest.root` LIKE '%'")
    (tags,) = (run.data.tags for run in runs)
    assert tags["manifest.root"] == tags["manifest.root.crate"] == written.root
    assert {key.split(".")[2] for key in tags if key.startswith("manifest.root.")} == {*DEVICE_RULES, "report", "crate"}
    for name in ("policies/tiny-llama/policy.json", "trained/tiny-llama/leave_one_out/seed0/evaluation.json"):
        known = read_json(folder / name)["ledger"]
        row = (folder / "ledger.jsonl").read_bytes()[: known["bytes"]].splitlines()[-1]
        assert json.loads(row)["chain"] == known["chain"]


@pytest.mark.slow
def test_a_finished_run_is_not_repeated(finished: Workflow) -> None:
    assert "Nothing to be done" in finished.run("-n").stdout


@pytest.mark.slow
@pytest.mark.parametrize(
    ("change", "again", "not_again"),
    [
        ('hardware={"usd_per_hour": 0.5}', "preflight report crate", "train fetch_policy evaluate_baseline"),
        ('budget={"limit_usd": 3}', "report crate", "train fetch_policy evaluate_trained"),
        ('container={"image": "docker://other/image:2"}', "", "train fetch_policy evaluate_trained report crate"),
        ('checkpoint={"every_seconds": 60}', "", "train fetch_policy evaluate_trained report"),
        ('training={"kl_every": 3}', "preflight report", "train fetch_policy evaluate_trained"),
        ('training={"steps": 5}', "train evaluate_trained compare report", "fetch_policy evaluate_baseline"),
        ('evaluation={"batch_size": 7}', "evaluate_baseline evaluate_trained compare", "train fetch_policy"),
        ('evaluation={"bootstrap_resamples": 300}', "compare report", "train evaluate_trained"),
    ],
)
def test_a_changed_key_runs_only_what_depends_on_it(
    finished: Workflow, change: str, again: str, not_again: str
) -> None:
    listed = jobs(finished.run("-n", "--config", change).stdout).keys()
    assert set(again.split()) <= listed and not (set(not_again.split()) & listed), listed


@pytest.mark.slow
def test_forceall_repeats_the_numbers_and_keeps_the_ledger(finished: Workflow, tmp_path: Path) -> None:
    workflow = finished.copied(tmp_path)
    folder = workflow.results()
    before = read_json(folder / "summary.json")["models"]
    history = (folder / "ledger.jsonl").read_bytes()
    first = len(ledger.attempts(folder / "ledger.jsonl"))
    metrics = folder / "train/tiny-llama/leave_one_out/seed0/metrics.jsonl"
    kept = [without_times(row) for row in read_jsonl(metrics)]
    done = workflow.run("--forceall")
    assert done.returncode == 0, done.stdout[-3000:]
    assert read_json(folder / "summary.json")["models"] == before
    assert [without_times(row) for row in read_jsonl(metrics)] == kept
    assert (folder / "ledger.jsonl").read_bytes().startswith(history)
    assert len(ledger.attempts(folder / "ledger.jsonl")) == 2 * first


def without_times(row: dict[str, Any]) -> dict[str, Any]:
    return {key: value for key, value in row.items() if not key.startswith(("seconds", "tokens_per"))}


@pytest.mark.slow
@pytest.mark.faults
@pytest.mark.survives("SIGKILL of every command once")
def test_every_rule_may_be_killed_and_the_same_command_finishes(workflow: Workflow) -> None:
    to_kill = set(commands.ALL)
    while to_kill:
        running = subprocess.Popen(
            workflow.command(), cwd=workflow.folder, env=workflow.environment(),
            stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, text=True,
        )  # fmt: skip
        victim = commands.first_of(running, to_kill)
        assert victim is not None, f"never seen: {to_kill}"
        killed = commands.command_of(victim)
        victim.kill()
        assert running.wait(timeout=300) != 0
        assert not (workflow.results() / "ro-crate-metadata.json").exists()
        to_kill.remove(str(killed))
    done = workflow.run()
    assert done.returncode == 0, done.stdout[-3000:]
    Summary.model_validate(read_json(workflow.results() / "summary.json"))
    attempts = ledger.attempts(workflow.results() / "ledger.jsonl")
    assert [a.outcome for a in attempts].count("finished") == len(DEVICE_RULES), "finished work is never repeated"


def test_the_paper_dry_runs_with_both_models(workflow: Workflow) -> None:
    done = workflow.run("-n", config=())
    assert done.returncode == 0, done.stdout
    listed = jobs(done.stdout)
    assert {name: listed[name] for name in ("train", "evaluate_baseline", "evaluate_trained")} == {
        "train": 12, "evaluate_baseline": 2, "evaluate_trained": 12,
    }  # fmt: skip
    for model in ("llama-3.2-3b-instruct", "phi-3.5-mini-instruct"):
        assert f"Training {model}" in done.stdout


@pytest.mark.parametrize(("name", "models", "variants"), [("tinyzero", 2, 4), ("logic_rl", 1, 2)])
def test_the_forms_of_the_other_systems_dry_run(workflow: Workflow, name: str, models: int, variants: int) -> None:
    done = workflow.run("-n", config=(f"config/{name}.yaml",))
    assert done.returncode == 0, done.stdout
    listed = jobs(done.stdout)
    assert (listed["train"], listed["evaluate_trained"]) == (models * variants, models * variants)
    assert listed["fetch_policy"] == listed["evaluate_baseline"] == listed["evaluate_again"] == models


def test_controls_run_with_their_seeds_alone(workflow: Workflow) -> None:
    variants = f"variants={json.dumps(['leave_one_out', 'random_reward', 'prompt_only'])}"
    listed = {
        some: jobs(workflow.run("-n", "--config", variants, "seeds=[0, 1]", f"control_seeds={some}").stdout)
        for some in ("[0]", "null")
    }
    for rule in ("train", "evaluate_trained", "compare"):
        assert (listed["[0]"][rule], listed["null"][rule]) == (2 + 1 + 1, 3 * 2), rule


def test_ablations_run_every_variant_of_the_catalogue(workflow: Workflow) -> None:
    done = workflow.run("ablations", "-n")
    assert done.returncode == 0, done.stdout
    catalogue = yaml.safe_load((workflow.folder / "config/config.yaml").read_text())["training_variants"]
    assert jobs(done.stdout)["train"] == len(catalogue) > 1
    for variant in catalogue:
        assert f"Training tiny-llama ({variant}, seed 0)" in done.stdout
    assert jobs(workflow.run("-n").stdout)["train"] == 1


@pytest.mark.slow
def test_without_a_gpu_the_paper_stops_at_preflight(workflow: Workflow) -> None:
    import torch

    if torch.cuda.is_available():
        pytest.skip("this machine has a GPU")
    done = workflow.run(config=())
    assert done.returncode != 0
    assert "no GPU" in done.stdout and "--configfile config/tiny.yaml" in done.stdout
    folder = workflow.results("paper")
    assert not (folder / "preflight.json").exists() and not (folder / "ledger.jsonl").exists()
    assert not (folder / "data").exists()


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ("budgett=3", "budgett: unknown key"),
        ('training={"steps": "many"}', "training.steps"),
        ('budget={"limit_usd": -1}', "budget.limit_usd"),
        ('hardware={"price_date": null}', "hardware.price_date"),
        ('models=["gpt"]', "'gpt' is not one of"),
        ('training={"reward": "kindness"}', "training.reward"),  # the schema takes any name: the package checks it
    ],
)
def test_a_bad_key_stops_snakemake_before_any_job(workflow: Workflow, change: str, said: str) -> None:
    done = workflow.run("--config", change)
    assert done.returncode != 0 and said in done.stdout
    assert len(done.stdout.splitlines()) <= 24, "one screen"
    assert not (workflow.folder / "results").exists()


@pytest.mark.slow
@pytest.mark.survives("a corrupt ledger")
def test_a_corrupt_ledger_stops_before_it_spends(tmp_path: Path) -> None:
    workflow = copy_workflow(tmp_path)
    path = workflow.results() / "ledger.jsonl"
    path.parent.mkdir(parents=True)
    path.write_text('{"event":"dance"}\n')
    done = workflow.run()
    assert done.returncode != 0
    *_, refused, reason, fix, last = done.stdout.splitlines()
    assert refused.startswith("reinforce-lite preflight: ") and "ledger.jsonl, line 1" in reason, done.stdout[-2000:]
    assert fix.startswith("  fix: ") and last.endswith("an hour until you give it back")
    assert path.read_text() == '{"event":"dance"}\n'


@pytest.mark.slow
def test_awkward_text_reaches_the_rules_word_for_word(workflow: Workflow) -> None:
    awkward = 'it\'s 100% "quoted" $HOME `x` {braces}'
    (workflow.folder / "config/awkward.yaml").write_text(json.dumps({"description": awkward}))
    done = workflow.run("results/mini/preflight.json", config=(*MINI, "config/awkward.yaml"))
    assert done.returncode == 0, done.stdout[-2000:]
    assert read_json(workflow.results() / "config.json")["description"] == awkward


@pytest.mark.slow
def test_preflight_and_a_changed_key_in_one_call(finished: Workflow) -> None:
    """A job that runs again must not hide what has changed for the jobs after it."""
    changes = ('hardware={"usd_per_hour": 0.5}', 'training={"steps": 5}')
    listed = jobs(finished.run("-n", "--config", *changes).stdout).keys()
    assert {"preflight", "train", "evaluate_trained", "compare", "report"} <= listed and "fetch_policy" not in listed


@pytest.mark.slow
def test_a_value_on_the_command_line_is_the_value_in_a_file(finished: Workflow) -> None:
    same = (
        'training={"learning_rate": 5.0e-5, "gradient_checkpointing": false}',
        'hardware={"price_date": "2026-06-17"}',
    )
    assert "Nothing to be done" in finished.run("-n", "--config", *same).stdout


@pytest.mark.slow
def test_no_rule_spends_before_preflight(finished: Workflow, tmp_path: Path) -> None:
    other = json.loads((finished.results() / "config.json").read_text())
    other["hardware"]["usd_per_hour"] = 9.0
    path = tmp_path / "config.json"
    path.write_text(json.dumps(other))
    command = [sys.executable, "-m", "reinforce_lite.cli", "train", "--config", str(path), "--model", "tiny-llama"]
    command += ["--variant", "leave_one_out", "--seed", "0"]
    before = (finished.results() / "ledger.jsonl").read_bytes()
    done = subprocess.run(command, cwd=finished.folder, capture_output=True, text=True, check=False)
    assert done.returncode == 2 and "run the rule preflight first" in done.stderr
    assert (finished.results() / "ledger.jsonl").read_bytes() == before
