"""Work on many items at once, and the results in the items' order."""

import warnings
from collections import deque
from collections.abc import Callable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from itertools import islice
from typing import TypeVar

from ganloom.data.sources import Item

__all__ = ["in_order"]

Result = TypeVar("Result")

IN_FLIGHT = 8  # items a worker, at least: archives hold the whole file of each in memory
TOGETHER = 4  # items that a thread takes at once: with tiny images, handing them over costs more than the work


def in_order(items: Iterator[Item], work: Callable[[Item], Result], workers: int) -> Iterator[tuple[Item, Result]]:
    """Every item with what `work` makes of it. Threads are enough: Pillow lets go of Python's lock as it works."""

    def work_on(chunk: list[Item]) -> list[tuple[Item, Result]]:
        return [(item, work(item)) for item in chunk]

    waiting: deque[Future[list[tuple[Item, Result]]]] = deque()
    with ThreadPoolExecutor(workers) as pool, warnings.catch_warnings():
        warnings.filterwarnings("ignore", module="PIL|pydicom")  # of damaged files, which are accounted for
        try:
            while chunk := list(islice(items, TOGETHER)):
                waiting.append(pool.submit(work_on, chunk))
                if len(waiting) * TOGETHER > IN_FLIGHT * workers:
                    yield from waiting.popleft().result()
            while waiting:
                yield from waiting.popleft().result()
        finally:
            pool.shutdown(cancel_futures=True)
