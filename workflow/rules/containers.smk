"""What --use-singularity needs beside the image; no rules."""

import os
import shutil
import sys

from snakemake.exceptions import WorkflowError
from snakemake.settings.types import DeploymentMethod

APPTAINER = DeploymentMethod.APPTAINER in workflow.deployment_settings.deployment_method


def image_address(image):
    """The image as Snakemake and Apptainer take it, once it is there."""
    local = "://" not in image
    if APPTAINER and not (shutil.which("apptainer") or shutil.which("singularity")):
        raise WorkflowError(
            "--use-singularity needs the program apptainer (or singularity), and none is on PATH\n"
            "  fix: install Apptainer, or leave the flag out: the rules then run in this environment (make setup), "
            "or all of it runs in Docker (README)"
        )
    if APPTAINER and local and not os.path.exists(image):
        raise WorkflowError(
            f"container.image: {image} does not exist\n"
            "  fix: build it (make sif), or give the address of a published image (docker://...)"
        )
    # Of an archive Apptainer takes the absolute address only.
    return (
        f"docker-archive:{os.path.abspath(image)}" if image.endswith(".tar") else image
    )


def find_command():
    """See that the rules will find the package's command: in the container, on PATH, or beside this Snakemake."""
    if APPTAINER or shutil.which("reinforce-lite"):
        return
    folder = os.path.dirname(sys.executable)
    if not os.path.exists(os.path.join(folder, "reinforce-lite")):
        raise WorkflowError(
            "the command reinforce-lite, which every rule runs, is not installed here\n"
            "  fix: run the rules in a container (--use-singularity), or install it (make setup) and use the "
            "Snakemake that comes with it (.venv/bin/snakemake)"
        )
    os.environ.update(PATH=f"{folder}{os.pathsep}{os.environ.get('PATH', '')}")


def caches():
    """Where what is downloaded and what is compiled outlives a stage, by the variables that the libraries read.

    The folders are the libraries' own, but for Inductor's, which would go with the machine's next boot.
    """
    home = os.environ.get("XDG_CACHE_HOME") or "~/.cache"
    own = {
        "HF_HOME": f"{home}/huggingface",
        "VLLM_CACHE_ROOT": f"{home}/vllm",
        "TRITON_CACHE_DIR": "~/.triton/cache",
        "TORCHINDUCTOR_CACHE_DIR": f"{home}/torchinductor",
    }
    return {
        name: os.path.abspath(os.path.expanduser(os.environ.get(name) or folder))
        for name, folder in own.items()
    }


def prepare_apptainer():
    """Hand the rules in a container what they would have outside: the GPU if there is one, the caches, the folders of
    data and weights that the configuration names, and the workflow's own.

    By Apptainer's own environment variables: they reach it however Snakemake calls it, and add to what the user sets.
    """
    if not APPTAINER:
        return
    prefix = "APPTAINER" if shutil.which("apptainer") else "SINGULARITY"
    for folder in caches().values():
        os.makedirs(folder, exist_ok=True)
    code = [config["task"].get("grade"), config["training"].get("reward")]
    code += [one.get("reward") for one in config["training_variants"].values()]
    own = [*config["task"].values(), *filter(None, map(file_of, code))]
    own = [value for value in own if os.path.exists(str(value))]
    places = [*caches().values(), WORKFLOW, *own]
    places += [config["policies"][model].get("path") for model in config["models"]]
    binds = [os.environ.get(f"{prefix}_BIND")]
    binds += [os.path.abspath(place) for place in places if place]
    os.environ[f"{prefix}_BIND"] = ",".join(filter(None, binds))
    # The variables of the image would go before those of the same name out here.
    for name, value in caches().items():
        os.environ[f"{prefix}ENV_{name}"] = value
    os.environ[f"{prefix}ENV_REINFORCE_LITE_IMAGE"] = config["container"]["image"]
    if shutil.which("nvidia-smi"):  # where the driver is, its tool is
        os.environ.setdefault(f"{prefix}_NV", "1")
