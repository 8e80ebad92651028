"""Finished results are adopted if their keys agree, whatever their files' times; no rules.

A copy of `results/` has lost the times of its files and Snakemake's records: by these alone all would be paid for again.
It happens before Snakemake looks at any file, on a dry run too. See src/reinforce_lite/experiment/adopt.py.
"""

import os
import subprocess
from tempfile import NamedTemporaryFile

from snakemake.exceptions import WorkflowError


def adopt_results():
    """Put the times of results in order that their keys confirm, and disown those that none confirms."""
    if not workflow.is_main_process or not os.path.isdir(RESULTS):
        return
    for line in adopt_here() if has_package() else adopt_in_container():
        print(line, file=sys.stderr, flush=True)


def adopt_here():
    """By the package."""
    from reinforce_lite import config as settings
    from reinforce_lite import errors
    from reinforce_lite.experiment.adopt import adopt

    try:
        return adopt(settings.validate(config))
    except errors.UserError as error:
        raise WorkflowError(str(error)) from None


def adopt_in_container():
    """The same by the package inside the image, where a host has none; what cannot be had is said."""
    image = config["container"]["image"]
    if not APPTAINER or "://" in image:
        return [
            f"note: whether the results in {RESULTS} agree with their keys cannot be told without the package (make "
            "setup) or, with --use-singularity, an image file here (make sif): Snakemake goes by the files' times"
        ]
    program = shutil.which("apptainer") or shutil.which("singularity")
    with NamedTemporaryFile("w", suffix=".json", dir=RESULTS) as file:
        json.dump(config, file)
        file.flush()
        command = ["exec", "--bind", os.getcwd(), "--pwd", os.getcwd()]
        command += [
            image_address(image),
            "python",
            "-m",
            "reinforce_lite.experiment.adopt",
            file.name,
        ]
        done = subprocess.run([program, *command], capture_output=True, text=True)
    if done.returncode:
        raise WorkflowError(
            f"{image} cannot look at the results: {done.stderr.strip()[-2000:]}"
        )
    return done.stdout.splitlines()
