"""How a tree of files says which split and which class an image belongs to: by its folders, or by a dataset.json."""

import json
from collections.abc import Iterable, Iterator, Mapping, Sequence

import numpy as np

from ganloom.core.errors import DataError
from ganloom.data.sources.contract import MOST_CLASSES, Label

__all__ = [
    "DICOM_SUFFIXES",
    "IMAGE_SUFFIXES",
    "LISTING",
    "RUN",
    "SPLIT_NAMES",
    "Layout",
    "is_hidden",
    "is_image",
    "is_listing",
    "runs_among",
    "suffix",
    "text",
]

IMAGE_SUFFIXES = {
    ".avif", ".bmp", ".gif", ".heic", ".heif", ".jfif", ".jp2", ".jpe", ".jpeg", ".jpg", ".pbm", ".pgm", ".png", ".pnm",
    ".ppm", ".tga", ".tif", ".tiff", ".webp",
}  # fmt: skip
DICOM_SUFFIXES = {".dcm", ".dicom"}
SPLIT_NAMES = {"train": "train", "training": "train", "val": "val", "valid": "val", "validation": "val", "test": "test"}
LISTING = "dataset.json"  # StyleGAN's: {"labels": [["00000/img00000000.png", 6], ...]}
RUN = ("run.json", "config.yaml")  # files of a run's folder, whose pictures were generated
UNLISTED = f"has no label in {LISTING}"
MISSING = f"is named in {LISTING} and is not there"
STRAY = "lies beside the folders of the classes"
MOST_STRAYS = 0.05  # with more of them, the folders are no classes
OUTSIDE = "lies outside the folders of the splits"


class Layout:
    """Splits and classes of files, given their paths relative to the root, with slashes.

    A folder that holds everything says nothing and is passed over. With folders `train` and `val` or `test` at the
    top, they are the splits. Below that, when all training images lie in sub-folders, or all but a few strays, the
    first one is their class.
    A dataset.json in the manner of StyleGAN gives the labels instead, and the order; it lies where everything lies.
    `copies` are left out: paths of a folder beside the splits that holds them once more, as Kaggle's chest X-rays do.
    """

    def __init__(
        self,
        paths: Sequence[str],
        listing: bytes | None = None,
        faults: Mapping[str, str] | None = None,
        listed_in: str = "",
    ) -> None:
        """`faults` says of some paths why they will not be read; they have no say in where the others belong.

        `listed_in` is the folder of the listing, with its slash.
        """
        self.copies = _second_splits(paths)
        self._paths = paths = [path for path in paths if path not in self.copies]
        self._faults = faults or {}
        paths = [path for path in paths if not self._faults.get(path)]
        self._above = _shared_folders(paths)
        self.takes_listing = listing is not None and all(path.startswith(listed_in) for path in paths)
        tops = {parts[0] for path in paths if len(parts := self._parts(path)) > 1}
        named = {split for top in tops if (split := SPLIT_NAMES.get(top.lower()))}
        # A class may be called `train` (beside `car` and `bus`): it takes two splits, or nothing else, to be one.
        alone = all(top.lower() in SPLIT_NAMES for top in tops) and all(len(self._parts(path)) > 1 for path in paths)
        if named and alone and "train" not in named:
            raise DataError(
                f"there are folders of splits ({', '.join(sorted(tops))}) and none to train on: "
                "add train, or give the path of one of them."
            )
        self._has_splits = "train" in named and (len(named) > 1 or alone)
        self.splits = tuple(sorted(named)) if self._has_splits else ("train",)
        self._has_classes = self._in_class_folders(paths)
        labels, names = _read_listing(listing if self.takes_listing else None)
        self._labels = None if labels is None else {listed_in + path: label for path, label in labels.items()}
        self.class_names = self._folders_as_classes() if self._labels is None else names
        self._index = {name: index for index, name in enumerate(self.class_names)}
        self.class_names = [text(name) for name in self.class_names]
        known = set(self._paths) if self._labels else set()
        self.missing = [path for path in self._labels or () if path not in known]

    def __iter__(self) -> Iterator[tuple[str, str, Label, str]]:
        """(path, split, label, why not) of every image, in the order of training."""
        listed = self._labels or {}
        missing = set(self.missing)
        for path in listed:
            if path not in missing:
                yield path, self._split(path), listed[path], self._fault(path)
        for path in self.missing:
            yield path, "train", None, MISSING
        for path in self._paths:
            if not listed:
                yield path, self._split(path), self._class(path), self._fault(path)
            elif path not in listed:
                yield path, self._split(path), None, self._faults.get(path) or UNLISTED

    def _parts(self, path: str) -> list[str]:
        return path.split("/")[self._above :] or [path]  # a link to nowhere may lie above all others

    def _split(self, path: str) -> str:
        return SPLIT_NAMES.get(self._parts(path)[0].lower(), "train") if self._has_splits else "train"

    def _fault(self, path: str) -> str:
        if fault := self._faults.get(path):
            return fault
        if self._is_outside(path):
            return OUTSIDE
        stray = self._has_classes and self._labels is None and self._split(path) == "train"
        return STRAY if stray and self._class_folder(path) is None else ""

    def _is_outside(self, path: str) -> bool:
        return self._has_splits and self._parts(path)[0].lower() not in SPLIT_NAMES

    def _class_folder(self, path: str) -> str | None:
        depth = 1 if self._has_splits else 0
        parts = self._parts(path)
        return parts[depth] if len(parts) > depth + 1 else None

    def _folders_as_classes(self) -> list[str]:
        if not self._has_classes:
            return []
        names = {self._class_folder(path) for path in self._paths if not self._fault(path)}
        return sorted(name for name in names if name is not None)

    def _in_class_folders(self, paths: Sequence[str]) -> bool:
        train = [path for path in paths if self._split(path) == "train" and not self._is_outside(path)]
        strays = sum(self._class_folder(path) is None for path in train)
        return strays <= MOST_STRAYS * len(train) and strays < len(train)

    def _class(self, path: str) -> Label:
        name = self._class_folder(path)
        return self._index.get(name) if name is not None else None


