"""What ganloom says: lines of the logger `ganloom`, shown where somebody asked to see them.

The library logs and prints nothing. The command line, or `verbose=True`, shows the lines with `shown()`, and the bars
of `core/phases.py`; of several processes only the first one shows anything.
"""

import contextlib
import errno
import logging
import os
import sys
from collections.abc import Iterator
from typing import Any, TextIO, cast

from rich.console import Console

from ganloom.core.words import printable

__all__ = ["Output", "log", "print_line", "shown", "shown_on", "terminal"]

log = logging.getLogger("ganloom")
log.addHandler(logging.NullHandler())  # or Python would print warnings of a library that nobody listens to

UNREAD = (errno.EPIPE, errno.EIO)  # nobody reads any more: the reader of a pipe has ended, a terminal was closed
QUIET = Console(quiet=True, force_terminal=False)
_stack: list[Console] = []


def terminal() -> Console:
    """The terminal that output is shown on now; one that shows nothing by default."""
    return _stack[-1] if _stack else QUIET


@contextlib.contextmanager
def shown(verbose: bool = True) -> Iterator["Output | None"]:
    """Show lines of the log and progress bars on standard output while entered; nothing changes without `verbose`."""
    if not verbose or os.environ.get("RANK", "0") != "0":
        yield None
        return
    output = Output(sys.stdout)
    with shown_on(Console(file=cast("TextIO", output))):
        yield output


@contextlib.contextmanager
def shown_on(console: Console) -> Iterator[None]:
    """The same on that terminal, or file."""
    handler, level = _Lines(console), log.level
    _stack.append(console)
    log.addHandler(handler)
    log.setLevel(min(level or logging.INFO, logging.INFO))
    try:
        yield
    finally:
        log.setLevel(level)
        log.removeHandler(handler)
        _stack.remove(console)


class _Lines(logging.Handler):
    """Prints each record as a line."""

    def __init__(self, console: Console) -> None:
        super().__init__()
        self._console = console

    def emit(self, record: logging.LogRecord) -> None:
        prefix = "warning: " if record.levelno >= logging.WARNING else ""
        print_line(self._console, prefix + record.getMessage())


def print_line(console: Console, text: str) -> None:
    """Print a line literally: paths may hold what rich would take for markup, and must not be wrapped."""
    console.print(printable(text), markup=False, highlight=False, soft_wrap=True)


class Output:
    """Standard output, which may go away: a pipe whose reader has ended, a window that was closed, a full disk.

    No work ends for that, nor for characters that its encoding lacks. `lost` is the error for which lines were lost
    that somebody may still want to read.
    """

    def __init__(self, file: TextIO) -> None:
        self._file = file
        self.lost: OSError | None = None

    def write(self, text: str) -> int:
        try:
            return self._file.write(text)
        except UnicodeEncodeError as error:
            return self._file.write(text.encode(error.encoding, "backslashreplace").decode(error.encoding))
        except OSError as error:
            self._silence(error)
            return len(text)

    def flush(self) -> None:
        try:
            self._file.flush()
        except OSError as error:
            self._silence(error)

    def _silence(self, error: OSError) -> None:
        """Send what is still buffered nowhere, or Python would complain at exit."""
        if error.errno not in UNREAD:
            self.lost = self.lost or error
        with contextlib.suppress(OSError, ValueError):
            os.dup2(os.open(os.devnull, os.O_WRONLY), self._file.fileno())

    def __getattr__(self, name: str) -> Any:
        return getattr(self._file, name)
