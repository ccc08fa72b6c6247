"""Determine the split and class of each image in a tree of files, from its folders or from a table of labels."""

import re
from collections import Counter, defaultdict
from collections.abc import Iterator, Mapping, Sequence
from typing import NamedTuple

from ganloom.config import Reading
from ganloom.data.sources.classes import ClassFolders, find_classes
from ganloom.data.sources.contract import Label, Remark
from ganloom.data.sources.listing import Table
from ganloom.data.sources.naming import stem, text
from ganloom.data.sources.splits import Folders, Splits, enumeration, find_splits, second_copies, shared_folders

__all__ = ["OUTSIDE", "STRAY", "Layout", "Place"]

STRAY = "is outside the class folders"
OUTSIDE = "is outside the split folders (if it should not be: data.splits, --splits)"
CAMERA_WORDS = {
    "dsc", "dscf", "dscn", "frame", "image", "img", "mvi", "p", "photo", "pic", "picture", "pxl", "scan", "screenshot",
    "vid",
}  # fmt: skip
"""Words before the numbers of pictures that say nothing about what they show."""
PREFIX = r"([^\W\d][^\d]*?)[\s._-]*\(?\d+\)?"  # of the name of a file without its suffix


class Place(NamedTuple):
    """What is known of one image before it is opened."""

    path: str
    split: str
    label: Label
    fault: str  # reason not to read it, or ""
    group: str | None = None


