"""What the ends of all stages will do, once in small: save, load again, write, compare, show, describe.

Whatever fails there would fail when all is paid for. It happens in a folder beside the results, with what the
rehearsal has written, and under the names of the experiment's own runs.
"""

import gc
import shutil
import traceback
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import torch

from reinforce_lite.budget.ledger import Ledger
from reinforce_lite.config import PolicySettings, Settings
from reinforce_lite.errors import UserError
from reinforce_lite.experiment import compare, evaluate, train
from reinforce_lite.experiment.run import Run
from reinforce_lite.io.files import read_json, write_json
from reinforce_lite.io.provenance import environment
from reinforce_lite.learning.loop import Step
from reinforce_lite.policy import Policy
from reinforce_lite.policy.load import load, save
from reinforce_lite.report import build, crate
from reinforce_lite.stages import STAGES, Job, Layout, jobs
from reinforce_lite.tasks.prepare import prepare

FOLDER = ".rehearsal"
"""In the experiment's own folder, for as long as the rehearsal lasts."""
RESAMPLES = 100
TOLERANCE = {"float32": 0.01, "bfloat16": 0.25}
"""The most that a logit may move by saving, in standard deviations of all; other kernels may round it otherwise."""


@dataclass(frozen=True)
class Written:
    """What a rehearsed policy has written: the steps of a training, and an evaluation with its files of answers."""

    steps: Sequence[Step]
    summary: dict[str, Any]
    answers: evaluate.Answers


@contextmanager
def rehearsed(what: str) -> Iterator[None]:
    """Say of an error in the block that it would have come at the end of a stage.

    Raises:
        UserError: for any failure.
    """
    try:
        yield
    except Exception as error:
        if isinstance(error, UserError):
            reason, fix = error.problem, error.fix
        else:
            templates = [each for each in traceback.extract_tb(error.__traceback__) if each.filename.endswith(".j2")]
            where = f"{Path(templates[-1].filename).name}, line {templates[-1].lineno}: " if templates else ""
            reason, fix = f"{where}{type(error).__name__}: {error}", "mend it, then run preflight again"
        raise UserError(
            f"what every stage does at its end was tried before it is paid for, and failed at {what}: {reason}", fix
        ) from error


@contextmanager
def small(settings: Settings, sizes: dict[str, int]) -> Iterator[Settings]:
    """The experiment in small, in a folder of its own that has its data and goes with the block."""
    place = settings.folder / FOLDER
    shutil.rmtree(place, ignore_errors=True)  # left by a killed process
    changes = {
        "results": place,
        "task": settings.task.model_copy(update=sizes),
        "evaluation": settings.evaluation.model_copy(update={"bootstrap_resamples": RESAMPLES}),
    }
    few = settings.model_copy(update=changes)
    try:
        with rehearsed("writing the data"):
            prepare(few.task, Layout.of(few).data)
            write_json(Layout.of(few).config, few.model_dump(mode="json"))
        yield few
    finally:
        shutil.rmtree(place, ignore_errors=True)


@dataclass(frozen=True)
class Saved:
    """What a policy was when it was saved: logits, ids and text of a few prompts, and what its tokenizer says."""

    logits: list[torch.Tensor]
    tokenizer: dict[str, Any]

    @classmethod
    def of(cls, policy: Policy, prompts: Sequence[list[dict[str, str]]]) -> "Saved":
        """Look at a policy."""
        tokenizer, ids = policy.tokenizer, [policy.prompt_ids(messages) for messages in prompts]
        special = {name: str(token) for name, token in tokenizer.special_tokens_map.items()}
        with torch.inference_mode():
            logits = [policy.model(torch.tensor([one], device=policy.device)).logits[0].float().cpu() for one in ids]
        said = {
            "the ids of a prompt": ids,
            "the text of a prompt's ids": [tokenizer.decode(one) for one in ids],
            "its chat template": tokenizer.chat_template,
            "its special tokens": special,
            "the ids of its special tokens": sorted(tokenizer.all_special_ids),
            "the ids that end a completion": sorted(policy.stop_ids),
            "the id that pads": policy.pad_id,
        }
        return cls(logits, said)


