"""Look before spending: everything that can be known to be wrong is found here, in seconds and for nothing."""

import hashlib
import json
import os
import shutil
from collections.abc import Callable, Iterator
from dataclasses import asdict, dataclass
from datetime import date
from pathlib import Path
from typing import Any

from reinforce_lite.budget.costs import remaining_usd
from reinforce_lite.budget.ledger import attempts, ledger_path
from reinforce_lite.budget.plan import dollars
from reinforce_lite.config import PolicySettings, Settings
from reinforce_lite.errors import UserError
from reinforce_lite.experiment import gpu
from reinforce_lite.experiment.fits import engines, memory, trainings
from reinforce_lite.io.files import read_json
from reinforce_lite.resources.memory import GIB, footprint, weights_gib
from reinforce_lite.resources.precision import engines_of
from reinforce_lite.stages import Layout
from reinforce_lite.tasks import named

STALE_PRICE_DAYS = 180
KEYS_OF_EVERY_TASK = {"repo": "openai/gsm8k", "revision": "e53f048856ff4f594e959d75785d2c2d37b678ee", "path": None}
"""Keys that all tasks once had. A digest keeps them, so that what was checked then need not be paid for again."""


@dataclass(frozen=True)
class Check:
    """One thing that was looked at, and what was seen."""

    name: str
    ok: bool
    detail: str


def preflight(settings: Settings) -> list[dict[str, Any]]:
    """Run every check; the network is asked only if nothing nearer is wrong, and then small files are fetched.

    Returns:
        The checks, all of them passed.

    Raises:
        UserError: at least one failed; the message lists all that did.
    """
    checks: list[Check] = []
    for nearer in (LOCAL, REMOTE, DOWNLOADED):
        if all(check.ok for check in checks):
            checks += [_run(name, check, settings) for name, check in nearer.items()]
    failed = [check for check in checks if not check.ok]
    if failed:
        raise UserError("preflight stopped the run; nothing was spent.\n" + "\n".join(_lines(failed)))
    return [asdict(check) for check in checks]


def digest(settings: Settings) -> str:
    """A name for what preflight looked at; another price, policy or training has to be looked at again.

    The limit is not among it: whoever raises it does not have to pay for another look.
    """
    parts = {"models", "variants", "hardware", "task", "policies", "evaluation"}
    looked_at = settings.model_dump(mode="json", include=parts)
    del looked_at["evaluation"]["bootstrap_resamples"]
    looked_at["task"] = KEYS_OF_EVERY_TASK | looked_at["task"]
    looked_at["runs"] = settings.runs
    looked_at["training"] = [settings.variant(name).model_dump(mode="json") for name in settings.variants]
    return hashlib.sha256(json.dumps(looked_at, sort_keys=True).encode()).hexdigest()


def require_preflight(settings: Settings) -> None:
    """Refuse to spend unless preflight has passed for these settings.

    Raises:
        UserError: it has not.
    """
    path = Layout.of(settings).preflight
    found = read_json(path) if path.exists() else {}
    plan = found.get("plan", {})
    another_limit = plan.get("refused") is not None and plan["limit_usd"] != settings.budget.limit_usd
    if found.get("checked") != digest(settings) or another_limit:
        raise UserError(
            f"{path} is absent or of another configuration",
            "run the rule preflight first: Snakemake does it by itself, or after an update with --forcerun preflight",
        )


def _run(name: str, check: Callable[[Settings], str], settings: Settings) -> Check:
    try:
        return Check(name, True, check(settings))
    except UserError as error:
        return Check(name, False, str(error))


def _lines(failed: list[Check]) -> Iterator[str]:
    for check in failed:
        yield f"- {check.name}: {check.detail}"


def device(settings: Settings) -> str:
    """The device is there and as large as the configuration says."""
    hardware = settings.hardware
    if hardware.device == "cpu":
        return f"CPU as {hardware.name}"
    import torch

    if not torch.cuda.is_available():
        reason, fix = gpu.why_none()
        raise UserError(
            f"hardware.device is 'cuda' ({hardware.name}), but {reason}",
            f"{fix}, or try the tiny world on this machine: snakemake --cores 1 --configfile config/tiny.yaml",
        )
    if torch.cuda.device_count() < hardware.count:
        raise UserError(
            f"hardware.count is {hardware.count}, but there are {torch.cuda.device_count()} GPUs",
            "lower hardware.count",
        )
    found = torch.cuda.get_device_properties(0)
    memory = found.total_memory / GIB
    if memory < 0.9 * hardware.memory_gib:
        raise UserError(
            f"hardware.memory_gib is {hardware.memory_gib:g}, but {found.name} has {memory:.0f} GiB",
            "set hardware to the device you rent",
        )
    _compiler(settings)
    return f"{found.name}, {memory:.0f} GiB"


