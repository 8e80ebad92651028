"""When what a stage kept, to go on after a kill, may go: once the workflow has taken its results.

A stage cannot know that. Its Snakemake may be killed while it works on, and the next one deletes the results of a job
whose end nobody saw, and runs it again. Then all of it is still here, and only written anew. What takes a result for
its input has been started by a Snakemake that knows of it.
"""

import json
import shutil
from functools import partial

from reinforce_lite import keys
from reinforce_lite.accounting.forecast import Job, jobs
from reinforce_lite.files import read_json
from reinforce_lite.journal import Journal
from reinforce_lite.layout import FINISHED, Layout
from reinforce_lite.settings import Settings


def forget_inputs(settings: Settings, job: Job) -> None:
    """Remove what was kept of the stage that made the policy of this one.

    A training that its budget stopped keeps its checkpoints: a larger one goes on from there.
    """
    layout = Layout.of(settings)
    if job.stage in ("evaluate_baseline", "train"):
        shutil.rmtree(layout.start_progress(job.model), ignore_errors=True)
    elif job.stage == "evaluate_trained":
        run = (job.model, str(job.variant), int(job.seed or 0))
        if read_json(layout.train(*run) / "training.json")["stopped"] is None:
            shutil.rmtree(layout.training_progress(*run), ignore_errors=True)


def forget_others(settings: Settings, job: Job) -> None:
    """Remove what was kept of this very stage under other settings, if its results were written: it is made anew.

    What is not finished stays, and refuses; somebody may want to go on with it.
    """
    layout = Layout.of(settings)
    if job.stage == "fetch_policy":
        folder, key = layout.start_progress(job.model), partial(keys.start_key, settings, job.model)
    elif job.stage == "train":
        run = (job.model, str(job.variant), int(job.seed or 0))
        folder, key = layout.training_progress(*run), partial(keys.training_key, settings, *run)
    else:
        return  # an evaluation looks at its journal by itself
    finished = folder / FINISHED
    if finished.exists() and read_json(finished) != json.loads(json.dumps(key())):
        shutil.rmtree(folder, ignore_errors=True)


def forget_evaluations(settings: Settings) -> None:
    """Remove what was kept of every evaluation."""
    for job in jobs(settings):
        if job.stage.startswith("evaluate"):
            folder = Layout.of(settings).evaluation_progress(job.model, job.variant, job.seed)
            for name in ("completions.jsonl", "samples.jsonl"):
                Journal(folder / name).remove()
