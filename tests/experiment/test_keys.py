import json
from pathlib import Path

import pytest

from reinforce_lite.config import Critic, Lora, SamplerGapLimit, Settings, load
from reinforce_lite.errors import UserError
from reinforce_lite.experiment import checks
from reinforce_lite.experiment.preflight import rehearsed
from reinforce_lite.io.files import write_json
from reinforce_lite.io.keyed import Key
from reinforce_lite.io.provenance import sha256_file
from reinforce_lite.policy.identity import policy_key
from reinforce_lite.resources import keys
from reinforce_lite.stages import EVALUATE_AGAIN, Job, Layout

ROOT = Path(__file__).parents[2]


@pytest.fixture
def config(tmp_path: Path) -> Settings:
    config = load([ROOT / "config/config.yaml", ROOT / "config/tiny.yaml"]).model_copy(update={"results": tmp_path})
    layout = Layout.of(config)
    write_json(layout.policy("tiny-llama") / "policy.json", {"weights": {"folder": "weights"}})
    for path in (layout.policy("tiny-llama") / "weights/model.safetensors", layout.data / "train.jsonl"):
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text("content")
    for name in ("demonstrations.jsonl", "test.jsonl"):
        (layout.data / name).write_text("content")
    return config


def changed(config: Settings, section: str, **values: object) -> Settings:
    return config.model_copy(update={section: getattr(config, section).model_copy(update=values)})


def training(config: Settings) -> Key:
    return keys.key(config, Job("train", "tiny-llama", "leave_one_out", 0))


def differing(before: dict[str, object], after: dict[str, object]) -> set[str]:
    return {name for name in before | after if before.get(name) != after.get(name)}


def test_what_changes_a_training_is_in_its_key(config: Settings) -> None:
    before = training(config)
    for name, value in {"steps": 3, "learning_rate": 1.0, "micro_batch_tokens": 7, "rollout_batch": 9}.items():
        assert differing(before, training(changed(config, "training", **{name: value}))) == {f"training.{name}"}
    assert differing(before, training(changed(config, "hardware", cpu_threads=2))) == {"hardware.cpu_threads"}
    assert differing(before, training(changed(config, "hardware", side_by_side=False, count=1))) == set()
    assert differing(before, training(changed(config, "hardware", side_by_side=False))) >= {"hardware.count"}
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


def test_common_instructions_are_in_every_key_and_the_usual_ones_in_none(config: Settings) -> None:
    common, run = changed(config, "hardware", cpu_instructions="common"), ("leave_one_out", 0)
    for job in (Job(stage, "tiny-llama") for stage in ("fetch_policy", "evaluate_baseline")):
        assert differing(keys.key(config, job), keys.key(common, job)) == {"hardware.cpu_instructions"}
    trained = [keys.key(one, Job("train", "tiny-llama", *run)) for one in (config, common)]
    assert differing(*trained) == {"hardware.cpu_instructions"}
    assert not [name for name in trained[0] if "instructions" in name], "older keys agree"
    assert checks.digest(common) != checks.digest(config) and rehearsed(common) != rehearsed(config)


def test_a_second_evaluation_has_the_key_of_its_own_batches_and_changes_no_other_key(config: Settings) -> None:
    first, again = Job("evaluate_baseline", "tiny-llama"), Job(EVALUATE_AGAIN, "tiny-llama")
    on = changed(config, "evaluation", noise_floor=True)
    assert keys.key(on, first) == keys.key(config, first) and training(on) == training(config)
    assert checks.digest(on) == checks.digest(config), "what was checked need not be checked again"
    samples = {name for name in keys.key(on, first) if "samples" in name}
    assert differing(keys.key(on, first), keys.key(on, again)) == {"evaluation.batch_size", *samples}


def test_the_engine_that_is_decided_is_in_the_keys(config: Settings) -> None:
    before, evaluation = training(config), keys.key(config, Job("evaluate_baseline", "tiny-llama"))
    assert (before["training.engine"], evaluation["evaluation.engine"]) == ("generate", "generate")
    assert training(changed(config, "training", engine="generate")) == before, "auto is what it is decided to be"
    other = changed(config, "training", engine="vllm")
    assert differing(before, training(other)) - {"computed_with"} == {"training.engine"}  # and its version
    assert keys.key(other, Job("evaluate_baseline", "tiny-llama")) == evaluation
    other = changed(config, "evaluation", engine="vllm")
    after = keys.key(other, Job("evaluate_baseline", "tiny-llama"))
    assert differing(evaluation, after) - {"computed_with"} == {"evaluation.engine"}


def test_what_cannot_change_a_training_is_not(config: Settings) -> None:
    before = training(config)
    for other in (
        changed(config, "hardware", usd_per_hour=9.0),
        changed(config, "budget", limit_usd=9.0),
        changed(config, "checkpoint", every_steps=1),
        changed(config, "training", max_skipped=3),
        changed(config, "training", kl_every=3),
        changed(config, "training", sampler_gap_limit=SamplerGapLimit(float32=1.0)),
        changed(config, "evaluation", batch_size=3),
    ):
        assert training(other) == before