def _compiler(settings: Settings) -> None:
    """The step into 16-bit weights is a kernel that is compiled when it is first taken."""
    from reinforce_lite.optim.compiled import missing

    ways = {training.weights for _, _, training in trainings(settings)} - {"nearest", "lora"}
    if ways and (lacks := missing()) is not None:
        reason, fix = lacks
        raise UserError(f"training.weights: {', '.join(sorted(ways))} compiles its step for the GPU, but {reason}", fix)


def price(settings: Settings) -> str:
    """The price has a date that has been."""
    age = (date.today() - settings.hardware.price_date).days
    if age < 0:
        raise UserError(
            f"hardware.price_date {settings.hardware.price_date} lies in the future", "set the day the price was read"
        )
    note = f"; that was {age} days ago, prices move" if age > STALE_PRICE_DAYS else ""
    hardware = settings.hardware
    return f"${hardware.usd_per_hour:g}/h asked by {hardware.price_source} on {hardware.price_date}{note}"


def budget(settings: Settings) -> str:
    """What is left; if that is too little, the plan is refused."""
    left = remaining_usd(settings.budget.limit_usd, attempts(ledger_path(settings)))
    return f"{dollars(left)} of {dollars(settings.budget.limit_usd)} left"


def disk(settings: Settings) -> str:
    """Results and downloads fit on the disk, or on the two disks they go to."""
    chosen = [settings.policies[name] for name in settings.models]
    runs = sum(settings.variant(name).steps > 0 for name, _ in settings.runs)  # else no weights are written
    results = 1 + sum(_weights_gib(policy) * (runs + (policy.start is not None)) for policy in chosen)
    # Of the training that runs, three checkpoints while the third is written; of the one before none is left.
    results += 3 * max(footprint(policy, training).checkpoint for _, policy, training in trainings(settings))
    downloads = sum(_weights_gib(policy) for policy in chosen if to_download(policy))
    needs = {_existing(settings.results): results}
    if downloads:
        cache = _existing(_hub_cache())
        same = next((place for place in needs if place.stat().st_dev == cache.stat().st_dev), cache)
        needs[same] = needs.get(same, 0) + downloads
    said = []
    for place, needed in needs.items():
        free = shutil.disk_usage(place).free / GIB
        if free < needed:
            raise UserError(
                f"{place} has {free:.1f} GiB free, and about {needed:.1f} are needed", "free some disk space"
            )
        if not os.access(place, os.W_OK):
            raise UserError(
                f"{place} cannot be written by user {os.getuid()}", "run as its owner, or make the folder writable"
            )
        said.append(f"{_seen(place)}: about {needed:.1f} GiB needed, {free:.0f} free")
    return "; ".join(said)


def _seen(place: Path) -> Path:
    """A folder as it is seen from the working directory, if it lies there: records may be read on other machines."""
    return place.relative_to(Path.cwd()) if place.is_relative_to(Path.cwd()) else place


def _weights_gib(policy: PolicySettings) -> float:
    """One copy of the weights; a model of unknown size is taken for a tiny one."""
    return weights_gib(policy if policy.parameters else policy.model_copy(update={"parameters": 0.01}))


def to_download(policy: PolicySettings) -> bool:
    """Whether the weights have to be fetched from the hub first."""
    return bool(policy.repo and policy.path is None and not _cached(policy.repo, str(policy.revision), "model"))


def _hub_cache() -> Path:
    from huggingface_hub.constants import HF_HUB_CACHE

    return Path(HF_HUB_CACHE)


def _existing(path: Path) -> Path:
    """The path, or the nearest folder above it that there is."""
    path = path.absolute()
    return next(place for place in (path, *path.parents) if place.exists())


def task(settings: Settings) -> str:
    """The data can be had as far as this machine knows, and models from scratch have words to be built over."""
    chosen = named(settings.task.name)
    checked = chosen.preflight(settings.task)
    for name in settings.models:
        if settings.policies[name].from_scratch and not chosen.vocabulary:
            raise UserError(
                f"policies.{name}.from_scratch needs the vocabulary of a task, and {settings.task.name} has none",
                "choose another task, or a policy with weights",
            )
    return checked


