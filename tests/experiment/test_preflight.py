import datetime
import errno
import os
import re
from pathlib import Path
from typing import Any

import pytest
import yaml

from reinforce_lite.budget.ledger import Ledger
from reinforce_lite.config import Settings, load, merge, validate
from reinforce_lite.errors import UserError
from reinforce_lite.experiment import checks, places, questions, weights
from reinforce_lite.experiment.preflight import plan_experiment
from reinforce_lite.policy import hub
from reinforce_lite.policy import load as load_policy
from reinforce_lite.resources.memory import GIB
from toys import toy_policy

ROOT = Path(__file__).parents[2]


def configured(tmp_path: Path, name: str = "tiny", **changes: Any) -> Settings:
    layers = [ROOT / "config/config.yaml"] + ([ROOT / f"config/{name}.yaml"] if name != "config" else [])
    config = load(layers).model_dump(mode="json")
    return validate(merge({**config, "results": str(tmp_path)}, changes))


def test_tiny_passes_everywhere(tmp_path: Path) -> None:
    passed = checks.preflight(configured(tmp_path))
    assert {check["name"] for check in passed} == {
        "device", "memory", "engine", "price", "budget", "folders", "disk", "task", "policies", "claims", "hub",
        "prompts", "reward",
    }  # fmt: skip
    assert all(check["ok"] for check in passed)


def test_no_gpu_names_the_tiny_config(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("torch.cuda.is_available", lambda: False)
    monkeypatch.setattr("reinforce_lite.experiment.gpu.why_none", lambda: ("there is no GPU", "rent one"))
    monkeypatch.delenv("HF_TOKEN", raising=False)
    with pytest.raises(UserError, match=r"config/tiny\.yaml") as error:
        checks.preflight(configured(tmp_path, "config"))
    assert "no GPU" in str(error.value) and "nothing was spent" in str(error.value)
    assert len(str(error.value).splitlines()) <= 24


def test_a_gpu_without_a_compiler_is_told_before_a_step_fails(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    card = type("Card", (), {"name": "a card", "total_memory": 48 * GIB})
    monkeypatch.setattr("torch.cuda.is_available", lambda: True)
    monkeypatch.setattr("torch.cuda.device_count", lambda: 1)
    monkeypatch.setattr("torch.cuda.get_device_properties", lambda _: card)
    monkeypatch.setattr("reinforce_lite.optim.compiled.missing", lambda: ("there is no C compiler", "get one"))
    with pytest.raises(UserError, match=r"training.weights: .* compiles .* there is no C compiler\n  fix: get one"):
        checks.device(configured(tmp_path, "config"))
    published = configured(tmp_path, "config", training={"weights": "nearest"})
    assert checks.device(published) == "a card, 48 GiB"


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"hardware": {"price_date": "2999-01-01"}}, "hardware.price_date 2999-01-01 lies in the future"),
        ({"hardware": {"memory_gib": 0.001}}, "tiny-.* needs about"),
        ({"policies": {"tiny-phi": {"parameters": 1e9}}}, "(?s)needs about.*free some disk space"),
        ({"task": {"name": "gsm8k", "path": "/nowhere", "demonstrations": 10}}, "task.path: cannot read /nowhere"),
        (
            {"task": {"name": "gsm8k", "demonstrations": 10}},
            "task: policies.tiny-llama.from_scratch needs the vocabulary of a task",
        ),
        ({"task": {"train_size": None}}, "task.train_size and task.test_size: the word world has no end"),
    ],
)
def test_what_is_wrong_is_named(tmp_path: Path, changes: dict[str, Any], said: str) -> None:
    with pytest.raises(UserError, match=said):
        checks.preflight(configured(tmp_path, **changes))


