"""A source of the images among many files: what folders and archives have in common."""

from abc import ABC, abstractmethod
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from pathlib import Path

from PIL import Image

from ganloom.config import NO_FILE, Reading
from ganloom.core.errors import DataError
from ganloom.data.sources.content import HEAD, OTHER_SUFFIXES, has_dicom_content, has_image_content
from ganloom.data.sources.contract import Item, Remark, refused
from ganloom.data.sources.frames import every_frame
from ganloom.data.sources.layout import Layout, Place
from ganloom.data.sources.masks import find_masks, has_few_values
from ganloom.data.sources.naming import IMAGE_SUFFIXES, is_hidden, is_image, parents, runs_among, suffix, text
from ganloom.data.sources.not_read import said_of
from ganloom.data.sources.pairs import find_pairs
from ganloom.data.sources.splits import enumeration
from ganloom.data.sources.tables import read_table

__all__ = ["SETTINGS", "FileSource", "how"]

SETTINGS = frozenset(
    {"splits", "class_level", "keep_masks", "any_suffix", "label_file", "label_column", "group_column", "frames"}
)
"""The keys of `Reading` that are followed."""

MAX_LOOKS = 200  # files without a known suffix that are looked at, to say whether they are images

VERSION = 3
"""Of the reader of layouts. A new one prepares images again, which may be read in another way."""


def how(reading: Reading, tables: Collection[str] = ()) -> str:
    """A line for a fingerprint: how the files are read, and which tables among them.

    The path of a table is not part of it, as it may be written in several ways: the stamp of the file stands for it.
    """
    settings = reading.model_dump(include=set(Reading.model_fields) - {"source"}, exclude_defaults=True)
    if reading.label_file not in (None, NO_FILE):
        settings["label_file"] = sorted(tables)
    return f"layout {VERSION}\t{sorted(settings.items())}"