def policies(settings: Settings) -> str:
    """Local weights exist, gated ones come with a token."""
    for name in settings.models:
        policy = settings.policies[name]
        if policy.path is not None and not policy.path.exists():
            raise UserError(
                f"policies.{name}.path: {policy.path} does not exist", "correct it, or remove it to use the hub"
            )
        if policy.gated and policy.path is None and not _token():
            raise UserError(
                f"{policy.repo} is gated and no token is set",
                "accept its licence on the hub, then export HF_TOKEN=<your token>",
            )
    return ", ".join(settings.models)


def _token() -> str | None:
    from huggingface_hub import get_token

    return os.environ.get("HF_TOKEN") or get_token()


def hub(settings: Settings) -> str:
    """The hub answers for every pinned revision that is not in the cache yet."""
    asked = []
    for name in settings.models:
        policy = settings.policies[name]
        if to_download(policy):
            asked.append(_ask_hub(str(policy.repo), str(policy.revision), "model", f"policies.{name}.path"))
    dataset = named(settings.task.name).remote(settings.task)
    if dataset and not _cached(dataset.repo, dataset.revision, "dataset"):
        asked.append(_ask_hub(dataset.repo, dataset.revision, "dataset", dataset.instead))
    return f"reached for {', '.join(asked)}" if asked else "not needed"


def prompts(settings: Settings) -> str:
    """No prompt is longer than an engine takes. Needs data and tokenizers, but no weights.

    Raises:
        UserError: one is, or the data or a tokenizer cannot be had.
    """
    asked = [model for model in settings.models if "vllm" in engines_of(settings, model)]
    if not asked:
        return "of any length"
    from reinforce_lite.policy import encode_prompt, fetch, render_prompt
    from reinforce_lite.rollout.vllm import PROMPT_TOKENS

    chosen = named(settings.task.name)
    data = chosen.build(settings.task)
    for model in asked:
        tokenizer = fetch.tokenizer(settings.policies[model], chosen.vocabulary)
        for prompt in dict.fromkeys([settings.task.prompt, *map(settings.prompt, settings.variants)]):
            for problem in (*data.train, *data.test[: settings.evaluation.limit]):
                text = render_prompt(tokenizer, chosen.messages(prompt, problem.question))
                if len(text.encode()) <= PROMPT_TOKENS:  # no token has less than a byte
                    continue
                if (length := len(encode_prompt(tokenizer, text))) > PROMPT_TOKENS:
                    raise UserError(
                        f"{problem.id}: its prompt has {length:,} tokens for {model}, and the engine vllm takes "
                        f"{PROMPT_TOKENS:,}",
                        "leave the question out of the data, or set training.engine and evaluation.engine: generate",
                    )
    return f"at most {PROMPT_TOKENS:,} tokens"


def _cached(repo: str, revision: str, kind: str) -> bool:
    from huggingface_hub import try_to_load_from_cache

    probe = "config.json" if kind == "model" else "README.md"
    return isinstance(try_to_load_from_cache(repo, probe, revision=revision, repo_type=kind), str)


def _ask_hub(repo: str, revision: str, kind: str, key: str) -> str:
    from huggingface_hub import HfApi
    from huggingface_hub.errors import GatedRepoError

    try:
        HfApi().repo_info(repo, revision=revision, repo_type=kind, timeout=20)
    except GatedRepoError as error:
        raise UserError(f"{repo} is gated and this token may not read it", "accept its licence on the hub") from error
    except Exception as error:  # whatever the client raises, the user can do the same about it
        reason = str(error).splitlines()[0] if str(error) else type(error).__name__
        raise UserError(f"cannot reach {repo}@{revision}: {reason}", f"check the network, or set {key}") from error
    return repo


LOCAL: dict[str, Callable[[Settings], str]] = {
    "device": device,
    "memory": memory,
    "engine": engines,
    "price": price,
    "budget": budget,
    "disk": disk,
    "task": task,
    "policies": policies,
}
REMOTE: dict[str, Callable[[Settings], str]] = {"hub": hub}
DOWNLOADED: dict[str, Callable[[Settings], str]] = {"prompts": prompts}
