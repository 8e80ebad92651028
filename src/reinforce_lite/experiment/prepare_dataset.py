"""The stage that prepares the data."""

import sys

from reinforce_lite.experiment.run import Run
from reinforce_lite.tasks.prepare import prepare


def run(run: Run) -> None:
    """Write the splits, the demonstrations and a manifest with counts, sums and source."""
    task = run.settings.task
    manifest = prepare(task, run.layout.data)
    print(f"{task.name}: {manifest['counts']}", file=sys.stderr)
