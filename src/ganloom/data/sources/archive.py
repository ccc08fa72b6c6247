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
from collections.abc import Callable, Collection, Iterator
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import IO, Any, Self

from PIL import Image

from ganloom.config import Reading
from ganloom.core.errors import AGAIN, DataError
from ganloom.core.files import user_path
from ganloom.data.sources.contract import Item, open_image, refused, stamp
from ganloom.data.sources.files import SETTINGS, FileSource
from ganloom.data.sources.naming import parents

__all__ = ["SETTINGS", "ArchiveSource", "open_source"]

MAX_BYTES = 256 * 2**20  # of one image file, unpacked
MAX_TAIL = 256 * 2**20  # after the end of a tar, unpacked: writers fill up to a block
BLOCK = 2**20
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


class ArchiveSource(FileSource):
    """The images of a zip or tar file, in its order."""

    def __init__(self, path: Path, reading: Reading | None = None) -> None:
        self.path = path
        self._folders: set[str] = set()
        name = re.sub(r"(\.tar)?\.\w+$", "", path.name)
        super().__init__(str(path), name, reading or Reading(source=str(path)))

    @property
    def reads_anywhere(self) -> bool:
        return _is_zip(self.path)

    def _files(self) -> Iterator[tuple[str, str]]:
        for member in _members(self.path):
            self._folders |= set(parents(member.path))
            yield member.path, ""

    def _folders_in(self, folder: str) -> Iterator[str]:
        yield from (name for above, _, name in (path.rpartition("/") for path in self._folders) if above == folder)

    def _contents(self, paths: Collection[str], limit: int | None) -> Iterator[tuple[str, bytes | DataError]]:
        wanted = set(paths)
        for member in _members(self.path) if wanted else ():
            if member.path in wanted and member.is_file:
                wanted.discard(member.path)
                content: bytes | DataError
                try:
                    content = member.read(MAX_BYTES if limit is None else limit)
                except Exception as error:  # damaged archives raise nearly anything
                    reason = f"{error or type(error).__name__}"
                    content = DataError(f"{member.path} of {self.path} cannot be unpacked: {reason}.")
                yield member.path, content
            if not wanted:
                return  # the rest of a compressed tar would be unpacked for nothing

    def fingerprint(self) -> Iterator[str]:
        yield stamp(self.path)
        yield self._how()

    def items(self) -> Iterator[Item]:
        placed = {place.path: place for place in self._layout}
        seen = set()
        for member in _members(self.path):
            if place := placed.pop(member.path, None):
                seen.add(member.path)
                held = min(member.size, MAX_BYTES)
                yield from self._items(place, _opener(member) if not place.fault else refused(place.fault), held)
            elif member.path in seen:
                yield Item(member.path, "train", None, refused(DUPLICATE))
        for place in placed.values():
            yield from self._items(place, refused(place.fault))


def open_source(spec: str, reading: Reading) -> ArchiveSource:
    """Raises `DataError` for a file that is not an archive, has no images, or has paths that lead out of it."""
    return ArchiveSource(user_path(spec), reading)


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
                raise DataError(
                    f"{path} is refused: the path of its member '{member.path}' leads out of the archive. "
                    "Pack it again without that member."
                )
            yield member
    except DataError:
        raise
    except Exception as error:  # damaged archives raise nearly anything: Python's readers trust the headers
        raise DataError(f"{path} cannot be read as an archive ({error or type(error).__name__}): {AGAIN}.") from None


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
        for _ in range(MAX_TAIL // BLOCK):  # read on to the checksum
            if not stream.read(BLOCK):
                return
        raise tarfile.ReadError(f"more than {MAX_TAIL // 2**20} MiB follow its end")
