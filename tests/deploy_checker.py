"""Read deploy/ as those read it who would run it: python deploy_checker.py SKY.yaml KUBERNETES.yaml.

It runs in an environment of its own (envs/deploy.txt), and asks no cloud and no cluster. It prints JSON: what SkyPilot
makes of the task, and the kinds of objects that the schema of the Kubernetes API accepts.
"""

import json
import sys
from pathlib import Path
from typing import Any

import kubernetes_validate
import sky
import yaml

VERSION = "1.37"


def task(path: str) -> dict[str, Any]:
    """The task as SkyPilot understands it, with a value for each variable that is left to the user."""
    config = yaml.safe_load(Path(path).read_text())
    own = {"envs": [("BUCKET", "a-bucket"), ("CONFIG", "my.yaml")], "secrets": [("HF_TOKEN", "secret")]}
    read = sky.Task.from_yaml_config(config, env_overrides=own["envs"], secrets_overrides=own["secrets"])
    (wanted,) = read.resources
    return {
        "name": read.name,
        "accelerators": wanted.accelerators,
        "spot": wanted.use_spot,
        "disk_size": wanted.disk_size,
        "recovery": wanted.job_recovery,
        "buckets": {path: [one.name, one.mode.value] for path, one in read.storage_mounts.items()},
        "run": read.run,
    }


def kinds(path: str) -> list[str]:
    """The kinds of the objects in a file, each checked: unknown keys are errors."""
    found = []
    for one in yaml.safe_load_all(Path(path).read_text()):
        kubernetes_validate.validate(one, VERSION, strict=True)
        found.append(one["kind"])
    return found


if __name__ == "__main__":
    try:
        print(json.dumps({"task": task(sys.argv[1]), "kinds": kinds(sys.argv[2])}))
    except (ValueError, kubernetes_validate.ValidationError) as error:
        sys.exit(f"{type(error).__name__}: {error}")
