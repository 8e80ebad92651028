from pathlib import Path

import pytest

from reinforce_lite.config import Lora, Settings, load
from reinforce_lite.experiment import keys
from reinforce_lite.io.files import write_json
from reinforce_lite.stages import Job, Layout

ROOT = Path(__file__).parents[2]


@pytest.fixture
def config(tmp_path: Path) -> Settings:
    config = load([ROOT / "config/config.yaml", ROOT / "config/tiny.yaml"]).model_copy(update={"results": tmp_path})
    layout = Layout.of(config)
    write_json(layout.policy("tiny-llama") / "policy.json", {"weights": {"folder": "weights"}})
    for path in (layout.policy("tiny-llama") / "weights/model.safetensors", layout.data / "train.jsonl"):
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text("content")
    (layout.data / "demonstrations.jsonl").write_text("content")
    return config


def changed(config: Settings, section: str, **values: object) -> Settings:
    return config.model_copy(update={section: getattr(config, section).model_copy(update=values)})


def training(config: Settings) -> dict[str, object]:
    return keys.key(config, Job("train", "tiny-llama", "leave_one_out", 0))


def differing(before: dict[str, object], after: dict[str, object]) -> set[str]:
    return {name for name in before | after if before.get(name) != after.get(name)}


def test_what_changes_a_training_is_in_its_key(config: Settings) -> None:
    before = training(config)
    for name, value in {"steps": 3, "learning_rate": 1.0, "micro_batch_tokens": 7, "rollout_batch": 9}.items():
        assert differing(before, training(changed(config, "training", **{name: value}))) == {f"training.{name}"}
    assert differing(before, training(changed(config, "hardware", cpu_threads=1))) == {"hardware.cpu_threads"}
    assert differing(before, training(changed(config, "task", prompt="tagged"))) == {"task.prompt"}
    assert differing(before, keys.key(config, Job("train", "tiny-llama", "random_reward", 0))) == {"training.reward"}
    assert differing(before, keys.key(config, Job("train", "tiny-llama", "leave_one_out", 1))) == {"seed"}


def test_a_variants_own_prompt_is_in_the_keys_of_its_training_and_evaluation(config: Settings) -> None:
    variants = {**config.training_variants, "shown": {"prompt": "one_shot_bare"}, "same": {"prompt": "bare"}}
    other = config.model_copy(update={"training_variants": variants})
    for name, expected in {"shown": {"task.prompt"}, "same": set()}.items():
        assert differing(training(other), keys.key(other, Job("train", "tiny-llama", name, 0))) == expected
        jobs = [Job("evaluate_trained", "tiny-llama", variant, 0) for variant in ("leave_one_out", name)]
        for job in jobs:
            write_json(Layout.of(config).needs(job)["policy"], {"weights": {"repo": "a/b"}})
        evaluations = [keys.key(other, job) for job in jobs]
        assert differing(*evaluations) == expected
    assert keys.key(other, Job("evaluate_baseline", "tiny-llama"))["task.prompt"] == "bare"


def test_sampled_answers_are_in_the_key_of_an_evaluation_that_has_them(config: Settings) -> None:
    none = changed(config, "evaluation", samples=0)
    before = keys.key(none, Job("evaluate_baseline", "tiny-llama"))
    assert not [name for name in before if "samples" in name], "none of its answers depends on them"
    after = keys.key(changed(none, "evaluation", samples=3), Job("evaluate_baseline", "tiny-llama"))
    assert differing(before, after) == {"evaluation.samples", "evaluation.samples_limit"}


def test_the_engine_that_is_decided_is_in_the_keys(config: Settings) -> None:
    before, evaluation = training(config), keys.key(config, Job("evaluate_baseline", "tiny-llama"))
    assert (before["training.engine"], evaluation["evaluation.engine"]) == ("generate", "generate")
    assert training(changed(config, "training", engine="generate")) == before, "auto is what it is decided to be"
    other = changed(config, "training", engine="vllm")
    assert differing(before, training(other)) - {"vllm"} == {"training.engine"}  # and its version, if it is installed
    assert keys.key(other, Job("evaluate_baseline", "tiny-llama")) == evaluation
    other = changed(config, "evaluation", engine="vllm")
    after = keys.key(other, Job("evaluate_baseline", "tiny-llama"))
    assert differing(evaluation, after) - {"vllm"} == {"evaluation.engine"}


def test_what_cannot_change_a_training_is_not(config: Settings) -> None:
    before = training(config)
    for other in (
        changed(config, "hardware", usd_per_hour=9.0),
        changed(config, "budget", limit_usd=9.0),
        changed(config, "checkpoint", every_steps=1),
        changed(config, "training", max_skipped=3),
        changed(config, "evaluation", batch_size=3),
    ):
        assert training(other) == before


def test_adapters_are_in_the_key_of_a_training_that_has_some(config: Settings) -> None:
    assert training(changed(config, "training", lora=Lora(rank=8))) == training(config)
    some, others = ({"weights": "lora", "lora": Lora(rank=rank)} for rank in (16, 8))
    before = training(changed(config, "training", **some))
    assert differing(before, training(changed(config, "training", **others))) == {"training.lora"}


def test_files_are_in_the_keys_by_their_contents(config: Settings) -> None:
    layout = Layout.of(config)
    policy = layout.policy("tiny-llama")
    before, start = training(config), keys.key(config, Job("fetch_policy", "tiny-llama"))
    evaluation = keys.key(config, Job("evaluate_baseline", "tiny-llama"))
    (policy / "weights/model.safetensors").write_text("other content")
    assert differing(before, training(config)) == {"start policy, sha256"}
    assert differing(evaluation, keys.key(config, Job("evaluate_baseline", "tiny-llama"))) == {"policy, sha256"}
    (layout.data / "train.jsonl").write_text("other")
    assert "train.jsonl, sha256" in differing(before, training(config))
    (layout.data / "demonstrations.jsonl").write_text("other")
    assert differing(start, keys.key(config, Job("fetch_policy", "tiny-llama"))) == {"demonstrations.jsonl, sha256"}


def test_weights_elsewhere_are_in_the_sum(tmp_path: Path) -> None:
    folder, gguf, snapshot = tmp_path / "policy", tmp_path / "model.gguf", tmp_path / "snapshot"
    snapshot.mkdir()
    sums = set()
    for place, content in ((gguf, "a"), (gguf, "b"), (snapshot / "x", "a"), (snapshot / "x", "b")):
        place.write_text(content)
        write_json(folder / "policy.json", {"weights": {"path": str(place if place == gguf else snapshot)}})
        sums.add(keys.policy_sha256(folder))
    write_json(folder / "policy.json", {"weights": {"repo": "a/b", "revision": "1" * 40}})
    sums.add(keys.policy_sha256(folder))
    assert len(sums) == 5


@pytest.mark.parametrize("gone", ["policy.json", "training.json", "metrics.jsonl", "completions.jsonl"])
def test_results_that_lack_a_file_are_not_made(config: Settings, gone: str) -> None:
    """Snakemake deletes a job's outputs before it runs it, though a process of a killed one may be writing them."""
    folder, job = (
        Layout.of(config).train("tiny-llama", "leave_one_out", 0),
        Job("train", "tiny-llama", "leave_one_out", 0),
    )
    for name in ("training.json", "metrics.jsonl", "completions.jsonl"):
        write_json(folder / name, {})
    write_json(folder / "policy.json", {"key": keys.digest(training(config))})
    assert keys.is_done(config, job)
    (folder / gone).unlink()
    assert not keys.is_done(config, job)
