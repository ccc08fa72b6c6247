"""Images in a folder: flat, nested, with one folder per class (like torchvision's ImageFolder), or split folders."""

import os
from collections.abc import Collection, Iterator
from functools import partial
from pathlib import Path

from ganloom.config import Reading
from ganloom.core.errors import DataError
from ganloom.core.files import open_regular
from ganloom.data.sources import files
from ganloom.data.sources.contract import Item, open_image, stamp
from ganloom.data.sources.files import FileSource
from ganloom.data.sources.naming import DICOM_SUFFIXES, RUN, is_hidden, is_image, suffix, text

__all__ = ["SETTINGS", "FolderSource", "open_source", "short_name", "walk"]

SETTINGS = files.SETTINGS | {"follow_links"}
"""The keys of `Reading` that are followed."""

LEADS_OUT = "is a symbolic link that leads out of the folder (to follow it: data.follow_links=true, --follow-links)"
LEADS_NOWHERE = "is a broken symbolic link"
LEADS_BACK = "is a symbolic link to a folder that contains it"
LEADS_TWICE = "is a second symbolic link to the same folder"
DICOM = "is a DICOM file among other images (to read only those: dicom:FOLDER)"
MAX_NAME_BYTES = 100  # names of folders in the cache contain it
NOT_A_FILE = "is not a regular file"


class FolderSource(FileSource):
    """The images below a folder, in the order of their paths.

    Symbolic links within the folder are followed; those that lead out of it only with `follow_links`.
    """

    def __init__(self, root: Path, reading: Reading | None = None) -> None:
        self.root = root
        self._faults: dict[str, str] = {}
        self._closed: set[str] = set()  # never opened: pipes, which could block for ever, and links that lead out
        super().__init__(str(root), short_name(root) or "images", reading or Reading(source=str(root)))

    @property
    def folder(self) -> Path:
        return self.root

    def _files(self) -> Iterator[tuple[str, str]]:
        for path, fault in walk(self.root, self.reading.follow_links):
            if fault:
                self._closed.add(path)
            if fault and (is_hidden(path) or not (is_image(path) or (self.root / path).is_dir())):
                fault = ""
            if not fault and suffix(path) in DICOM_SUFFIXES and not is_hidden(path):
                fault = DICOM
            if fault:
                self._faults[path] = fault
            yield path, fault

    def _contents(self, paths: Collection[str], limit: int | None) -> Iterator[tuple[str, bytes | DataError]]:
        for path in paths:
            if path in self._closed:
                continue
            try:
                with open_regular(self.root / path) as file:
                    yield path, file.read(-1 if limit is None else limit)
            except OSError as error:
                yield path, DataError(f"cannot read {error.filename}: {error.strerror}.")

    def _folders_in(self, folder: str) -> Iterator[str]:
        with os.scandir(self.root / folder) as entries:
            yield from (entry.name for entry in entries if entry.is_dir() and not is_run(entry.path))

    def fingerprint(self) -> Iterator[str]:
        yield str(self.root.resolve())  # another folder may have files with the same names, sizes and times
        yield self._how()
        for path in self._read_from:
            if fault := self._faults.get(path):  # the setting follow_links changes it
                yield f"{path}\t{fault}"
                continue
            try:
                yield stamp(self.root / path, path)
            except OSError:  # such as a broken link, which `prepare` will list as skipped
                yield path

    def items(self) -> Iterator[Item]:
        for place in self._layout:
            yield from self._items(place, partial(open_image, self.root / place.path))


def is_run(folder: str) -> bool:
    """Whether a folder is that of a ganloom run, whose pictures are generated."""
    return all(Path(folder, name).exists() for name in RUN)


def short_name(root: Path) -> str:
    """The name of a folder, shortened so that it can be part of other names."""
    return text(root.resolve().name).encode()[:MAX_NAME_BYTES].decode(errors="ignore")


def open_source(spec: str, reading: Reading) -> FolderSource:
    """Raises `DataError` for a folder that cannot be read or has no images."""
    return FolderSource(Path(spec), reading)


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
        raise DataError(
            f"cannot read the folder {folder}: {error.strerror}. Make it readable, or move it away."
        ) from error
    for entry in entries:
        path = prefix + entry.name
        real = os.path.realpath(entry.path) if entry.is_symlink() else ""
        if real and bounds and not (real + os.sep).startswith(bounds.rstrip(os.sep) + os.sep):
            yield path, LEADS_OUT
        elif real and not Path(real).exists():
            yield path, LEADS_NOWHERE
        elif entry.is_dir() and is_run(entry.path):
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
