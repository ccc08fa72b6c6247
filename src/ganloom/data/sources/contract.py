"""What a source gives."""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Protocol

import numpy as np
from numpy.typing import NDArray
from PIL import Image

__all__ = ["SPLITS", "Item", "Label", "RefusedError", "Source", "refused"]

SPLITS = ("train", "val", "test")

Label = int | NDArray[np.float32] | None  # a class, how much of each of K classes, or none


@dataclass(frozen=True)
class Item:
    """One image, not yet opened."""

    name: str  # where it comes from, for people: a path relative to the source
    split: str  # one of SPLITS
    label: Label
    open: Callable[[], Image.Image]  # may raise OSError for a file that cannot be read; called from any thread


class Source(Protocol):
    """A set of images with a name, class names and a fingerprint that changes when they do."""

    @property
    def name(self) -> str: ...  # short, fit for a folder's name

    @property
    def class_names(self) -> Sequence[str]: ...  # empty without labels

    @property
    def splits(self) -> Sequence[str]: ...  # those of SPLITS that it has images in

    @property
    def count(self) -> int | None: ...  # items; None where only going through them tells

    @property
    def ignored(self) -> int: ...  # files that are no images

    def fingerprint(self) -> Iterator[str]: ...  # cheap: names, sizes and times, no contents

    def items(self) -> Iterator[Item]: ...  # always in the same order


class RefusedError(OSError):
    """What an item that will not be opened raises: the reason, in full."""


def refused(reason: str) -> Callable[[], Image.Image]:
    """The `open` of an item that will not be opened; preparation lists it as skipped, with this reason."""

    def refuse() -> Image.Image:
        raise RefusedError(reason)

    return refuse
