"""Small tables of text: aligned for a terminal, or as HTML."""

import html
from collections.abc import Iterable, Iterator, Sequence

from ganloom.core.words import printable, printable_lines

__all__ = ["escape", "html_table", "text_table"]


def escape(text: str) -> str:
    r"""Text as HTML, also within an attribute. Nothing in it is markup, and what is not printable is escaped.

    >>> escape("<b>\u202e'")
    '&lt;b&gt;\\u202e&#x27;'
    """
    return html.escape(printable_lines(text))


def text_table(rows: Sequence[Sequence[str]]) -> Iterator[str]:
    """One line per row, with aligned columns. All rows have the same number of cells."""
    rows = [[printable(cell) for cell in row] for row in rows]
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    for row in rows:
        yield "  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip()


def html_table(rows: Iterable[Sequence[str]], head: Sequence[str] = (), *, escaped: bool = False) -> str:
    """An HTML table. With `escaped` the cells of the rows are HTML already; the head is always text."""
    # A long name in the head, such as fd[loomnet-1]@2000, may be broken before [ and @.
    named = (escape(cell).replace("[", "<wbr>[").replace("@", "<wbr>@") for cell in head)
    top = "<thead><tr>" + "".join(f"<th>{cell}</th>" for cell in named) + "</tr></thead>" if head else ""
    cells = ("".join(f"<td>{cell if escaped else escape(cell)}</td>" for cell in row) for row in rows)
    return f"<table>{top}<tbody>" + "".join(f"<tr>{row}</tr>" for row in cells) + "</tbody></table>"
