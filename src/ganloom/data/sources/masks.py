"""Find segmentation masks among images: by their names, beside images of the same names, and by their few values."""

import io
from collections import defaultdict
from collections.abc import Callable, Collection, Iterable, Iterator, Sequence
from typing import TypeVar

import numpy as np
from numpy.typing import NDArray

from ganloom.data.sources.contract import open_image
from ganloom.data.sources.naming import stem, suffix, words
from ganloom.data.sources.splits import shared_folders

__all__ = ["FEW", "MASK_WORDS", "MAX_PIXELS", "SAMPLE", "find_masks", "has_few_values"]

MASK_WORDS = {
    "anno", "annos", "annot", "annotation", "annotations", "contour", "contours", "groundtruth", "gt", "gts", "label",
    "labels", "lesion", "lesions", "manual", "mask", "masks", "matte", "mattes", "roi", "rois", "seg", "segmap",
    "segmaps", "segmentation", "segmentations", "segs", "semantic", "silhouette", "silhouettes", "superpixels",
    "trimap", "trimaps",
}  # fmt: skip
PHOTO_SUFFIXES = {".jpe", ".jpeg", ".jpg"}  # a file of the same name, but not as a JPEG, may be its mask
SAMPLE = 8  # images of each group that are opened
MAX_GROUPS = 20  # of masks that are named alike; further ones are taken for images
MAX_BYTES = 32 * 2**20  # of a file that is opened
MAX_PIXELS = 40_000_000  # of an image that is opened
FEW = 32  # different values of a mask at most
PEAK, PEAKS, COVERED = 16, 3, 0.95  # a mask as a JPEG has this share of its pixels within 16 levels of 3 values
MIN_SHARE = 0.75  # of the sample must look like masks
MIN_PARTNERS = 0.5  # share of the masks that have an image of the same name

Key = tuple[str, ...]
"""The words and numbers of a file name, without those that say that it is a mask."""


Content = TypeVar("Content")
Read = Callable[[Collection[str], int], Iterator[tuple[str, Content]]]
"""Reads the first bytes of some files, in any order: (path, content)."""


def find_masks(
    images: Sequence[str], read: Read[Content], has_few_values: Callable[[Content], bool | None]
) -> dict[str, list[str]]:
    """The masks among images, by what their names have in common: a folder `masks/`, or an end such as `_mask`.

    A group of names counts only if half of it have an image of the same name, and if a sample has few different values;
    that sample is all that is read. `has_few_values` judges a content; None is no vote.
    """
    above = shared_folders({tuple(path.split("/")[:-1]) for path in images})
    groups: dict[str, list[str]] = defaultdict(list)
    rest = []
    photos = {_without_suffix(path) for path in images if suffix(path) in PHOTO_SUFFIXES}
    for path in images:
        is_beside = suffix(path) not in PHOTO_SUFFIXES and _without_suffix(path) in photos
        if group := _group(path, above) or (suffix(path) if is_beside else ""):
            groups[group].append(path)
        else:
            rest.append(path)
    if not groups:
        return {}
    partners = _Partners(rest)
    largest = sorted(groups, key=lambda group: -len(groups[group]))[:MAX_GROUPS]
    paired = {group: groups[group] for group in sorted(largest) if partners.share(groups[group]) >= MIN_PARTNERS}
    sample = {path: group for group, paths in paired.items() for path in paths[:: -(-len(paths) // SAMPLE)]}
    votes: dict[str, list[bool]] = defaultdict(list)
    for path, content in read(sample, MAX_BYTES) if sample else ():
        if (vote := has_few_values(content)) is not None:
            votes[sample[path]].append(vote)
    return {group: paths for group, paths in paired.items() if votes[group] and np.mean(votes[group]) >= MIN_SHARE}


def _without_suffix(path: str) -> str:
    return path[: len(path) - len(suffix(path))]


def _mask_word(names: Sequence[str]) -> int | None:
    """Where the words of a name say that it is a mask."""
    for index, word in enumerate(names):
        if word in MASK_WORDS or "".join(names[index : index + 2]) == "groundtruth":
            return index
    return None


def _lower(name: str) -> list[str]:
    return [word.lstrip("0") or "0" if word.isdecimal() else word.lower() for word in words(name)]


def _group(path: str, above: int) -> str:
    """The deepest folder that is named as one of masks, with its slash, or the word in the file name. Empty if none."""
    names = _lower(stem(path))
    index = _mask_word(names)
    if index is not None and len(names) > 1:
        return f"_{names[index]}" if index else f"{names[0]}_"
    folders = path.split("/")[above:-1]
    return next((f"{folder}/" for folder in reversed(folders) if _mask_word(_lower(folder)) is not None), "")


def _key(path: str) -> Key:
    names = _lower(stem(path))
    index = _mask_word(names)
    return tuple(names if index is None else names[:index] or names[index + 1 :])


class _Partners:
    """The images that masks may belong to, by their names."""

    def __init__(self, images: Iterable[str]) -> None:
        self._keys: set[Key] = set()
        self._starts: set[Key] = set()
        for path in images:
            key = _key(path)
            self._keys.add(key)
            self._starts |= {key[:length] for length in range(max(1, len(key) - 4), len(key))}

    def share(self, masks: Sequence[str]) -> float:
        """The share of masks with an image of the same name or one that begins like it: 1_hair of 1, a_gt of a_rgb."""
        return sum(map(self._has, masks)) / len(masks)

    def _has(self, path: str) -> bool:
        key = _key(path)
        return bool(key) and (
            key in self._keys or key in self._starts or any(key[:length] in self._keys for length in range(1, len(key)))
        )


def has_few_values(content: bytes) -> bool | None:
    """Whether an image has as few values as a mask. None if it cannot be opened."""
    try:
        with open_image(io.BytesIO(content)) as image:
            if image.width * image.height > MAX_PIXELS:
                return None
            is_lossy = image.format in ("JPEG", "WEBP", "JPEG2000", "AVIF")
            array = np.asarray(image.convert("L") if is_lossy else image)
    except Exception:  # damaged files raise nearly anything; `prepare` lists each of them
        return None
    if is_lossy:
        return _has_few_peaks(array)
    if array.ndim == 3:
        array = array.reshape(-1, array.shape[2]).astype(np.int64) @ (256 ** np.arange(array.shape[2]))
    return len(np.unique(array)) <= min(FEW, max(2, array.size // 16))


def _has_few_peaks(grey: NDArray[np.uint8]) -> bool:
    """Whether nearly all pixels are close to a few values: those of a mask, as JPEG keeps them."""
    counts = np.bincount(grey.ravel(), minlength=256)
    left = counts.copy()
    for _ in range(PEAKS):
        peak = int(left.argmax())
        left[max(0, peak - PEAK) : peak + PEAK + 1] = 0
    return bool(left.sum() <= (1 - COVERED) * counts.sum())
