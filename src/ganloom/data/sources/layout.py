"""Determine the split and class of each image in a tree of files: from its folders, or from a dataset.json."""

import json
from collections.abc import Iterable, Iterator, Mapping, Sequence

import numpy as np

from ganloom.core.errors import DataError
from ganloom.data.sources.contract import MAX_CLASSES, Label

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
LISTING = "dataset.json"  # in StyleGAN's format: {"labels": [["00000/img00000000.png", 6], ...]}
RUN = ("run.json", "config.yaml")  # a folder with both is a ganloom run: its pictures are generated
UNLISTED = f"is not listed in {LISTING}"
MISSING = f"is listed in {LISTING} but does not exist"
STRAY = "is outside the class folders"
MAX_STRAYS = 0.05  # fraction of training images outside sub-folders up to which the sub-folders are classes
OUTSIDE = "is outside the split folders"


class Layout:
    """Splits and classes of files, given their paths relative to the root, with slashes.

    A top folder that contains everything is ignored. If there are folders `train` and `val` or `test` at the top, they
    are the splits. Below that, if all training images (or all but a few) are in sub-folders, the first sub-folder is
    the class. A dataset.json in StyleGAN's format, in the folder that contains everything, gives labels and order
    instead.

    `copies` are left out: the paths of a folder beside the splits that contains them once more, as in Kaggle's chest
    X-rays.
    """

    def __init__(
        self,
        paths: Sequence[str],
        listing: bytes | None = None,
        faults: Mapping[str, str] | None = None,
        listed_in: str = "",
    ) -> None:
        """`listing` is the content of a dataset.json, which is in the folder `listed_in` (with its slash).

        `faults` says why some paths will not be read; they do not influence the splits and classes of the others.
        """
        self.copies = _second_splits(paths)
        self._paths = paths = [path for path in paths if path not in self.copies]
        self._faults = faults or {}
        paths = [path for path in paths if not self._faults.get(path)]
        self._above = _shared_folders(paths)
        self.uses_listing = listing is not None and all(path.startswith(listed_in) for path in paths)
        tops = {parts[0] for path in paths if len(parts := self._parts(path)) > 1}
        named = {split for top in tops if (split := SPLIT_NAMES.get(top.lower()))}
        # A class may be called `train` (beside `car` and `bus`): it is a split only with another split, or alone.
        only_splits = all(top.lower() in SPLIT_NAMES for top in tops) and all(
            len(self._parts(path)) > 1 for path in paths
        )
        if named and only_splits and "train" not in named:
            raise DataError(
                f"there are split folders ({', '.join(sorted(tops))}) but no folder 'train': add it, or give "
                "the path of one of the others."
            )
        self._has_splits = "train" in named and (len(named) > 1 or only_splits)
        self.splits = tuple(sorted(named)) if self._has_splits else ("train",)
        self._has_classes = self._in_class_folders(paths)
        labels, names = _read_listing(listing if self.uses_listing else None)
        self._labels = None if labels is None else {listed_in + path: label for path, label in labels.items()}
        self.class_names = self._folders_as_classes() if self._labels is None else names
        self._index = {name: index for index, name in enumerate(self.class_names)}
        self.class_names = [text(name) for name in self.class_names]
        known = set(self._paths) if self._labels else set()
        self.missing = [path for path in self._labels or () if path not in known]

    def __iter__(self) -> Iterator[tuple[str, str, Label, str]]:
        """(path, split, label, reason not to read it or "") of every image, in order."""
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
        return path.split("/")[self._above :] or [path]  # a file with a fault may be above the shared folders

    def _split(self, path: str) -> str:
        return SPLIT_NAMES.get(self._parts(path)[0].lower(), "train") if self._has_splits else "train"

    def _fault(self, path: str) -> str:
        if fault := self._faults.get(path):
            return fault
        if self._is_outside(path):
            return OUTSIDE
        may_be_stray = self._has_classes and self._labels is None and self._split(path) == "train"
        return STRAY if may_be_stray and self._class_folder(path) is None else ""

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
        return strays <= MAX_STRAYS * len(train) and strays < len(train)

    def _class(self, path: str) -> Label:
        name = self._class_folder(path)
        return self._index.get(name) if name is not None else None


def runs_among(paths: Iterable[str]) -> tuple[str, ...]:
    """The folders of ganloom runs, with their slash. The pictures in them are generated."""
    known = set(paths)
    first, *others = RUN
    folders = (path.removesuffix(first) for path in known if path.endswith(f"/{first}"))
    return tuple(folder for folder in folders if all(f"{folder}{name}" in known for name in others))


