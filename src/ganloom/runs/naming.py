"""A name for a new run that no other run has, and that no other process takes meanwhile."""

import contextlib
import itertools
from collections.abc import Iterator
from pathlib import Path

from filelock import FileLock, Timeout

from ganloom.core.files import storage_errors
from ganloom.core.terminal import log
from ganloom.runs.folder import is_free, refuse_existing

__all__ = ["reserved"]


@contextlib.contextmanager
def reserved(path: Path) -> Iterator[Path]:
    """The first of PATH, PATH-2, PATH-3 ... that is free, kept for this process while entered; the log says which.

    A hidden lock file beside it keeps the name, and is gone afterwards. Raises `RunError` where no folder can be made.
    """
    is_new = not path.parent.exists()
    for number in itertools.count(1):
        chosen = path if number == 1 else path.with_name(f"{path.name}-{number}")
        lock = FileLock(chosen.with_name(f".{chosen.name}.lock"))
        if not is_free(chosen):
            _remove_left(lock)
            continue
        refuse_existing(chosen)  # raises if nothing can be created there
        with storage_errors(chosen):
            chosen.parent.mkdir(parents=True, exist_ok=True)
            try:
                lock.acquire(timeout=0)
            except Timeout:
                continue  # another process is about to create it
        if is_free(chosen):
            break
        _release(lock)
    try:
        if chosen != path:
            log.info(f"note: {path} exists, so this run is {chosen}")
        yield chosen
    finally:
        _release(lock)
        if is_new:
            with contextlib.suppress(OSError):  # not empty: the run is there
                path.parent.rmdir()


def _remove_left(lock: FileLock) -> None:
    """Remove the file of a process that was killed while it trained."""
    with contextlib.suppress(OSError, Timeout):  # `Timeout`: that process is alive
        if Path(lock.lock_file).exists():
            lock.acquire(timeout=0)
            _release(lock)


def _release(lock: FileLock) -> None:
    """Remove the file before the lock is given up: nobody else can have locked this very file then."""
    with contextlib.suppress(OSError):  # Windows removes no open file: there it is done afterwards
        Path(lock.lock_file).unlink()
    lock.release()
    with contextlib.suppress(OSError):
        Path(lock.lock_file).unlink()
