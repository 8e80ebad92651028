"""Whether what the stages have recorded agrees: configuration, policies, the budget's decisions, MLflow."""

from collections.abc import Iterator, Mapping
from typing import Any

from reinforce_lite.budget import decision
from reinforce_lite.io.keyed import ASKED, COMPUTED_WITH, OF_THE_JOB
from reinforce_lite.report.verification.difference import (
    ABSENT,
    Check,
    Difference,
    Row,
    differing,
    differing_sums,
    record_of,
)
from reinforce_lite.report.verification.experiment import OF_NO_RESULT, Experiment
from reinforce_lite.report.verification.keys import DECIDED
from reinforce_lite.report.verification.ledger import Read
from reinforce_lite.stages import POLICY, STAGES, Job, Layout, jobs

ELSEWHERE = ("made_with", COMPUTED_WITH, "other_numbers", "ledger", "sums", ASKED)
"""In a policy.json that was written again without being trained again, these may be others than its evaluation saw."""
MLFLOW_ROUNDING = 0.01
"""Seconds an attempt by which MLflow's clock, which counts milliseconds, may differ from the ledger."""


def records(experiment: Experiment, read: Read) -> Check:
    """Records against each other: what one stage has written and another one has copied."""
    check, layout = Check("records"), Layout(experiment.folder)
    every = jobs(experiment.settings)
    check.differences += _configuration(experiment, layout)
    check.differences += _policies(experiment, layout)
    for job in every:
        check.differences += _decision(experiment, layout, job)
    paths = {layout.path(job, name) for job in every for name in (None, STAGES[job.stage].keyed)}
    for path in sorted(paths):
        record_of(path)  # each can be read
    check.differences += _mlflow(experiment, read)
    check.looked_at = f"{len(paths)} records, the configuration and the budget's decisions, with each other"
    return check


def _configuration(experiment: Experiment, layout: Layout) -> Iterator[Difference]:
    """config.json against what was recorded of it: with the data, by preflight, and in the crate."""
    settings = experiment.settings.model_dump(mode="json")
    made = experiment.manifest.get("settings", {})
    yield from _differing({"task": settings["task"]}, {"task": made})
    if (path := layout.decision(Job("preflight"))).exists():
        then = record_of(path, under=dict).get("under", {})
        now = decision.deciding(experiment.settings)
        for side in (then, now):  # what is not among these, preflight is not run again for
            side.pop("budget", None)
            for name in ("bootstrap_resamples", "noise_floor"):
                side.get("evaluation", {}).pop(name, None)
            used = {name: side.get("training_variants", {}).get(name) for name in now["variants"]}
            side["training_variants"] = used
        yield from _differing(now, then)
    yield from _differing(settings, record_of(layout.preflight, decided=dict).get("decided", {}))
    copied = layout.root / "workflow/config.json"
    if copied.exists():
        yield from _differing(settings, {k: v for k, v in record_of(copied).items() if k not in OF_NO_RESULT})


def _differing(now: Mapping[str, Any], then: Mapping[str, Any], key: str = "") -> Iterator[Difference]:
    """What config.json says now and what it said; a key that only one of them has is another version's."""
    for name in now:
        inner = f"{key}.{name}".lstrip(".")
        if name not in then:
            continue
        if isinstance(now[name], dict) and isinstance(then[name], dict):
            yield from _differing(now[name], then[name], inner)
        else:
            yield from differing("config.json", "", now[name], then[name], inner)


def _policies(experiment: Experiment, layout: Layout) -> Iterator[Difference]:
    """What a policy.json says of its start and its training, and what an evaluation has copied of it."""
    for model in experiment.settings.models:
        start = record_of(layout.policy(model) / POLICY)
        chosen = experiment.settings.policies[model]
        if "not_run" in start:
            continue
        folder = layout.policy(model)
        yield from differing_sums(folder, layout.root, record_of(folder / POLICY, sums=dict).get("sums", {}))
        asked: Row = {"model": model, "revision": chosen.revision if chosen.path is None else None}
        asked["start"] = chosen.start.model_dump(mode="json") if chosen.start else None
        yield from _described(f"policies/{model}/{POLICY}", start, asked)
        yield from _copied(layout, Job("evaluate_baseline", model), start)
        for variant, seed in experiment.settings.runs:
            policy = record_of((folder := layout.train(model, variant, seed)) / POLICY, training=dict)
            if "not_run" in policy:
                continue
            file = str((folder / POLICY).relative_to(layout.root))
            same = {key: value for key, value in start.items() if key not in (*OF_THE_JOB, "weights")}
            chosen_training = experiment.settings.variant(variant)
            unread = {*DECIDED, *STAGES["train"].unread, *chosen_training.unread}
            training = chosen_training.model_dump(mode="json", exclude=unread)
            yield from _described(file, policy, {**same, "variant": variant, "seed": seed, "training": training})
            yield from _copied(layout, Job("evaluate_trained", model, variant, seed), policy)


def _described(file: str, stated: Row, derived: Mapping[str, Any]) -> Iterator[Difference]:
    for key, value in derived.items():
        if isinstance(value, dict) and isinstance(stated.get(key), dict):
            known = {name: one for name, one in value.items() if name in stated[key]}
            yield from differing(file, "", {name: stated[key][name] for name in known}, known, key)
        elif key in stated:
            yield from differing(file, "", stated[key], value, key)


def _copied(layout: Layout, job: Job, policy: Row) -> Iterator[Difference]:
    """The policy that an evaluation says it has evaluated, against the policy.json of it."""
    record = record_of(path := layout.path(job), policy=dict)
    if "policy" in record and "not_run" not in record:
        copied, own = (
            {key: value for key, value in one.items() if key not in ELSEWHERE} for one in (record["policy"], policy)
        )
        yield from differing(str(path.relative_to(layout.root)), "", copied, own, "policy")


def _decision(experiment: Experiment, layout: Layout, job: Job) -> Iterator[Difference]:
    """What the budget let a job do, against how its record says that it ended."""
    if not (path := layout.decision(job)).exists():
        return
    decided, record = record_of(path), record_of(layout.path(job))
    ended = record.get("not_run") or record.get("stopped")
    kind = "not run" if record.get("not_run") else "stopped" if record.get("stopped") else None
    stated = {"unfinished": decided.get("unfinished"), "kind": decided.get("kind")}
    yield from differing(str(path.relative_to(experiment.folder)), "", stated, {"unfinished": ended, "kind": kind})


def _mlflow(experiment: Experiment, read: Read) -> Iterator[Difference]:
    """MLflow's seconds, which are no more than the ledger's: it shows the same attempts, or fewer."""
    for number, row in enumerate(experiment.summary["cost"].get("reconciliation", [])):
        own = [attempt.seconds for attempt in read.known if attempt.stage == row["stage"]]
        if row["mlflow"] is not None and row["mlflow"] > (most := sum(own) + MLFLOW_ROUNDING * len(own)):
            key = f"cost.reconciliation[{number}].mlflow"
            yield Difference("summary.json", "", key, row["mlflow"], f"at most {most:g}" if own else ABSENT)
