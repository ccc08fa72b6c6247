"""Work on many items at once, and the results in the items' order."""

import warnings
from collections import deque
from collections.abc import Callable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from typing import TypeVar

from ganloom.data.sources import Item

__all__ = ["in_order"]

Result = TypeVar("Result")

IN_FLIGHT = 8  # items a worker: enough to keep all cores busy; archives hold the whole file of each in memory


def in_order(items: Iterator[Item], work: Callable[[Item], Result], workers: int) -> Iterator[tuple[Item, Result]]:
    """Every item with what `work` makes of it. Threads are enough: Pillow lets go of Python's lock as it works."""
    waiting: deque[tuple[Item, Future[Result]]] = deque()
    with ThreadPoolExecutor(workers) as pool, warnings.catch_warnings():
        warnings.filterwarnings("ignore", module="PIL|pydicom")  # of damaged files, which are accounted for
        try:
            for item in items:
                waiting.append((item, pool.submit(work, item)))
                if len(waiting) == IN_FLIGHT * workers:
                    item, future = waiting.popleft()
                    yield item, future.result()
            while waiting:
                item, future = waiting.popleft()
                yield item, future.result()
        finally:
            pool.shutdown(cancel_futures=True)
