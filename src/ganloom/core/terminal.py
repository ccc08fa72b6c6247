"""What ganloom says: lines of the logger `ganloom`, and progress bars where somebody asked to see them.

The library logs and prints nothing. The command line, or `verbose=True`, shows both on the terminal with `shown()`; of
several processes only the first one shows anything.
"""

import contextlib
import logging
import os
import sys
from collections.abc import Callable, Iterator
from typing import Any, TextIO, cast

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, ProgressColumn, Task, TextColumn, TimeRemainingColumn
from rich.text import Text

__all__ = ["log", "print_line", "printable", "progress_bar", "shown", "terminal"]

log = logging.getLogger("ganloom")
log.addHandler(logging.NullHandler())  # or Python would print warnings of a library that nobody listens to

QUIET = Console(quiet=True, force_terminal=False)
_stack: list[Console] = []


def terminal() -> Console:
    """The terminal that output is shown on now; one that shows nothing by default."""
    return _stack[-1] if _stack else QUIET


@contextlib.contextmanager
def shown(verbose: bool = True) -> Iterator[None]:
    """Show lines of the log and progress bars on standard output while entered; nothing changes without `verbose`."""
    if not verbose or os.environ.get("RANK", "0") != "0":
        yield
        return
    console = Console(file=cast("TextIO", _Output(sys.stdout)))
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


def printable(text: str) -> str:
    """The text with control characters escaped: a file name may hold any bytes, and some would steer a terminal."""
    return "".join(c if c.isprintable() else c.encode("unicode_escape", "backslashreplace").decode() for c in text)


class _Output:
    """Standard output, which may go away: a pipe whose reader has ended, a window that was closed.

    No work ends for that, nor for characters that its encoding lacks.
    """

    def __init__(self, file: TextIO) -> None:
        self._file = file

    def write(self, text: str) -> int:
        try:
            return self._file.write(text)
        except UnicodeEncodeError as error:
            return self._file.write(text.encode(error.encoding, "backslashreplace").decode(error.encoding))
        except OSError:
            self._silence()
            return len(text)

    def flush(self) -> None:
        try:
            self._file.flush()
        except OSError:
            self._silence()

    def _silence(self) -> None:
        """Send what is still buffered nowhere, or Python would complain at exit."""
        with contextlib.suppress(OSError, ValueError):
            os.dup2(os.open(os.devnull, os.O_WRONLY), self._file.fileno())

    def __getattr__(self, name: str) -> Any:
        return getattr(self._file, name)


class _Rate(ProgressColumn):
    """Images per second."""

    def render(self, task: Task) -> Text:
        return Text(f"{task.speed:.0f}/s" if task.speed else "")


@contextlib.contextmanager
def progress_bar(verb: str, name: str) -> Iterator[Callable[[int, int | None], None]]:
    """A bar with the rate and the time left, updated by calling it with images done and images in all."""
    console = terminal()
    columns = (
        TextColumn(f"{verb} {{task.description}}"),
        BarColumn(),
        MofNCompleteColumn(),
        _Rate(),
        TimeRemainingColumn(),
    )
    with Progress(*columns, console=console, transient=True, disable=not console.is_terminal) as bar:
        task = bar.add_task(name, total=None, visible=False)
        yield lambda done, total: bar.update(task, completed=done, total=total, visible=True)
