"""A source made of parts: stretches of images of one split with an array of labels, as array and table files have."""

import os
import re
from collections.abc import Callable, Collection, Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ganloom.core.errors import AGAIN, DataError
from ganloom.data.sources.contract import MAX_CLASSES, SPLITS, Item, Label, Opener, Remark, stamp
from ganloom.data.sources.folder import short_name
from ganloom.data.sources.labels import used_classes
from ganloom.data.sources.naming import is_hidden
from ganloom.data.sources.splits import SHORT_WORDS, SPLIT_WORDS, split_named

__all__ = [
    "Part",
    "PartsSource",
    "files_in",
    "number_classes",
    "said_split",
    "splits_of_paths",
    "splits_said",
    "top_of",
    "words",
]


@dataclass(frozen=True)
class Part:
    """Images of one split, in the order of a file."""

    name: str  # item 7 is shown as NAME/7
    split: str  # one of SPLITS
    count: int
    images: Callable[[], Iterator[Opener]]  # may raise `DataError`
    labels: NDArray[Any] | None  # [N] numbers or text, [N, 1], or [N, K] shares of each class
    labels_in: str = "the labels"  # for messages: where the labels are
    numbered: bool = True  # else its only item has its name
    may_lack: bool = False  # whether the number -1 stands for an image without a label
    held: int = 0  # bytes in memory for each image that was read and is not opened yet


class PartsSource:
    """Labels of shape [N] or [N, 1] are class numbers or names; [N, K] are shares of each class."""

    def __init__(
        self,
        given: Path,
        paths: Sequence[Path],
        parts: Sequence[Part],
        *,
        name: str | None = None,
        class_names: Sequence[str] | None = None,
        remarks: Sequence[Remark] = (),
        key: Iterable[str] = (),
    ) -> None:
        """`given` is a file or a folder, whose other files are ignored; `class_names` are those that the format states;
        `key` has lines for the fingerprint, besides the files.
        """
        self.name = name or short_name(given) if given.is_dir() else name or short_name(given).partition(".")[0]
        self.ignored = len(files_in(given)) - len(set(paths)) if given.is_dir() else 0
        self.paths = paths
        self.window: tuple[float, float] | None = None
        """The values that become black and white where the user names none and images have more than 8 bits."""
        self.scales: dict[str, tuple[float, float]] = {}
        """Those of colours, by their type."""
        self._key = list(key)
        found = {part.split for part in parts}
        self.splits = tuple(split for split in SPLITS if split in found)
        self.count = sum(part.count for part in parts)
        labels, self.class_names = number_classes(parts)
        if class_names and self.class_names:
            if len(self.class_names) > len(class_names):
                raise DataError(f"{paths[0]} has {len(self.class_names)} classes, not {len(class_names)}: {AGAIN}.")
            self.class_names = list(class_names)
        self._parts = list(zip(parts, labels, strict=True))
        self._used = used_classes(self.class_names, None if class_names else self._occurring())
        self.class_names = self._used.names
        self.remarks = [*remarks, *self._used.remarks]

    def _occurring(self) -> set[int]:
        """The numbers of the classes that have a training image."""
        given = [labels for part, labels in self._parts if part.split == "train" and labels is not None]
        found = [np.unique(labels) if labels.ndim == 1 else np.flatnonzero(labels.any(0)) for labels in given]
        return {int(number) for each in found for number in each if number >= 0} if self.class_names else set()

    def fingerprint(self) -> Iterator[str]:
        for path in self.paths:
            yield stamp(path)
        yield from self._key

    def items(self) -> Iterator[Item]:
        for part, labels in self._parts:
            for index, opener in enumerate(part.images()):
                label: Label = None
                if labels is not None and self.class_names:
                    label = int(labels[index]) if labels.ndim == 1 else labels[index].astype(np.float32)
                    label = self._used.label(None if isinstance(label, int) and label < 0 else label)
                name = f"{part.name}/{index}" if part.numbered else part.name
                yield Item(name, part.split, label, opener, held=part.held)


def files_in(folder: Path) -> list[Path]:
    """Every file below a folder that is not hidden, in the order of paths. Links to folders are not followed."""
    found = []
    for above, folders, files in os.walk(folder):
        folders[:] = [name for name in folders if not is_hidden(name)]
        found += [Path(above, name) for name in files if not is_hidden(name)]
    return sorted(path for path in found if path.is_file())


def words(name: str) -> list[str]:
    """The words of a name in lower case: `x` and `train` of `X_train`, `trainX` and `train-x`."""
    return [part.lower() for part in re.findall(r"t10k|[A-Z]?[a-z]+|[A-Z]+|\d+", name.rpartition("/")[2])]


def said_split(name: str, *, short: bool = False) -> str | None:
    """The split that a name, or a word of it, stands for, if there is one; `short`: also as `SHORT_WORDS`."""
    if split := split_named(name.rpartition("/")[2].partition(".")[0], short=short):
        return split
    known = {**SHORT_WORDS, **SPLIT_WORDS} if short else SPLIT_WORDS
    return next((known[word] for word in words(name) if word in known), None)


def splits_said(names: Sequence[str]) -> list[str | None]:
    """The split that each of some names says, such as those of the arrays in a file.

    Short words count only where with them every name has a split.

    >>> splits_said(["x_tr", "x_te"]), splits_said(["x_tr", "x"])
    (['train', 'test'], [None, None])
    """
    return _agreed(*([said_split(name, short=short) for name in names] for short in (False, True)))


