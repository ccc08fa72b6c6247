"""Trackers: one file each, all with `scalars`, `event`, `images` and `close`. One that fails never stops a training."""

from collections.abc import Mapping, Sequence
from typing import NamedTuple, Protocol

from torch import Tensor

from ganloom.core.errors import StorageError
from ganloom.core.terminal import log

__all__ = ["Event", "Tracker", "Trackers"]


class Event(NamedTuple):
    """Something that happened once during a training, such as a verdict of the guard."""

    name: str  # short, such as "mode collapse"
    text: str  # a sentence for people
    evidence: Mapping[str, float]  # the numbers behind it


class Tracker(Protocol):
    """Records a training. `nimg` is the number of training images shown so far."""

    def scalars(self, nimg: int, values: Mapping[str, float]) -> None:
        """Losses, scores and other numbers of one moment, by column name; a value may be NaN or infinite."""

    def event(self, nimg: int, event: Event) -> None:
        """Something that happened once."""

    def images(
        self,
        nimg: int,
        name: str,
        picture: Tensor,  # uint8 [C, H, W]
    ) -> None:
        """A grid of images: `samples`, which are generated, or, once, `reals`, the first training images."""

    def close(self) -> None:
        """The training has ended: flush what is not written yet."""


class Trackers:
    """Several trackers as one. One that raises is reported with a warning and called no more.

    Only `StorageError` is raised to the caller: a full disk concerns the training's own files too.
    """

    def __init__(self, trackers: Sequence[Tracker]) -> None:
        self._active = list(trackers)

    def scalars(self, nimg: int, values: Mapping[str, float]) -> None:
        self._call("scalars", nimg, values)

    def event(self, nimg: int, event: Event) -> None:
        self._call("event", nimg, event)

    def images(self, nimg: int, name: str, picture: Tensor) -> None:
        self._call("images", nimg, name, picture)

    def close(self) -> None:
        self._call("close")

    def _call(self, method: str, *arguments: object) -> None:
        full: StorageError | None = None  # raised when all have been called: one must not keep another from closing
        for tracker in list(self._active):
            try:
                getattr(tracker, method)(*arguments)
            except StorageError as error:
                full = full or error
            except Exception as error:
                self._active.remove(tracker)
                name = type(tracker).__name__
                log.warning(f"{name} failed ({error}); training continues without it.")
        if full is not None:
            raise full
