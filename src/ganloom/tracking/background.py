"""A tracker in a thread of its own: it may talk to what is slow, or silent for ever, and no training waits for that."""

import queue
import threading
from collections.abc import Callable, Mapping
from typing import Generic, NoReturn, TypeVar

from torch import Tensor

from ganloom.tracking import Event, Tracker

__all__ = ["BackgroundTracker"]

CLOSE_SECONDS = 45.0  # after the end of a training; longer than any limit that a tracker keeps by itself
MOST_WAITING = 1000  # calls; memory is the training's

T = TypeVar("T", bound=Tracker)


class BackgroundTracker(Generic[T]):
    """Makes a tracker and passes on every call, in order. What it throws, the next call throws, with the remedy.

    The thread is a daemon: one that hangs does not keep the process alive.
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
        self._pass_on("scalars", nimg, values)

    def event(self, nimg: int, event: Event) -> None:
        self._pass_on("event", nimg, event)

    def images(self, nimg: int, name: str, picture: Tensor) -> None:
        self._pass_on("images", nimg, name, picture)

    def close(self) -> None:
        """Wait until all is passed on, but not for ever."""
        self._calls.put(("close", ()))
        self._thread.join(CLOSE_SECONDS)
        if self._thread.is_alive():
            self._give_up(f"no answer {CLOSE_SECONDS:g} s after the end, and nobody waits longer")
        self._raise()

    def _pass_on(self, method: str, *arguments: object) -> None:
        self._raise()
        if self._calls.qsize() >= MOST_WAITING:
            self._give_up(f"no answer while {MOST_WAITING} calls wait")
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
            if not self._given_up:  # nobody wants to hear of it any more
                self._made(tracker)
            method = ""
            while method != "close":
                method, arguments = self._calls.get()
                getattr(tracker, method)(*arguments)
        except BaseException as error:  # a SystemExit too would end this thread without a word
            self._error = error
