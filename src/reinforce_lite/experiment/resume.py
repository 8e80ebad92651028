"""When the files from which an unfinished job resumes are removed: once the workflow has taken its results.

A stage cannot know that. Its Snakemake may be killed while it works, and the next one deletes the results of a job
whose end nobody saw, and runs it again. Then these files are still here, and the results are only written again. A job
that reads a result was started by a Snakemake that knows of it.
"""

import shutil

from reinforce_lite.config import Settings
from reinforce_lite.io.files import read_json
from reinforce_lite.io.journal import Journal
from reinforce_lite.resources import keys
from reinforce_lite.stages import FINISHED, STAGES, Job, Layout, jobs


def drop_read(settings: Settings, job: Job) -> None:
    """Remove the resume files of the stage that made the policy which this job reads.

    A training that its budget stopped keeps its checkpoints: a larger budget resumes it.
    """
    layout = Layout.of(settings)
    for need in STAGES[job.stage].needs.values():
        source = job.of(need.partition(".")[0])
        record = layout.path(source)
        if STAGES[source.stage].resume and not (record.exists() and read_json(record).get("stopped")):
            shutil.rmtree(layout.resume(source), ignore_errors=True)


def drop_other_key(settings: Settings, job: Job) -> None:
    """Remove the resume files of this job under another key, if its results were written: it is done anew.

    An unfinished job keeps its files, and refuses; somebody may want to resume it.
    """
    folder = Layout.of(settings).resume(job)
    finished = folder / FINISHED
    if not finished.exists():
        return
    changes = keys.key(settings, job).changes(read_json(finished))
    if any(change.setting for change in changes):
        # The folder of a model's evaluation holds those of its trainings, which may be at work.
        for path in folder.iterdir():
            if path.is_file():
                path.unlink(missing_ok=True)
            elif not STAGES[job.stage].evaluates:
                shutil.rmtree(path, ignore_errors=True)


def drop_evaluations(settings: Settings) -> None:
    """Remove the resume files of every evaluation."""
    for job in jobs(settings):
        if "samples" in STAGES[job.stage].extras:
            for name in ("completions.jsonl", *STAGES[job.stage].extras.values()):
                Journal(Layout.of(settings).resume(job) / name).remove()