def test_a_critic_is_in_the_key_of_a_training_that_has_one_and_older_keys_agree(config: Settings) -> None:
    before = training(config)
    assert "training.critic" not in before and before == training(
        changed(config, "training", critic=Critic(value_clip=9))
    )
    some, others = ({"estimator": "critic", "critic": Critic(value_clip=clip)} for clip in (1, 2))
    with_one = training(changed(config, "training", **some))
    assert differing(before, with_one) == {"training.estimator", "training.critic"}
    assert differing(with_one, training(changed(config, "training", **others))) == {"training.critic"}
    without = checks.digest(config), rehearsed(config)
    older = config.variant("leave_one_out").model_dump(mode="json", exclude={"critic", "entropy_coefficient"})
    assert keys.as_keyed(config.variant("leave_one_out")) == older
    other = changed(config, "training", critic=Critic(learning_rate=1e-3))
    assert checks.digest(other) != without[0] and rehearsed(other) != without[1]


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
    assert differing(before, training(config)) == {"start policy files"}
    assert differing(evaluation, keys.key(config, Job("evaluate_baseline", "tiny-llama"))) == {"policy files"}
    (layout.data / "test.jsonl").write_text("other")
    assert "test.jsonl, sha256" in differing(evaluation, keys.key(config, Job("evaluate_baseline", "tiny-llama")))
    (layout.data / "train.jsonl").write_text("other")
    assert "train.jsonl, sha256" in differing(before, training(config))
    (layout.data / "demonstrations.jsonl").write_text("other")
    assert differing(start, keys.key(config, Job("fetch_policy", "tiny-llama"))) == {"demonstrations.jsonl, sha256"}


def test_weights_elsewhere_are_in_the_key(tmp_path: Path) -> None:
    folder, gguf, snapshot = tmp_path / "policy", tmp_path / "model.gguf", tmp_path / "snapshot"
    snapshot.mkdir()
    weights, found = snapshot / "model.safetensors", []
    for place, content in ((gguf, "a"), (gguf, "b"), (weights, "a"), (weights, "b")):
        place.write_text(content)
        write_json(folder / "policy.json", {"weights": {"path": str(place if place == gguf else snapshot)}})
        found.append(policy_key("policy", folder, sha256_file))
    write_json(folder / "policy.json", {"weights": {"repo": "a/b", "revision": "1" * 40}})
    found.append(policy_key("policy", folder, sha256_file))
    assert len({json.dumps(one) for one in found}) == 5


PLACE = {
    "model.safetensors": "weights", "tokenizer.json": "tokens", "tokenizer_config.json": "{}",
    "config.json": {"model_type": "llama", "hidden_size": 8, "_name_or_path": "a", "transformers_version": "5"},
    "generation_config.json": {"eos_token_id": 2, "temperature": 0.9},
}  # fmt: skip


@pytest.fixture
def local(config: Settings, tmp_path: Path) -> Settings:
    """The same, with a policy of a local folder."""
    place = tmp_path / "local"
    place.mkdir()
    for name, content in PLACE.items():
        (place / name).write_text(content if isinstance(content, str) else json.dumps(content))
    write_json(Layout.of(config).policy("tiny-llama") / "policy.json", {"weights": {"path": str(place)}})
    return config


def rewritten(place: Path, name: str, **changes: object) -> None:
    write_json(place / name, {**json.loads((place / name).read_text()), **changes})


def test_what_a_policy_does_not_read_changes_no_key(local: Settings, tmp_path: Path) -> None:
    before, place = training(local), tmp_path / "local"
    for name in ("README.txt", ".gitattributes", "training_args.bin"):
        (place / name).write_text("added while it was stopped")
    rewritten(place, "generation_config.json", temperature=1.0, do_sample=True)
    rewritten(place, "config.json", _name_or_path="b", transformers_version="6", torch_dtype="float32")
    assert training(local) == before
    renamed = place.rename(tmp_path / "elsewhere")
    write_json(Layout.of(local).policy("tiny-llama") / "policy.json", {"weights": {"path": str(renamed)}})
    assert training(local) == before
    gguf = tmp_path / "a.gguf"
    gguf.write_text("weights")
    write_json(Layout.of(local).policy("tiny-llama") / "policy.json", {"weights": {"path": str(gguf)}})
    first = training(local)
    write_json(
        Layout.of(local).policy("tiny-llama") / "policy.json",
        {"weights": {"path": str(gguf.rename(tmp_path / "b.gguf"))}},
    )
    assert training(local).digest == first.digest and training(local).changes(first) == []


