"""The stage that trains a policy: one of several processes if accelerate launch has started them."""

import os
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from reinforce_lite.budget.gate import same_cost
from reinforce_lite.experiment.frame import Paid
from reinforce_lite.experiment.run import Run
from reinforce_lite.io import interrupt
from reinforce_lite.io.files import read_json, write_json, write_jsonl
from reinforce_lite.io.provenance import sums
from reinforce_lite.learning import parallel
from reinforce_lite.learning.curves import training_summary
from reinforce_lite.learning.loop import Step, train
from reinforce_lite.policy import Policy
from reinforce_lite.policy.load import load, prepare_torch, save
from reinforce_lite.tasks import own
from reinforce_lite.tasks.prepare import load_split


def run(run: Run, paid: Paid) -> None:
    """Train a policy with Reinforce-Lite, and write its metrics, completions and weights."""
    if run.training.steps == 0:
        return untrained(run)
    parallel.invite()
    policy, gate = policy_of(run), paid.gate
    progress = parallel.Leader(run.layout.resume(run.job), run.key, run.settings.checkpoint)
    gate.begin(run.training.steps)
    matched = same_cost(run.settings, paid.account.attempt, gate.stop)
    steps = run.training.steps

    def show(step: Step) -> dict[str, str]:
        paid.account.log_metrics([step.metrics])
        return paid.show(step.metrics["step"] + 1, steps, reward_mean=step.metrics["reward_mean"])

    train(
        policy, load_split(run.layout.data, "train"), run.task, run.prompt, run.training, int(run.job.seed or 0), show,
        stop=parallel.agreed(matched or gate.stop), progress=progress,
    )  # fmt: skip
    rows = progress.rows()
    how = {
        "stopped": gate.reason,
        "checkpoint": progress.cost(),
        "same_cost": matched and matched.reached,
        "processes": parallel.processes(),
    }
    write_record(run, rows, how, progress.accepted)
    start = {key: value for key, value in read_json(run.need("policy")).items() if key not in ("weights", "sums")}
    save(policy, run.path().parent, {**start, **described(run, progress.accepted)})
    if gate.reason is None:  # else a larger budget resumes from there
        progress.finish()


def follow(run: Run) -> None:
    """Take the steps of a training with the first process, which keeps the records."""
    os.environ["TQDM_DISABLE"] = "1"  # one progress bar is enough
    interrupt.ignore()  # the first process gets the signal too, and these end with it
    if not parallel.invited():
        return
    train(
        policy_of(run), load_split(run.layout.data, "train"), run.task, run.prompt, run.training,
        int(run.job.seed or 0), stop=parallel.agreed(lambda completed: None),
        progress=parallel.Follower(run.layout.resume(run.job)),
    )  # fmt: skip


def untrained(run: Run) -> None:
    """Write the results of a training of no steps; its policy.json points to the weights of the start policy.

    Raises:
        UserError: the start policy is absent, or a file cannot be written.
    """
    nothing = {"count": 0, "seconds": 0.0, "bytes": 0}
    write_record(run, [], {"stopped": None, "checkpoint": nothing, "same_cost": None, "processes": 1})
    start, folder = run.need("policy"), run.path().parent
    provenance = {key: value for key, value in read_json(start).items() if key != "sums"}
    weights = dict(provenance["weights"])
    if "folder" in weights:
        weights["folder"] = os.path.relpath(Path(start.parent, weights["folder"]), folder)
    write_json(run.path("policy"), {**provenance, "weights": weights, **described(run)})


def policy_of(run: Run) -> Policy:
    """The policy before training, on the device of this process."""
    prepare_torch(run.settings.hardware, run.training.deterministic_update)
    return load(run.need("policy").parent, run.policy, parallel.device(run.settings.hardware.device))


def described(run: Run, accepted: Sequence[Mapping[str, Any]] = ()) -> dict[str, Any]:
    """What policy.json says of a training."""
    who = {"variant": run.job.variant, "seed": run.job.seed}
    return {**who, "training": run.training.model_dump(mode="json"), **run.provenance(accepted)}


def write_record(run: Run, rows: list[Any], how: dict[str, Any], accepted: Sequence[Mapping[str, Any]] = ()) -> None:
    """Write metrics.jsonl and completions.jsonl from the recorded steps, and training.json from both."""
    metrics = [row["metrics"] for row in rows]
    write_jsonl(run.path("metrics"), metrics)
    write_jsonl(run.path("completions"), (completion for row in rows for completion in row["completions"]))
    if own.is_own(run.training.reward):
        own.file_of(run.training.reward).copy(run.path().parent)  # whoever verifies the results asks it again
    files = sums(run.path("metrics"), run.path("completions"))
    summary = {**training_summary(metrics, run.training), **how, "sums": files, **run.provenance(accepted)}
    write_json(run.path(), summary)