class Layout:
    """Splits and classes of files, given their paths relative to the root, with slashes.

    Folders at the top that contain everything are ignored. Then there may be split folders (`find_splits`), and
    class folders below them or above (`find_classes`). Classes are those of the training images: others have no label.
    A table gives labels, splits and order instead, as far as it has them. `data.splits` and `data.class_level` say how
    to understand the folders.

    `copies` are left out: the paths of a folder that contains all that is beside it once more, as in Kaggle's chest
    X-rays. `remarks` say how the folders were understood, where that is not obvious.

    >>> layout = Layout(["Training/cat/1.png", "Training/dog/2.png", "Testing/dog/3.png"])
    >>> [(place.split, place.label) for place in layout], layout.class_names
    ([('train', 0), ('train', 1), ('test', 1)], ['cat', 'dog'])
    """

    def __init__(
        self,
        paths: Sequence[str],
        reading: Reading | None = None,
        table: Table | None = None,
        faults: Mapping[str, str] | None = None,
    ) -> None:
        """`faults` says why some paths will not be read; they do not influence the splits and classes of the others.

        Raises `DataError` where the folders can be understood in more than one way.
        """
        reading = reading or Reading(source="")
        self._table = table or Table()
        self._faults = faults or {}
        self.tables = self._table.files
        good = [path for path in paths if not self._faults.get(path)]
        counts = Counter(_folders(path) for path in good)
        self._above = shared_folders(counts, reading.splits or ())
        copies = second_copies(good, self._above)
        self.copies = {path for several in copies.values() for path in several}
        self._paths = [path for path in paths if path not in self.copies]
        good = [path for path in good if path not in self.copies]
        is_listed = bool(good) and all(path in self._table.splits for path in good)
        self._splits = Splits() if is_listed else find_splits(Counter(map(self._folders, good)), reading.splits)
        train = [path for path in good if self._split(path) == "train"]
        self._classes = self._find_classes(train, reading.class_level)
        by_folder = self._table.labels is None
        names = self._class_names(train) if by_folder else self._table.class_names
        self._index = {name: index for index, name in enumerate(names)}
        self.class_names = [text(name) for name in names]
        self.splits = tuple(sorted({*self._splits.names, *self._table.splits.values()}))
        self.missing = self._table.missing
        self.remarks = [
            Remark("copies", f"{len(several):,} images in {text(top)} are left out: all of them are beside it, too")
            for top, several in copies.items()
        ]
        self.remarks += [*self._table.remarks, *self._splits.remarks, *self._classes.remarks]
        if by_folder:
            others = [path for path in good if self._split(path) in ("val", "test")]
            self.remarks += [*self._unlabelled(others), *self._prefixes(train)]

    def __iter__(self) -> Iterator[Place]:
        """Every image, in order."""
        first = [path for path in self._table.order if path not in self.copies]
        yield from (self._place(path) for path in first)
        yield from (Place(path, "train", None, reason) for path, reason in self.missing.items())
        listed = set(first)
        yield from (self._place(path) for path in self._paths if path not in listed)

    def class_folders(self) -> dict[str, list[str]]:
        """The paths of the training images in each class folder, by its path with a slash."""
        by_folder: dict[Folders, list[str]] = defaultdict(list)
        for path in self._paths if self._classes.level is not None else ():
            if not self._faults.get(path):
                by_folder[_folders(path)].append(path)
        result: dict[str, list[str]] = defaultdict(list)
        for full, paths in by_folder.items():
            folders = full[self._above :]
            is_inside = self._classes.name(self._splits.below(folders)) is not None
            if is_inside and self._splits.split(folders) == "train":
                index = self._splits.place(folders, self._classes.level or 0)
                result["".join(f"{folder}/" for folder in full[: self._above + index + 1])] += paths
        return result

    def _place(self, path: str) -> Place:
        table = self._table
        label = self._label(path) if table.labels is None else table.labels.get(path)
        return Place(path, self._split(path) or "train", label, self._fault(path), table.groups.get(path))

    def _folders(self, path: str) -> Folders:
        return _folders(path)[self._above :]  # a file with a fault may be above the shared folders

    def _below(self, path: str) -> Folders:
        return self._splits.below(self._folders(path))

    def _split(self, path: str) -> str | None:
        return self._table.splits.get(path) or self._splits.split(self._folders(path))

    def _class(self, path: str) -> str | None:
        return self._classes.name(self._below(path))

    def _label(self, path: str) -> Label:
        name = self._class(path)
        return None if name is None else self._index.get(name)

    def _fault(self, path: str) -> str:
        if fault := self._faults.get(path) or self._table.faults.get(path):
            return fault
        split = self._split(path)
        if split is None:
            return OUTSIDE
        is_stray = self._classes.level is not None and split == "train" and self._class(path) is None
        return STRAY if is_stray else ""

    def _find_classes(self, train: Sequence[str], given: int | None) -> ClassFolders:
        if self._table.labels is not None:
            return ClassFolders()
        tree: dict[Folders, list[str]] = defaultdict(list)
        for path in train:
            tree[self._below(path)].append(path)
        return find_classes(tree, given)

    def _class_names(self, train: Sequence[str]) -> list[str]:
        """The classes that have training images, sorted."""
        return sorted({name for path in train if (name := self._class(path)) is not None})

    def _unlabelled(self, others: Sequence[str]) -> Iterator[Remark]:
        """Images of other splits in folders that have no training images."""
        counts: Counter[str] = Counter()
        for path in others:
            name = self._class(path)
            if name is not None and name not in self._index:
                counts[name] += 1
        if counts:
            said = f"{counts.total():,} images for validation or test are in folders that have no training images"
            are_classes = any(self._label(path) is not None for path in others)
            change = "" if are_classes else "; if folders are not classes: --class-level 0"
            yield Remark("classes", f"{said} ({enumeration(counts)}): they have no label{change}")

    def _prefixes(self, train: Sequence[str]) -> Iterator[Remark]:
        """Where there are no folders, but file names begin with what may be classes: cat.0.jpg, dog.0.jpg."""
        if self._classes.level is not None or not train or any(map(self._below, train)):
            return
        prefixes = Counter(match[1] for path in train if (match := re.fullmatch(PREFIX, stem(path))))
        known = prefixes.total() > 0.95 * len(train) and not CAMERA_WORDS & {name.lower() for name in prefixes}
        if known and 2 <= len(prefixes) <= len(train) / 10:
            said = f"none; the file names begin with {enumeration(prefixes)}"
            yield Remark("classes", f"{said}: if those are classes, move the files into one folder for each")


def _folders(path: str) -> Folders:
    return tuple(path.split("/")[:-1])
