"""Per-item outcomes judged again from what was written, and what was summed up from them."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from statistics import fmean
from typing import Any

from reinforce_lite.errors import UserError
from reinforce_lite.files import read_json
from reinforce_lite.report import compare
from reinforce_lite.report.runs import Run
from reinforce_lite.report.summary import BOOTSTRAP_SEED
from reinforce_lite.report.verification.difference import (
    ABSENT,
    Check,
    Difference,
    differing,
    differing_sums,
    rows_of,
)
from reinforce_lite.report.verification.experiment import Experiment
from reinforce_lite.tasks import Problem, Task, named, verdicts

Item = dict[str, Any]

KEYS = ("id", "question", "answer", "completion", "strict", "flexible", "truncated", "length")


@dataclass(frozen=True)
class Evaluation:
    """One evaluation.

    Attributes:
        folder: of its two files.
        identity: model, variant and seed, as its place says.
        stated: its evaluation.json.
        items: its items.jsonl.
        judged: the same, with the verdicts that follow from what was written.
        limit: most tokens of an answer.
    """

    folder: Path
    identity: dict[str, Any]
    stated: dict[str, Any]
    items: list[Item]
    judged: list[Item]
    limit: int


def load(experiment: Experiment) -> list[Evaluation]:
    """Every evaluation of the experiment, the baselines first, judged again by the gold answers of the data.

    Raises:
        UserError: a file is absent or damaged.
    """
    layout = experiment.layout
    places = [(layout.evaluation(model), _identity(model, None, None)) for model in experiment.settings.models]
    places += [(run.evaluated, _identity(run.model, run.variant, run.seed)) for run in experiment.runs]
    known = experiment.problems("test")
    gold = {row["id"]: row["answer"] for row in known} if experiment.is_sound("test") else {}
    task = named(experiment.settings.task.name)
    limit = experiment.settings.evaluation.max_new_tokens
    found = []
    for folder, who in places:
        stated, items = read_json(folder / "evaluation.json"), rows_of(folder / "items.jsonl", *KEYS)
        problems = [Problem(i["id"], i["question"], gold.get(i["id"], i["answer"])) for i in items]
        judged = [judge(task, *pair, limit) for pair in zip(items, problems, strict=True)]
        found.append(Evaluation(folder, who, stated, items, judged, limit))
    return found


def judge(task: Task[Any], item: Item, problem: Problem, limit: int) -> Item:
    """An item with the verdicts that follow from its completion: strict, flexible, and truncated.

    An answer that is shorter than the limit was not cut. One of just that length was, unless its last token ended it:
    the text does not say, so it stays as stated. A gold answer that is none of the task has no verdict; that stays too.
    """
    try:
        judged = verdicts(task.grade(item["completion"], problem))
    except ValueError:
        judged = {}
    return {**item, **judged, **({"truncated": False} if item["length"] < limit else {})}


def items(experiment: Experiment, evaluations: Sequence[Evaluation]) -> Check:
    """Every item against its completion and its problem, and every file of items against its recorded sum.

    Raises:
        UserError: a file is absent or damaged.
    """
    check = Check("items")
    problems = experiment.problems("test")[: experiment.settings.evaluation.limit]
    sound = experiment.is_sound("test")
    for one in evaluations:
        file = experiment.name(one.folder / "items.jsonl")
        check.differences += differing_sums(one.folder, experiment.folder, one.stated.get("sums", {}))
        check.differences += _outcomes(file, one)
        if "not_run" not in one.stated:
            check.differences += _asked(file, one.items, problems, sound)
    without = [experiment.name(one.folder) for one in evaluations if not {"sums", "not_run"} & one.stated.keys()]
    if without:
        check.notes.append(f"no sum of items.jsonl recorded, so its lengths could not be checked: {', '.join(without)}")
    once = {str(found): found for found in check.differences}  # a changed problem differs from every evaluation
    check.differences = list(once.values())
    answers = sum(len(one.items) for one in evaluations)
    check.looked_at = f"{answers:,} answers in {len(evaluations)} files, judged again"
    return check


def _outcomes(file: str, evaluation: Evaluation) -> Iterator[Difference]:
    for number, (item, judged) in enumerate(zip(evaluation.items, evaluation.judged, strict=True), 1):
        place = f"line {number} ({item['id']})"
        yield from differing(file, place, item, judged)
        if item["length"] > evaluation.limit:
            yield Difference(file, place, "length", item["length"], f"at most {evaluation.limit}")


def _asked(file: str, items: Sequence[Item], problems: Sequence[Item], sound: bool) -> Iterator[Difference]:
    """What was asked against the test split; what differs is the fault of the split if that is not its own any more."""
    lines = {item["id"]: (number, item) for number, item in enumerate(items, 1)}
    for problem in problems:
        name = problem["id"]
        if name not in lines:
            yield Difference(file, name, "id", ABSENT, name)
            continue
        number, item = lines.pop(name)
        place = f"line {number} ({name})"
        for key in ("question", "answer"):
            if item[key] != problem[key]:
                if sound:
                    yield Difference(file, place, key, item[key], problem[key])
                else:
                    yield Difference("data/test.jsonl", name, key, problem[key], item[key])
    for name, (number, _) in lines.items():
        yield Difference(file, f"line {number} ({name})", "id", name, ABSENT)
    if len({item["id"] for item in items}) < len(items):
        yield Difference(file, "", "rows", len(items), len({item["id"] for item in items}))


def evaluations(experiment: Experiment, every: Sequence[Evaluation]) -> Check:
    """Every evaluation.json against its judged items."""
    check, keys = Check("evaluations"), 0
    for one in every:
        if "not_run" in one.stated:
            check.notes.append(f"{experiment.name(one.folder)}: not run")
            check.differences += differing(experiment.name(one.folder / "items.jsonl"), "", {"rows": len(one.items)},
                                           {"rows": 0})  # fmt: skip
            continue
        derived = {**one.identity, **_means(one.judged)}
        keys += len(derived)
        stated = {key: one.stated.get(key, ABSENT) for key in derived}
        check.differences += differing(experiment.name(one.folder / "evaluation.json"), "", stated, derived)
    check.looked_at = f"{keys} figures of {len(every)} evaluations"
    return check


def _means(items: Sequence[Item]) -> dict[str, Any]:
    """The figures of evaluation/harness.py; fractions, and length_mean in tokens."""
    if not items:
        return {"n": 0}
    means = {key: fmean(item[key] for item in items) for key in ("strict", "flexible", "truncated", "length")}
    return {"n": len(items), "length_mean": means.pop("length"), **means}


def comparisons(experiment: Experiment, every: Sequence[Evaluation]) -> tuple[Check, list[dict[str, Any]]]:
    """Every file of compare/ against the judged items, with the bootstrap's own seed and resamples.

    Returns:
        (the check, the comparisons that follow from the judged items; as stated where none follows).

    Raises:
        UserError: a file is absent or damaged.
    """
    check, by_folder, derived = Check("comparisons"), {one.folder: one for one in every}, []
    for run in experiment.runs:
        file, stated = experiment.name(run.comparison), read_json(run.comparison)
        try:
            found = {**_identity(run.model, run.variant, run.seed), **_compared(experiment, run, by_folder)}
        except UserError as problem:
            check.notes.append(f"{file}: could not be derived: {problem.problem}")
            derived.append(stated)
            continue
        check.differences += differing(file, "", stated, found)
        derived.append(found)
    check.looked_at = f"{len(derived)} files, bootstrap included"
    return check, derived


def _compared(experiment: Experiment, run: Run, by_folder: dict[Path, Evaluation]) -> dict[str, Any]:
    sides = by_folder[run.baseline], by_folder[run.evaluated]
    reason = next((side.stated["not_run"] for side in sides if side.stated.get("not_run")), None)
    if reason is not None:
        return compare.nothing(run.baseline / "items.jsonl", str(reason))
    before, after = ({item["id"]: item for item in side.judged} for side in sides)
    stated = compare.paired(run.baseline / "items.jsonl", run.evaluated / "items.jsonl")
    pairs = [(before[item["id"]], after[item["id"]]) for item, _ in stated]
    resamples = experiment.settings.evaluation.bootstrap_resamples
    return compare.compare_pairs(pairs, resamples=resamples, seed=BOOTSTRAP_SEED)


def _identity(model: str, variant: str | None, seed: int | None) -> dict[str, Any]:
    return {"model": model, "variant": variant, "seed": seed}