def runs_among(paths: Iterable[str]) -> tuple[str, ...]:
    """Folders of ganloom's runs, with their slash: the pictures in them were generated."""
    known = set(paths)
    first, *others = RUN
    folders = (path.removesuffix(first) for path in known if path.endswith(f"/{first}"))
    return tuple(folder for folder in folders if all(f"{folder}{name}" in known for name in others))


def suffix(path: str) -> str:
    """`.png` of `cats/1.PNG`; empty where there is none."""
    _, dot, end = path.rpartition("/")[2].rpartition(".")
    return dot + end.lower() if dot else ""


def text(name: str) -> str:
    """A file's name, which may be any bytes, as text that can be written anywhere."""
    return name.encode("utf-8", "surrogateescape").decode("utf-8", "replace")


def is_image(path: str) -> bool:
    return suffix(path) in IMAGE_SUFFIXES and not is_hidden(path)


def is_listing(path: str, before: str | None) -> bool:
    """Whether this is a dataset.json, and nearer to the top than the one found before."""
    return (
        path.rpartition("/")[2] == LISTING
        and not is_hidden(path)
        and (before is None or path.count("/") < before.count("/"))
    )


def is_hidden(path: str) -> bool:
    """What operating systems leave in folders: `.DS_Store`, `._photo.jpg`, `__MACOSX`, and all below such a folder."""
    return path.startswith((".", "__MACOSX")) or "/." in path or "/__MACOSX" in path


def _shared_folders(paths: Sequence[str]) -> int:
    """How many folders at the top hold everything and are no split."""
    first = paths[0].split("/")[:-1] if paths else []
    depth = 0
    while depth < len(first) and first[depth].lower() not in SPLIT_NAMES:
        prefix = "/".join(first[: depth + 1]) + "/"
        if not all(path.startswith(prefix) for path in paths):
            break
        depth += 1
    return depth


def _second_splits(paths: Sequence[str]) -> set[str]:
    """All of a folder `x` that has `x/train/cat/1.png` for every `train/cat/1.png`, and nothing else."""
    above = _shared_folders(paths)
    below: dict[str, set[str]] = {"": set()}  # of the splits, and of every other folder at the top
    for path in paths:
        top, _, rest = "/".join(path.split("/")[above:]).partition("/")
        if top.lower() in SPLIT_NAMES and rest:
            below[""].add(f"{top}/{rest}")
        else:
            below.setdefault(top, set()).add(rest)
    shared = "".join(f"{part}/" for part in (paths[0].split("/")[:above] if paths else []))
    splits = {SPLIT_NAMES[path.partition("/")[0].lower()] for path in below[""]}
    if len(splits) < 2 or "train" not in splits:
        return set()  # `train` alone may be a class
    doubles = [top for top, rests in below.items() if top and rests == below[""]]
    return {f"{shared}{top}/{rest}" for top in doubles for rest in below[top]}


def _read_listing(content: bytes | None) -> tuple[Mapping[str, Label] | None, list[str]]:
    """Labels by path and the classes' names. Without labels, StyleGAN's folders are no classes: then both are empty.

    The labels are None where there is no listing in the manner of StyleGAN.
    """
    if content is None:
        return None, []
    try:
        values = json.loads(content)
        if not isinstance(values, dict) or "labels" not in values:
            return None, []
        rows = values["labels"]
        if rows is None or rows == []:
            return {}, []
        if not isinstance(rows, list) or not all(isinstance(row, list) and len(row) == 2 for row in rows):
            return None, []  # another program's
        labels = {str(path): _label(value) for path, value in rows}
        widths = {len(label) if isinstance(label, np.ndarray) else 0 for label in labels.values() if label is not None}
        if len(widths) != 1:
            raise ValueError("labels of different kinds")
        classes = widths.pop() or 1 + max(label for label in labels.values() if isinstance(label, int))
        if classes > MOST_CLASSES:
            raise ValueError(f"{classes} classes")
        names = [str(name) for name in values.get("class_names") or range(classes)]
        if len(names) != classes:
            raise ValueError(f"{len(names)} class names for {classes} classes")
    except (ValueError, TypeError, OverflowError, RecursionError) as error:
        raise DataError(f"{LISTING} is not a list of labels in the manner of StyleGAN ({error}).") from None
    return labels, names


def _label(value: object) -> Label:
    if value is None:
        return None
    if isinstance(value, list):
        with np.errstate(over="ignore"):  # what is too large becomes infinite, and is refused below
            shares = np.asarray(value, np.float32)
        if shares.ndim != 1 or not np.isfinite(shares).all():
            raise ValueError(f"label {value!r}")
        if (shares < 0).any():
            raise ValueError(f"label {value!r}: write 0 and 1 in place of -1 and 1")
        return shares
    if not isinstance(value, int) or isinstance(value, bool) or value < 0:
        raise ValueError(f"label {value!r}")
    return int(value)
