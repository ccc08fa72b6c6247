"""Trackers: one file each, all with `scalars`, `event`, `images` and `close`. One that fails never stops a training."""

from collections.abc import Mapping, Sequence
from typing import NamedTuple, Protocol

from torch import Tensor

from ganloom.core.errors import StorageError
from ganloom.core.terminal import log

__all__ = ["Event", "Tracker", "Trackers"]


class Event(NamedTuple):
    """Something that happened once, in words, and the numbers that show it."""

    name: str
    text: str
    evidence: Mapping[str, float]


class Tracker(Protocol):
    """Hears of a training."""

    def scalars(self, nimg: int, values: Mapping[str, float]) -> None: ...

    def event(self, nimg: int, event: Event) -> None: ...

    def images(
        self,
        nimg: int,
        name: str,
        picture: Tensor,  # uint8 [C, H, W]
    ) -> None: ...

    def close(self) -> None: ...


class Trackers:
    """Several trackers as one. One that fails is told of once, and left out from then on.

    A full disk alone is passed on: the training's own files share it.
    """

    def __init__(self, trackers: Sequence[Tracker]) -> None:
        self._active = list(trackers)

    def scalars(self, nimg: int, values: Mapping[str, float]) -> None:
        self._tell("scalars", nimg, values)

    def event(self, nimg: int, event: Event) -> None:
        self._tell("event", nimg, event)

    def images(self, nimg: int, name: str, picture: Tensor) -> None:
        self._tell("images", nimg, name, picture)

    def close(self) -> None:
        self._tell("close")

    def _tell(self, method: str, *arguments: object) -> None:
        for tracker in list(self._active):
            try:
                getattr(tracker, method)(*arguments)
            except StorageError:
                raise
            except Exception as error:
                self._active.remove(tracker)
                name = type(tracker).__name__
                log.warning(f"{name} failed ({error}); training continues without it.")
