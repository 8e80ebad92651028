"""The stage that describes the results for machines."""

import sys
from pathlib import Path

from reinforce_lite.experiment.run import Run
from reinforce_lite.experiment.tracking import publish_root
from reinforce_lite.report.crate import build


def run(run: Run, workflow: Path) -> None:
    """Describe the results and where they came from as an RO-Crate: ro-crate-metadata.json."""
    build(run.settings, run.layout.root, workflow)
    publish_root(run.settings, "crate")
    print(f"crate: {run.path()}", file=sys.stderr)
