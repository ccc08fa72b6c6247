"""Zip and tar archives of the layouts that folders have. Nothing is unpacked to the disk.

So a path out of the archive could do no harm, but an archive that has one is broken or an attack, and is refused.
"""

import bz2
import gzip
import io
import lzma
import re
import stat
import tarfile
import zipfile
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import IO, Any, Self

from PIL import Image

from ganloom.core.errors import DataError
from ganloom.data.sources.contract import Item, Label, open_image, refused, stamp
from ganloom.data.sources.layout import IMAGE_SUFFIXES, LISTING, Layout, is_image, is_listing, runs_among

__all__ = ["ArchiveSource", "open_source"]

MOST_BYTES = 256 * 2**20  # of one image file, unpacked
COMPRESSED: dict[bytes, Callable[..., Any]] = {  # by how a file begins
    b"\x1f\x8b": gzip.GzipFile,
    b"BZh": bz2.BZ2File,
    b"\xfd7zXZ": lzma.LZMAFile,
}
BEFORE_HEADERS = (
    tarfile.XHDTYPE, tarfile.XGLTYPE, tarfile.SOLARIS_XHDTYPE, tarfile.GNUTYPE_LONGNAME, tarfile.GNUTYPE_LONGLINK,
)  # fmt: skip
MOST_BEFORE_HEADER = 2**20
LINK = "is a link or a device, which an archive cannot be trusted with"
TWICE = "is in the archive a second time under this name"
TOO_BIG = f"unpacks to more than {MOST_BYTES // 2**20} MiB, which no image file needs"


@dataclass(frozen=True)
class Member:
    """A file of an archive; `read` answers while the archive is being gone through."""

    path: str
    size: int  # as declared
    is_file: bool  # and no link
    read: Callable[[int], bytes]  # at most so many bytes


