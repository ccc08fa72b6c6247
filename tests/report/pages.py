"""An HTML page as a browser would see it."""

import base64
import io
from html.parser import HTMLParser
from pathlib import Path

from PIL import Image


class Page(HTMLParser):
    """Its tags, its words, its tables and its pictures."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.tags: list[tuple[str, dict[str, str | None]]] = []
        self.words = ""
        self.rows: list[list[str]] = []
        self.feed(text)

    @classmethod
    def read(cls, path: Path) -> "Page":
        return cls(path.read_text(encoding="utf-8"))

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append((tag, dict(attrs)))
        if tag == "tr":
            self.rows.append([])
        if tag in ("td", "th"):
            self.rows[-1].append("")

    def handle_data(self, data: str) -> None:
        self.words += data
        if self.rows and self.rows[-1]:
            self.rows[-1][-1] += data

    def handle_endtag(self, tag: str) -> None:
        if tag == "table":
            self.rows.append([])

    @property
    def sources(self) -> list[str]:
        """What is loaded, from wherever."""
        names = ("src", "href", "srcset")
        return [str(value) for _, given in self.tags for key, value in given.items() if key in names]

    @property
    def images(self) -> list[Image.Image]:
        return [Image.open(io.BytesIO(base64.b64decode(source.partition(",")[2]))) for source in self.sources]

    def table(self, first: str) -> list[list[str]]:
        """The rows below a heading that begins with this cell."""
        start = next(index for index, row in enumerate(self.rows) if row and row[0] == first)
        end = next((index for index, row in enumerate(self.rows) if index > start and not row), len(self.rows))
        return self.rows[start + 1 : end]
