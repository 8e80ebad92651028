"""The budget's decision on each job, in a small file of its own beside the results.

    {"round": 0, "unfinished": null | "why it was not run, or was cut", "kind": null | "not run" | "stopped",
     "under": {the settings that decided}}

The workflow reads it (`workflow/rules/common.smk`): what is unfinished is run again once the budget has changed, under
the next round; what is finished keeps its round, and so is never run again for a budget.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from reinforce_lite.config import Settings
from reinforce_lite.io.files import read_json, write_json

Kind = Literal["not run", "stopped"]

DECIDING = {"models", "variants", "seeds", "control_seeds", "hardware", "budget", "task", "policies", "training",
            "training_variants", "evaluation"}  # fmt: skip
"""The settings that can change what the budget lets a stage do."""


@dataclass(frozen=True)
class Decision:
    """What the budget let a job do.

    Attributes:
        round: how often it has been given another budget.
        unfinished: why there is less than was asked for; None if it is finished.
        kind: `not run` if there is no result, `stopped` if there is a result of fewer steps.
        under: the settings that decided.
    """

    round: int
    unfinished: str | None
    kind: Kind | None
    under: Mapping[str, Any]

    def holds(self, settings: Settings) -> bool:
        """Whether it would be reached again; as the workflow sees it (`differs` and `richer` in common.smk)."""
        now = deciding(settings)
        if self.kind == "not run":
            return now == self.under
        (limit, price), (old_limit, old_price) = _money(now), _money(self.under)
        return bool(limit <= old_limit and price >= old_price)


def deciding(settings: Settings) -> dict[str, Any]:
    """The settings that can change what the budget lets a stage do, as JSON can hold them."""
    return settings.model_dump(mode="json", include=DECIDING)


def _money(under: Mapping[str, Any]) -> tuple[float, float]:
    return under["budget"]["limit_usd"], under["hardware"]["usd_per_hour"]


def read(path: Path) -> Decision | None:
    """The decision on a job; None if it has not ended yet.

    Raises:
        UserError: the file is not JSON.
    """
    return Decision(**read_json(path)) if path.exists() else None


def write(path: Path, settings: Settings, round: int | None, unfinished: str | None, kind: Kind | None = None) -> None:
    """Record for the workflow how a job ended.

    Args:
        path: of the decision.
        settings: the configuration it was reached under.
        round: the workflow's; None, of a job run by hand, keeps the last one.
        unfinished: why there is less than was asked for; None if it is finished.
        kind: of what is unfinished.

    Raises:
        UserError: the file cannot be written.
    """
    before = read(path)
    kept = before.round if before else 0
    write_json(path, vars(Decision(kept if round is None else round, unfinished, kind, deciding(settings))))
