"""The points of the training curves and the sums over them, derived again from the sampled completions."""

from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from reinforce_lite.curves import coin, point, question_seed, training_summary
from reinforce_lite.errors import UserError
from reinforce_lite.files import read_json
from reinforce_lite.report.runs import Run
from reinforce_lite.report.verification.difference import (
    ABSENT,
    Check,
    Difference,
    differing,
    differing_sums,
    rows_of,
)
from reinforce_lite.report.verification.experiment import Experiment
from reinforce_lite.settings import Training
from reinforce_lite.tasks import Grade, Problem, Task, named, reward

Row = dict[str, Any]

COMPLETION = ("step", "question", "answer", "completion", "reward", "advantage", "length")
METRICS = ("step", "skipped", "tokens", "weights_changed", "kl_to_start")

UNDERIVED = "loss, gradient norm, entropy, sampler gap, drift, learning rate and seconds"
"""What does not follow from completions."""


@dataclass(frozen=True)
class Numbered:
    """A completion, and the line on which it stands."""

    line: int
    row: Row

    @property
    def place(self) -> str:
        """For people: line and step."""
        return f"line {self.line} (step {self.row['step']})"


def trainings(experiment: Experiment) -> Check:
    """Every training: rewards from the texts, metrics from the completions, training.json from the metrics.

    Raises:
        UserError: a file is absent or damaged.
    """
    check, points, written, without = Check("trainings"), 0, 0, []
    asked = {row["question"]: row["answer"] for row in experiment.problems("train")}
    if not experiment.is_sound("train"):
        asked = {}
    for run in experiment.runs:
        stated = read_json(run.trained / "training.json")
        metrics = rows_of(run.trained / "metrics.jsonl", *METRICS)
        lines = [Numbered(*pair) for pair in enumerate(rows_of(run.trained / "completions.jsonl", *COMPLETION), 1)]
        points, written = points + len(metrics), written + len(lines)
        if "not_run" in stated:
            check.notes.append(f"{experiment.name(run.trained)}: not run")
        elif "sums" not in stated:
            without.append(experiment.name(run.trained))
        check.differences += differing_sums(run.trained, experiment.folder, stated.get("sums", {}))
        check.differences += _training(experiment, run, stated, metrics, lines, asked)
    if without:
        check.notes.append(f"no sums recorded, so {UNDERIVED} could not be checked: {', '.join(without)}")
    check.looked_at = f"{written:,} completions, judged again, and {points:,} steps of {len(experiment.runs)} runs"
    return check


def _training(
    experiment: Experiment,
    run: Run,
    stated: Row,
    metrics: Sequence[Row],
    lines: Sequence[Numbered],
    asked: Mapping[str, str],
) -> Iterator[Difference]:
    """What differs in one training."""
    settings = experiment.settings.variant(run.variant)
    texts, task = experiment.name(run.trained / "completions.jsonl"), named(experiment.settings.task.name)
    by_step: dict[int, list[Numbered]] = defaultdict(list)
    for line in lines:
        by_step[line.row["step"]].append(line)
        yield from _text(texts, line, settings, asked)
    corrected = []
    for number, row in enumerate(metrics):
        group = [_with_gold(line, asked) for line in by_step.pop(row["step"], [])]
        expected = settings.questions_per_step * settings.completions_per_question
        if len(group) != expected:
            yield Difference(texts, f"step {row['step']}", "rows", len(group), expected)
            corrected.append(row)
            continue
        grades = _grades(group, task)
        rewards_PG = _rewards(group, grades, settings, run.seed)
        yield from _rewarded(texts, group, rewards_PG)
        derived = {"step": number, **_point(group, grades, rewards_PG, row, settings.completions_per_question)}
        place, told = f"line {number + 1} (step {row['step']})", {key: row.get(key, ABSENT) for key in derived}
        yield from differing(experiment.name(run.trained / "metrics.jsonl"), place, told, derived)
        corrected.append({**row, **derived})
    for step, left in by_step.items():
        yield Difference(texts, f"step {step}", "rows", len(left), 0)
    yield from _summed_up(experiment.name(run.trained / "training.json"), stated, training_summary(corrected, settings))


def _summed_up(file: str, stated: Row, derived: Row) -> Iterator[Difference]:
    """A training that was not run states its steps only."""
    keys = ("steps", "steps_planned") if "not_run" in stated else tuple(derived)
    yield from differing(file, "", {key: stated.get(key, ABSENT) for key in keys}, {key: derived[key] for key in keys})


def _with_gold(line: Numbered, asked: Mapping[str, str]) -> Numbered:
    """A completion with the gold answer of the data."""
    return Numbered(line.line, {**line.row, "answer": asked.get(line.row["question"], line.row["answer"])})


def _text(file: str, line: Numbered, settings: Training, asked: Mapping[str, str]) -> Iterator[Difference]:
    """The problem against the train split, if that is its own; the length against the limit."""
    row, limit = line.row, settings.max_new_tokens
    if asked and row["question"] not in asked:
        yield Difference(file, line.place, "question", row["question"], ABSENT)
    elif asked:
        yield from differing(file, line.place, {"answer": row["answer"]}, {"answer": asked[row["question"]]})
    if row["length"] > limit:
        yield Difference(file, line.place, "length", row["length"], f"at most {limit}")
    if row.get("truncated") and row["length"] < limit:
        yield Difference(file, line.place, "truncated", True, False)


def _grades(group: Sequence[Numbered], task: Task[Any]) -> list[Grade]:
    """The grades of a step's completions.

    Raises:
        UserError: a gold answer is none of this task.
    """
    grades = []
    for one in group:
        try:
            grades.append(task.grade(one.row["completion"], Problem("", one.row["question"], one.row["answer"])))
        except ValueError as error:
            problem = f"completions.jsonl, {one.place}: the answer is none of this task: {error}"
            raise UserError(problem, "restore the file from a copy") from error
    return grades


def _rewards(group: Sequence[Numbered], grades: Sequence[Grade], settings: Training, seed: int) -> list[list[float]]:
    """Rewards by problem and member of its group, from the grades; the coin's from the seed."""
    size, rewards_PG = settings.completions_per_question, []
    for place in range(settings.questions_per_step):
        rng = coin(question_seed(seed, group[place * size].row["step"], place))
        rewards_PG.append([reward(settings.reward, grade, rng) for grade in grades[place * size : (place + 1) * size]])
    return rewards_PG


def _rewarded(file: str, group: Sequence[Numbered], rewards_PG: Sequence[Sequence[float]]) -> Iterator[Difference]:
    rewards = [reward for member in rewards_PG for reward in member]
    for one, derived in zip(group, rewards, strict=True):
        yield from differing(file, one.place, {"reward": one.row["reward"]}, {"reward": derived})


def _point(
    group: Sequence[Numbered], grades: Sequence[Grade], rewards_PG: Sequence[Sequence[float]], row: Row, size: int
) -> dict[str, float]:
    """The figures of a step that follow from its completions, and its speed, which follows from its own seconds."""
    rows = [one.row for one in group]
    cut = [bool(each["truncated"]) for each in rows] if all("truncated" in each for each in rows) else None
    correct = [bool(grade["correct"]) for grade in grades]
    weights = [each["advantage"] for each in rows]
    advantages_PG = [weights[first : first + size] for first in range(0, len(weights), size)]
    derived = point(rewards_PG, advantages_PG, correct, [each["length"] for each in rows], cut)
    seconds = sum(v for key, v in row.items() if key.startswith("seconds_") and key != "seconds_checkpoint")
    return derived | ({"tokens_per_second": derived["tokens"] / seconds} if seconds else {})
