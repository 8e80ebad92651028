"""Accuracy by kind of problem, as the task labels its problems: how many people, how many numbers."""

from collections.abc import Sequence
from functools import lru_cache
from pathlib import Path
from typing import Any

from reinforce_lite.config import Settings
from reinforce_lite.errors import UserError
from reinforce_lite.evaluation.statistics import paired_bootstrap
from reinforce_lite.io.files import read_json, read_jsonl
from reinforce_lite.report.compare import Pair, counted, natural_key, paired
from reinforce_lite.report.runs import runs
from reinforce_lite.stages import EVALUATED, Job, Layout
from reinforce_lite.tasks import Problem, named


def kind_of(task: str, row: dict[str, Any]) -> str | None:
    """The kind of the problem of an item, or of a row of a split; None if the task has no kinds.

    Raises:
        UserError: it is no problem of the task.
    """
    return _kind(task, row["question"], row["answer"])


@lru_cache(maxsize=2**16)  # each question is answered by every policy
def _kind(task: str, question: str, answer: str) -> str | None:
    try:
        return named(task).kind(Problem("", question, answer))
    except ValueError as error:
        raise UserError(f"{answer[:60]!r} is no answer of {task}: {error}", "restore the file from a copy") from error


def of_training(settings: Settings, folder: Path) -> set[str | None]:
    """The kinds of the problems in train.

    Raises:
        UserError: train.jsonl is absent or damaged.
    """
    rows = read_jsonl(Layout(folder).path(Job("prepare_dataset"), "train"))
    return {kind_of(settings.task.name, row) for row in rows}


def of_test(settings: Settings, folder: Path, model: str) -> list[str]:
    """The kinds of the test problems that a model was asked before training, the fewest people or numbers first."""
    rows = read_jsonl(Layout(folder).evaluation(model) / EVALUATED["outcomes"])
    found = {kind_of(settings.task.name, row) for row in rows}
    return sorted((kind for kind in found if kind is not None), key=natural_key)


def by_kind(settings: Settings, folder: Path, model: str, *, seed: int) -> list[dict[str, Any]]:
    """Strict accuracy of a model by kind of problem, before and after each of its trainings.

    Args:
        settings: the experiment.
        folder: results/<experiment>.
        model: name of the policy.
        seed: of the bootstrap.

    Returns:
        For each kind: kind, n (questions), in_training (whether train has it), baseline (count, share and exact ci95 of
        the right answers) and runs: variant, seed, trained (the same three), delta and its paired ci95. Empty if the
        task has no kinds, or the model was not evaluated.

    Raises:
        UserError: a file is absent or damaged.
    """
    layout = Layout(folder)
    if read_json(layout.evaluation(model) / EVALUATED["summary"]).get("not_run"):
        return []
    kinds = of_test(settings, folder, model)
    known = of_training(settings, folder) if kinds else set()
    rows: dict[str, dict[str, Any]] = {kind: {"kind": kind, "in_training": kind in known, "runs": []} for kind in kinds}
    base = read_jsonl(layout.evaluation(model) / EVALUATED["outcomes"]) if kinds else []
    for kind, row in rows.items():
        own = [bool(item["strict"]) for item in base if kind_of(settings.task.name, item) == kind]
        row |= {"n": len(own), "baseline": counted(own)}
    for run in (run for run in runs(settings, folder) if kinds and run.model == model):
        if not read_json(run.evaluated / EVALUATED["summary"]).get("not_run"):
            pairs = paired(run.baseline / EVALUATED["outcomes"], run.evaluated / EVALUATED["outcomes"])
            for kind, row in rows.items():
                own_pairs = [pair for pair in pairs if kind_of(settings.task.name, pair[0]) == kind]
                row["runs"].append({"variant": run.variant, "seed": run.seed, **_changed(settings, own_pairs, seed)})
    return list(rows.values())


def _changed(settings: Settings, pairs: Sequence[Pair], seed: int) -> dict[str, Any]:
    before, after = ([bool(item["strict"]) for item in side] for side in zip(*pairs, strict=True))
    ends = paired_bootstrap(before, after, resamples=settings.evaluation.bootstrap_resamples, seed=seed)
    return {"trained": counted(after), "delta": (sum(after) - sum(before)) / len(after), "ci95": list(ends)}
