"""What a loop is measured on: a trained policy with its task, or random weights of a real shape."""

import argparse
import copy
import random
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import torch
from record import ROOT, policy_arguments
from shapes import SHAPES, build, word

from reinforce_lite.config import Training
from reinforce_lite.config import load as load_config
from reinforce_lite.experiment.rehearsal import few_problems
from reinforce_lite.io.files import read_json
from reinforce_lite.policy import Policy
from reinforce_lite.policy.load import load, prepare_torch
from reinforce_lite.tasks import Problem, Task, named


@dataclass(frozen=True)
class World:
    """One start for every loop.

    Attributes:
        name: of the model.
        policy: the start. It waits on the CPU, so that the peak of a loop is the loop's own.
        device: where the loops run.
        problems: as many as a whole number of steps takes.
        task: it puts the problems, and grades the answers.
        prompt: name of the prompt.
        training: the step.
        usd_per_hour: price of the machine; None if none is given.
    """

    name: str
    policy: Policy
    device: str
    problems: list[Problem]
    task: Task[Any]
    prompt: str
    training: Training
    usd_per_hour: float | None

    def fresh(self) -> Policy:
        """The start once more, on the device; each weight goes there without a second copy on the CPU."""
        model = self.policy.model
        there: dict[int, torch.Tensor] = {
            id(weight): torch.nn.Parameter(weight.detach().to(self.device, copy=True), weight.requires_grad)
            for weight in model.parameters()
        }
        there |= {id(buffer): buffer.to(self.device, copy=True) for buffer in model.buffers()}
        return replace(self.policy, model=copy.deepcopy(model, there))

    @property
    def batch(self) -> int:
        """Completions of a step."""
        return self.training.questions_per_step * self.training.group_size


@dataclass(frozen=True)
class Size:
    """One step on random weights."""

    questions: int
    group: int
    prompt: int
    length: int


# 128 tokens at the 3B shapes: half a minute for a question of the published loop.
SIZES = {"3b": Size(8, 10, 128, 128), "small": Size(2, 8, 8, 16)}


@contextmanager
def own_mode(ours: bool) -> Iterator[None]:
    """Inside, ours runs as the product has set torch up; theirs, which promises no determinism, does not pay for it."""
    before = torch.are_deterministic_algorithms_enabled()
    torch.use_deterministic_algorithms(before and ours, warn_only=True)
    try:
        yield
    finally:
        torch.use_deterministic_algorithms(before, warn_only=True)


def device() -> str:
    """The GPU if there is one."""
    return "cuda" if torch.cuda.is_available() else "cpu"


def of_policy(folder: Path, configs: Sequence[Path]) -> World:
    """The policy that fetch_policy wrote, on the questions of its configuration, which are taken in order."""
    config = load_config([ROOT / "config/config.yaml", *configs])
    prepare_torch(config.hardware)
    model = read_json(folder / "policy.json")["model"]
    policy = load(folder, config.policies[model], "cpu")
    training = Training.model_validate({**config.variant("leave_one_out").model_dump(), "shuffle": False})
    problems = few_problems(config).train
    whole = len(problems) - len(problems) % training.questions_per_step
    price = config.hardware.usd_per_hour * config.hardware.count
    task, prompt = named(config.task.name), config.task.prompt
    return World(model, policy, config.hardware.device, problems[:whole], task, prompt, training, price)


def of_numbers(name: str, policy: Policy, size: Size, engine: str = "generate") -> World:
    """Random prompts, forced lengths, and a coin for a reward, so that there is a gradient.

    The weights take their steps as `nearest` rounds them, which is what other libraries do with weights of 16 bits.
    With `generate`, any number of trainings run in one process; vLLM can be opened in it once.
    """
    where, dice = device(), random.Random(0)
    vocabulary = policy.model.config.vocab_size
    problems = [
        Problem(f"random-{i}", " ".join(word(dice.randrange(vocabulary)) for _ in range(size.prompt)), "0")
        for i in range(4 * size.questions)
    ]
    training = Training.model_validate(
        {"steps": 1, "questions_per_step": size.questions, "group_size": size.group, "max_new_tokens": size.length,
         "reward": "random", "learning_rate": 1e-6, "weights": "nearest", "shuffle": False, "engine": engine,
         "rollout_batch": min(256, size.questions * size.group)}
    )  # fmt: skip
    policy.model.to("cpu")
    return World(name, policy, where, problems, named("gsm8k"), "bare", training, None)


def arguments(description: str | None, output: str) -> argparse.ArgumentParser:
    """A world by --policy and --config, or by --shape."""
    parser = policy_arguments(description, output, required=False)
    parser.add_argument("--shape", choices=SHAPES, help="random weights of this shape instead of a policy")
    return parser


def chosen(parser: argparse.ArgumentParser, engine: str = "generate") -> tuple[argparse.Namespace, World]:
    """The arguments, and the world that they name; with random weights, this engine writes."""
    given = parser.parse_args()
    if given.shape:
        name, shape = next(iter(SHAPES[given.shape].items()))
        return given, of_numbers(name, build(shape, device()), SIZES[given.shape], engine)
    if given.policy is None or given.config is None:
        parser.error("give --policy and --config, or --shape")
    return given, of_policy(given.policy, given.config)
