"""A tracker in its own thread, so that no training waits for a server that is slow or never answers."""

import queue
import threading
from collections.abc import Callable, Mapping
from typing import Generic, NoReturn, TypeVar

from torch import Tensor

from ganloom.tracking import Event, Tracker

__all__ = ["BackgroundTracker"]

CLOSE_SECONDS = 45.0  # to wait for the tracker after the training; longer than any timeout of a tracker itself
MAX_QUEUED_CALLS = 1000  # more would take memory from the training

T = TypeVar("T", bound=Tracker)


class BackgroundTracker(Generic[T]):
    """Creates a tracker in a thread and forwards every call to it, in order.

    `make` creates it, `made` is called with it once it exists. An exception of the tracker is raised by the next call,
    as a `RuntimeError` that ends in what `remedy` returns for the tracker (or for None, if it was never created). The
    thread is a daemon: a tracker that hangs does not keep the process alive.
    """

    def __init__(self, make: Callable[[], T], made: Callable[[T], None], remedy: Callable[[T | None], str]) -> None:
        self._make, self._made, self._remedy = make, made, remedy
        self._calls: queue.SimpleQueue[tuple[str, tuple[object, ...]]] = queue.SimpleQueue()
        self._tracker: T | None = None
        self._error: BaseException | None = None
        self._given_up = False
        self._thread = threading.Thread(target=self._work, name=type(self).__name__, daemon=True)
        self._thread.start()

    def scalars(self, nimg: int, values: Mapping[str, float]) -> None:
        self._forward("scalars", nimg, values)

    def event(self, nimg: int, event: Event) -> None:
        self._forward("event", nimg, event)

    def images(self, nimg: int, name: str, picture: Tensor) -> None:
        self._forward("images", nimg, name, picture)

    def close(self) -> None:
        """Wait until every call has been forwarded, for at most `CLOSE_SECONDS`."""
        self._calls.put(("close", ()))
        self._thread.join(CLOSE_SECONDS)
        if self._thread.is_alive():
            self._give_up(f"no answer within {CLOSE_SECONDS:g} s after the end of the training")
        self._raise()

    def _forward(self, method: str, *arguments: object) -> None:
        self._raise()
        if self._calls.qsize() >= MAX_QUEUED_CALLS:
            self._give_up(f"no answer while {MAX_QUEUED_CALLS} calls wait")
        self._calls.put((method, arguments))

    def _raise(self) -> None:
        if self._error is not None:
            self._give_up(str(self._error) or repr(self._error))

    def _give_up(self, why: str) -> NoReturn:
        self._given_up = True
        raise RuntimeError(f"{why}; {self._remedy(self._tracker)}") from self._error

    def _work(self) -> None:
        try:
            self._tracker = tracker = self._make()
            if not self._given_up:  # else its failure has been reported already
                self._made(tracker)
            method = ""
            while method != "close":
                method, arguments = self._calls.get()
                getattr(tracker, method)(*arguments)
        except BaseException as error:  # SystemExit too, which would end this thread silently
            self._error = error
