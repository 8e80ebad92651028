"""Derive the files of an experiment again, into another folder, from what nothing else says.

That is the data, the texts and lengths of the completions, and what only a trainer knows, such as losses and seconds.
All else is made by the functions that made it the first time.
"""

from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from random import Random
from typing import Any

from reinforce_lite.config import Training
from reinforce_lite.errors import UserError
from reinforce_lite.evaluation import avg_at_k, memorisation
from reinforce_lite.evaluation.statistics import outcome_means
from reinforce_lite.io.files import read_json, write_json, write_jsonl
from reinforce_lite.learning.curves import coin, point, question_seed, step_seconds, training_summary
from reinforce_lite.report.compare import compare_evaluations
from reinforce_lite.report.summary import BOOTSTRAP_SEED
from reinforce_lite.report.verification.advantages import derives, stated_or_derived
from reinforce_lite.report.verification.difference import ABSENT, Row, record_of, rows_of
from reinforce_lite.report.verification.experiment import Experiment
from reinforce_lite.stages import EVALUATED, STAGES, TRAINED, Job, Layout, jobs
from reinforce_lite.tasks import Problem, Reward, Task, verdicts
from reinforce_lite.tasks.own import PARTS, earned, in_folder, named_parts

PROBLEM = ("id", "question", "answer")
ANSWER = ("id", "completion", "strict", "flexible", "truncated", "length")
COMPLETION = ("step", "question", "answer", "completion", "reward", "advantage", "length")
METRICS = ("step", "skipped", "tokens", "weights_changed", "kl_to_start")

DATA = Job("prepare_dataset")
EVALUATIONS = tuple(stage.name for stage in STAGES.values() if stage.evaluates)
DERIVED = ("prepare_dataset", "train", *EVALUATIONS, "compare", "report", "crate")
"""Stages whose files are derived, checked by themselves, or hold what is derived."""


def grade(
    task: Task[Any], text: str, problem: Problem, chosen: Reward | None = None, rng: Random | None = None
) -> dict[str, Any]:
    """What follows from a text: strict and flexible and, if one is given, the reward with its parts.

    Raises:
        ValueError: the answer is none of the task.
    """
    scores = task.grade(text, problem)
    if chosen is None:
        return verdicts(scores)
    paid, parts = earned(chosen, scores, rng or Random(0), text, problem)
    return {**verdicts(scores), "reward": paid, **named_parts(parts)}


