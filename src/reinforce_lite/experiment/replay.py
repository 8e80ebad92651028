"""Answers written again: what no reading can tell of a consistent forgery, the bound weights can.

Greedy answers are drawn by a seed, and each is written once more in the very batch in which it was written, for the
rows beside it can change its last bit. One training takes its first step again, from the start's weights, which are the
checkpoint that is always kept. Nothing is written into the folder.
"""

import random
import secrets
from collections.abc import Iterator, Sequence
from pathlib import Path

from reinforce_lite.config import Settings
from reinforce_lite.errors import UserError
from reinforce_lite.io.instructions import take_common
from reinforce_lite.io.keyed import COMPUTED_WITH
from reinforce_lite.report.verification.difference import Check, Difference, differing, record_of, rows_of
from reinforce_lite.report.verification.experiment import Experiment
from reinforce_lite.report.verification.keys import decided, located
from reinforce_lite.resources import keys
from reinforce_lite.resources.precision import evaluation_of_job, training_of
from reinforce_lite.stages import STAGES, Job, Layout, jobs
from reinforce_lite.tasks import task_of
from reinforce_lite.tasks.prepare import load_split

SEED_BITS = 32
TIMES = ("tokens_per_second", "weights_changed", "kl_to_start")
"""Of a step, what is a matter of the clock, or was measured every few steps only."""


def replay(folder: Path, number: int, seed: int | None = None) -> list[Check]:
    """Write random greedy answers again, and take one training step again.

    Args:
        folder: results/<experiment>.
        number: of answers.
        seed: which ones; None draws one, and it is shown.

    Returns:
        A check of the answers and one of the step.

    Raises:
        UserError: a file is absent or damaged, or `number` is none.
    """
    if number < 1:
        raise UserError(f"--replay {number}: nothing would be written again", "ask for at least 1 answer")
    experiment = Experiment.read(folder if folder.name else folder.resolve())
    settings, seed = located(experiment), secrets.randbits(SEED_BITS) if seed is None else seed
    if settings.hardware.cpu_instructions == "common":
        take_common()  # before anything imports torch
    return [_answers(experiment, settings, number, seed), _step(experiment, settings, seed)]


def _answers(experiment: Experiment, settings: Settings, number: int, seed: int) -> Check:
    check, layout = Check("replay"), Layout.of(settings)
    evaluations = [job for job in jobs(settings) if STAGES[job.stage].evaluates]
    every = [(job, row["id"]) for job in evaluations for row in rows_of(layout.path(job, "outcomes"), "id")]
    drawn = random.Random(seed).sample(every, min(number, len(every)))
    same = 0
    for job in evaluations:
        chosen = [name for one, name in drawn if one == job]
        if chosen:
            with_others = _computed_otherwise(settings, job)
            try:
                differences = list(_written_again(experiment, settings, job, chosen))
            except UserError as error:
                check.unverified.append(f"{job}: {error.problem}")
                continue
            same += len(chosen) - len({one.place for one in differences})
            _found(check, str(job), differences, with_others)
    check.looked_at = f"{len(drawn)} greedy answers written again (--seed {seed}), {same} are the same"
    return check


def _found(check: Check, what: str, differences: Sequence[Difference], with_others: str) -> None:
    """What another machine writes otherwise is no difference, but it is not verified either."""
    if differences and with_others:
        check.unverified.append(f"{what}: {len(differences)} came out otherwise, {with_others}")
    else:
        check.differences += differences


def _computed_otherwise(settings: Settings, job: Job) -> str:
    """With what else than here a result was computed; empty if with the same, or if that is not known."""
    then = record_of(Layout.of(settings).path(job, STAGES[job.stage].keyed)).get(COMPUTED_WITH)
    if not isinstance(then, dict):
        return "and what computed it is not recorded"
    now = keys.computing(settings, job)
    other = [f"{name} {then[name]} (here {now.get(name)})" for name in then if then[name] != now.get(name)]
    return f"computed with {', '.join(other)}" if other else ""


