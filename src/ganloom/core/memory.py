"""How much memory is free, and how much a piece of code needs."""

import re
import weakref
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import torch
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves

__all__ = ["AllocationCounter", "free_memory", "is_out_of_memory"]


def is_out_of_memory(error: BaseException) -> bool:
    """Whether an exception is torch's out-of-memory error: CUDA, MPS and the CPU each word it differently."""
    messages = ("out of memory", "can't allocate memory")
    return isinstance(error, torch.OutOfMemoryError) or (
        isinstance(error, RuntimeError) and any(message in str(error) for message in messages)
    )


def free_memory(proc: Path = Path("/proc"), cgroup: Path = Path("/sys/fs/cgroup")) -> int | None:
    """Bytes this process can still allocate before Linux kills it for memory; None on other systems."""
    try:
        found = re.search(r"^MemAvailable:\s+(\d+) kB$", (proc / "meminfo").read_text(), re.MULTILINE)
    except OSError:
        return None  # not Linux
    free = [int(found[1]) * 1024] if found else []
    # A container may have a lower limit: cgroup version 2, then version 1.
    for limit, used, folder in (
        ("memory.max", "memory.current", cgroup),
        ("memory.limit_in_bytes", "memory.usage_in_bytes", cgroup / "memory"),
    ):
        try:
            cached = re.search(r"^(?:total_)?inactive_file (\d+)$", (folder / "memory.stat").read_text(), re.MULTILINE)
            reclaimable = int(cached[1]) if cached else 0  # the file cache, which the kernel frees on demand
            free.append(int((folder / limit).read_text()) - int((folder / used).read_text()) + reclaimable)
        except (OSError, ValueError):
            continue  # there is no limit, or it is "max"
    return max(0, min(free)) if free else None


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
