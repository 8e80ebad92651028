"""Data-parallel training: several processes with a device each take one step together, started by Accelerate.

Each writes the completions of its share of the questions and gets those of the others, then pushes its share of the
rows; gradients are added up before the norm is clipped. The step is that of a single process but for the order of the
sum. The first process keeps ledger, checkpoints and results, and decides when a training ends. In a single process,
every function here returns its argument.
"""

import os
from collections import abc
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from functools import cache
from pathlib import Path
from typing import Any, TypeVar

import torch

from reinforce_lite.errors import UserError
from reinforce_lite.learning import checkpoint
from reinforce_lite.learning.progress import Keeper, Progress
from reinforce_lite.policy import Policy

Item = TypeVar("Item")
Sized = TypeVar("Sized", bound=abc.Sized)


def processes() -> int:
    """How many take a step together, by the launcher's environment."""
    return int(os.environ.get("WORLD_SIZE", "1"))


@cache
def _state() -> Any:
    """Accelerate's state; the first call joins the processes."""
    from accelerate import PartialState
    from accelerate.utils import parse_flag_from_env

    state = PartialState(cpu=parse_flag_from_env("ACCELERATE_USE_CPU"))
    if state.num_processes != processes():
        raise UserError(
            f"{processes()} processes were launched, and {state.num_processes} have joined",
            "start them with accelerate launch --multi_gpu --num_processes N (on a CPU with ACCELERATE_USE_CPU=true)",
        )
    return state


def first() -> bool:
    """Whether this is the process that writes."""
    return int(os.environ.get("RANK", "0")) == 0


def device(kind: str) -> str:
    """Where the tensors of this process live: its own GPU if there are several.

    >>> device("cpu")
    'cpu'
    """
    return kind if processes() == 1 or kind == "cpu" else str(_state().device)


@contextmanager
def leading() -> Iterator[None]:
    """Around all that the first process does: if it leaves before it invites the others, they leave too."""
    try:
        yield
    except SystemExit:
        _let_go()
        raise
    _let_go()  # a training of no steps needs nobody


def _let_go() -> None:
    if not _invited:
        agree(False)


_invited: list[bool] = []


def invite() -> None:
    """Let the other processes begin: the first one may spend."""
    agree(True)
    _invited.append(True)


def invited() -> bool:
    """Whether another process than the first has anything to do; waits until the first one knows."""
    return agree(False)


def share(items: Sequence[Item]) -> list[Item]:
    """This process' part; in the order of the processes the parts are the whole."""
    if processes() == 1:
        return list(items)
    with _state().split_between_processes(list(items)) as part:
        return list(part)


def share_evenly(items: Sequence[Sized]) -> list[Sized]:
    """This process' part, such that each has about as many long ones as the others."""
    if processes() == 1:
        return list(items)
    return sorted(items, key=len, reverse=True)[int(os.environ["RANK"]) :: processes()]


def gather(part: list[Item]) -> list[Item]:
    """The parts of all processes, one after the other; the same everywhere."""
    if processes() == 1:
        return part
    from accelerate.utils import gather_object

    _state()
    return list(gather_object(part))


def agree(value: Item) -> Item:
    """The value of the first process."""
    if processes() == 1:
        return value
    from accelerate.utils import broadcast_object_list

    _state()
    return broadcast_object_list([value])[0]


def agreed(stop: Callable[[int], str | None]) -> Callable[[int], str | None]:
    """The first process' rule for ending a training early, for all."""
    return lambda completed: agree(stop(completed) if first() else None)


def add_up(values: Sequence[float]) -> list[float]:
    """The sum over all processes, number by number."""
    if processes() == 1:
        return list(values)
    sums = torch.tensor(values, dtype=torch.float64, device=_state().device)
    torch.distributed.all_reduce(sums)
    return sums.tolist()


def add_up_gradients(model: Any) -> None:
    """Replace every gradient by its sum over all processes; one that had no rows adds zeros."""
    if processes() == 1:
        return
    _state()
    for weight in model.parameters():
        if weight.requires_grad:
            weight.grad = torch.zeros_like(weight) if weight.grad is None else weight.grad
            torch.distributed.all_reduce(weight.grad)


class Leader(Progress):
    """The Keeper of the first process: it sends the others the step at which a training resumes."""

    @contextmanager
    def resumed(self, policy: Policy, optimizer: torch.optim.Optimizer) -> Iterator[int]:
        """See `Keeper.resumed`."""
        with super().resumed(policy, optimizer) as completed:
            agree((completed, self.rows()))
            yield completed


class Follower(Keeper):
    """The Keeper of the other processes: it reads the first one's checkpoints from `folder`, and writes nothing."""

    def __init__(self, folder: Path) -> None:
        super().__init__()
        self._folder = folder

    @contextmanager
    def resumed(self, policy: Policy, optimizer: torch.optim.Optimizer) -> Iterator[int]:
        """See `Keeper.resumed`."""
        completed, self._rows = agree((0, []))
        if completed:
            checkpoint.read(checkpoint.path_of(self._folder, completed)).restore(policy.model, optimizer)
        yield completed