def _written_again(experiment: Experiment, settings: Settings, job: Job, chosen: Sequence[str]) -> Iterator[Difference]:
    """Write every batch again that holds a chosen answer."""
    from reinforce_lite.evaluation.written import fixed_batches
    from reinforce_lite.policy.load import load, prepare_torch
    from reinforce_lite.rollout import Sampling
    from reinforce_lite.rollout.registry import opened

    layout, path = Layout.of(settings), Layout.of(settings).path(job, "outcomes")
    settings = decided(settings, job, record_of(layout.path(job)))
    evaluation, task = evaluation_of_job(settings, job), task_of(settings.task)
    prepare_torch(settings.hardware)
    device = settings.hardware.device
    policy = load(layout.needs(job)["policy"].parent, settings.policies[job.model], device)
    prompt, problems = settings.prompt(job.variant), load_split(layout.data, "test")[: evaluation.limit]
    prompts = {one.id: policy.prompt_ids(task.messages(prompt, one.question)) for one in problems}
    stated = {row["id"]: (line, row) for line, row in enumerate(rows_of(path, "completion", "length"), 1)}
    how = Sampling(temperature=0, top_p=1, max_new_tokens=evaluation.max_new_tokens)
    needs = evaluation.engine, policy, evaluation.size, evaluation.max_new_tokens, evaluation.kv_cache_gib
    with opened(*needs) as engine:
        for batch in fixed_batches(prompts, evaluation.size):
            wanted = [name for name in batch if name in chosen]
            if not wanted:
                continue
            groups = engine([prompts[name] for name in batch], 1, how, None)
            for name, (completion,) in zip(batch, groups, strict=True):
                if name in wanted:
                    line, row = stated[name]
                    text, length = policy.text(completion.token_ids), len(completion.token_ids)
                    file, place = str(path.relative_to(experiment.folder)), f"line {line} ({name})"
                    own = {"completion": row["completion"], "length": row["length"]}
                    yield from differing(file, place, own, {"completion": text, "length": length})


def _step(experiment: Experiment, settings: Settings, seed: int) -> Check:
    check, layout = Check("step"), Layout.of(settings)
    trained = [Job("train", *run) for run in experiment.runs]
    trained = [job for job in trained if record_of(layout.path(job)).get("steps")]
    if not trained:
        check.looked_at = "no training has taken one"
        return check
    job = random.Random(seed).choice(trained)
    check.looked_at = f"the first step of {job}, taken again"
    try:
        differences = list(_taken_again(experiment, settings, job))
    except UserError as error:
        check.unverified.append(f"{job}: {error.problem}")
    else:
        _found(check, str(job), differences, _computed_otherwise(settings, job))
    return check


def _taken_again(experiment: Experiment, settings: Settings, job: Job) -> Iterator[Difference]:
    """Take the first step of a training again, and compare its completions and its figures."""
    from reinforce_lite.learning.loop import train
    from reinforce_lite.learning.progress import Keeper
    from reinforce_lite.policy.load import load, prepare_torch

    layout = Layout.of(settings)
    settings = decided(settings, job, record_of(layout.path(job, "policy")))
    training = training_of(settings, job.model, str(job.variant))
    prepare_torch(settings.hardware, training.deterministic_update)
    policy = load(layout.needs(job)["policy"].parent, settings.policies[job.model], settings.hardware.device)
    kept = Keeper()
    train(
        policy, load_split(layout.data, "train"), task_of(settings.task), settings.prompt(job.variant), training,
        int(job.seed or 0), stop=lambda completed: "one step is enough", progress=kept,
    )  # fmt: skip
    (again,) = kept.rows()
    metrics, completions = (layout.path(job, name) for name in ("metrics", "completions"))
    first = rows_of(metrics, "step")[0]
    figures = {key: value for key, value in again["metrics"].items() if key not in TIMES and "seconds" not in key}
    stated = {key: first[key] for key in figures if key in first}
    yield from differing(_name(metrics, experiment), "line 1 (step 0)", stated, figures)
    written = [row for row in rows_of(completions, "step") if row["step"] == 0]
    for line, (row, other) in enumerate(zip(written, again["completions"], strict=False), 1):
        same = {key: value for key, value in other.items() if key in row}
        own = {key: row[key] for key in same}
        yield from differing(_name(completions, experiment), f"line {line} (step 0)", own, same)


def _name(path: Path, experiment: Experiment) -> str:
    return str(path.relative_to(experiment.folder))
