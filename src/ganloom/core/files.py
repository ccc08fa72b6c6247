"""Write files atomically, and turn disk errors into messages with a remedy."""

import contextlib
import errno
import hashlib
import os
import time
from collections.abc import Iterator
from pathlib import Path

from ganloom.core.errors import StorageError

__all__ = ["cache_folder", "sha256", "storage_errors", "write_atomically"]

FULL = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG)
# Windows does not replace a file that another process is reading. Readers are quick: they are waited for.
REPLACE_RETRIES, RETRY_SECONDS = (40 if os.name == "nt" else 0), 0.05


def cache_folder() -> Path:
    """The folder for prepared datasets and downloads: `GANLOOM_CACHE`, or `ganloom` in the user's cache folder."""
    default = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "ganloom"
    return Path(os.environ.get("GANLOOM_CACHE") or default).expanduser()


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
        raise StorageError(f"cannot write {path}: {error.strerror or error}. {remedy}") from error


def write_atomically(path: Path, data: bytes) -> None:
    """Write a temporary file in the same folder, flush it to the disk, rename it.

    A process killed at any moment leaves either the old file or the new one, never a part. Raises `StorageError`.
    """
    with storage_errors(path):
        if not path.name:
            raise IsADirectoryError(errno.EISDIR, "it is a folder", str(path))
        beside = path.with_name(f".{path.name}.{os.getpid()}.tmp")
        try:
            with open(beside, "wb") as file:
                file.write(data)
                file.flush()
                os.fsync(file.fileno())
            _replace(beside, path)
        except BaseException:
            beside.unlink(missing_ok=True)
            raise


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
