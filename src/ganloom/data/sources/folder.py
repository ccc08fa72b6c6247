"""A folder of images: flat, a folder a class (as torchvision's ImageFolder reads it), splits of either, or nested."""

import os
from collections.abc import Iterator
from functools import partial
from pathlib import Path

from ganloom.core.errors import DataError
from ganloom.data.sources.contract import Item, open_image, refused, stamp
from ganloom.data.sources.layout import (
    DICOM_SUFFIXES,
    IMAGE_SUFFIXES,
    LISTING,
    RUN,
    Layout,
    is_hidden,
    is_image,
    is_listing,
    suffix,
    text,
)

__all__ = ["FolderSource", "open_source", "short_name", "walk"]

LEADS_OUT = "is a symbolic link that leads out of the folder (follow it with data.follow_links=true, --follow-links)"
LEADS_NOWHERE = "is a symbolic link to nothing"
LEADS_BACK = "is a symbolic link to a folder that it lies in"
LEADS_TWICE = "is a symbolic link to a folder that another link leads to"
DICOM = "is a DICOM file among other images: give dicom:FOLDER for those"
LONGEST_NAME = 100  # bytes of what becomes a part of other names
NO_FILE = "is no regular file"


class FolderSource:
    """Images below a folder, in the order of their paths; `Layout` says which split and class each belongs to.

    Symbolic links are followed when they stay in the folder, and out of it only when asked.
    """

    def __init__(self, root: Path, follow_links: bool = False) -> None:
        self.root = root
        self.name = short_name(root) or "images"
        self.ignored = 0
        self._faults: dict[str, str] = {}
        paths, listing = [], None
        for path, fault in walk(root, follow_links):
            if not fault and is_listing(path, listing):
                listing = path
            if fault and not is_hidden(path) and (is_image(path) or (root / path).is_dir()):
                self._faults[path] = fault
            if not fault and suffix(path) in DICOM_SUFFIXES and not is_hidden(path):
                self._faults[path] = DICOM
            if path in self._faults or is_image(path):
                paths.append(path)
            else:
                self.ignored += 1
        if not paths:
            kinds = ", ".join(sorted(IMAGE_SUFFIXES))
            raise DataError(
                f"no images in {root}: looked for {kinds} in it and below it, and found {self.ignored} "
                "other files. Archives and arrays are given by their own paths."
            )
        if len(self._faults) == len(paths):
            raise DataError(f"no images in {root} that may be read: {paths[0]} {self._faults[paths[0]]}.")
        try:
            content = (root / listing).read_bytes() if listing else None
        except OSError as error:
            raise DataError(f"cannot read {error.filename}: {error.strerror}.") from None
        self._layout = Layout(paths, content, self._faults, (listing or LISTING).removesuffix(LISTING))
        self.count = len(paths) + len(self._layout.missing) - len(self._layout.copies)
        self.ignored += len(self._layout.copies) - self._layout.takes_listing
        self._listing = listing if self._layout.takes_listing else None
        self._paths = paths
        self.class_names = self._layout.class_names
        self.splits = self._layout.splits

    def fingerprint(self) -> Iterator[str]:
        yield str(self.root.resolve())  # two folders may hold files of equal names, sizes and times
        for path in (*filter(None, [self._listing]), *self._paths):
            if fault := self._faults.get(path):  # it may be followed next time
                yield f"{path}\t{fault}"
                continue
            try:
                yield stamp(self.root / path, path)
            except OSError:  # a link to nowhere, say: preparation will skip it and say so
                yield path

    def items(self) -> Iterator[Item]:
        for path, split, label, fault in self._layout:
            yield Item(path, split, label, refused(fault) if fault else partial(open_image, self.root / path))


def short_name(root: Path) -> str:
    """A folder's name, not too long to become a part of other names."""
    return text(root.resolve().name).encode()[:LONGEST_NAME].decode(errors="ignore")


def open_source(spec: str, follow_links: bool = False) -> FolderSource:
    """Raises `DataError` for a folder that is unreadable or has no images."""
    return FolderSource(Path(spec), follow_links)


def walk(root: Path, follow_links: bool = False) -> Iterator[tuple[str, str]]:
    """Every file below `root` as (path relative to it, why it will not be read or ""), in the order of paths; but none
    of a run that lies there too.

    Raises `DataError` for a folder that may not be listed.
    """
    top = os.path.realpath(root)
    bounds = None if follow_links else top
    yield from sorted(_walk(str(root), "", {top}, set(), bounds))


def _walk(folder: str, prefix: str, above: set[str], linked: set[str], bounds: str | None) -> Iterator[tuple[str, str]]:
    """`above`: the real folders that hold this one; `linked`: where links have led; `bounds`: where links may lead."""
    try:
        entries = sorted(os.scandir(folder), key=lambda entry: entry.name)
    except OSError as error:
        raise DataError(f"cannot read the folder {folder}: {error.strerror}.") from error
    for entry in entries:
        path = prefix + entry.name
        real = os.path.realpath(entry.path) if entry.is_symlink() else ""
        if real and bounds and not (real + os.sep).startswith(bounds.rstrip(os.sep) + os.sep):
            yield path, LEADS_OUT
        elif real and not Path(real).exists():
            yield path, LEADS_NOWHERE
        elif entry.is_dir() and all(Path(entry.path, name).exists() for name in RUN):
            continue
        elif entry.is_dir():
            if real in above or real in linked:
                yield path, LEADS_BACK if real in above else LEADS_TWICE
                continue
            if real:
                linked.add(real)
            yield from _walk(entry.path, f"{path}/", above | {os.path.realpath(entry.path)}, linked, bounds)
        elif not entry.is_file():
            yield path, NO_FILE  # a pipe would keep its reader waiting for ever
        else:
            yield path, ""
