"""What a source gives."""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import IO, Protocol

import numpy as np
from numpy.typing import NDArray
from PIL import Image

__all__ = ["MOST_CLASSES", "SPLITS", "Item", "Label", "RefusedError", "Source", "open_image", "refused", "stamp"]

SPLITS = ("train", "val", "test")
MOST_CLASSES = 100_000
FORMATS = ("AVIF", "BMP", "GIF", "JPEG", "JPEG2000", "PNG", "PPM", "TGA", "TIFF", "WEBP")
"""What is decoded. Pillow knows more, and starts other programs for some of it: Ghostscript for EPS."""

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
    def ignored(self) -> int: ...  # files that are no images, or second copies of the splits

    def fingerprint(self) -> Iterator[str]: ...  # cheap: names, sizes and times, no contents

    def items(self) -> Iterator[Item]: ...  # always in the same order


def open_image(file: Path | IO[bytes]) -> Image.Image:
    """Open an image by its content, whatever it is called. Raises what Pillow raises."""
    return Image.open(file, formats=_formats())


@cache
def _formats() -> list[str]:
    """Those that this build of Pillow has: AVIF may be missing."""
    Image.init()
    return [name for name in FORMATS if name in Image.OPEN]


def stamp(path: Path, name: str | None = None) -> str:
    """A line for a fingerprint: it changes when the file does. The name is the full path unless it is given."""
    status = path.stat()
    return f"{name or path.resolve()}\t{status.st_size}\t{status.st_mtime_ns}"


class RefusedError(OSError):
    """What an item that will not be opened raises: the reason, in full."""


def refused(reason: str) -> Callable[[], Image.Image]:
    """The `open` of an item that will not be opened; preparation lists it as skipped, with this reason."""

    def refuse() -> Image.Image:
        raise RefusedError(reason)

    return refuse
