"""Images in zip and tar archives, in the same layouts as folders. Nothing is unpacked to the disk.

So a path that leads out of the archive could do no harm; but such an archive is broken or an attack, and is refused.
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

MAX_BYTES = 256 * 2**20  # of one image file, unpacked
COMPRESSED: dict[bytes, Callable[..., Any]] = {  # by the first bytes of the file
    b"\x1f\x8b": gzip.GzipFile,
    b"BZh": bz2.BZ2File,
    b"\xfd7zXZ": lzma.LZMAFile,
}
EXTENSION_HEADERS = (
    tarfile.XHDTYPE, tarfile.XGLTYPE, tarfile.SOLARIS_XHDTYPE, tarfile.GNUTYPE_LONGNAME, tarfile.GNUTYPE_LONGLINK,
)  # fmt: skip
MAX_EXTENSION_BYTES = 2**20
LINK = "is a link or a device, which is not read from archives"
DUPLICATE = "is in the archive a second time under this name"
TOO_BIG = f"unpacks to more than {MAX_BYTES // 2**20} MiB, more than any image file needs"


@dataclass(frozen=True)
class Member:
    """A file in an archive. `read` works only while the archive is being iterated over."""

    path: str
    size: int  # as the archive states it
    is_file: bool  # a regular file, not a link
    read: Callable[[int], bytes]  # at most this many bytes


class ArchiveSource:
    """The images of a zip or tar file, in its order. `Layout` determines the split and class of each."""

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
        self.ignored += copies - self._layout.uses_listing
        self.class_names = self._layout.class_names
        self.splits = self._layout.splits

    def _listing(self, member: Member) -> bytes:
        try:
            return member.read(MAX_BYTES)
        except Exception as error:  # damaged archives raise nearly anything
            raise DataError(f"{LISTING} of {self.path} cannot be unpacked: {error or type(error).__name__}.") from None

    def fingerprint(self) -> Iterator[str]:
        yield stamp(self.path)

    def items(self) -> Iterator[Item]:
        placed: dict[str, tuple[str, Label, str]] = {path: place for path, *place in self._layout}  # type: ignore[misc]
        for member in _members(self.path):
            is_left_out = member.path in self._layout.copies or member.path.startswith(self._runs)
            if is_left_out or not is_image(member.path):
                continue
            split, label, fault = placed.pop(member.path, ("train", None, DUPLICATE))
            yield Item(member.path, split, label, refused(fault) if fault else _opener(member))
        for path, (split, label, fault) in placed.items():
            yield Item(path, split, label, refused(fault))


def open_source(spec: str) -> ArchiveSource:
    """Raises `DataError` for a file that is not an archive, has no images, or has paths that lead out of it."""
    return ArchiveSource(Path(spec).expanduser())


def _opener(member: Member) -> Callable[[], Image.Image]:
    """Read the file now, while the archive is at it; the image is opened when the returned function is called."""
    if not member.is_file:
        return refused(LINK)
    if member.size > MAX_BYTES:
        return refused(TOO_BIG)
    try:
        content = member.read(MAX_BYTES)  # `read` returns no more than the stated size
    except Exception as error:  # damaged archives raise nearly anything
        return refused(f"cannot be unpacked: {error or type(error).__name__}")
    return lambda: open_image(io.BytesIO(content))


def _members(path: Path) -> Iterator[Member]:
    """Every file of the archive. Raises `DataError` if it is damaged or has a path that leads out of it."""
    try:
        for member in _zip_members(path) if _is_zip(path) else _tar_members(path):
            if member.path.startswith(("/", "\\")) or ".." in re.split(r"[/\\]", member.path) or ":" in member.path[:2]:
                raise DataError(f"{path} is refused: the path of its member '{member.path}' leads out of the archive.")
            yield member
    except DataError:
        raise
    except Exception as error:  # damaged archives raise nearly anything: Python's readers trust the headers
        raise DataError(f"{path} cannot be read as an archive: {error or type(error).__name__}.") from None


def _is_zip(path: Path) -> bool:
    """Decided by the first bytes: a tar whose last member is a zip also ends like a zip."""
    with open(path, "rb") as file:
        start = file.read(4)
    return start in (b"PK\3\4", b"PK\5\6") or (path.suffix.lower() == ".zip" and zipfile.is_zipfile(path))


def _relative(name: str) -> str:
    return re.sub(r"^(\./+)+", "", name)


def _zip_members(path: Path) -> Iterator[Member]:
    def read(info: zipfile.ZipInfo, limit: int) -> bytes:
        with archive.open(info) as file:
            return file.read(limit)

    with zipfile.ZipFile(path) as archive:
        for info in archive.infolist():
            if not info.is_dir():
                is_file = not stat.S_ISLNK(info.external_attr >> 16)
                # Some Windows programs write backslashes.
                name = info.filename if "/" in info.filename else info.filename.replace("\\", "/")
                yield Member(_relative(name), info.file_size, is_file, partial(read, info))


class _Header(tarfile.TarInfo):
    """Corrects two faults of tarfile, which trusts headers too much.

    A damaged header, or the end of the file, passes for the end of the archive: here both are errors. And extension
    headers, such as long names, are read into memory at any size: here the size is limited.
    """

    @classmethod
    def frombuf(cls, buffer: bytes | bytearray, encoding: str, errors: str) -> Self:
        header = super().frombuf(buffer, encoding, errors)
        if header.type in EXTENSION_HEADERS and header.size > MAX_EXTENSION_BYTES:
            raise tarfile.ReadError(f"an extension header has {header.size} bytes, more than any name needs")
        return header

    @classmethod
    def fromtarfile(cls, archive: tarfile.TarFile) -> Self:
        try:
            return super().fromtarfile(archive)
        except tarfile.EOFHeaderError:  # type: ignore[attr-defined]  # the regular end of the archive
            raise
        except tarfile.HeaderError as error:
            raise tarfile.ReadError(f"it is damaged or cut short ({error})") from None


def _tar_members(path: Path) -> Iterator[Member]:
    def read(info: tarfile.TarInfo, limit: int) -> bytes:
        file = archive.extractfile(info)
        return file.read(limit) if file else b""

    with open(path, "rb") as file:
        start = file.read(8)
    opener: Callable[..., IO[bytes]] = next(
        (opener for magic, opener in COMPRESSED.items() if start.startswith(magic)), open
    )
    # As a stream, without seeking: most tars are compressed as a whole.
    with opener(path, "rb") as stream, tarfile.open(fileobj=stream, mode="r|", tarinfo=_Header) as archive:
        for info in archive:
            if not info.isdir():
                yield Member(_relative(info.name), info.size, info.isfile(), partial(read, info))
            archive.members = []  # type: ignore[attr-defined]  # else it would keep them all in memory
        while stream.read(2**20):  # read on to the checksum
            pass
