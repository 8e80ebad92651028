"""The table of stages: what is generated from it is up to date, and one row more is a stage everywhere."""

import json
from pathlib import Path

from reinforce_lite import stages
from reinforce_lite.config import load
from reinforce_lite.stages import EVALUATE_AGAIN, STAGES, Job, Layout, jobs

ROOT = Path(__file__).parents[1]
TINY = load([ROOT / "config/config.yaml", ROOT / "config/tiny.yaml"])
RUN = ("tiny-llama", "leave_one_out", 0)


def test_the_workflows_copy_is_up_to_date() -> None:
    assert json.loads((ROOT / "workflow/stages.json").read_text()) == json.loads(
        json.dumps(list(stages.described()))
    ), "run make schema"


def test_the_jobs_of_a_model_come_in_the_order_of_the_table() -> None:
    listed = [str(job) for job in jobs(TINY) if job.model == "tiny-phi"]
    variants = ("leave_one_out", "random_reward", "format_only")
    assert listed == [
        "fetch_policy tiny-phi",
        "evaluate_baseline tiny-phi",
        *(f"train tiny-phi {variant} seed0" for variant in variants),
        *(f"evaluate_trained tiny-phi {variant} seed0" for variant in variants),
    ]
    every = jobs(TINY, device=False)
    assert [job.stage for job in (*every[:2], *every[-2:])] == ["preflight", "prepare_dataset", "report", "crate"]
    assert sum(job.stage == "compare" for job in every) == 6


def test_a_stage_that_is_switched_off_has_no_jobs() -> None:
    evaluation = TINY.evaluation.model_copy(update={"noise_floor": True})
    on = TINY.model_copy(update={"evaluation": evaluation})
    assert set(jobs(on, device=False)) - set(jobs(TINY, device=False)) == {Job(EVALUATE_AGAIN, m) for m in TINY.models}
    assert set(jobs(on)) - set(jobs(TINY)) == {Job(EVALUATE_AGAIN, model) for model in TINY.models}
    again = Job(EVALUATE_AGAIN, "tiny-phi")
    assert [job.stage for job in again.before(on)] == ["fetch_policy", "evaluate_baseline"]
    assert STAGES["report"].needs[EVALUATE_AGAIN] == "evaluate_again.summary"
    assert load([ROOT / "config/config.yaml"]).evaluation.noise_floor, "the paper's run measures it"


def test_what_comes_before_a_job() -> None:
    assert [str(job) for job in Job("train", *RUN).before(TINY)] == [
        "fetch_policy tiny-llama",
        "evaluate_baseline tiny-llama",
    ]
    measured = Job("train", "tiny-llama", "supervised", 0)
    assert Job("train", *RUN) in measured.before(TINY), "its cost is the measure"
    assert Job("evaluate_trained", *RUN).before(TINY) == [Job("train", *RUN)]


def test_files_lie_where_they_always_lay() -> None:
    layout, train = Layout(Path("r")), Job("train", *RUN)
    assert layout.path(train) == Path("r/train/tiny-llama/leave_one_out/seed0/training.json")
    assert layout.path(Job("compare", *RUN)) == Path("r/compare/tiny-llama/leave_one_out/seed0.json")
    assert layout.path(Job("evaluate_baseline", "m"), "samples") == Path("r/baseline/m/samples.jsonl")
    own = layout.path(Job("evaluate_trained", *RUN), "memorisation")
    assert own == Path("r/trained/tiny-llama/leave_one_out/seed0/memorisation.jsonl")
    assert layout.needs(train)["policy"] == Path("r/policies/tiny-llama/policy.json")
    assert layout.resume(Job("evaluate_trained", *RUN)) == Path("r/checkpoints/evaluate/tiny-llama/leave_one_out/seed0")
    assert layout.decision(train) == Path("r/budget/train/tiny-llama/leave_one_out/seed0.json")
    assert layout.benchmark(Job("preflight")) == Path("r/benchmarks/preflight.jsonl")
    assert layout.plan == Path("r/plan.json")


def test_every_need_is_an_output() -> None:
    for stage in STAGES.values():
        for need in stage.needs.values():
            source, output = need.split(".")
            assert output in STAGES[source].outputs, (stage.name, need)
