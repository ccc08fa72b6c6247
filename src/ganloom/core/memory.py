"""How much memory is free, and what to do where it does not suffice."""

import contextlib
import errno
import re
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TypeVar

from ganloom.core.errors import OutOfMemoryError

__all__ = ["Blocks", "check_memory", "free_memory", "is_out_of_memory", "memory_errors"]

Result = TypeVar("Result")
MESSAGES = ("out of memory", "can't allocate memory", "ALLOC_FAILED", "std::bad_alloc", "could not create a primitive")


def is_out_of_memory(error: BaseException) -> bool:
    """Whether an exception says that memory is exhausted: Python, numpy, the system, and torch on CUDA, MPS and the
    CPU each say it differently.
    """
    torch = sys.modules.get("torch")  # imported already if the error is one of torch
    return (
        isinstance(error, MemoryError)
        or (torch is not None and isinstance(error, torch.OutOfMemoryError))
        or (isinstance(error, RuntimeError) and any(message in str(error) for message in MESSAGES))
        or (isinstance(error, OSError) and error.errno == errno.ENOMEM)
    )


@contextlib.contextmanager
def memory_errors(doing: str, remedy: str) -> Iterator[None]:
    """Turn an exhausted memory into an `OutOfMemoryError` that says while `doing` what, why, and the remedy."""
    try:
        yield
    except Exception as error:
        if not is_out_of_memory(error):
            raise
        why = f" ({str(error).splitlines()[0]})" if str(error) else ""
        raise OutOfMemoryError(f"out of memory while {doing}{why}. {remedy}") from None


def check_memory(needed: int, what: str) -> None:
    """Raises `MemoryError` if `what` takes more bytes than are free. The remedy is known to `memory_errors` around it.

    Linux rarely refuses memory: it ends a process that uses too much.
    """
    free = free_memory()
    if free is not None and needed > free:
        raise MemoryError(f"{what} take {needed / 2**30:.3g} GiB, and {free / 2**30:.3g} GiB are free")


class Blocks:
    """Works through rows in blocks of at most `size`. Where memory runs out the size is halved, and stays so.

    >>> list(Blocks(3).over(7, lambda rows: (rows.start, rows.stop)))
    [(0, 3), (3, 6), (6, 7)]
    """

    def __init__(self, size: int) -> None:
        self.size = size

    def over(self, count: int, work: Callable[[slice], Result]) -> Iterator[Result]:
        """The result of `work` for each block of `count` rows, in order.

        A block that fails is done again in halves, so `work` may change nothing. Raises the error of a single row.
        """
        start = 0
        while start < count:
            rows = slice(start, min(start + self.size, count))
            try:
                result = work(rows)
            except Exception as error:
                length = rows.stop - rows.start
                if length == 1 or not is_out_of_memory(error):
                    raise
                self.size = (length + 1) // 2
                continue  # leaving `except` frees what the traceback holds
            yield result
            start = rows.stop
            del result


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
