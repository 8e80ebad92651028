"""What a stage kept goes when its results have been taken, and not before."""

from pathlib import Path

import pytest

from reinforce_lite.config import Settings, load, merge, validate
from reinforce_lite.experiment.resume import drop_evaluations, drop_other_key, drop_read
from reinforce_lite.io.files import write_json
from reinforce_lite.resources import keys
from reinforce_lite.stages import FINISHED, Job, Layout

ROOT = Path(__file__).parents[2]
RUN = ("tiny-llama", "leave_one_out", 0)
FETCH, TRAIN, BASELINE, TRAINED = "fetch_policy", "train", "evaluate_baseline", "evaluate_trained"


@pytest.fixture
def settings(tmp_path: Path) -> Settings:
    """With something kept of each stage of one run."""
    layers = [ROOT / "config/config.yaml", ROOT / "config/tiny.yaml"]
    base = load(layers).model_dump(mode="json")
    made = validate(merge(base, {"results": str(tmp_path)}))
    layout = Layout.of(made)
    for folder in (
        layout.resume(Job(FETCH, "tiny-llama")), layout.resume(Job(TRAIN, *RUN)),
        layout.resume(Job(BASELINE, "tiny-llama")), layout.resume(Job(TRAINED, *RUN)),
    ):  # fmt: skip
        folder.mkdir(parents=True, exist_ok=True)
        (folder / "completions.jsonl").touch()
    return made


def kept(settings: Settings) -> set[str]:
    layout = Layout.of(settings)
    places = {
        FETCH: layout.resume(Job(FETCH, "tiny-llama")), TRAIN: layout.resume(Job(TRAIN, *RUN)),
        BASELINE: layout.resume(Job(BASELINE, "tiny-llama")), TRAINED: layout.resume(Job(TRAINED, *RUN)),
    }  # fmt: skip
    return {stage for stage, folder in places.items() if (folder / "completions.jsonl").exists()}


def trained(settings: Settings, stopped: str | None) -> None:
    write_json(Layout.of(settings).train(*RUN) / "training.json", {"stopped": stopped})


@pytest.mark.parametrize("job", [Job(BASELINE, "tiny-llama"), Job(TRAIN, *RUN)])
def test_whoever_reads_the_start_policy_has_taken_it(settings: Settings, job: Job) -> None:
    drop_read(settings, job)
    assert kept(settings) == {TRAIN, BASELINE, TRAINED}


def test_the_evaluation_takes_the_trained_policy(settings: Settings) -> None:
    trained(settings, None)
    drop_read(settings, Job(TRAINED, *RUN))
    assert kept(settings) == {FETCH, BASELINE, TRAINED}


def test_a_training_stopped_by_its_budget_keeps_what_a_larger_one_needs(settings: Settings) -> None:
    trained(settings, "stopped by budget at step 3 of 60")
    drop_read(settings, Job(TRAINED, *RUN))
    assert kept(settings) == {FETCH, TRAIN, BASELINE, TRAINED}


def finished(settings: Settings, seed: int) -> None:
    """The training of seed 0 has written its results; what is kept of it says the key of some seed."""
    layout = Layout.of(settings)
    write_json(layout.policy("tiny-llama") / "policy.json", {"weights": {"folder": "weights"}})
    (layout.policy("tiny-llama") / "weights").mkdir()
    layout.data.mkdir()
    (layout.data / "train.jsonl").touch()
    key = keys.key(settings, Job(TRAIN, "tiny-llama", "leave_one_out", seed))
    write_json(layout.resume(Job(TRAIN, *RUN)) / FINISHED, key)


@pytest.mark.parametrize(("seed", "left"), [(0, {TRAIN}), (1, set())])
def test_a_finished_training_stands_in_no_other_ones_way(settings: Settings, seed: int, left: set[str]) -> None:
    finished(settings, seed)
    drop_other_key(settings, Job(TRAIN, *RUN))
    assert kept(settings) == {FETCH, BASELINE, TRAINED} | left


def test_what_is_not_finished_is_nobodys_to_remove(settings: Settings) -> None:
    for job in (Job(FETCH, "tiny-llama"), Job(TRAIN, *RUN), Job(BASELINE, "tiny-llama")):
        drop_other_key(settings, job)
    assert kept(settings) == {FETCH, TRAIN, BASELINE, TRAINED}


def test_the_report_takes_the_evaluations(settings: Settings) -> None:
    drop_evaluations(settings)
    assert kept(settings) == {FETCH, TRAIN}
