"""What commands print, besides the lines of the log."""

import typer

from ganloom.core.words import printable_lines

__all__ = ["say"]


def say(text: object, *, error: bool = False) -> None:
    """Print a text on standard output, or on standard error; what would steer a terminal is escaped."""
    typer.echo(printable_lines(str(text)), err=error)
