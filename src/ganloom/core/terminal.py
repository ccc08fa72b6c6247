"""Where ganloom speaks: of several processes only the first does."""

import contextlib
import os
import sys
from collections.abc import Callable, Iterator
from typing import Any, TextIO, cast

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, ProgressColumn, Task, TextColumn, TimeRemainingColumn
from rich.text import Text

__all__ = ["make_terminal", "printable", "progress_bar", "say"]


class _Hearer:
    """Standard output, or error, which may go away: a pipe whose reader has ended, a window that was closed. No work
    ends for that, nor for letters that it has no signs for.
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
        """What is still held back goes nowhere, or Python would complain at its end."""
        with contextlib.suppress(OSError, ValueError):
            os.dup2(os.open(os.devnull, os.O_WRONLY), self._file.fileno())

    def __getattr__(self, name: str) -> Any:
        return getattr(self._file, name)


def make_terminal(*, stderr: bool = False) -> Console:
    """Standard output, or error, of the first process; the others are quiet."""
    hearer = _Hearer(sys.stderr if stderr else sys.stdout)
    return Console(file=cast("TextIO", hearer), quiet=os.environ.get("RANK", "0") != "0")


def say(terminal: Console, text: str) -> None:
    """A line as it is: paths may hold what rich would take for markup, and are not to be broken."""
    terminal.print(printable(text), markup=False, highlight=False, soft_wrap=True)


def printable(text: str) -> str:
    """Names of files may be any bytes, and some would steer a terminal."""
    return "".join(c if c.isprintable() else c.encode("unicode_escape", "backslashreplace").decode() for c in text)


class _Rate(ProgressColumn):
    """Images a second."""

    def render(self, task: Task) -> Text:
        return Text(f"{task.speed:.0f}/s" if task.speed else "")


@contextlib.contextmanager
def progress_bar(terminal: Console, verb: str, name: str) -> Iterator[Callable[[int, int | None], None]]:
    """A bar with the rate and the time left, which appears when there is something to tell."""
    columns = (
        TextColumn(f"{verb} {{task.description}}"),
        BarColumn(),
        MofNCompleteColumn(),
        _Rate(),
        TimeRemainingColumn(),
    )
    with Progress(*columns, console=terminal, transient=True, disable=not terminal.is_terminal) as bar:
        task = bar.add_task(name, total=None, visible=False)
        yield lambda done, total: bar.update(task, completed=done, total=total, visible=True)