def save_once(policy: Policy, prompts: Sequence[list[dict[str, str]]], few: Settings, model: str) -> Saved:
    """Save a policy as a training does at its end; returns what it was.

    Raises:
        UserError: it cannot be saved.
    """
    policy.model.eval()
    with rehearsed(f"saving the policy {model}"):
        saved = Saved.of(policy, prompts)
        save(policy, Layout.of(few).policy(model), {})
    return saved


def load_again(
    saved: Saved, prompts: Sequence[list[dict[str, str]]], few: Settings, model: str, chosen: PolicySettings
) -> None:
    """See that what was saved is what was there, and remove it; the memory of the policy has to be free by now.

    Raises:
        UserError: another policy comes back.
    """
    folder = Layout.of(few).policy(model)
    with rehearsed(f"loading the saved policy {model} again"):
        again = Saved.of(load(folder, chosen, few.hardware.device), prompts)
        differing = [name for name, value in saved.tokenizer.items() if again.tokenizer[name] != value]
        if differing:
            raise UserError(
                f"its tokenizer does not survive saving: {', '.join(differing)} differ from those before",
                "make its files whole (tokenizer.json, tokenizer_config.json, chat_template.jinja)",
            )
        moved = max(
            float((after - before).abs().max() / before.std())
            for before, after in zip(saved.logits, again.logits, strict=True)
        )
        if not moved <= TOLERANCE[chosen.dtype]:
            raise UserError(
                f"its weights do not survive saving: a logit moves by {moved:.3g} standard deviations",
                "use another policy, or another policies.<name>.dtype",
            )
    shutil.rmtree(folder)
    gc.collect()


def write(few: Settings, model: str, policy: dict[str, Any], written: Written) -> None:
    """Write what one policy has written in small, as the stages do: its records before training and after it.

    Args:
        few: see `small`.
        model: of the policy.
        policy: what `fetch.describe` says of it.
        written: by it.
    """
    with rehearsed(f"writing the records of {model}"):
        fetched = Run(few, Job("fetch_policy", model))
        start = fetched.policy.start
        described = {"model": model, **policy, "start": start.model_dump(mode="json") if start else None}
        weights = {"repo": FOLDER, "revision": FOLDER}  # nobody hashes or loads them any more
        write_json(fetched.path(), {"weights": weights, **described, **fetched.provenance()})
        rows = [asdict(step) for step in written.steps]
        none = {"stopped": None, "checkpoint": {"count": 0, "seconds": 0.0, "bytes": 0}, "same_cost": None}
        for job in jobs(few):
            run = Run(few, job)
            if job.model != model or job.stage == "fetch_policy":
                continue
            if job.stage == "train" and run.training.steps == 0:
                train.untrained(run)
            elif job.stage == "train":
                train.write_record(run, rows, {**none, "processes": 1})
                write_json(run.path("policy"), {**read_json(fetched.path()), **train.described(run)})
            else:
                own = STAGES[job.stage].files  # a second evaluation has fewer
                answers = {name: rows for name, rows in written.answers.items() if name in own}
                evaluate.write(run, written.summary, answers)


def finish(few: Settings) -> None:
    """Compare, write the report and describe it all, in small.

    Raises:
        UserError: one of them fails; a template is named with its line.
    """
    plan = {"limit_usd": few.budget.limit_usd, "enough_usd": None, "steps": None, "refused": None}
    write_json(Layout.of(few).preflight, {"checks": [], "environment": environment(), "plan": plan})
    Ledger(Layout.of(few).ledger).open("preflight", few.hardware)  # results without a ledger would be an error
    workflow = few.results / "workflow"
    workflow.mkdir()
    (workflow / "Snakefile").touch()
    for job in jobs(few, device=False):
        if job.stage == "compare":
            with rehearsed(f"comparing {job.model} before and after"):
                compare.run(Run(few, job))
    with rehearsed("the report"):
        build.build(few, few.folder)
    with rehearsed("the crate"):
        crate.build(few, few.folder, workflow)
