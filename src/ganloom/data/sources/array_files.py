"""Array files among each other: which hold masks of others, and the folders of those that are one image each.

The rules are those for image files (`masks.py`, `layout.py`).
"""

from collections.abc import Collection, Iterator, Mapping, Sequence
from pathlib import Path

import numpy as np

from ganloom.config import Reading
from ganloom.data.sources.contract import Remark
from ganloom.data.sources.layout import Layout, Place
from ganloom.data.sources.masks import FEW, MASK_WORDS, MAX_PIXELS, SAMPLE, find_masks
from ganloom.data.sources.npy import DAMAGED, Array
from ganloom.data.sources.parts import words
from ganloom.data.sources.splits import SHORT_WORDS, SPLIT_WORDS, enumeration

__all__ = ["Placed", "mask_files", "place_files"]

LABELS = {"label", "labels"}  # of arrays, these are classes and not masks


class Placed:
    """Where the folders put each of several files that are one image each."""

    def __init__(self, layout: Layout, top: Path) -> None:
        self.remarks: Sequence[Remark] = layout.remarks
        self.has_splits = len(layout.splits) > 1
        self.of: dict[Path, Place] = {top / place.path: place for place in layout}
        self._names = layout.class_names

    def label(self, path: Path) -> str | None:
        """The name of the class, "" for a file without one; None where there are no classes."""
        label = self.of[path].label
        return (self._names[label] if isinstance(label, int) else "") if self._names else None


def place_files(paths: Sequence[Path], top: Path, reading: Reading) -> Placed:
    """Splits and classes of files by their folders. Raises `DataError` where these can be understood in two ways."""
    return Placed(Layout([path.relative_to(top).as_posix() for path in paths], reading), top)


def mask_files(arrays: Mapping[Path, Array], top: Path) -> tuple[set[Path], list[Remark]]:
    """The files that hold segmentation masks of the images in others, and what to say of them.

    Either they are one image each, as `masks/1.npy` beside `images/1.npy`, or one for all, as `masks.npy` beside
    `images.npy`.
    """
    names = {path.relative_to(top).as_posix(): array for path, array in arrays.items()}

    def read(paths: Collection[str], limit: int) -> Iterator[tuple[str, Array]]:
        yield from ((path, names[path]) for path in paths)

    found = [path for paths in find_masks(list(names), read, _has_few_values).values() for path in paths]
    masks = {top / path for path in found} | set(_of_stacks(arrays))
    if not masks or len(masks) == len(arrays):
        return set(), []
    said = f"{enumeration({path.name for path in masks})} are left out: they are segmentation masks of the other images"
    return masks, [Remark("masks", f"{said} (same names or shapes, few different values); to take them: --keep-masks")]


def _of_stacks(arrays: Mapping[Path, Array]) -> Iterator[Path]:
    """Files of many masks, beside a file with as many images of their size."""
    named = {path for path in arrays if _is_named_mask(path)}
    for path in named:
        shape = arrays[path].shape
        partners = (
            other
            for other, array in arrays.items()
            if other.parent == path.parent and other not in named and len(shape) > 2 and array.shape[:3] == shape[:3]
        )
        if any(partners) and _has_few_values(arrays[path]):
            yield path


def _is_named_mask(path: Path) -> bool:
    said = set(words(path.stem)) - SPLIT_WORDS.keys() - SHORT_WORDS.keys()
    return bool(said & (MASK_WORDS - LABELS))


def _has_few_values(array: Array) -> bool | None:
    """Whether some rows have as few values as masks. None if they cannot be read."""
    if np.prod(array.shape[1:], dtype=np.float64) > MAX_PIXELS:
        return None
    values: set[float] = set()
    size = 0
    try:
        for row in array.some(SAMPLE):
            values.update(np.unique(row).tolist())
            size = max(size, row.size)
    except DAMAGED:
        return None
    return len(values) <= min(FEW, max(2, size // 16))
