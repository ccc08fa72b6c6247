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
CHUNK = 4  # items that a thread takes at once: handing over a tiny image costs more than processing it


def in_order(items: Iterator[Item], work: Callable[[Item], Result], workers: int) -> Iterator[tuple[Item, Result]]:
    """Every item with the result of `work`, in order. Threads are enough, because Pillow releases the GIL."""

    def work_on(chunk: list[Item]) -> list[tuple[Item, Result]]:
        done = []
        for item in chunk:
            with memory_errors(f"reading {item.name}", FEWER):
                done.append((item, work(item)))
        return done

    waiting: deque[Future[list[tuple[Item, Result]]]] = deque()
    with ThreadPoolExecutor(workers) as pool, warnings.catch_warnings():
        warnings.filterwarnings("ignore", module="PIL|pydicom")  # about damaged files, which the caller lists
        try:
            while chunk := list(islice(items, CHUNK)):
                waiting.append(pool.submit(work_on, chunk))
                if len(waiting) * CHUNK > IN_FLIGHT * workers:
                    yield from waiting.popleft().result()
            while waiting:
                yield from waiting.popleft().result()
        finally:
            pool.shutdown(cancel_futures=True)
