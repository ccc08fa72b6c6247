"""Get published files: from a local copy, or else by a download that is logged and verified by a checksum.

`GANLOOM_DATA` names a folder of local copies. If a download fails or has the wrong checksum, the next mirror is tried.
"""

import hashlib
import os
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import urlsplit

from filelock import FileLock
from rich.filesize import decimal

from ganloom.core.errors import DataError
from ganloom.core.files import cache_folder, storage_errors, user_path
from ganloom.core.phases import Phase, phase
from ganloom.core.terminal import log
from ganloom.data.sources.contract import stamp

__all__ = ["Remote", "download", "fetch", "local_data"]

TIMEOUT = 30  # seconds without data
CHUNK = 2**18  # bytes that pooch writes to the disk at a time


@dataclass(frozen=True)
class Remote:
    """A published file."""

    name: str  # path below GANLOOM_DATA and below the cache
    md5: str
    urls: tuple[str, ...] = ()  # mirrors, the best first; empty if it must be downloaded by hand
    page: str = ""  # web page with the file


def fetch(remote: Remote) -> Path:
    """The path of the verified file. Raises `DataError`, which says which file to put where."""
    if (folder := local_data()) and (local := folder / remote.name).exists():
        _verify_once(local, remote)
        return local
    downloads = cache_folder() / "downloads"
    path = downloads / remote.name
    if path.exists():  # it was verified before it was moved here
        return path
    reasons = download(remote.urls, f"md5:{remote.md5}", path)
    if not path.exists():
        raise DataError(_by_hand(remote, reasons))
    return path


def download(
    urls: Sequence[str],  # mirrors, the best first
    known_hash: str,  # "md5:..." or "sha256:..."
    path: Path,
) -> list[str]:
    """Download a file from the first mirror that works, and verify it. Returns why the other mirrors failed."""
    reasons: list[str] = []
    with storage_errors(path.parent, "Name another folder for downloads with the environment variable GANLOOM_CACHE."):
        path.parent.mkdir(parents=True, exist_ok=True)
        with FileLock(f"{path}.lock"):
            for url in urls:
                if path.exists():  # another process was faster
                    break
                if reason := _download(url, known_hash, path):
                    reasons.append(f"{urlsplit(url).netloc}: {reason}")
    return reasons


def local_data() -> Path | None:
    """The folder of local copies, from `GANLOOM_DATA`."""
    folder = os.environ.get("GANLOOM_DATA")
    return user_path(folder) if folder else None


def _download(url: str, known_hash: str, path: Path) -> str:
    """Download and verify one file. Returns the reason if it failed, else an empty string."""
    import pooch  # only needed to download
    import requests

    pooch.get_logger().setLevel("WARNING")  # it would repeat the message below
    log.info(f"downloading {path.name} from {urlsplit(url).netloc} to {path.parent}")
    try:
        with phase(f"downloading {path.name}", lambda count: decimal(round(count))) as progress:
            downloader = pooch.HTTPDownloader(progressbar=_Bar(progress), chunk_size=CHUNK, timeout=TIMEOUT)
            pooch.retrieve(url, known_hash, fname=path.name, path=path.parent, downloader=downloader)
    except requests.RequestException as error:
        return f"{type(error).__name__}"
    except ValueError:  # how pooch reports a wrong hash
        return f"it is not the published file (its {known_hash.partition(':')[0].upper()} differs)"
    finally:
        log.info(f"{path.name}: {decimal(path.stat().st_size) if path.exists() else 'failed'}")
    return ""


class _Bar:
    """Adapts a phase to the interface of the progress bar that pooch calls."""

    def __init__(self, progress: Phase) -> None:
        self.progress = progress

    @property
    def total(self) -> float | None:
        return self.progress.total

    @total.setter
    def total(self, value: float) -> None:
        self.progress(self.progress.done, value)

    def update(self, amount: int) -> None:
        self.progress(self.progress.done + amount, self.progress.total)

    def reset(self) -> None:
        self.progress(0, self.progress.total)

    def close(self) -> None:
        """The phase ends with its block."""


def _verify_once(path: Path, remote: Remote) -> None:
    """Verify a local copy and remember the result: some files have 12 GB."""
    state = f"{stamp(path)}\t{remote.md5}"
    verified = cache_folder() / "verified" / hashlib.sha256(state.encode("utf-8", "surrogateescape")).hexdigest()
    if verified.exists():
        return
    try:
        with phase(f"verifying {path.name}"), open(path, "rb") as file:
            found = hashlib.file_digest(file, "md5").hexdigest()
    except OSError as error:
        raise DataError(f"{path} cannot be read: {error.strerror}. Replace or remove it.") from None
    if found != remote.md5:
        raise DataError(
            f"{path} is not the published {path.name}: its MD5 is {found}, not {remote.md5}. "
            "Replace or remove it. To train on it anyway, give its path instead of the name of the dataset."
        )
    with storage_errors(verified):
        verified.parent.mkdir(parents=True, exist_ok=True)
        verified.touch()


def _by_hand(remote: Remote, reasons: list[str]) -> str:
    where = f"{local_data()}/{remote.name}" if local_data() else f"FOLDER/{remote.name}, and set GANLOOM_DATA=FOLDER"
    places = ", ".join(remote.urls) or remote.page
    tried = f"could not be downloaded ({'; '.join(reasons)})" if reasons else "must be downloaded by hand"
    return (
        f"{remote.name} {tried}. Download it from {places} with a browser or on another machine, and put it "
        f"at {where}. Its MD5 is {remote.md5}."
    )