@pytest.mark.parametrize(
    ("name", "change", "said"),
    [
        ("tokenizer.json", "other", "start policy tokenizer.json"),
        ("chat_template.jinja", "{{ messages }}", "start policy chat_template.jinja"),
        ("model.safetensors", "other", "start policy model.safetensors"),
        ("config.json", {"hidden_size": 16}, "start policy config.json hidden_size: 8 there, 16 now"),
        ("generation_config.json", {"eos_token_id": 3}, "start policy generation_config.json eos_token_id: 2 there"),
    ],
)
def test_what_it_reads_is_named_by_file_with_both_values(
    local: Settings, tmp_path: Path, name: str, change: str | dict[str, int], said: str
) -> None:
    saved, path = json.loads(json.dumps(training(local))), tmp_path / "local" / name
    before = sha256_file(path) if path.exists() else None
    if isinstance(change, str):
        path.write_text(change)
        said += f": {before!r} there, {sha256_file(path)!r} now"
    else:
        rewritten(path.parent, name, **change)
    with pytest.raises(UserError) as caught:
        training(local).resumable(saved, tmp_path / "kept", "a training")
    assert f"- {said}" in caught.value.problem and caught.value.problem.count("\n") == 1
    assert f"mv {tmp_path / 'kept'} " in caught.value.fix and "--accept-other-numbers" in caught.value.fix


@pytest.mark.parametrize(
    ("target", "value", "said"),
    [
        ("torch.backends.cpu.get_cpu_capability", lambda: "AVX9", "CPU capability: "),
        ("reinforce_lite.io.provenance._cpu_model", lambda: "another CPU", "device: "),
        ("reinforce_lite.io.provenance._version", lambda package: f"0 {package}", "transformers: "),
        ("reinforce_lite.io.provenance._version", lambda package: f"0 {package}", "tokenizers: "),
        ("reinforce_lite.io.provenance._version", lambda package: f"0 {package}", "torch: "),
        ("torch.get_num_threads", lambda: 99, "threads: "),
    ],
)
def test_what_computes_otherwise_is_refused_named_and_accepted(
    config: Settings, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, target: str, value: object, said: str
) -> None:
    config = changed(config, "hardware", cpu_threads=None)
    before = training(config)
    saved = json.loads(json.dumps(before))
    monkeypatch.setattr(target, value)
    with pytest.raises(UserError) as caught:
        training(config).resumable(saved, tmp_path, "a training")
    assert f"- {said}" in caught.value.problem and " there, " in caught.value.problem
    assert "--accept-other-numbers" in caught.value.fix and "REINFORCE_LITE_ACCEPT_OTHER_NUMBERS=1" in caught.value.fix
    assert training(config).digest == before.digest, "what is finished is not bought again for it"
    monkeypatch.setenv("REINFORCE_LITE_ACCEPT_OTHER_NUMBERS", "1")
    accepted = training(config).resumable(saved, tmp_path, "a training")
    name = said.removesuffix(": ")
    assert accepted[name] == [saved["computed_with"][name], training(config)["computed_with"][name]]


def test_a_setting_is_not_accepted_with_it(config: Settings, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    saved = json.loads(json.dumps(training(config)))
    monkeypatch.setenv("REINFORCE_LITE_ACCEPT_OTHER_NUMBERS", "1")
    other = training(changed(config, "training", learning_rate=1.0))
    with pytest.raises(UserError, match=r"training.learning_rate: .* there, 1.0 now") as caught:
        other.resumable(saved, tmp_path, "a training")
    assert "--accept" not in caught.value.fix and "mv " in caught.value.fix


@pytest.mark.parametrize("job", [Job("train", "tiny-llama", "leave_one_out", 0), Job("fetch_policy", "tiny-llama"),
                                 Job("evaluate_baseline", "tiny-llama")])  # fmt: skip
def test_what_an_older_version_began_goes_on(config: Settings, tmp_path: Path, job: Job) -> None:
    now = keys.key(config, job)
    assert now.older is not None
    saved = json.loads(json.dumps(now.older({})))
    assert now.resumable(saved, tmp_path, "a training") == {}
    with pytest.raises(UserError, match=r"torch: .1\.0. there"):
        now.resumable({**saved, "torch": "1.0"}, tmp_path, "a training")


@pytest.mark.parametrize("gone", ["policy.json", "training.json", "metrics.jsonl", "completions.jsonl"])
def test_results_that_lack_a_file_are_not_made(config: Settings, gone: str) -> None:
    """Snakemake deletes a job's outputs before it runs it, though a process of a killed one may be writing them."""
    folder, job = (
        Layout.of(config).train("tiny-llama", "leave_one_out", 0),
        Job("train", "tiny-llama", "leave_one_out", 0),
    )
    for name in ("training.json", "metrics.jsonl", "completions.jsonl"):
        write_json(folder / name, {})
    write_json(folder / "policy.json", {"key": keys.asked(config, job).digest})
    assert keys.is_done(config, job)
    (folder / gone).unlink()
    assert not keys.is_done(config, job)