def test_what_is_kept_on_the_cpu_must_fit_there(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    # Phi-3.5, the larger one: 3.82 billion weights of 12 bytes, and 4 while drift is measured, are 56.9 GiB.
    config = configured(tmp_path, "config", training={"weights": "offload"})
    memory = type("Memory", (), {"total": 64 * GIB})
    monkeypatch.setattr("psutil.virtual_memory", lambda: memory)
    assert checks.memory(config).endswith("(training.weights: offload, 56.9 of 64 GiB beside the device)")
    memory.total = 60 * GIB
    with pytest.raises(UserError, match=r"offload needs about 56.9 GiB of the CPU's memory, and there are 60.0\n  fix"):
        checks.memory(config)


@pytest.mark.parametrize(("gib", "way"), [(80, "master"), (48, "kahan"), (32, "8bit"), (24, "offload")])
def test_the_scheme_that_auto_took_is_told(tmp_path: Path, gib: int, way: str, monkeypatch: pytest.MonkeyPatch) -> None:
    memory = type("Memory", (), {"total": 256 * GIB})
    monkeypatch.setattr("psutil.virtual_memory", lambda: memory)
    config = configured(tmp_path, "config", models=["phi-3.5-mini-instruct"], hardware={"memory_gib": gib})
    assert f"(training.weights: {way}" in checks.memory(config)


def test_each_model_has_its_scheme_its_peak_and_its_longest_completion(tmp_path: Path) -> None:
    # GB: 38.52 + 6.37 and 38.2 + 6.93; see tests/resources/test_precision.py.
    assert checks.memory(configured(tmp_path, "config")) == (
        "llama-3.2-3b-instruct needs about 41.8 of 48 GiB for an update with completions of 1024 tokens, "
        "and reaches 32512 (training.weights: stochastic); "
        "phi-3.5-mini-instruct needs about 42.0 of 48 GiB for an update with completions of 1024 tokens, "
        "and reaches 30464 (training.weights: kahan)"
    )


def test_what_does_not_fit_names_the_keys(tmp_path: Path) -> None:
    # Stochastic rounding keeps 45.84 GB of Phi, 52.8 with an update of 16,384 tokens; 47 GiB are 50.5 GB.
    config = configured(tmp_path, "config", training={"weights": "stochastic"})
    said = r"phi-3.5-mini-instruct needs about 49.1 GiB .*stochastic, micro_batch_tokens: 16384, max_new_tokens: 1024"
    with pytest.raises(UserError, match=said + r".* 47 can be used\n  fix: lower training.micro_batch_tokens"):
        checks.memory(config)
    smaller = configured(tmp_path, "config", training={"weights": "stochastic", "micro_batch_tokens": 2048})
    assert "(training.weights: stochastic)" in checks.memory(smaller)


def test_a_size_that_nobody_tells_is_refused(tmp_path: Path) -> None:
    config = configured(tmp_path, policies={"tiny-llama": {"parameters": None}})
    with pytest.raises(
        UserError, match=r"policies.tiny-llama.parameters is not set, .*\n  fix: set policies.tiny-llama"
    ):
        checks.memory(config)
    counted = {check["name"]: check["detail"] for check in checks.preflight(config)}
    assert "tiny-llama needs about 0.1 of 4 GiB" in counted["memory"]


def with_weights(folder: Path, **policy: Any) -> dict[str, Any]:
    """Changes that put a toy policy in a folder in the place of tiny-llama."""
    load_policy.save(toy_policy("llama"), folder, {})
    own = {"from_scratch": None, "start": None, "parameters": None, "path": str(folder / "weights"), **policy}
    return {"models": ["tiny-llama"], "policies": {"tiny-llama": own}}


def test_weights_in_a_folder_are_looked_at_before_anything_is_spent(tmp_path: Path) -> None:
    changes = with_weights(tmp_path / "policy")
    passed = {check["name"]: check["detail"] for check in checks.preflight(configured(tmp_path, **changes))}
    assert passed["prompts"].endswith("the chat template writes no end of turn, so answers end at <eos> (2)")
    weights_file = tmp_path / "policy/weights/model.safetensors"
    weights_file.write_bytes(weights_file.read_bytes()[:-1])
    with pytest.raises(UserError, match=r"policies.tiny-llama.path: .*/model.safetensors has .*: it is cut short"):
        checks.preflight(configured(tmp_path, **changes))
    assert not (tmp_path / "tiny").exists(), "nothing was written"


def test_what_ends_an_answer_is_settled_before_anything_is_spent(tmp_path: Path) -> None:
    changes = with_weights(tmp_path / "policy")
    template = tmp_path / "policy/weights/chat_template.jinja"
    for written, said in (("<reply>", r"ends a turn with <reply> \(4\), which is not among .* it is added"), (".", "")):
        template.write_text("{{ bos_token }} {% for m in messages %}{{ m['content'] }} " + written + " {% endfor %}")
        if said:
            assert re.search(said, questions.prompts(configured(tmp_path, **changes)))
            continue
        with pytest.raises(UserError, match=r"policies.tiny-llama: the chat template ends a turn with '\.'"):
            questions.prompts(configured(tmp_path, **changes))


def test_what_is_to_be_downloaded_is_told_in_bytes_time_and_money(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(hub, "ask", lambda *_: None)
    monkeypatch.setattr(hub, "lacking", lambda *_: {"model.safetensors": 720_000_000_000})
    usage = type("Usage", (), {"free": 10**12})
    monkeypatch.setattr(weights.shutil, "disk_usage", lambda _: usage)
    config = configured(tmp_path, "smollm")
    config = config.model_copy(update={"hardware": config.hardware.model_copy(update={"usd_per_hour": 0.5})})
    assert "1 files of 720.00 GB to download, about 7200 s ($1.00)" in weights.downloads(config)
    usage.free = 10**11
    with pytest.raises(UserError, match=r"has 100.0 GB free, and 720.0 GB are to be downloaded"):
        weights.downloads(config)


BAD_TASK = """
from dataclasses import replace
from reinforce_lite.tasks import Problem
from reinforce_lite.tasks.word_world import WordWorld

class Bad(WordWorld):
    def build(self, options):
        data = super().build(options.model_copy(update={"name": "word_world"}))
        CHANGE
        return data

TASK = Bad()
"""


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ("data.test.clear()", "prompts: the split test is empty"),
        ("data.train.clear()", "prompts: the split train is empty"),
        (
            "data.test[1] = replace(data.test[1], id='test-0')",
            "prompts: the id test-0 stands twice: for '.*' and '.*'\n  fix: give each problem",
        ),
        ("data.train[3] = replace(data.train[3], id='test-0')", "prompts: the id test-0 stands twice"),
        (
            "data.train[3] = replace(data.train[3], question=data.test[0].question)",
            "prompts: test-0 asks the same question as train-3",
        ),
        (
            "data.train[3] = replace(data.train[3], question='how many ' * 10000)",
            r"prompts: train-3: its prompt has 20,002 tokens for tiny-llama, and of its 256 positions .* leaves 216",
        ),
        (
            "data.test[3] = replace(data.test[3], question='how many ' * 10000)",
            r"prompts: test-3: its prompt has 20,002 tokens for tiny-llama, and of its 256 positions .* leaves 216",
        ),
        (
            "data.demonstrations[1] = replace(data.demonstrations[1], question='how many ' * 10000)",
            r"prompts: demonstration 1: its prompt has 20,002 tokens",
        ),
    ],
)
def test_data_that_are_not_what_they_should_be_are_named(tmp_path: Path, change: str, said: str) -> None:
    (tmp_path / "bad.py").write_text(BAD_TASK.replace("CHANGE", change))
    task = {"name": str(tmp_path / "bad.py"), "train_size": 20, "test_size": 10, "dev_size": 5, "demonstrations": 8}
    with pytest.raises(UserError, match=f"(?s)nothing was spent.*{said}"):
        checks.preflight(configured(tmp_path, task=task))


