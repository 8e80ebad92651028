"""A training of no steps: the policy stays what it was, and only its prompt differs."""

import os
from typing import Any

from reinforce_lite import keys
from reinforce_lite.accounting.provenance import origin, sums
from reinforce_lite.curves import training_summary
from reinforce_lite.files import read_json, write_json, write_jsonl
from reinforce_lite.layout import Layout
from reinforce_lite.settings import Settings


def record(settings: Settings, model: str, variant: str, seed: int) -> None:
    """Write the results of a training that takes no step; its policy.json points to the weights of the start policy.

    Args:
        settings: the experiment.
        model: name of the policy.
        variant: of the training, with `steps: 0`.
        seed: of the training.

    Raises:
        UserError: the start policy is absent, or a file cannot be written.
    """
    layout, training = Layout.of(settings), settings.variant(variant)
    start, folder = layout.policy(model), layout.train(model, variant, seed)
    provenance, made_with = read_json(start / "policy.json"), origin()
    for name in ("metrics.jsonl", "completions.jsonl"):
        write_jsonl(folder / name, [])
    summary: dict[str, Any] = {**training_summary([], training), "stopped": None, "same_cost": None, "processes": 1}
    summary["checkpoint"] = {"count": 0, "seconds": 0.0, "bytes": 0}
    summary["sums"] = sums(folder / "metrics.jsonl", folder / "completions.jsonl")
    write_json(folder / "training.json", {**summary, "made_with": made_with})
    weights = dict(provenance["weights"])
    if "folder" in weights:
        weights["folder"] = os.path.relpath(start / weights["folder"], folder)
    run = {"variant": variant, "seed": seed, "training": training.model_dump(mode="json"), "made_with": made_with}
    key = keys.digest(keys.training_key(settings, model, variant, seed))
    write_json(folder / "policy.json", {**provenance, "weights": weights, **run, "key": key})
