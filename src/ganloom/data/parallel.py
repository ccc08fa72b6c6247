"""Process many items in parallel and return the results in order."""

import warnings
from collections import deque
from collections.abc import Callable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from itertools import islice
from typing import TypeVar

from ganloom.core.memory import memory_errors
from ganloom.data.sources import Item

__all__ = ["FEWER", "in_order"]

Result = TypeVar("Result")

FEWER = "Use fewer --workers, or close other programs."  # the remedy for an exhausted memory
IN_FLIGHT = 8  # items per worker at a time; not more, since items of archives hold whole files in memory
HELD = 2**29  # bytes of all items that are in memory at a time, and of one more
CHUNK = 4  # items that a thread takes at once: handing over a tiny image costs more than processing it


def in_order(items: Iterator[Item], work: Callable[[Item], Result], workers: int) -> Iterator[tuple[Item, Result]]:
    """Every item with the result of `work`, in order. Threads are enough, because Pillow releases the GIL.

    No more items are taken ahead than `IN_FLIGHT` for each worker, and than are `HELD` in memory together.
    """

    def work_on(chunk: list[Item]) -> list[tuple[Item, Result]]:
        done = []
        for item in chunk:
            with memory_errors(f"reading {item.name}", FEWER):
                done.append((item, work(item)))
        return done

    waiting: deque[tuple[Future[list[tuple[Item, Result]]], int]] = deque()
    with ThreadPoolExecutor(workers) as pool, warnings.catch_warnings():
        warnings.filterwarnings("ignore", module="PIL|pydicom")  # about damaged files, which the caller lists
        try:
            while chunk := list(_chunk(items)):
                waiting.append((pool.submit(work_on, chunk), sum(item.held for item in chunk)))
                del chunk
                while waiting and (
                    len(waiting) * CHUNK > IN_FLIGHT * workers or sum(held for _, held in waiting) > HELD
                ):
                    yield from waiting.popleft()[0].result()
            while waiting:
                yield from waiting.popleft()[0].result()
        finally:
            pool.shutdown(cancel_futures=True)


def _chunk(items: Iterator[Item]) -> Iterator[Item]:
    """The next items for a thread; fewer where they are large."""
    held = 0
    for item in islice(items, CHUNK):
        yield item
        held += item.held
        if held > HELD // CHUNK:
            return