def test_a_prompt_that_no_update_has_room_for_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("reinforce_lite.policy.scratch.POSITIONS", 10**9)
    task = {"train_size": 20, "test_size": 10, "dev_size": 5, "demonstrations": 8}
    questions.prompts(configured(tmp_path, task=task))
    monkeypatch.setattr(questions, "longest_completion", lambda *_: 0)
    monkeypatch.setattr(questions, "PROMPT_TOKENS", 50)  # 10 of them beside a completion of 40
    with pytest.raises(UserError, match=r"train-\d+: .* beside max_new_tokens hardware.memory_gib has room .* of 10\n"):
        questions.prompts(configured(tmp_path, task=task))


@pytest.mark.parametrize("section", ["training", "evaluation"])
def test_an_engine_that_is_not_installed_is_named(
    tmp_path: Path, section: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("reinforce_lite.rollout.registry._has_vllm", lambda: False)
    asked = configured(tmp_path, **{section: {"engine": "vllm"}})
    with pytest.raises(UserError, match=rf"(?s){section}.engine: vllm for tiny-llama .*'reinforce-lite\[vllm\]'"):
        checks.preflight(asked)
    passed = {check["name"]: check["detail"] for check in checks.preflight(configured(tmp_path))}
    assert "training.engine of tiny-phi: generate" in passed["engine"]


def test_a_prompt_that_no_engine_takes_is_named_before_anything_is_spent(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("reinforce_lite.rollout.registry._has_vllm", lambda: True)
    small = {"train_size": 30, "test_size": 20, "dev_size": 10}
    asked = configured(tmp_path, training={"engine": "vllm"}, task=small)
    assert questions.prompts(asked).startswith("30 problems to learn from, 20 of the test; tiny-llama: made")
    monkeypatch.setattr("reinforce_lite.rollout.vllm.PROMPT_TOKENS", 10)
    with pytest.raises(UserError, match=r"(?s)prompts: train-\d+: its prompt has \d+ tokens .*takes 10\n"):
        checks.preflight(asked)
    assert not list(tmp_path.iterdir()), "nothing was written"


def test_downloads_and_results_may_be_on_two_disks(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    usage = type("Usage", (), {"free": 170 * GIB})
    # 3.21 + 3.82 billion parameters of 2 bytes: 13.1 GiB for each copy. The largest checkpoint is that of the first:
    # 10 bytes a parameter (stochastic rounding), 29.9 GiB, three times. There are three seeds, two controls that take a
    # step and have one seed, and a download.
    config = configured(tmp_path, "config")
    monkeypatch.setattr(places.shutil, "disk_usage", lambda _: usage)
    monkeypatch.setattr(hub, "is_here", lambda *_: False)
    monkeypatch.setattr(hub, "cache", lambda: tmp_path / "hub")
    assert places.disk(config) == f"{tmp_path}: about 169.3 GiB needed, 170 free"
    usage.free = 168 * GIB
    with pytest.raises(UserError, match=r"has 168.0 GiB free, and about 169.3 are needed"):
        places.disk(config)
    monkeypatch.setattr(hub, "cache", lambda: Path("/dev/shm/hub"))
    said = places.disk(config)
    assert f"{tmp_path}: about 156.2 GiB" in said and "/dev/shm: about 13.1 GiB" in said
    monkeypatch.setattr(places.os, "access", lambda place, _: place == tmp_path)
    with pytest.raises(UserError, match="/dev/shm cannot be written by user"):
        places.disk(config)


def test_what_is_recorded_names_no_folder_of_this_machine(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    assert places.disk(configured(tmp_path / "results")).startswith(".: about")
    (tmp_path / "results").mkdir()
    assert places.disk(configured(tmp_path / "results")).startswith("results: about")


def test_temporary_files_need_room(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def full() -> None:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    assert places.folders(configured(tmp_path)).endswith("tiny; temporary files")
    with monkeypatch.context() as patch, pytest.raises(UserError, match="/tiny cannot be written by user"):
        (tmp_path / "tiny").mkdir()
        patch.setattr(places.os, "access", lambda place, _: place.name != "tiny")
        places.folders(configured(tmp_path))
    monkeypatch.setattr("tempfile.TemporaryFile", full)
    monkeypatch.setenv("TMPDIR", "/full")
    with pytest.raises(
        UserError, match=r"folders: temporary files find no room \(/full\): No space left.*\n  fix: .*TMPDIR"
    ):
        checks.preflight(configured(tmp_path))


def test_a_home_is_needed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("HOME")
    monkeypatch.setattr("pwd.getpwuid", {}.__getitem__)
    with pytest.raises(
        UserError, match=r"folders: HOME is not set, and user \d+ has no home folder\n  fix: export HOME"
    ):
        checks.preflight(configured(tmp_path))


def test_all_failures_are_told_at_once(tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"(?s)memory_gib.*price_date"):
        checks.preflight(configured(tmp_path, hardware={"price_date": "2999-01-01", "memory_gib": 0.001}))


def test_wrong_checksum_is_named(tmp_path: Path) -> None:
    for name in ("train", "test"):
        (tmp_path / f"{name}.jsonl").write_text('{"question": "1 + 1?", "answer": "2\\n#### 2"}\n')
    task = {"name": "gsm8k", "path": str(tmp_path), "demonstrations": 10}
    with pytest.raises(UserError, match=r"train\.jsonl is not the original file: its SHA-256 is"):
        checks.preflight(configured(tmp_path, task=task))


def test_absent_weights_are_named(tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"policies.smollm2-135m.path: /nowhere.gguf does not exist"):
        weights.policies(configured(tmp_path, "smollm", policies={"smollm2-135m": {"path": "/nowhere.gguf"}}))


def test_gated_without_token(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(weights, "_token", lambda: None)
    with pytest.raises(UserError, match=r"meta-llama/.* is gated and no token is set\n  fix: .*HF_TOKEN"):
        weights.policies(configured(tmp_path, "config"))
    monkeypatch.setattr(weights, "_token", lambda: "hf_x")
    assert "llama" in weights.policies(configured(tmp_path, "config"))


def test_unreachable_hub_names_the_key(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    class Api:
        def repo_info(self, *_: Any, **__: Any) -> None:
            raise ConnectionError("no route to host")

    monkeypatch.setattr("huggingface_hub.HfApi", Api)
    monkeypatch.setenv("HF_HUB_CACHE", str(tmp_path))
    with pytest.raises(UserError, match=r"cannot reach .*no route to host\. In the cache: .*\n  fix: .*path"):
        weights.downloads(configured(tmp_path, "smollm"))


def test_a_spent_budget_is_refused_without_a_step(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    config = configured(tmp_path)
    dear = config.hardware.model_copy(update={"usd_per_hour": 1e6})
    ledger = Ledger(config.folder / "ledger.jsonl")
    ledger.close(ledger.open("train", dear), "finished")
    before = (config.folder / "ledger.jsonl").read_bytes()
    monkeypatch.setattr("reinforce_lite.experiment.rehearsal.rehearse", lambda *given: pytest.fail("it rehearsed"))
    plan = plan_experiment(config)
    assert "budget.limit_usd is 0.05; raise it" in plan["refused"]
    assert (config.folder / "ledger.jsonl").read_bytes() == before


def test_an_old_price_passes_with_a_remark(tmp_path: Path) -> None:
    old = datetime.date.today() - datetime.timedelta(days=400)
    assert "400 days ago" in checks.price(configured(tmp_path, hardware={"price_date": str(old)}))


def test_what_an_older_tree_checked_is_not_checked_again(tmp_path: Path) -> None:
    # Computed by that tree, whose tasks all had the keys of GSM8K; its tiny form took both cores and longer passes.
    then = {"name": "2 vCPU virtual machine", "count": 1, "side_by_side": False, "usd_per_hour": 0.0816}
    then |= {"price_source": "Amazon EC2 m7g.large (2 vCPU), us-east-1, on demand", "price_date": "2026-06-17"}
    then["cpu_threads"] = 2
    whole = {name: {"start": {"micro_batch_tokens": None}} for name in ("tiny-llama", "tiny-phi")}
    older = tmp_path / "older.yaml"
    older.write_text(yaml.dump({"hardware": then, "policies": whole, "training": {"micro_batch_tokens": 2048}}))
    config = load([ROOT / "config/config.yaml", ROOT / "config/tiny.yaml", older])
    assert checks.digest(config).startswith("089bf44a013ff2dc")
