"""Look before spending: everything that can be known to be wrong is found here, in seconds and for nothing."""

import hashlib
import json
from collections.abc import Callable, Iterator
from dataclasses import asdict, dataclass
from datetime import date
from typing import Any

from reinforce_lite.budget.costs import remaining_usd
from reinforce_lite.budget.ledger import attempts, ledger_path
from reinforce_lite.budget.plan import dollars
from reinforce_lite.config import Settings
from reinforce_lite.errors import UserError
from reinforce_lite.experiment import gpu
from reinforce_lite.experiment.fits import engines, memory, trainings
from reinforce_lite.experiment.places import disk, folders
from reinforce_lite.experiment.questions import prompts, task
from reinforce_lite.experiment.rewards import rewards
from reinforce_lite.experiment.weights import downloads, policies
from reinforce_lite.io.files import read_json
from reinforce_lite.policy.size import sized
from reinforce_lite.report.articles import chosen
from reinforce_lite.resources.keys import as_keyed
from reinforce_lite.resources.memory import GIB
from reinforce_lite.stages import Layout

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
        UserError: at least one failed; the message lists all that did. Or the size of a policy is not known.
    """
    checks: list[Check] = []
    settings = sized(settings, ask_hub=True)
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
    for later in ("bootstrap_resamples", "noise_floor"):
        del looked_at["evaluation"][later]
    if not settings.evaluation.memorisation:
        del looked_at["evaluation"]["memorisation"]
    if settings.hardware.cpu_instructions == "native":
        del looked_at["hardware"]["cpu_instructions"]
    looked_at["task"] = KEYS_OF_EVERY_TASK | looked_at["task"]
    looked_at["runs"] = settings.runs
    looked_at["training"] = [as_keyed(settings.variant(name)) for name in settings.variants]
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
            f"{fix}, or try the tiny world on this machine: snakemake --cores 2 --configfile config/tiny.yaml",
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


def claims(settings: Settings) -> str:
    """The claims that the report will judge are known."""
    return ", ".join(claim.name for claim in chosen(settings)) or "none"


LOCAL: dict[str, Callable[[Settings], str]] = {
    "device": device,
    "memory": memory,
    "engine": engines,
    "price": price,
    "folders": folders,
    "budget": budget,
    "disk": disk,
    "task": task,
    "policies": policies,
    "claims": claims,
}
REMOTE: dict[str, Callable[[Settings], str]] = {"hub": downloads}
DOWNLOADED: dict[str, Callable[[Settings], str]] = {"prompts": prompts, "reward": rewards}
