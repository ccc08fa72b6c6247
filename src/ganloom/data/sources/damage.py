"""What is said of a file that a library cannot read: that it is damaged, unless only memory was lacking."""

import contextlib
from collections.abc import Iterator
from pathlib import Path

from ganloom.core.errors import AGAIN, DataError
from ganloom.core.memory import memory_errors

__all__ = ["damage"]

SMALLER = "Close other programs, or split the file. If it is a small one, it is damaged: " + AGAIN + "."


@contextlib.contextmanager
def damage(where: str | Path, said: str, kinds: tuple[type[Exception], ...]) -> Iterator[None]:
    """Turn what reading raises for a damaged file, one of `kinds`, into a `DataError`, "WHERE SAID (why): remedy".

    An exhausted memory says nothing about the file: it becomes an `OutOfMemoryError`.
    """
    try:
        with memory_errors(f"reading {where}", SMALLER):
            yield
    except kinds as error:
        why = " ".join(str(error).split()).rstrip(".") or type(error).__name__
        raise DataError(f"{where} {said} ({why}): {AGAIN}.") from None