def suffix(path: str) -> str:
    """The suffix in lower case: `.png` of `cats/1.PNG`. Empty if there is none."""
    _, dot, end = path.rpartition("/")[2].rpartition(".")
    return dot + end.lower() if dot else ""


def text(name: str) -> str:
    """A file name, which may be any bytes, as valid Unicode text."""
    return name.encode("utf-8", "surrogateescape").decode("utf-8", "replace")


def is_image(path: str) -> bool:
    """Whether a path has the suffix of an image and is not hidden."""
    return suffix(path) in IMAGE_SUFFIXES and not is_hidden(path)


def is_listing(path: str, before: str | None) -> bool:
    """Whether this is a dataset.json closer to the top than the one found before."""
    return (
        path.rpartition("/")[2] == LISTING
        and not is_hidden(path)
        and (before is None or path.count("/") < before.count("/"))
    )


def is_hidden(path: str) -> bool:
    """Whether a path is, or is in, something that operating systems leave: `.DS_Store`, `._photo.jpg`, `__MACOSX`."""
    return path.startswith((".", "__MACOSX")) or "/." in path or "/__MACOSX" in path


def _shared_folders(paths: Sequence[str]) -> int:
    """How many nested folders at the top contain everything and are not splits."""
    first = paths[0].split("/")[:-1] if paths else []
    depth = 0
    while depth < len(first) and first[depth].lower() not in SPLIT_NAMES:
        prefix = "/".join(first[: depth + 1]) + "/"
        if not all(path.startswith(prefix) for path in paths):
            break
        depth += 1
    return depth


def _second_splits(paths: Sequence[str]) -> set[str]:
    """The paths of a folder `x` that has exactly `x/train/cat/1.png` for every `train/cat/1.png`."""
    above = _shared_folders(paths)
    below: dict[str, set[str]] = {"": set()}  # paths in the splits, and in every other folder at the top
    for path in paths:
        top, _, rest = "/".join(path.split("/")[above:]).partition("/")
        if top.lower() in SPLIT_NAMES and rest:
            below[""].add(f"{top}/{rest}")
        else:
            below.setdefault(top, set()).add(rest)
    shared = "".join(f"{part}/" for part in (paths[0].split("/")[:above] if paths else []))
    splits = {SPLIT_NAMES[path.partition("/")[0].lower()] for path in below[""]}
    if len(splits) < 2 or "train" not in splits:
        return set()  # a single `train` may be a class
    doubles = [top for top, rests in below.items() if top and rests == below[""]]
    return {f"{shared}{top}/{rest}" for top in doubles for rest in below[top]}


def _read_listing(content: bytes | None) -> tuple[Mapping[str, Label] | None, list[str]]:
    """Labels by path, and the class names, from a dataset.json in StyleGAN's format.

    Labels are None if there is no such listing. Both are empty for a listing without labels: then folders in StyleGAN's
    format are not classes.
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
            return None, []  # a dataset.json of another program
        labels = {str(path): _label(value) for path, value in rows}
        widths = {len(label) if isinstance(label, np.ndarray) else 0 for label in labels.values() if label is not None}
        if len(widths) != 1:
            raise ValueError("labels of different kinds")
        classes = widths.pop() or 1 + max(label for label in labels.values() if isinstance(label, int))
        if classes > MAX_CLASSES:
            raise ValueError(f"{classes} classes")
        names = [str(name) for name in values.get("class_names") or range(classes)]
        if len(names) != classes:
            raise ValueError(f"{len(names)} class names for {classes} classes")
    except (ValueError, TypeError, OverflowError, RecursionError) as error:
        raise DataError(f"{LISTING} is not a list of labels in StyleGAN's format ({error}).") from None
    return labels, names


def _label(value: object) -> Label:
    if value is None:
        return None
    if isinstance(value, list):
        with np.errstate(over="ignore"):  # values too large for float32 become infinite, and are refused below
            shares = np.asarray(value, np.float32)
        if shares.ndim != 1 or not np.isfinite(shares).all():
            raise ValueError(f"label {value!r}")
        if (shares < 0).any():
            raise ValueError(f"label {value!r}: write 0 and 1 instead of -1 and 1")
        return shares
    if not isinstance(value, int) or isinstance(value, bool) or value < 0:
        raise ValueError(f"label {value!r}")
    return int(value)