class ArchiveSource:
    """Images of a zip or tar file, in the order in which they lie there; `Layout` says split and class of each."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.name = re.sub(r"(\.tar)?\.\w+$", "", path.name)
        paths, self.ignored = [], 0
        listing, content = None, None
        names = []
        for member in _members(path):
            names.append(member.path)
            if member.is_file and is_listing(member.path, listing):
                listing, content = member.path, self._listing(member)
            if is_image(member.path):
                paths.append(member.path)
            else:
                self.ignored += 1
        self._runs = runs_among(names)
        paths = [each for each in paths if not each.startswith(self._runs)]
        if not paths:
            kinds = ", ".join(sorted(IMAGE_SUFFIXES))
            raise DataError(f"no images in {path}: looked for {kinds}, and found {self.ignored} other files.")
        self._layout = Layout(sorted(set(paths)), content, listed_in=(listing or LISTING).removesuffix(LISTING))
        copies = sum(path in self._layout.copies for path in paths)
        self.count = len(paths) + len(self._layout.missing) - copies
        self.ignored += copies - self._layout.takes_listing
        self.class_names = self._layout.class_names
        self.splits = self._layout.splits

    def _listing(self, member: Member) -> bytes:
        try:
            return member.read(MOST_BYTES)
        except Exception as error:  # as in _members
            raise DataError(f"{LISTING} of {self.path} cannot be unpacked: {error or type(error).__name__}.") from None

    def fingerprint(self) -> Iterator[str]:
        yield stamp(self.path)

    def items(self) -> Iterator[Item]:
        placed: dict[str, tuple[str, Label, str]] = {path: place for path, *place in self._layout}  # type: ignore[misc]
        for member in _members(self.path):
            passed_over = member.path in self._layout.copies or member.path.startswith(self._runs)
            if passed_over or not is_image(member.path):
                continue
            split, label, fault = placed.pop(member.path, ("train", None, TWICE))
            yield Item(member.path, split, label, refused(fault) if fault else _opener(member))
        for path, (split, label, fault) in placed.items():
            yield Item(path, split, label, refused(fault))


def open_source(spec: str) -> ArchiveSource:
    """Raises `DataError` for a file that is no archive, has no images, or names paths outside of itself."""
    return ArchiveSource(Path(spec).expanduser())


def _opener(member: Member) -> Callable[[], Image.Image]:
    """Read the file now, as its turn in the archive has come, and open the image when asked."""
    if not member.is_file:
        return refused(LINK)
    if member.size > MOST_BYTES:
        return refused(TOO_BIG)
    try:
        content = member.read(MOST_BYTES)  # never more than is declared
    except Exception as error:  # as in _members
        return refused(f"cannot be unpacked: {error or type(error).__name__}")
    return lambda: open_image(io.BytesIO(content))


def _members(path: Path) -> Iterator[Member]:
    """Every file of the archive. Raises `DataError` when it is damaged or has a path that leads out of it."""
    try:
        for member in _zip_members(path) if _is_zip(path) else _tar_members(path):
            if member.path.startswith(("/", "\\")) or ".." in re.split(r"[/\\]", member.path) or ":" in member.path[:2]:
                raise DataError(f"{path} is refused: its member '{member.path}' leads out of the archive.")
            yield member
    except DataError:
        raise
    except Exception as error:  # damaged archives raise nearly everything: Python's readers trust their headers
        raise DataError(f"{path} cannot be read as an archive: {error or type(error).__name__}.") from None


def _is_zip(path: Path) -> bool:
    """By its beginning: a tar whose last member is a zip ends as a zip does."""
    with open(path, "rb") as file:
        start = file.read(4)
    return start in (b"PK\3\4", b"PK\5\6") or (path.suffix.lower() == ".zip" and zipfile.is_zipfile(path))


def _relative(name: str) -> str:
    return re.sub(r"^(\./+)+", "", name)


def _zip_members(path: Path) -> Iterator[Member]:
    def read(info: zipfile.ZipInfo, most: int) -> bytes:
        with archive.open(info) as file:
            return file.read(most)

    with zipfile.ZipFile(path) as archive:
        for info in archive.infolist():
            if not info.is_dir():
                is_file = not stat.S_ISLNK(info.external_attr >> 16)
                # Some programs for Windows write its slashes.
                name = info.filename if "/" in info.filename else info.filename.replace("\\", "/")
                yield Member(_relative(name), info.file_size, is_file, partial(read, info))


class _Header(tarfile.TarInfo):
    """tarfile takes a damaged header, and the end of the file, for the end of the archive.

    And what stands before a header, such as a long name, it reads whole, however long it says it is.
    """

    @classmethod
    def frombuf(cls, buffer: bytes | bytearray, encoding: str, errors: str) -> Self:
        header = super().frombuf(buffer, encoding, errors)
        if header.type in BEFORE_HEADERS and header.size > MOST_BEFORE_HEADER:
            raise tarfile.ReadError(f"what stands before a header has {header.size} bytes, which no name needs")
        return header

    @classmethod
    def fromtarfile(cls, archive: tarfile.TarFile) -> Self:
        try:
            return super().fromtarfile(archive)
        except tarfile.EOFHeaderError:  # type: ignore[attr-defined]  # the mark that it ends here
            raise
        except tarfile.HeaderError as error:
            raise tarfile.ReadError(f"it is damaged or cut short ({error})") from None


def _tar_members(path: Path) -> Iterator[Member]:
    def read(info: tarfile.TarInfo, most: int) -> bytes:
        file = archive.extractfile(info)
        return file.read(most) if file else b""

    with open(path, "rb") as file:
        start = file.read(8)
    opener: Callable[..., IO[bytes]] = next(
        (opener for magic, opener in COMPRESSED.items() if start.startswith(magic)), open
    )
    # One after the other: most tars are compressed as a whole.
    with opener(path, "rb") as stream, tarfile.open(fileobj=stream, mode="r|", tarinfo=_Header) as archive:
        for info in archive:
            if not info.isdir():
                yield Member(_relative(info.name), info.size, info.isfile(), partial(read, info))
            archive.members = []  # type: ignore[attr-defined]  # it would remember them all
        while stream.read(2**20):  # to its checksum
            pass
