"""What determines the result of a job, by name: work that was begun under another key is not resumed.

A key has what is asked for, by the configuration and the files that are read, and beside it what computes. A finished
result is the job's if the first agrees; an unfinished one goes on if both do.
"""

import hashlib
import os
from collections.abc import Callable, Collection, Iterator, Mapping
from importlib.metadata import version
from importlib.util import find_spec
from pathlib import Path
from typing import Any

from reinforce_lite.config import Critic, Settings, Training
from reinforce_lite.io.files import read_json
from reinforce_lite.io.keyed import ACCEPT, COMPUTED_WITH, Key
from reinforce_lite.io.provenance import computed_with, sha256_file
from reinforce_lite.policy.identity import Sum, place_key, policy_key
from reinforce_lite.resources.precision import evaluation_of, evaluation_of_job, training_of
from reinforce_lite.stages import EVALUATE_AGAIN, POLICY, STAGES, Job, Layout
from reinforce_lite.tasks import own, own_sums

Entries = dict[str, Any]

ONCE_READ = ("kl_every", "sampler_gap_limit")
"""Keys of `training` that change no number, but stood in older keys."""

ADDED = {"entropy_coefficient": 0.0, "critic": Critic()}
"""Keys of `training` that older versions did not have, and the values at which they change no number."""


def training_key(config: Settings, job: Job, sum_of: Sum) -> Entries:
    """All that a training's weights depend on, without what it does not read; the prompt stands among the task's."""
    needs = Layout.of(config).needs(job)
    chosen = training_of(config, job.model, str(job.variant))
    unread = {*STAGES["train"].unread, "prompt", *chosen.unread}
    training = as_keyed(chosen, unread)
    return {
        **_numbers(config, job),
        **{f"training.{name}": value for name, value in training.items()},
        "hardware.count": config.hardware.taken_by("train"),
        "seed": job.seed,
        **policy_key("start policy", needs["policy"].parent, sum_of),
        "train.jsonl, sha256": sum_of(needs["problems"]),
    }


def as_keyed(training: Training, unread: Collection[str] = ()) -> Entries:
    """The values of a training that stand in keys: without those that were added since, where they change nothing.

    Raises:
        UserError: the file of an own reward cannot be loaded.
    """
    same = {name for name, value in ADDED.items() if getattr(training, name) == value}
    values = training.model_dump(mode="json", exclude={*unread, *same})
    if own.is_own(training.reward):  # its file counts, and not where that lies
        return {**values, "reward": Path(training.reward).name, **own.sums(training.reward)}
    return values


def start_key(config: Settings, job: Job, sum_of: Sum) -> Entries:
    """All that a supervised start's weights depend on."""
    chosen = config.policies[job.model]
    policy = chosen.model_dump(mode="json", exclude={*STAGES["fetch_policy"].unread, "path"})
    return {
        **_numbers(config, job),
        **{f"policies.{job.model}.{name}": value for name, value in policy.items()},
        **(place_key("policy", chosen.path, sum_of) if chosen.path else {}),
        "demonstrations.jsonl, sha256": sum_of(Layout.of(config).needs(job)["demonstrations"]),
    }


def evaluation_key(config: Settings, job: Job, sum_of: Sum) -> Entries:
    """All that an evaluation's completions depend on; the harness adds the prompts as the tokenizer writes them."""
    needs, chosen = Layout.of(config).needs(job), evaluation_of_job(config, job)
    of_samples = () if chosen.samples else ("samples", "samples_limit")
    of_train = () if chosen.memorisation else ("memorisation",)
    unread = {*STAGES[job.stage].unread, *of_samples, *of_train}
    unrelated = {"bootstrap_resamples", "cross_check", "noise_floor", *unread}
    train = Layout.of(config).path(Job("prepare_dataset"), "train")
    evaluation = chosen.model_dump(mode="json", exclude=unrelated)
    return {
        **_numbers(config, job),
        **{f"evaluation.{name}": value for name, value in evaluation.items()},
        **policy_key("policy", needs["policy"].parent, sum_of),
        "test.jsonl, sha256": sum_of(needs["problems"]),
        **({"train.jsonl, sha256": sum_of(train)} if chosen.memorisation else {}),
    }


KEYS: dict[str, Callable[[Settings, Job, Sum], Entries]] = {
    "fetch_policy": start_key,
    "evaluate_baseline": evaluation_key,
    EVALUATE_AGAIN: evaluation_key,
    "train": training_key,
    "evaluate_trained": evaluation_key,
}


def asked(config: Settings, job: Job, sum_of: Sum = sha256_file) -> Key:
    """The key of a job without what computes; of a stage that has no key of its own, the files that it reads."""
    if job.stage not in KEYS:
        return Key({f"{path.name}, sha256": sum_of(path) for path in Layout.of(config).needs(job).values()})
    entries = KEYS[job.stage](config, job, sum_of)
    accept = os.environ.get(ACCEPT, "") not in ("", "0")
    return Key(
        entries, lambda saved: _older(config, job, entries, {"torch": version("torch"), **_once_read(saved)}), accept
    )


def key(config: Settings, job: Job) -> Key:
    """The whole key of a job."""
    found = asked(config, job)
    if job.stage in KEYS:
        found[COMPUTED_WITH] = computing(config, job)
    return found


