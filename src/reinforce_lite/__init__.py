"""Reinforce-Lite: the reproduction that the ten-dollar "aha moment" never had.

As a library it is these names; each loads what it needs when it is first used, so `import reinforce_lite` is cheap.

    from reinforce_lite import PolicySettings, Sampling, load_policy, open_engine

    policy = load_policy(PolicySettings(path="SmolLM2-135M-Instruct"))
    prompt = policy.prompt_ids([{"role": "user", "content": "What is 6 times 7?"}])
    with open_engine("auto", policy, rows=4, max_new_tokens=64) as engine:
        (group,) = engine([prompt], 4, Sampling(1.0, 1.0, 64), seeds=[0])
    print([policy.text(completion.token_ids) for completion in group])

Configuration  `load_settings` reads files into `Settings`; the sections `PolicySettings`, `Scratch`, `Start`,
               `Training` and `Evaluation` also stand alone. `UserError` is what a user can mend.
Policy         `load_policy` brings a `Policy` here: from the hub, a folder, a GGUF file, or from nothing. `save_policy`
               writes one, and `load_saved` reads it, and those in the results of an experiment.
Task           `named_task` is a task of the package or of a file of yours; a `Task` puts a `Problem` to a policy, and
               grades what it writes.
Rollout        `open_engine` opens an `Engine`, which writes a `Completion` as a `Sampling` says.
Learning       `supervised_start` teaches a policy each `Demonstration`, and `train` trains it with Reinforce-Lite.
Evaluation     `evaluate` puts every question to a policy once, greedily.
Comparison     `compare` sets two evaluations beside each other, question by question, with an interval and a p-value;
               `verify` derives all numbers of finished results again.

The folder `examples/` of the repository has each part in less than forty lines. The rest of the package serves the
workflow, and may change without a word.
"""

from importlib import import_module
from importlib.metadata import PackageNotFoundError, version
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from reinforce_lite.config import Evaluation, PolicySettings, Scratch, Settings, Start, Training
    from reinforce_lite.config import load as load_settings
    from reinforce_lite.errors import UserError
    from reinforce_lite.evaluation.harness import evaluate
    from reinforce_lite.learning.loop import train
    from reinforce_lite.learning.supervised import supervised_start
    from reinforce_lite.policy import Policy
    from reinforce_lite.policy.fetch import materialise as load_policy
    from reinforce_lite.policy.load import load as load_saved
    from reinforce_lite.policy.load import save as save_policy
    from reinforce_lite.report.compare import compare
    from reinforce_lite.report.verify import verify
    from reinforce_lite.rollout import Completion, Engine, Sampling
    from reinforce_lite.rollout.registry import opened as open_engine
    from reinforce_lite.tasks import Demonstration, Problem, Task
    from reinforce_lite.tasks import named as named_task

_WHERE = {
    "Completion": "rollout", "Demonstration": "tasks", "Engine": "rollout", "Evaluation": "config", "Policy": "policy",
    "PolicySettings": "config", "Problem": "tasks", "Sampling": "rollout", "Scratch": "config", "Settings": "config",
    "Start": "config", "Task": "tasks", "Training": "config", "UserError": "errors", "compare": "report.compare",
    "evaluate": "evaluation.harness", "load_policy": "policy.fetch:materialise", "load_saved": "policy.load:load",
    "load_settings": "config:load", "named_task": "tasks:named", "open_engine": "rollout.registry:opened",
    "save_policy": "policy.load:save", "supervised_start": "learning.supervised",
    "train": "learning.loop", "verify": "report.verify",
}  # fmt: skip
"""The module of each name, and after a colon what it is called there."""

__all__ = [
    "Completion", "Demonstration", "Engine", "Evaluation", "Policy", "PolicySettings", "Problem", "Sampling", "Scratch",
    "Settings", "Start", "Task", "Training", "UserError", "compare", "evaluate", "load_policy", "load_saved",
    "load_settings", "named_task", "open_engine", "save_policy", "supervised_start", "train", "verify",
]  # fmt: skip

try:
    __version__ = version("reinforce-lite")
except PackageNotFoundError:  # a source tree that was never installed
    __version__ = "0.0.0"


def __getattr__(name: str) -> Any:
    """A name of `__all__`, from its module, which is imported now."""
    if name not in _WHERE:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    module, _, there = _WHERE[name].partition(":")
    value = globals()[name] = getattr(import_module(f"{__name__}.{module}"), there or name)
    return value


def __dir__() -> list[str]:
    """What there is, loaded or not."""
    return sorted({*globals(), *__all__})
