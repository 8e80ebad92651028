"""What determines a piece of work, by name: work that was begun under another key is not gone on with."""

import hashlib
import json
from importlib.metadata import version
from importlib.util import find_spec
from pathlib import Path
from typing import Any

from reinforce_lite.accounting.forecast import Job
from reinforce_lite.accounting.provenance import sha256_file
from reinforce_lite.files import read_json
from reinforce_lite.layout import Layout
from reinforce_lite.precision import evaluation_of, training_of
from reinforce_lite.settings import Settings
from reinforce_lite.tasks import file_sum


def training_key(config: Settings, model: str, variant: str, seed: int) -> dict[str, Any]:
    """All that a training's weights depend on; `max_skipped` only says when to give up, and `lora` is for adapters."""
    layout = Layout.of(config)
    chosen = training_of(config, model, variant)
    unread = {"max_skipped", "prompt", "kv_cache_gib", *(() if chosen.weights == "lora" else ("lora",))}
    training = chosen.model_dump(mode="json", exclude=unread)
    return {
        **_numbers(config, model, variant),
        **_engine(training["engine"]),
        **{f"training.{name}": value for name, value in training.items()},
        "hardware.count": config.hardware.count,
        "seed": seed,
        "start policy, sha256": policy_sha256(layout.policy(model)),
        "train.jsonl, sha256": sha256_file(layout.data / "train.jsonl"),
    }


def start_key(config: Settings, model: str) -> dict[str, Any]:
    """All that a supervised start's weights depend on."""
    policy = config.policies[model].model_dump(mode="json", exclude={"parameters", "published", "gated"})
    return {
        **_numbers(config, model),
        **{f"policies.{model}.{name}": value for name, value in policy.items()},
        "demonstrations.jsonl, sha256": sha256_file(Layout.of(config).data / "demonstrations.jsonl"),
    }


def evaluation_key(config: Settings, model: str, variant: str | None, policy: Path) -> dict[str, Any]:
    """All that an evaluation's completions depend on, but the prompts, which the harness adds.

    Args:
        config: the configuration.
        model: name of the policy.
        variant: of its training; None for the policy before it.
        policy: folder of its policy.json.
    """
    chosen = evaluation_of(config, model)
    of_samples = () if chosen.samples else ("samples", "samples_limit")
    unrelated = {"bootstrap_resamples", "cross_check", "kv_cache_gib", *of_samples}
    evaluation = chosen.model_dump(mode="json", exclude=unrelated)
    return {
        **_numbers(config, model, variant),
        **_engine(evaluation["engine"]),
        **{f"evaluation.{name}": value for name, value in evaluation.items()},
        "policy, sha256": policy_sha256(policy),
    }


def digest(key: dict[str, Any]) -> str:
    """A short name for a key, to stand in a result."""
    return hashlib.sha256(json.dumps(key, sort_keys=True).encode()).hexdigest()


def made(config: Settings, job: Job) -> bool:
    """Whether the results of a job are there, all of them, and were made under its present key.

    All of them: a Snakemake that begins while a process of an earlier one still writes deletes what is there already.
    """
    layout = Layout.of(config)
    run = (job.model, job.variant, job.seed)
    if job.stage == "fetch_policy":
        files, key = [layout.policy(job.model) / "policy.json"], start_key(config, job.model)
    elif job.stage == "train":
        folder, key = layout.train(*run), training_key(config, *run)  # type: ignore[arg-type]
        files = [folder / name for name in ("policy.json", "training.json", "metrics.jsonl", "completions.jsonl")]
    else:
        source = layout.policy(job.model) if job.variant is None else layout.train(*run)  # type: ignore[arg-type]
        key = evaluation_key(config, job.model, job.variant, source)
        names = ("evaluation.json", "items.jsonl", *(("samples.jsonl",) if config.evaluation.samples else ()))
        files = [layout.evaluation(*run) / name for name in names]
    return all(path.exists() for path in files) and read_json(files[0]).get("key") == digest(key)


def policy_sha256(folder: Path) -> str:
    """A sum of policy.json and of the weights it points to; weights on the hub are named by their commit."""
    weights = read_json(folder / "policy.json")["weights"]
    files = [folder / "policy.json"]
    if "folder" in weights or "path" in weights:
        place = folder / weights["folder"] if "folder" in weights else Path(weights["path"])
        files += [place] if place.is_file() else sorted(path for path in place.iterdir() if path.is_file())
    sums = [f"{path.name} {sha256_file(path)}\n" for path in files]
    return hashlib.sha256("".join(sums).encode()).hexdigest()


def _engine(name: str) -> dict[str, str]:
    """The version of the library that decodes, if it is not the policy's own forward pass that does."""
    if name != "vllm" or find_spec("vllm") is None:  # that it is absent, preflight tells
        return {}
    return {"vllm": version("vllm")}


def _numbers(config: Settings, model: str, variant: str | None = None) -> dict[str, Any]:
    """What every forward pass depends on."""
    policy, hardware = config.policies[model], config.hardware
    return {
        "model": model,
        f"policies.{model}.dtype": policy.dtype,
        f"policies.{model}.attention": policy.attention,
        "task.prompt": config.prompt(variant),
        **file_sum(config.task.name),
        "hardware.device": hardware.device,
        "hardware.cpu_threads": hardware.cpu_threads,
        "torch": version("torch"),
    }
