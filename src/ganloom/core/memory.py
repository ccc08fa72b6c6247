"""How much memory there is, and how much a step takes."""

import re
import weakref
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import torch
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves

__all__ = ["Counter", "free_memory", "is_out_of_memory"]


def is_out_of_memory(error: BaseException) -> bool:
    """Whether torch says that memory does not suffice, in the words of CUDA, of MPS or of the CPU."""
    words = ("out of memory", "can't allocate memory")
    return isinstance(error, torch.OutOfMemoryError) or (
        isinstance(error, RuntimeError) and any(part in str(error) for part in words)
    )


def free_memory(proc: Path = Path("/proc"), cgroup: Path = Path("/sys/fs/cgroup")) -> int | None:
    """Bytes that this process may still ask for before the system begins to kill; None where nobody says."""
    try:
        found = re.search(r"^MemAvailable:\s+(\d+) kB$", (proc / "meminfo").read_text(), re.MULTILINE)
    except OSError:
        return None  # no Linux
    free = [int(found[1]) * 1024] if found else []
    # A container's own limit: of version 2, and of version 1.
    for most, used, folder in (
        ("memory.max", "memory.current", cgroup),
        ("memory.limit_in_bytes", "memory.usage_in_bytes", cgroup / "memory"),
    ):
        try:
            cached = re.search(r"^(?:total_)?inactive_file (\d+)$", (folder / "memory.stat").read_text(), re.MULTILINE)
            given_back = int(cached[1]) if cached else 0  # files that were read: it goes when others want it
            free.append(int((folder / most).read_text()) - int((folder / used).read_text()) + given_back)
        except (OSError, ValueError):
            continue  # there is none, or it is "max"
    return max(0, min(free)) if free else None


class Counter(TorchDispatchMode):  # type: ignore[no-untyped-call]
    """While entered, counts the bytes of tensors that come into being and are gone again.

    What a kernel needs for itself is not seen: of what was looked at, about a third more at most (test_fitting.py).
    """

    def __init__(self) -> None:
        super().__init__()  # type: ignore[no-untyped-call]
        self.most = 0  # at once
        self._now = 0
        self._alive: dict[int, weakref.ref[torch.UntypedStorage]] = {}

    def __torch_dispatch__(
        self, func: Any, types: Sequence[type], args: tuple[Any, ...] = (), kwargs: Mapping[str, Any] | None = None
    ) -> Any:
        for leaf in tree_leaves((args, kwargs)):
            if isinstance(leaf, torch.Tensor):
                self._watch(leaf.untyped_storage(), 0)  # unless it is known, it was there before
        result = func(*args, **(kwargs or {}))
        for leaf in tree_leaves(result):
            if isinstance(leaf, torch.Tensor):
                # A view takes nothing; without content, of a weight with content, it seems to.
                self._watch(leaf.untyped_storage(), 0 if func.is_view else leaf.untyped_storage().nbytes())
        return result

    def _watch(self, storage: torch.UntypedStorage, size: int) -> None:
        key = storage._cdata
        if key in self._alive:
            return
        self._now += size
        self.most = max(self.most, self._now)

        def gone(_: object) -> None:
            self._now -= size
            del self._alive[key]

        self._alive[key] = weakref.ref(storage, gone)