def _agreed(found: list[str | None], with_short: list[str | None]) -> list[str | None]:
    is_all = None in found and None not in with_short and {"train"} < set(with_short)
    return with_short if is_all else found


def top_of(given: Path, paths: Sequence[Path]) -> Path:
    """The folder whose own name says nothing about splits: the one that was given, or else the lowest above all files.

    >>> top_of(Path("a/*/0.npz"), [Path("a/train/0.npz"), Path("a/test/0.npz")])
    PosixPath('a')
    """
    return given if given.is_dir() else Path(os.path.commonpath([path.parent for path in paths]))


def splits_of_paths(paths: Sequence[Path], top: Path, images: Collection[Path] | None = None) -> list[str]:
    """The split of each of several files: by its own name, or else by that of the nearest folder below `top`.

    Files that say nothing are for training. Where none of the files (or of `images` among them) is, all are.

    >>> splits_of_paths([Path("a/train/0.npz"), Path("a/test/0.npz")], Path("a"))
    ['train', 'test']
    """
    said = _agreed(*([_split_of_path(path, top, short=short) for path in paths] for short in (False, True)))
    found = [split or "train" for split in said]
    judged = [split for path, split in zip(paths, found, strict=True) if images is None or path in images]
    return found if "train" in judged else ["train"] * len(paths)


def _split_of_path(path: Path, top: Path, *, short: bool) -> str | None:
    below = path.relative_to(top)
    names = (below.name, *reversed(below.parts[:-1]))
    return next((split for name in names if (split := said_split(name, short=short))), None)


def number_classes(parts: Sequence[Part]) -> tuple[list[NDArray[Any] | None], list[str]]:
    """Class numbers [N] or shares [N, K] for each part, and the class names. Raises `DataError`.

    There are no classes if training images lack labels. Names given as text are numbered in their order; an empty text
    is no label.
    """
    checked = [None if part.labels is None else _checked(part.labels, part) for part in parts]
    given = [labels for labels in checked if labels is not None]
    if not given or any(labels is None for part, labels in zip(parts, checked, strict=True) if part.split == "train"):
        return checked, []
    if len({(labels.shape[1:], labels.dtype.kind == "U") for labels in given}) > 1:
        raise DataError(
            f"{', '.join(dict.fromkeys(part.labels_in for part in parts))} have different shapes: "
            "give all of them the same shape."
        )
    if given[0].ndim == 2:
        return checked, [str(index) for index in range(given[0].shape[1])]
    if given[0].dtype.kind != "U":
        return checked, [str(index) for index in range(max(int(labels.max(initial=0)) for labels in given) + 1)]
    names = sorted({str(name) for labels in given for name in np.unique(labels)} - {""}, key=_natural)  # "": no label
    if len(names) >= MAX_CLASSES:
        raise DataError(
            f"{parts[0].labels_in} have {len(names):,} different texts: these are not names of classes. Leave them out "
            "of the file."
        )
    position = {name: number for number, name in enumerate(names)} | {"": -1}
    return [
        None if labels is None else np.array([position[str(name)] for name in labels], np.int64) for labels in checked
    ], names


def _natural(name: str) -> tuple[int, str]:
    """Numbers by their size, then other names by the alphabet."""
    return (int(name), "") if name.isdecimal() and len(name) < 10 else (10**10, name)


def _checked(labels: NDArray[Any], part: Part) -> NDArray[Any]:
    """Labels as integers [N], text [N] or shares [N, K]. Raises `DataError` for any others."""
    where, lowest = part.labels_in, -1 if part.may_lack else 0
    if labels.shape[:1] != (part.count,):
        raise DataError(f"{where} have shape {labels.shape} for {part.count} images: give one label per image.")
    labels = labels[:, 0] if labels.ndim == 2 and labels.shape[1] == 1 else labels
    if labels.dtype.kind == "S":
        labels = np.char.decode(labels, "utf-8", "replace")
    if labels.ndim == 1 and labels.dtype.kind == "U":
        return labels
    whole = labels.dtype.kind in "iub"
    if labels.ndim == 1 and labels.dtype.kind == "f" and (labels == np.rint(labels)).all():  # false for NaN
        labels, whole = labels.clip(-1, MAX_CLASSES).astype(np.int64), True
    if labels.ndim == 1 and not whole:
        raise DataError(
            f"{where} have type {labels.dtype}: class numbers should be whole numbers. Round them, or leave "
            "them out of the file."
        )
    if (labels.ndim != 2 and not (labels.ndim == 1 and whole)) or labels.dtype.kind not in "iubf":
        raise DataError(
            f"{where} have shape {labels.shape} and type {labels.dtype}: "
            "give class numbers [N] or shares of each class [N, K]."
        )
    if labels.ndim == 1 and not lowest <= int(labels.min(initial=0)) <= int(labels.max(initial=0)) < MAX_CLASSES:
        raise DataError(f"{where} should be class numbers from 0 to at most {MAX_CLASSES - 1}: renumber them.")
    if labels.ndim == 2 and not np.isfinite(labels.astype(np.float32)).all():
        raise DataError(f"{where} have NaN or infinite values: give a number for each, or leave them out of the file.")
    if labels.ndim == 2 and labels.min(initial=0) < 0:
        raise DataError(f"{where} have negative values: write 0 and 1 instead of -1 and 1.")
    return labels
