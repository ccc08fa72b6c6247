"""How much memory a piece of code needs."""

import weakref
from collections.abc import Mapping, Sequence
from typing import Any

import torch
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves

__all__ = ["AllocationCounter"]


class AllocationCounter(TorchDispatchMode):  # type: ignore[no-untyped-call]
    """While entered, counts the bytes of the tensors that are created and freed. `peak` is the highest sum.

    It does not see the workspace of kernels, which adds at most about a third (tests/session/test_fit_memory.py).
    """

    def __init__(self) -> None:
        super().__init__()  # type: ignore[no-untyped-call]
        self.peak = 0  # bytes
        self._now = 0
        self._alive: dict[int, weakref.ref[torch.UntypedStorage]] = {}

    def __torch_dispatch__(
        self, func: Any, types: Sequence[type], args: tuple[Any, ...] = (), kwargs: Mapping[str, Any] | None = None
    ) -> Any:
        for leaf in tree_leaves((args, kwargs)):
            if isinstance(leaf, torch.Tensor):
                self._watch(leaf.untyped_storage(), 0)  # unless counted already, it existed before: no new bytes
        result = func(*args, **(kwargs or {}))
        for leaf in tree_leaves(result):
            if isinstance(leaf, torch.Tensor):
                # A view needs no memory. A fake view of a real weight has a storage of its own, so it must be excluded.
                self._watch(leaf.untyped_storage(), 0 if func.is_view else leaf.untyped_storage().nbytes())
        return result

    def _watch(self, storage: torch.UntypedStorage, size: int) -> None:
        key = storage._cdata
        if key in self._alive:
            return
        self._now += size
        self.peak = max(self.peak, self._now)

        def freed(_: object) -> None:
            self._now -= size
            del self._alive[key]

        self._alive[key] = weakref.ref(storage, freed)
