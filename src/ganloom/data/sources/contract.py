"""The contract of a source of images: what it has and what its items are."""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import IO, NamedTuple, Protocol

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from ganloom.data.sources.salvage import without_long_text

__all__ = [
    "MAX_CLASSES",
    "SPLITS",
    "Item",
    "Label",
    "Opener",
    "RefusedError",
    "Remark",
    "Source",
    "open_image",
    "refused",
    "stamp",
]

SPLITS = ("train", "val", "test")
MAX_CLASSES = 100_000
FORMATS = ("AVIF", "BMP", "GIF", "JPEG", "JPEG2000", "PNG", "PPM", "TGA", "TIFF", "WEBP")
"""The formats that are decoded. Pillow has more, but runs other programs for some: Ghostscript for EPS."""

Label = int | NDArray[np.float32] | None  # class number, shares of K classes, or no label
Opener = Callable[[], Image.Image]  # raises OSError for a file that cannot be read; called from any thread


class Remark(NamedTuple):
    """How files were read where that was not obvious: one line for the user."""

    topic: str  # one word, such as "splits" or "masks"
    text: str  # what was taken, why, and the setting that changes it


@dataclass(frozen=True)
class Item:
    """One image that is not opened yet."""

    name: str  # shown to the user: a path relative to the source
    split: str  # one of SPLITS
    label: Label
    open: Opener
    group: str | None = None  # images of one group, such as one patient's, stay on one side of the hold-out
    frame: int | None = None  # which frame of its file it is; None: the first, or the only one
    held: int = 0  # bytes of memory that it takes while it waits to be opened


class Source(Protocol):
    """Images with a name, class names, and a fingerprint that changes when they change."""

    @property
    def name(self) -> str: ...  # short, valid as the name of a folder

    @property
    def class_names(self) -> Sequence[str]: ...  # empty without labels

    @property
    def splits(self) -> Sequence[str]: ...  # those of SPLITS that have images

    @property
    def count(self) -> int | None: ...  # number of items; None if it is known only after iterating

    @property
    def remarks(self) -> Sequence[Remark]: ...  # how files were read

    @property
    def ignored(self) -> int: ...  # files that are not images, masks, or second copies of the splits

    def fingerprint(self) -> Iterator[str]: ...  # lines that are quick to compute: names, sizes and times, not contents

    def items(self) -> Iterator[Item]: ...  # always in the same order


def open_image(file: Path | IO[bytes]) -> Image.Image:
    """Open an image, whose format is detected from its content. Raises what Pillow raises."""
    try:
        return Image.open(file, formats=_formats())
    except ValueError as error:
        if (content := without_long_text(file, error)) is None:
            raise
        return Image.open(content, formats=_formats())


@cache
def _formats() -> list[str]:
    """The FORMATS that this build of Pillow supports: AVIF may be missing."""
    Image.init()
    return [name for name in FORMATS if name in Image.OPEN]


def stamp(path: Path, name: str | None = None) -> str:
    """A line for a fingerprint that changes when the file changes: `name` or else the full path, size and time."""
    status = path.stat()
    return f"{name or path.resolve()}\t{status.st_size}\t{status.st_mtime_ns}"


class RefusedError(OSError):
    """Raised by an item that must not be opened. Its text is the whole reason."""


def refused(reason: str) -> Opener:
    """An `open` for an item that must not be opened: `prepare` lists it as skipped, with this reason."""

    def refuse() -> Image.Image:
        raise RefusedError(reason)

    return refuse
