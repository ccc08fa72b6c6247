"""Where ganloom speaks: of several processes only the first does."""

import os

from rich.console import Console

__all__ = ["make_terminal", "printable", "say"]


def make_terminal(*, stderr: bool = False) -> Console:
    return Console(stderr=stderr, quiet=os.environ.get("RANK", "0") != "0")


def say(terminal: Console, text: str) -> None:
    """A line as it is: paths may hold what rich would take for markup, and are not to be broken."""
    terminal.print(printable(text), markup=False, highlight=False, soft_wrap=True)


def printable(text: str) -> str:
    """Names of files may be any bytes, and some would steer a terminal."""
    return "".join(c if c.isprintable() else c.encode("unicode_escape", "backslashreplace").decode() for c in text)
