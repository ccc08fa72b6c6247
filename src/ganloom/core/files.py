"""Files: paths that users give, names that are safe, reading only regular files, and writing atomically."""

import contextlib
import errno
import functools
import hashlib
import os
import re
import secrets
import shutil
import socket
import stat
import time
import unicodedata
from collections.abc import Iterator, Sequence
from io import BufferedReader
from pathlib import Path
from typing import NamedTuple

from ganloom.core.errors import ConfigError, StorageError
from ganloom.core.processes import is_running

__all__ = [
    "FileState",
    "built_beside",
    "cache_folder",
    "check_target",
    "is_leftover",
    "open_regular",
    "read_regular",
    "safe_names",
    "sha256",
    "storage_errors",
    "sync",
    "user_path",
    "write_atomically",
]

FULL = (errno.ENOSPC, errno.EDQUOT)
# Windows does not replace a file that another process is reading. Readers are quick: they are waited for.
REPLACE_RETRIES, RETRY_SECONDS = (40 if os.name == "nt" else 0), 0.05
# What a file name cannot have on some system: separators, control characters, halves of surrogate pairs, and dots or
# spaces at its ends. Windows keeps the names of its devices to itself.
FORBIDDEN = re.compile(r'[\\/:*?"<>|\x00-\x1f\x7f\ud800-\udfff]|^[. ]+|[. ]+$')
DEVICES = re.compile(r"(con|prn|aux|nul|com\d|lpt\d)(\..*)?", re.IGNORECASE)
# Where a process builds what it then renames: the name is hidden, and has the number of the process, which means
# nothing on another machine, the machine, and a random number: containers may have the same numbers in a shared folder.
TEMPORARY = re.compile(r"\.(.+)\.(\d+)(?:-([0-9a-f]{8})-[0-9a-f]{8})?\.tmp", re.DOTALL)
LEFT_AFTER = 3600.0  # seconds without a change: a younger one may be written in another container or on another machine
MAX_NAME = 150  # bytes of a name; file systems take 255, and something may be added


class FileState(NamedTuple):
    """What tells a file from another, and from itself after a change, without reading it."""

    size: int
    mtime: int  # nanoseconds
    inode: int

    @classmethod
    def of(cls, status: os.stat_result) -> "FileState":
        return cls(status.st_size, status.st_mtime_ns, status.st_ino)


def user_path(path: str | os.PathLike[str]) -> Path:
    """A path that the user gave, with `~` and `~name` replaced. Raises `ConfigError` for a user who does not exist."""
    try:
        return Path(path).expanduser()
    except RuntimeError:
        name = os.fspath(path).partition("/")[0]
        raise ConfigError(
            f"{os.fspath(path)}: there is no home folder for {name}. For a folder of that name: ./{name}"
        ) from None


def cache_folder() -> Path:
    """The folder for prepared datasets and downloads: `GANLOOM_CACHE`, or `ganloom` in the user's cache folder."""
    default = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "ganloom"
    return user_path(os.environ.get("GANLOOM_CACHE") or default)


def safe_names(names: Sequence[str]) -> list[str]:
    """A file name for each of the names, such as class names: different ones, valid on any system, none a path.

    Names that are valid stay as they are. If two of them would be one file, where case is ignored, all are numbered.
    """
    safe = [_safe_name(name) for name in names]
    if len({name.casefold() for name in safe}) == len(safe):
        return safe
    return [f"{name}-{index}" for index, name in enumerate(safe)]


def _safe_name(name: str) -> str:
    valid = FORBIDDEN.sub("_", unicodedata.normalize("NFC", name)) or "_"
    valid = f"_{valid}" if DEVICES.fullmatch(valid) else valid
    while len(valid.encode()) > MAX_NAME:
        valid = valid[:-1].rstrip(". ")
    return valid


@contextlib.contextmanager
def storage_errors(path: Path, remedy: str = "Make it writable, or choose another place with --out.") -> Iterator[None]:
    """Turn an `OSError` about a full, read-only or missing disk into a `StorageError` with the remedy."""
    try:
        yield
    except OSError as error:
        if error.errno in FULL or "requested and" in str(error):  # numpy's message, which has no errno
            raise StorageError(
                f"no room left to write {path}. Everything saved before is valid: free some space, then continue."
            ) from error
        if error.errno == errno.EFBIG:
            raise StorageError(
                f"cannot write {path}: the file would be larger than its file system or a limit (ulimit -f) allows. "
                "Everything saved before is valid: raise the limit or choose another place, then continue."
            ) from error
        if error.errno == errno.ENOENT and not path.parent.exists():
            remedy = f"There is no folder {path.parent}: was it moved or deleted?"
        raise StorageError(f"cannot write {path}: {error.strerror or error}. {remedy}") from error


