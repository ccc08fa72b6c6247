"""Text from anywhere in Markdown, as TensorBoard shows it."""

import html
import re

from ganloom.core.words import printable, printable_lines

__all__ = ["code_block", "plain"]

MARKS = re.compile(r"([\\`*_\[\]])")


def plain(text: str) -> str:
    r"""Text that looks as it is written: nothing in it is a link, markup or HTML, and control characters are escaped.

    >>> print(plain("[me](javascript:x) <b>\x1b"))
    \[me\](javascript:x) &lt;b&gt;\\x1b
    """
    return html.escape(MARKS.sub(r"\\\1", printable(text)), quote=False)


def code_block(text: str) -> str:
    """Lines that are shown as they are, whatever fences they contain.

    >>> print(code_block("a: 1"))
    ```
    a: 1
    ```
    """
    longest = max((len(found) for found in re.findall("`+", text)), default=0)
    fence = "`" * max(3, longest + 1)
    return f"{fence}\n{printable_lines(text)}\n{fence}"