@dataclass
class Derived:
    """The files that follow from those of an experiment, up to the comparisons.

    Attributes:
        source: the experiment.
        target: where they are written; empty before.
        missing: by path under the folder, the ids of rows that should be there and can't be derived.
        failed: why a comparison could not be derived; it is copied instead.
        stated: of which trainings the advantages could not be derived; they are copied.
    """

    source: Experiment
    target: Layout
    missing: dict[Path, list[Row]] = field(default_factory=lambda: defaultdict(list))
    failed: list[str] = field(default_factory=list)
    stated: list[str] = field(default_factory=list)

    def __post_init__(self) -> None:
        """Write all of them.

        Raises:
            UserError: a file is absent or damaged.
        """
        self.target.data.mkdir()
        self._at = Layout(self.source.folder)
        self._link_others()
        self._evaluations()
        train = {row["question"]: row["answer"] for row in rows_of(self._at.path(DATA, "train"), *PROBLEM)}
        for run in self.source.runs:
            self._training(run, train if self.source.is_sound("train") else {})
            self._comparison(run)

    def _link_others(self) -> None:
        """Nothing derives the manifest of the data, what is learnt from, Snakemake's measurements, and other stages."""
        links = [
            (layout.root / "benchmarks", layout.path(DATA, "manifest"), layout.path(DATA, "train"))
            for layout in self._sides
        ]
        pairs = list(zip(*links, strict=True))
        for job in jobs(self.source.settings, device=False):
            if job.stage not in DERIVED:
                names = [name for name, path in STAGES[job.stage].files.items() if "*" not in path]
                pairs += [tuple(layout.path(job, name) for layout in self._sides) for name in names]
        for there, path in pairs:
            if there.exists():
                path.parent.mkdir(parents=True, exist_ok=True)
                path.symlink_to(there.absolute())

    @property
    def _sides(self) -> tuple[Layout, Layout]:
        return self._at, self.target

    def _evaluations(self) -> None:
        settings, problems = self.source.settings.evaluation, rows_of(self._at.path(DATA, "test"), *PROBLEM)
        asked, sound = problems[: settings.limit], self.source.is_sound("test")
        every = [job for job in jobs(self.source.settings) if job.stage in EVALUATIONS]
        own = [row for job in every for row in self._evaluation(job, asked if sound else None)]
        if not sound:  # then what was asked says what the split should hold
            words = {row["id"]: {key: row[key] for key in PROBLEM} for row in reversed(own)}
            write_jsonl(self.target.path(DATA, "test"), [{**row, **words.get(row["id"], {})} for row in problems])

    def _evaluation(self, job: Job, problems: Sequence[Row] | None) -> list[Row]:
        """Derive one evaluation, of these problems or of its own; returns its items."""
        folder, target = self._at.folder(job), self.target.folder(job)
        stated, items = record_of(folder / EVALUATED["summary"]), list[Row]()
        derived = dict(stated)
        if "not_run" not in stated:
            items = self._answers(folder / EVALUATED["outcomes"], problems)
            derived |= {**job.run, **outcome_means(items)}
            if self.source.settings.evaluation.memorisation and "memorisation" in STAGES[job.stage].extras:
                derived |= self._memorisation(folder, target)
        if "sampled" in stated:
            samples = self._samples(folder / EVALUATED["samples"], items)
            write_jsonl(target / EVALUATED["samples"], samples)
            if folder / EVALUATED["samples"] not in self.missing:
                derived["sampled"] = avg_at_k.figures(samples)
        write_jsonl(target / EVALUATED["outcomes"], items)
        write_json(target / EVALUATED["summary"], derived)
        return items

    def _memorisation(self, folder: Path, target: Path) -> Row:
        """Derive the answers to problems of train; returns what evaluation.json says of them."""
        answers = self._answers(path := folder / EVALUATED["memorisation"], self._of_train)
        write_jsonl(target / EVALUATED["memorisation"], answers)
        return {} if path in self.missing else {"memorisation": memorisation.figures(answers)}

    def _answers(self, path: Path, problems: Sequence[Row] | None) -> list[Row]:
        """The greedy answers to these problems, or to those of the file, judged again."""
        rows, items = rows_of(path, *ANSWER, *PROBLEM), list[Row]()
        written, limit = {row["id"]: row for row in rows}, self.source.settings.evaluation.max_new_tokens
        for problem in rows if problems is None else problems:
            if row := written.get(problem["id"]):
                words = {key: problem[key] for key in PROBLEM}
                items.append(judge(self.source.task, {**row, **words}, Problem(**words), limit))
            else:
                self.missing[path].append({"id": problem["id"]})
        return items

    @cached_property
    def _of_train(self) -> list[Row] | None:
        """The problems of train that were asked, and their perturbations; None if train is another one now."""
        if not self.source.is_sound("train"):
            return None
        settings, rows = self.source.settings, rows_of(self._at.path(DATA, "train"), *PROBLEM)
        train = [Problem(**{key: row[key] for key in PROBLEM}) for row in rows]
        number = settings.evaluation.memorisation
        return list(map(vars, memorisation.questions(self.source.task, train, number, settings.task.seed)))

    def _samples(self, path: Path, items: Sequence[Row]) -> list[Row]:
        settings, samples = self.source.settings.evaluation, []
        written = {(row["id"], row["draw"]): row for row in rows_of(path, *ANSWER, "draw")}
        for item in items[: settings.samples_limit]:
            for draw in range(settings.samples):
                if row := written.get((item["id"], draw)):
                    problem = Problem(**{key: item[key] for key in PROBLEM})
                    samples.append(judge(self.source.task, row, problem, settings.max_new_tokens))
                else:
                    self.missing[path].append({"id": item["id"], "draw": draw})
        return samples

    def _training(self, run: tuple[str, str, int], gold: dict[str, str]) -> None:
        """Derive one training; `gold` has the answer to each question, or nothing if that is not known."""
        folder, target, settings = self._at.train(*run), self.target.train(*run), self.source.settings.variant(run[1])
        stated, metrics, completions = record_of(folder / TRAINED["summary"]), list[Row](), list[Row]()
        expected = settings.questions_per_step * settings.completions_per_question
        steps = defaultdict[int, list[Row]](list)
        for row in rows_of(folder / TRAINED["completions"], *COMPLETION):
            known = {"question": row["question"] if row["question"] in gold else ABSENT,
                     "answer": gold.get(row["question"], row["answer"])} if gold else {}  # fmt: skip
            steps[row["step"]].append({**row, **known, **_bounded(row, settings.max_new_tokens)})
        for number, row in enumerate(rows_of(folder / TRAINED["metrics"], *METRICS)):
            step, derived = steps[row["step"]], row
            if len(step) == expected:
                step, derived = self._step(run, step, {**row, "step": number}, settings)
            self.missing[folder / TRAINED["completions"]] += [{"step": row["step"]}] * (expected - len(step))
            completions += step[:expected]
            metrics.append(derived)
        if completions and not derives(settings):
            why = f"advantages by {settings.estimator} could not be derived, and are as stated"
            self.stated.append(f"{folder.relative_to(self._at.root)}: {why}")
        summed = training_summary(metrics, settings)
        if "not_run" in stated:
            summed = {key: summed[key] for key in ("steps", "steps_planned")}
        write_jsonl(target / TRAINED["completions"], completions)
        write_jsonl(target / TRAINED["metrics"], metrics)
        write_json(target / TRAINED["summary"], {**stated, **summed})

    def _step(
        self, run: tuple[str, str, int], step: Sequence[Row], row: Row, settings: Training
    ) -> tuple[list[Row], Row]:
        """The completions of a step with their rewards (the coin's from the seed), and the metrics that follow.

        The speed follows from the seconds of the step itself.
        """
        size, rng = settings.completions_per_question, None
        chosen = in_folder(settings.reward, self._at.train(*run))
        scored = []
        for position, one in enumerate(step):
            if position % size == 0:
                rng = coin(question_seed(run[2], one["step"], position // size))
            try:
                problem = Problem("", one["question"], one["answer"])
                scored.append(grade(self.source.task, one["completion"], problem, chosen, rng))
            except ValueError as error:
                path = self._at.train(*run) / TRAINED["completions"]
                wrong = f"{path}: an answer of step {one['step']} is none of the task: {error}"
                raise UserError(wrong, "restore the file from a copy") from error
        follows = [{key: one[key] for key in ("reward", PARTS) if key in one} for one in scored]
        again = [{**one, **scores} for one, scores in zip(step, follows, strict=True)]
        # By the stated rewards: a reward that is wrong is named by itself.
        stated = (_by_group(step, key, size) for key in ("reward", "advantage"))
        for one, weight in zip(again, stated_or_derived(settings, *stated), strict=True):
            one["advantage"] = weight
        rewards_PG, advantages_PG = (_by_group(again, key, size) for key in ("reward", "advantage"))
        cut = [bool(one["truncated"]) for one in again] if all("truncated" in one for one in again) else None
        strict, lengths = [scores["strict"] for scores in scored], [one["length"] for one in again]
        derived = point(rewards_PG, advantages_PG, strict, lengths, cut)
        seconds = step_seconds(row)
        return again, {**row, **derived, **({"tokens_per_second": derived["tokens"] / seconds} if seconds else {})}

    def _comparison(self, run: tuple[str, str, int]) -> None:
        sides, resamples = (run[:1], run), self.source.settings.evaluation.bootstrap_resamples
        path, derived = self._at.comparison(*run), dict(zip(("model", "variant", "seed"), run, strict=True))
        before, after = (self.target.evaluation(*side) for side in sides)
        try:
            derived |= compare_evaluations(before, after, resamples=resamples, seed=BOOTSTRAP_SEED)
        except UserError as error:
            derived = read_json(path)
            self.failed.append(f"{path.relative_to(self._at.root)}: could not be derived: {error.problem}")
        write_json(self.target.comparison(*run), derived)


def _by_group(rows: Sequence[Row], key: str, size: int) -> list[list[float]]:
    return [[row[key] for row in rows[first : first + size]] for first in range(0, len(rows), size)]


def judge(task: Task[Any], row: Row, problem: Problem, limit: int) -> Row:
    """An answer with what follows from its text: strict, flexible, and truncated.

    An answer that is shorter than the limit was not cut. One of just that length was, unless its last token ended it:
    the text does not say, so it stays as stated. A gold answer that is none of the task gives no scores; they stay too.
    """
    try:
        scores = grade(task, row["completion"], problem)
    except ValueError:
        scores = {}
    reason = {"unread": task.unread(row["completion"])} if "unread" in row else {}
    return {**row, **reason, **scores, **_bounded(row, limit)}


def _bounded(row: Row, limit: int) -> Row:
    """What the most tokens that a completion may have say of its length, and of whether it was cut."""
    cut = {"truncated": False} if "truncated" in row and row["length"] < limit else {}
    return {"length": min(row["length"], limit), **cut}