class FileSource(ABC):
    """The images among some files. `Layout` determines the split and class of each."""

    def __init__(self, where: str, name: str, reading: Reading) -> None:
        """`where` names the place in messages. Raises `DataError` if there are no images."""
        self.name = name
        self.reading = reading
        found = list(self._files())
        runs = runs_among(path for path, _ in found)
        found = [(path, fault) for path, fault in found if not path.startswith(runs)]
        files = {path for path, _ in found}
        faults = {path: fault for path, fault in found if fault}
        images = {path for path in files if is_image(path) or path in faults}
        remarks = self._take_unnamed(images, files)
        if not images:
            said = said_of(path for path in files if not is_hidden(path))
            if said and not any(remark.topic == "suffixes" for remark in remarks):
                raise DataError(f"no images in {where}. {said}")
            kinds = ", ".join(sorted(IMAGE_SUFFIXES))
            hint = "".join(f" But {remark.text}." for remark in remarks)
            raise DataError(
                f"no images in {where}: looked for {kinds} in it and below it, and found {len(found)} other files."
                f"{hint or ' For an archive or an array file, give its path.'}"
            )
        if len(faults) == len(images):
            first = min(faults)
            raise DataError(f"no image in {where} can be used: {first} {faults[first]}.")
        known = set(images)
        remarks += self._leave_out_masks(images, faults)
        paths = sorted(images)
        by_folders: Layout | None = None
        try:
            by_folders = Layout(paths, reading, None, faults)
        except DataError:  # a table may say which images are for training; else it is raised again below
            flat = Layout(paths, reading.model_copy(update={"splits": {}, "class_level": 0}), None, faults)
        self._table = read_table(files, by_folders or flat, self, reading)
        if by_folders is None or self._table is not None:
            by_folders = Layout(paths, reading, self._table, faults)
        self._layout = by_folders
        images -= self._layout.copies
        taken = sum(path in images for path, _ in found)  # an archive may have a path twice
        self.count: int | None = taken + len(self._layout.missing)
        if reading.frames == "all":
            self.count = None  # a file may have many frames
        self.ignored = len(found) - taken - len(self._layout.tables)
        self.class_names: Sequence[str] = self._layout.class_names
        self.splits: Sequence[str] = self._layout.splits
        folders = self._layout.class_folders()
        pairs = find_pairs(folders, self.sample) if self.reads_anywhere else ()
        self.remarks: Sequence[Remark] = (*remarks, *self._layout.remarks, *self._empty(folders, known), *pairs)
        self._read_from = (*sorted(self._layout.tables), *paths)  # what the items depend on

    @property
    def reads_anywhere(self) -> bool:
        """Whether a few files can be read without reading all before them, as in a compressed tar."""
        return True

    def _folders_in(self, folder: str) -> Iterator[str]:
        """The names of the folders in one that has images, including those without files where they are known."""
        yield from ()

    @property
    def folder(self) -> Path | None:
        """The folder that paths start from; None in an archive."""
        return None

    @abstractmethod
    def _files(self) -> Iterator[tuple[str, str]]:
        """Every file as (path, reason not to read it or ""). A fault is only given for what could be an image."""

    @abstractmethod
    def _contents(self, paths: Collection[str], limit: int | None) -> Iterator[tuple[str, bytes | DataError]]:
        """The content, or its first `limit` bytes, of some files, in any order; or why one cannot be read."""

    def read(self, paths: Collection[str], limit: int | None = None) -> Iterator[tuple[str, bytes]]:
        """The content, or its first `limit` bytes, of files that must be read. Raises `DataError`."""
        for path, content in self._contents(paths, limit):
            if isinstance(content, DataError):
                raise content
            yield path, content

    def sample(self, paths: Collection[str], limit: int | None = None) -> Iterator[tuple[str, bytes]]:
        """The same of files that nobody asked for: those that cannot be read are left out."""
        for path, content in self._contents(paths, limit):
            if not isinstance(content, DataError):
                yield path, content

    def _how(self) -> str:
        return f"{how(self.reading, self._layout.tables)}\t{self._table.stamp if self._table else ''}"

    def _items(self, place: Place, open: Callable[[], Image.Image], held: int = 0) -> Iterator[Item]:
        """The items of one file, of which `held` bytes are in memory."""
        opener = refused(place.fault) if place.fault else open
        item = Item(place.path, place.split, place.label, opener, place.group, held=held)
        yield from every_frame(item) if self.reading.frames == "all" else (item,)

    def _take_unnamed(self, images: set[str], files: set[str]) -> list[Remark]:
        """Add files that are images by their content, but do not have the suffix of one, or say that there are some."""
        unknown = sorted(path for path in files - images if not is_hidden(path) and suffix(path) not in OTHER_SUFFIXES)
        if not self.reading.any_suffix:
            unknown = unknown[:: -(-len(unknown) // MAX_LOOKS) or 1]
        heads = list(self.sample(unknown, HEAD)) if unknown else []
        found = [path for path, head in heads if has_image_content(head)]
        scans = [path for path, head in heads if has_dicom_content(head)]
        remarks = []
        if scans:
            count = f"{len(scans):,} of {len(unknown):,} other files are DICOM ({enumeration(scans)})"
            remarks.append(Remark("dicom", f"{count} and are left out; to read only those, unpacked: dicom:FOLDER"))
        if self.reading.any_suffix and (unread := sorted(set(unknown) - {path for path, _ in heads})):
            remarks.append(Remark("suffixes", f"{len(unread):,} other files cannot be read ({enumeration(unread)})"))
        if not found:
            return remarks
        said = f"{len(found):,} of {len(unknown):,} files without a known suffix are images by their content"
        if self.reading.any_suffix:
            images |= set(found)
            return [*remarks, Remark("suffixes", f"{said} and are taken")]
        return [*remarks, Remark("suffixes", f"{said} ({enumeration(found)}); to take such files: --any-suffix")]

    def _leave_out_masks(self, images: set[str], faults: Mapping[str, str]) -> list[Remark]:
        """Remove segmentation masks, unless they are wanted."""
        if self.reading.keep_masks:
            return []
        masks = find_masks(sorted(images - faults.keys()), self.sample, has_few_values)
        for paths in masks.values():
            images -= set(paths)
        kinds = ", ".join(
            f"{len(paths):,} {f'in {text(group)}' if group.endswith('/') else f'named {group}'}"
            for group, paths in masks.items()
        )
        said = (
            f"{kinds} are left out: they are segmentation masks of the other images (same names, few different values)"
        )
        return [Remark("masks", f"{said}; to take them as images, too: --keep-masks")] if masks else []

    def _empty(self, folders: Collection[str], known: set[str]) -> list[Remark]:
        """Folders beside the class folders that have no images: classes that were never filled, or not unpacked."""
        above = {folder.rstrip("/").rpartition("/")[0] for folder in folders}
        beside = {f"{parent}/{name}/".lstrip("/") for parent in above for name in self._folders_in(parent)}
        missing = beside - set(folders)
        filled = {f"{parent}/" for path in known for parent in parents(path)} if missing else set[str]()
        empty = [folder.rstrip("/") for folder in missing - filled if not is_hidden(folder)]
        return [Remark("classes", f"no images in {enumeration(empty)}: not classes")] if empty else []
