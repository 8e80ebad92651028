"""Why torch has no GPU, and what to do about it: the build of torch, the container, the driver."""

import re
from pathlib import Path

from reinforce_lite.io.provenance import image

GPU_FILES = ("/dev/nvidiactl", "/dev/dxg")
"""What a machine with NVIDIA's driver has; the second one under WSL."""


def why_none() -> tuple[str, str]:
    """Why torch finds no GPU, as a clause to stand behind "but", and the fix."""
    import torch

    if torch.version.cuda is None:
        return (
            "there is no GPU for this torch, which is the CPU build",
            "take the CUDA build (make setup TORCH=cuda; of the images, the one without -cpu)",
        )
    if not any(Path(file).exists() for file in GPU_FILES):
        if image() is None:
            return "this machine has no GPU that torch can use", "rent one, or load its driver"
        return (
            "no GPU is visible in this container",
            "docker run --gpus all (the host needs NVIDIA's container toolkit); Apptainer: --nv",
        )
    try:
        torch.cuda.init()
        reason = "torch finds none"
    except (RuntimeError, AssertionError) as error:
        reason = str(error).strip().split("\n")[0]
    too_old = re.search(r"too old \(found version (\d+)\)", reason)
    if too_old:
        major, minor = divmod(int(too_old[1]) // 10, 100)
        return (
            f"the GPU's driver is too old: it knows CUDA {major}.{minor}, and this torch needs {torch.version.cuda}",
            "update the driver (CUDA 13 needs 580 or later)",
        )
    return f"no GPU can be used: {reason}", "check the driver (nvidia-smi)"
