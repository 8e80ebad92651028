"""What determines the result of a job, by name: work that was begun under another key is not resumed."""

import hashlib
import json
from collections.abc import Callable
from importlib.metadata import version
from importlib.util import find_spec
from pathlib import Path
from typing import Any

from reinforce_lite.config import Settings
from reinforce_lite.io.files import read_json
from reinforce_lite.io.provenance import sha256_file
from reinforce_lite.resources.precision import evaluation_of, training_of
from reinforce_lite.stages import POLICY, STAGES, Job, Layout
from reinforce_lite.tasks import file_sum

Key = dict[str, Any]


def training_key(config: Settings, job: Job) -> Key:
    """All that a training's weights depend on; `max_skipped` only says when to give up, and `lora` is for adapters."""
    needs = Layout.of(config).needs(job)
    chosen = training_of(config, job.model, str(job.variant))
    unread = {"max_skipped", "prompt", "kv_cache_gib", *(() if chosen.weights == "lora" else ("lora",))}
    training = chosen.model_dump(mode="json", exclude=unread)
    return {
        **_numbers(config, job),
        **_engine(training["engine"]),
        **{f"training.{name}": value for name, value in training.items()},
        "hardware.count": config.hardware.count,
        "seed": job.seed,
        "start policy, sha256": policy_sha256(needs["policy"].parent),
        "train.jsonl, sha256": sha256_file(needs["problems"]),
    }


def start_key(config: Settings, job: Job) -> Key:
    """All that a supervised start's weights depend on."""
    policy = config.policies[job.model].model_dump(mode="json", exclude={"parameters", "published", "gated"})
    return {
        **_numbers(config, job),
        **{f"policies.{job.model}.{name}": value for name, value in policy.items()},
        "demonstrations.jsonl, sha256": sha256_file(Layout.of(config).needs(job)["demonstrations"]),
    }


def evaluation_key(config: Settings, job: Job) -> Key:
    """All that an evaluation's completions depend on, but the prompts, which the harness adds."""
    chosen = evaluation_of(config, job.model)
    of_samples = () if chosen.samples else ("samples", "samples_limit")
    unrelated = {"bootstrap_resamples", "cross_check", "kv_cache_gib", *of_samples}
    evaluation = chosen.model_dump(mode="json", exclude=unrelated)
    return {
        **_numbers(config, job),
        **_engine(evaluation["engine"]),
        **{f"evaluation.{name}": value for name, value in evaluation.items()},
        "policy, sha256": policy_sha256(Layout.of(config).needs(job)["policy"].parent),
    }


KEYS: dict[str, Callable[[Settings, Job], Key]] = {
    "fetch_policy": start_key,
    "evaluate_baseline": evaluation_key,
    "train": training_key,
    "evaluate_trained": evaluation_key,
}


def key(config: Settings, job: Job) -> Key:
    """The key of a job; of a stage that has no key of its own, the files that it reads."""
    if job.stage in KEYS:
        return KEYS[job.stage](config, job)
    return {f"{path.name}, sha256": sha256_file(path) for path in Layout.of(config).needs(job).values()}


def digest(key: Key) -> str:
    """A short name for a key, to stand in a result."""
    return hashlib.sha256(json.dumps(key, sort_keys=True).encode()).hexdigest()


def is_done(config: Settings, job: Job) -> bool:
    """Whether the results of a job are there, all of them, and were made under its present key.

    All of them: a Snakemake that begins while a process of an earlier one still writes deletes what is there already.
    """
    layout, stage = Layout.of(config), STAGES[job.stage]
    files = list(layout.outputs(job).values())
    if config.evaluation.samples and "samples" in stage.extras:
        files.append(layout.path(job, "samples"))
    there = all(path.exists() for path in files)
    return there and read_json(layout.path(job, stage.keyed)).get("key") == digest(key(config, job))


def policy_sha256(folder: Path) -> str:
    """A sum of policy.json and of the weights it points to; weights on the hub are named by their commit."""
    weights = read_json(folder / POLICY)["weights"]
    files = [folder / POLICY]
    if "folder" in weights or "path" in weights:
        place = folder / weights["folder"] if "folder" in weights else Path(weights["path"])
        files += [place] if place.is_file() else sorted(path for path in place.iterdir() if path.is_file())
    sums = [f"{path.name} {sha256_file(path)}\n" for path in files]
    return hashlib.sha256("".join(sums).encode()).hexdigest()


def _engine(name: str) -> dict[str, str]:
    """The version of the library that decodes, if it is not the policy's own forward pass that does."""
    if name != "vllm" or find_spec("vllm") is None:  # preflight says that it is absent
        return {}
    return {"vllm": version("vllm")}


def _numbers(config: Settings, job: Job) -> Key:
    """What every forward pass depends on."""
    policy, hardware = config.policies[job.model], config.hardware
    return {
        "model": job.model,
        f"policies.{job.model}.dtype": policy.dtype,
        f"policies.{job.model}.attention": policy.attention,
        "task.prompt": config.prompt(job.variant),
        **file_sum(config.task.name),
        "hardware.device": hardware.device,
        "hardware.cpu_threads": hardware.cpu_threads,
        "torch": version("torch"),
    }
