"""The stage that writes the report."""

import sys

from reinforce_lite.config import Settings
from reinforce_lite.experiment.resume import drop_evaluations
from reinforce_lite.experiment.run import Run
from reinforce_lite.experiment.tracking import publish, stage_seconds
from reinforce_lite.io.files import read_json
from reinforce_lite.report import note
from reinforce_lite.report.build import build
from reinforce_lite.stages import Job, Layout


def run(run: Run) -> None:
    """Write report.html for people, and summary.json, verdicts.json and traces.json for machines."""
    drop_evaluations(run.settings)
    build(run.settings, run.layout.root, stage_seconds(run.settings))
    show(run.settings)
    print(f"report: {run.path('html')}", file=sys.stderr)


def show(settings: Settings) -> None:
    """Show the result of a finished report on MLflow's parent run."""
    files = Layout.of(settings).outputs(Job("report"))
    summary, verdicts = read_json(files["summary"]), read_json(files["verdicts"])
    described = note.markdown(summary, verdicts["claims"])
    publish(settings, described, note.figures(summary), files.values(), note.gain(summary))