def write_atomically(path: Path, data: bytes) -> None:
    """Write a temporary file in the same folder, flush it to the disk, rename it.

    A process killed at any moment leaves either the old file or the new one, never a part. Raises `StorageError`.
    """
    with storage_errors(path):
        check_target(path)
        with built_beside(path) as beside:
            with open(beside, "wb") as file:
                file.write(data)
                file.flush()
                os.fsync(file.fileno())
            _replace(beside, path)


def check_target(path: Path) -> None:
    """Raise `OSError` where no file can be written: a rename would replace a device, for every program that uses it."""
    if not path.name or path.is_dir():
        raise IsADirectoryError(errno.EISDIR, "it is a folder", str(path))
    if path.exists() and not path.is_file():
        raise OSError(errno.EINVAL, "it is a pipe or a device", str(path))


@contextlib.contextmanager
def built_beside(path: Path, *, is_folder: bool = False) -> Iterator[Path]:
    """Where to build a file, or a folder, that becomes `path`, complete or not at all: rename it to that.

    What has not been renamed in the end is removed. So is first what killed processes have left of the same `path`, if
    it is of this kind.
    """
    beside = path.with_name(f".{path.name}.{os.getpid()}-{_machine()}-{secrets.token_hex(4)}.tmp")
    for leftover in _leftovers(path.parent.absolute()).pop(path.name, ()):
        if leftover.is_dir() == is_folder:
            _remove(leftover)
    try:
        yield beside
    finally:
        _remove(beside)


def is_leftover(path: Path) -> bool:
    """Whether it is a file that `write_atomically` did not finish, judged by its name."""
    return TEMPORARY.fullmatch(path.name) is not None and path.is_file() and not path.is_symlink()


@functools.cache  # a folder is listed once in a process: writing many files into it must not take quadratic time
def _leftovers(folder: Path) -> dict[str, list[Path]]:
    """What processes that are gone have not finished in a folder, by the names that it should have got."""
    found: dict[str, list[Path]] = {}
    with contextlib.suppress(OSError):
        for name in os.listdir(folder):
            parts = TEMPORARY.fullmatch(name)
            if not parts or time.time() - (folder / name).lstat().st_mtime <= LEFT_AFTER:
                continue
            # With the number of this process, an earlier one wrote it: a container gives out the same after each start.
            is_here = parts[3] in (None, _machine()) and int(parts[2]) != os.getpid()
            if not (is_here and is_running(int(parts[2]))):
                found.setdefault(parts[1], []).append(folder / name)
    return found


def _machine() -> str:
    return sha256(socket.gethostname().encode("utf-8", "surrogateescape"))[:8]


def _remove(path: Path) -> None:
    with contextlib.suppress(OSError):
        if path.is_dir() and not path.is_symlink():
            shutil.rmtree(path, ignore_errors=True)
        else:
            path.unlink(missing_ok=True)


def open_regular(path: str | os.PathLike[str]) -> BufferedReader:
    """Open a regular file for reading. Raises `OSError` for anything else: pipes may block, devices never end."""
    descriptor = os.open(path, os.O_RDONLY | getattr(os, "O_NONBLOCK", 0) | getattr(os, "O_BINARY", 0))
    try:
        if not stat.S_ISREG(os.fstat(descriptor).st_mode):
            code = errno.EISDIR if stat.S_ISDIR(os.fstat(descriptor).st_mode) else errno.EINVAL
            reason = "Is a directory" if code == errno.EISDIR else "not a regular file"
            raise OSError(code, reason, os.fspath(path))
        return open(descriptor, "rb")
    except BaseException:
        os.close(descriptor)
        raise


def read_regular(path: str | os.PathLike[str], limit: int = -1) -> bytes:
    """The content of a regular file, or its first `limit` bytes. Raises `OSError`."""
    with open_regular(path) as file:
        return file.read(limit)


def sync(path: Path) -> None:
    """Flush a file that has been written to the disk: what depends on it may be written next. Raises `StorageError`."""
    with storage_errors(path), open(path, "ab") as file:
        os.fsync(file.fileno())


def _replace(source: Path, target: Path) -> None:
    for _ in range(REPLACE_RETRIES):
        with contextlib.suppress(PermissionError):
            os.replace(source, target)
            return
        time.sleep(RETRY_SECONDS)
    os.replace(source, target)


def sha256(data: bytes) -> str:
    """The SHA-256 hash in hexadecimal."""
    return hashlib.sha256(data).hexdigest()
