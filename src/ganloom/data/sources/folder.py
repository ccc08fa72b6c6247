"""Images in a folder: flat, nested, with one folder per class (like torchvision's ImageFolder), or split folders."""

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

LEADS_OUT = "is a symbolic link that leads out of the folder (to follow it: data.follow_links=true, --follow-links)"
LEADS_NOWHERE = "is a broken symbolic link"
LEADS_BACK = "is a symbolic link to a folder that contains it"
LEADS_TWICE = "is a second symbolic link to the same folder"
DICOM = "is a DICOM file among other images (to read only those: dicom:FOLDER)"
MAX_NAME_BYTES = 100  # names of folders in the cache contain it
NOT_A_FILE = "is not a regular file"


class FolderSource:
    """The images below a folder, in the order of their paths. `Layout` determines the split and class of each.

    Symbolic links within the folder are followed; those that lead out of it only with `follow_links`.
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
                "other files. For an archive or an array file, give its path."
            )
        if len(self._faults) == len(paths):
            raise DataError(f"no image in {root} can be used: {paths[0]} {self._faults[paths[0]]}.")
        try:
            content = (root / listing).read_bytes() if listing else None
        except OSError as error:
            raise DataError(f"cannot read {error.filename}: {error.strerror}.") from None
        self._layout = Layout(paths, content, self._faults, (listing or LISTING).removesuffix(LISTING))
        self.count = len(paths) + len(self._layout.missing) - len(self._layout.copies)
        self.ignored += len(self._layout.copies) - self._layout.uses_listing
        self._listing = listing if self._layout.uses_listing else None
        self._paths = paths
        self.class_names = self._layout.class_names
        self.splits = self._layout.splits

    def fingerprint(self) -> Iterator[str]:
        yield str(self.root.resolve())  # another folder may have files with the same names, sizes and times
        for path in (*filter(None, [self._listing]), *self._paths):
            if fault := self._faults.get(path):  # the setting follow_links changes it
                yield f"{path}\t{fault}"
                continue
            try:
                yield stamp(self.root / path, path)
            except OSError:  # such as a broken link, which `prepare` will list as skipped
                yield path

    def items(self) -> Iterator[Item]:
        for path, split, label, fault in self._layout:
            yield Item(path, split, label, refused(fault) if fault else partial(open_image, self.root / path))


def short_name(root: Path) -> str:
    """The name of a folder, shortened so that it can be part of other names."""
    return text(root.resolve().name).encode()[:MAX_NAME_BYTES].decode(errors="ignore")


def open_source(spec: str, follow_links: bool = False) -> FolderSource:
    """Raises `DataError` for a folder that cannot be read or has no images."""
    return FolderSource(Path(spec), follow_links)


def walk(root: Path, follow_links: bool = False) -> Iterator[tuple[str, str]]:
    """Every file below `root` as (relative path, reason not to read it or ""), in the order of paths.

    Folders of ganloom runs are left out. Raises `DataError` for a folder that cannot be listed.
    """
    top = os.path.realpath(root)
    bounds = None if follow_links else top
    yield from sorted(_walk(str(root), "", {top}, set(), bounds))


def _walk(folder: str, prefix: str, above: set[str], linked: set[str], bounds: str | None) -> Iterator[tuple[str, str]]:
    """`above`: real paths of the folders that contain this one; `linked`: of the folders that links have led to;
    `bounds`: the folder that links may not leave.
    """
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
            yield path, NOT_A_FILE  # reading a pipe could wait for ever
        else:
            yield path, ""
