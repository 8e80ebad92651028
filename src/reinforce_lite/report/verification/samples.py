"""Sampled answers, judged again, and the figures of each evaluation that follow from them."""

from collections.abc import Sequence

from reinforce_lite.evaluation import avg_at_k
from reinforce_lite.report.verification.difference import ABSENT, Check, Difference, differing, rows_of
from reinforce_lite.report.verification.evaluations import Evaluation, judge
from reinforce_lite.report.verification.experiment import Experiment
from reinforce_lite.tasks import Problem, named

KEYS = ("id", "draw", "completion", "strict", "flexible", "truncated", "length")


def samples(experiment: Experiment, every: Sequence[Evaluation]) -> Check:
    """Every sampled answer against its completion, and avg@k in evaluation.json against the answers.

    Raises:
        UserError: a file is absent or damaged.
    """
    check, settings, looked = Check("samples"), experiment.settings.evaluation, 0
    task = named(experiment.settings.task.name)
    for one in every:
        if "sampled" not in one.stated:
            continue
        rows = rows_of(one.folder / "samples.jsonl", *KEYS)
        looked += len(rows)
        file = experiment.name(one.folder / "samples.jsonl")
        asked = {i["id"]: Problem(i["id"], i["question"], i["answer"]) for i in one.judged}
        expected = [(name, draw) for name in list(asked)[: settings.samples_limit] for draw in range(settings.samples)]
        if [(row["id"], row["draw"]) for row in rows] != expected:
            check.differences.append(Difference(file, "", "rows", len(rows), f"{len(expected)}, in order"))
            continue
        judged = [judge(task, row, asked[row["id"]], one.limit) for row in rows]
        for number, (row, again) in enumerate(zip(rows, judged, strict=True), 1):
            check.differences += differing(file, f"line {number} ({row['id']}, draw {row['draw']})", row, again)
        stated = {"sampled": one.stated.get("sampled", ABSENT)}
        derived = {"sampled": avg_at_k.figures(judged)}
        check.differences += differing(experiment.name(one.folder / "evaluation.json"), "", stated, derived)
    check.looked_at = f"{looked:,} sampled answers, judged again"
    return check
