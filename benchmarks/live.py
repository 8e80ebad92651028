"""Bytes that tensors hold, seen by a hook on every tensor that is made: a peak where no allocator tells one."""

import weakref
from typing import Any

import torch
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves


class Live(TorchDispatchMode):
    """Counts the bytes of all storages that are made inside it, while they live.

    Attributes:
        bytes: now.
        peak: the most there were.
    """

    def __init__(self) -> None:
        super().__init__()
        self.bytes = self.peak = 0
        self._known: set[int] = set()

    def __torch_dispatch__(self, function: Any, types: Any, arguments: Any = (), keywords: Any = None) -> Any:
        """Call the function and look at what it made."""
        made = function(*arguments, **(keywords or {}))
        for tensor in tree_leaves(made):
            if isinstance(tensor, torch.Tensor):
                self._count(tensor.untyped_storage())
        return made

    def restart(self) -> None:
        """Forget the peak so far."""
        self.peak = self.bytes

    def _count(self, storage: torch.UntypedStorage) -> None:
        if id(storage) in self._known:  # torch keeps one object for each storage
            return
        self._known.add(id(storage))
        self.bytes += storage.nbytes()
        self.peak = max(self.peak, self.bytes)
        weakref.finalize(storage, self._gone, id(storage), storage.nbytes())

    def _gone(self, name: int, size: int) -> None:
        self._known.discard(name)
        self.bytes -= size