def computing(config: Settings, job: Job) -> dict[str, Any]:
    """The libraries and the device that compute a job's numbers here; imports torch."""
    packages, hardware = ["torch", "transformers", "tokenizers"], config.hardware
    cpu = hardware.device == "cpu"
    if job.stage == "train":
        training = training_of(config, job.model, str(job.variant))
        packages += ["vllm"] * (training.engine == "vllm") + ["accelerate"] * (hardware.taken_by("train") > 1)
        cpu = cpu or training.weights == "offload"
    elif job.stage != "fetch_policy":
        packages += ["vllm"] * (evaluation_of(config, job.model).engine == "vllm")
    return computed_with(packages, hardware.device, cpu, count_threads=hardware.cpu_threads is None)


def is_done(config: Settings, job: Job, sum_of: Sum = sha256_file) -> bool:
    """Whether the results of a job are there, all of them, and were made under its present key.

    All of them: a Snakemake that begins while a process of an earlier one still writes deletes what is there already.
    Other libraries and another device make no other result: what is paid for is not bought again for them.
    """
    layout, stage = Layout.of(config), STAGES[job.stage]
    files = list(layout.outputs(job).values())
    if stage.evaluates:
        files += [layout.path(job, name) for name in stage.extras if getattr(config.evaluation, name)]
    if not all(path.exists() for path in files):
        return False
    made = read_json(layout.path(job, stage.keyed))
    return "key" in made and made["key"] in digests(config, job, made, sum_of)


def digests(config: Settings, job: Job, made: Entries, sum_of: Sum) -> Iterator[str]:
    """The names of a job's key: as it is written now, and as versions before `computed_with` wrote it.

    Their keys held the version of torch, which preflight has recorded, and keys of a training that change no number.
    """
    now = asked(config, job, sum_of)
    yield now.digest
    if job.stage in KEYS and COMPUTED_WITH not in made:
        preflight, training = Layout.of(config).preflight, made.get("training", {})
        packages = read_json(preflight).get("environment", {}).get("packages", {}) if preflight.exists() else {}
        once = _once_read({f"training.{name}": value for name, value in training.items()})
        for torch in dict.fromkeys((version("torch"), packages.get("torch"))):
            yield Key(_older(config, job, now, {"torch": torch, **once}, sum_of)).digest


def _once_read(saved: Mapping[str, Any]) -> Entries:
    """Of what an older version has recorded, the entries of its key that change no number."""
    return {f"training.{name}": saved[f"training.{name}"] for name in ONCE_READ if f"training.{name}" in saved}


def _older(config: Settings, job: Job, now: Entries, more: Entries, sum_of: Sum = sha256_file) -> Entries:
    """The key as versions before `computed_with` wrote it: with one sum for all files of a policy, and `more`."""
    needs = Layout.of(config).needs(job)
    left_out = ("policy ", "start policy ", "test.jsonl")
    kept = {**more, **{name: part for name, part in now.items() if not name.startswith(left_out)}}
    if job.stage == "fetch_policy":
        path = config.policies[job.model].path
        return {**kept, f"policies.{job.model}.path": None if path is None else str(path)}
    engine = now["training.engine" if job.stage == "train" else "evaluation.engine"]
    if engine == "vllm" and find_spec("vllm") is not None:
        kept["vllm"] = version("vllm")
    name = "start policy, sha256" if job.stage == "train" else "policy, sha256"
    return {**kept, name: _policy_sha256(needs["policy"].parent, sum_of)}


def _policy_sha256(folder: Path, sum_of: Sum) -> str:
    """One sum of policy.json and of every file beside the weights it points to."""
    weights = read_json(folder / POLICY)["weights"]
    files = [folder / POLICY]
    if "folder" in weights or "path" in weights:
        place = folder / weights["folder"] if "folder" in weights else Path(weights["path"])
        files += [place] if place.is_file() else sorted(path for path in place.iterdir() if path.is_file())
    sums = [f"{path.name} {sum_of(path)}\n" for path in files]
    return hashlib.sha256("".join(sums).encode()).hexdigest()


def _numbers(config: Settings, job: Job) -> Entries:
    """What every forward pass depends on."""
    policy, hardware = config.policies[job.model], config.hardware
    return {
        "model": job.model,
        f"policies.{job.model}.dtype": policy.dtype,
        f"policies.{job.model}.attention": policy.attention,
        "task.prompt": config.prompt(job.variant),
        **own_sums(config.task),
        "hardware.device": hardware.device,
        "hardware.cpu_threads": hardware.cpu_threads,
        # Older keys do not have it.
        **({"hardware.cpu_instructions": "common"} if hardware.cpu_instructions == "common" else {}),
    }


OF_THE_MONEY = ("budget", "hardware.usd_per_hour", "hardware.price", "variants", "seeds", "control_seeds", "models")
"""Settings that decide whether a stage is run, and not what it makes."""


def differing(prefix: str, then: Any, now: Any) -> Iterator[str]:
    """The settings that differ, each with both values."""
    if prefix.startswith(OF_THE_MONEY):
        return
    if not (isinstance(then, dict) and isinstance(now, dict)):
        if then != now:
            yield f"{prefix} {then!r} (now {now!r})"
        return
    for name in now:
        if name in then:
            yield from differing(f"{prefix}.{name}".lstrip("."), then[name], now[name])
