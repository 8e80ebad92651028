"""The stage that compares a trained policy with its baseline, question by question."""

from reinforce_lite.experiment.run import Run
from reinforce_lite.io.files import write_json
from reinforce_lite.report.compare import compare_evaluations
from reinforce_lite.report.summary import BOOTSTRAP_SEED


def run(run: Run) -> None:
    """Compare a trained policy with its baseline, question by question."""
    sides = run.need("baseline").parent, run.need("trained").parent
    resamples = run.settings.evaluation.bootstrap_resamples
    result = compare_evaluations(*sides, resamples=resamples, seed=BOOTSTRAP_SEED)
    write_json(run.path(), {**run.job.run, **result})
