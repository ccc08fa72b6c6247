"""Read tables of text, row by row: CSV with any usual delimiter, TSV, JSON Lines. Any file is read or refused.

Bytes that are not UTF-8 are read as Windows-1252, and UTF-16 with its byte order mark. Limits on lines and columns keep
memory bounded, whatever a file contains.
"""

import codecs
import csv
import io
import json
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from itertools import islice

from ganloom.core.errors import UnsuitableError
from ganloom.core.plain_json import read_json

__all__ = ["FALLBACK", "LISTS", "MAX_BYTES", "OTHER_TYPES", "SUFFIXES", "Rows", "TableError", "open_rows"]

JSON_LINES = (".jsonl", ".ndjson")
SUFFIXES = (".csv", ".tsv", *JSON_LINES)
LISTS = (".txt", ".lst")  # may be lists of file names
MAX_BYTES = 256 * 2**20  # of one file
MAX_LINE = 2**20  # characters
MAX_COLUMNS = 5000
DELIMITERS = ",;\t|"
SAMPLE = 20  # lines by which the delimiter is found, and the keys of JSON Lines
BLOCK = 2**20
MARKS = {codecs.BOM_UTF8: "utf-8-sig", codecs.BOM_UTF16_LE: "utf-16", codecs.BOM_UTF16_BE: "utf-16"}
FALLBACK = "cp1252"  # if it is no Unicode; with errors="replace" it decodes any bytes
OTHER_TYPES = {
    ".xlsx": "save it as CSV", ".xls": "save it as CSV", ".ods": "save it as CSV",
    ".json": "write one object per line, as JSON Lines (.jsonl)", ".parquet": "convert it to CSV",
}  # fmt: skip
SEPARATOR = "|"  # between the values of a JSON list


class TableError(UnsuitableError):
    """A table that cannot be read, or not without guessing. Its text is the reason, with the remedy."""


@dataclass(frozen=True)
class Rows:
    """The rows of a table. Each iteration reads them again: (line, cells), as many cells as there are columns."""

    name: str  # for messages
    content: bytes
    encoding: str
    columns: tuple[str, ...]
    delimiter: str  # empty for JSON Lines
    has_header: bool = True

    def __iter__(self) -> Iterator[tuple[int, Sequence[str]]]:
        return self._objects() if not self.delimiter else self._delimited()

    def without_header(self) -> "Rows":
        """The same table if its first row is one of images: the columns are called 1, 2, 3 ..."""
        return replace(self, columns=tuple(str(place + 1) for place in range(len(self.columns))), has_header=False)

    def _delimited(self) -> Iterator[tuple[int, Sequence[str]]]:
        width = len(self.columns)
        header = self.has_header
        for line, cells in _cells(self.name, self.content, self.encoding, self.delimiter):
            if header:
                header = False
                continue
            if len(cells) > width and any(cells[width:]):
                raise TableError(
                    f"line {line} of {self.name} has {len(cells)} cells, but there are {width} columns: put cells that "
                    f"contain '{self.delimiter}' into quotes."
                )
            yield line, [*cells[:width], *[""] * (width - len(cells))]

    def _objects(self) -> Iterator[tuple[int, Sequence[str]]]:
        for line, values in _objects(self.name, self.content, self.encoding):
            yield line, [_as_cell(values.get(column)) for column in self.columns]


def open_rows(name: str, content: bytes) -> Rows:
    """Find out encoding, delimiter and columns of a file. Raises `TableError` for any other file than a table."""
    suffix = "." + name.lower().rpartition(".")[2]
    if suffix in OTHER_TYPES:
        raise TableError(f"{name} cannot be read as a table: {OTHER_TYPES[suffix]}.")
    if len(content) > MAX_BYTES:
        raise TableError(
            f"{name} is larger than {MAX_BYTES // 2**20} MiB: keep only the columns of file names and labels."
        )
    encoding = _encoding(name, content)
    if suffix in JSON_LINES:
        columns: dict[str, None] = {}
        for _, values in islice(_objects(name, content, encoding), SAMPLE):
            columns |= dict.fromkeys(values)
        rows = Rows(name, content, encoding, tuple(columns), "")
    else:
        delimiter = _delimiter(name, content, encoding)
        first = [cells for _, cells in islice(_cells(name, content, encoding, delimiter), SAMPLE)]
        header = [cell.strip() for cell in first[0]] if first else []
        if first[1:] and all(len(cells) == len(header) + 1 for cells in first[1:]):
            header = ["", *header]  # R leaves out the name of the column of row names
        rows = Rows(name, content, encoding, tuple(header), delimiter)
    if not any(rows.columns):
        raise TableError(f"{name} has no rows.")
    if len(rows.columns) > MAX_COLUMNS:
        raise TableError(f"{name} has {len(rows.columns):,} columns: keep only those of file names and labels.")
    twice = {column for column in rows.columns if column and rows.columns.count(column) > 1}
    if twice:
        raise TableError(f"{name} has two columns '{min(twice)}': rename one of them.")
    return rows


def _encoding(name: str, content: bytes) -> str:
    for mark, encoding in MARKS.items():
        if content.startswith(mark):
            return _checked(name, content, encoding)
    if b"\0" in content:
        raise TableError(f"{name} contains NUL bytes, so it is not text: save it as CSV in UTF-8.")
    try:
        return _checked(name, content, "utf-8")
    except TableError:
        return FALLBACK


def _checked(name: str, content: bytes, encoding: str) -> str:
    """The encoding, if all bytes can be decoded. Block by block, as text takes up to four times the memory."""
    decoder = codecs.getincrementaldecoder(encoding)()
    view = memoryview(content)
    try:
        for start in range(0, len(content), BLOCK):
            decoder.decode(view[start : start + BLOCK])
        decoder.decode(b"", final=True)
    except UnicodeDecodeError:
        raise TableError(f"{name} is not {encoding.upper()}, although it begins so: save it as UTF-8.") from None
    return encoding


def _lines(name: str, content: bytes, encoding: str) -> Iterator[str]:
    with io.TextIOWrapper(io.BytesIO(content), encoding, errors="replace", newline="") as text:
        number = 0
        while line := text.readline(MAX_LINE + 1):
            number += 1
            if len(line) > MAX_LINE:
                raise TableError(
                    f"line {number} of {name} is longer than {MAX_LINE:,} characters: keep only the columns of file "
                    "names and labels."
                )
            yield line


def _cells(name: str, content: bytes, encoding: str, delimiter: str) -> Iterator[tuple[int, list[str]]]:
    """(line, cells) of each row that is not empty. The first may be the header."""
    lines = _lines(name, content, encoding)
    reader = csv.reader((line for line in lines if not line.lower().startswith("sep=")), delimiter=delimiter)
    try:
        for cells in reader:
            if any(cells):
                yield reader.line_num, cells
    except csv.Error as error:
        raise TableError(f"line {reader.line_num} of {name} cannot be read ({error}): check its quotes.") from None


def _delimiter(name: str, content: bytes, encoding: str) -> str:
    """The delimiter that gives the most columns, the same number in nearly every row."""

    def score(delimiter: str) -> tuple[bool, int, int]:
        widths = [len(cells) for _, cells in islice(_cells(name, content, encoding, delimiter), SAMPLE)] or [1]
        return widths[0] > 1, widths.count(widths[0]), widths[0]

    return max(DELIMITERS, key=score)  # the first of equals


def _objects(name: str, content: bytes, encoding: str) -> Iterator[tuple[int, dict[str, object]]]:
    for number, line in enumerate(_lines(name, content, encoding), 1):
        if not line.strip():
            continue
        try:
            values = read_json(line)
        except ValueError as error:
            raise TableError(f"line {number} of {name} is not JSON ({error}): write one object per line.") from None
        if not isinstance(values, dict):
            raise TableError(f"line {number} of {name} is not an object: write one per line, in braces.")
        if len(values) > MAX_COLUMNS:
            raise TableError(f"line {number} of {name} has {len(values):,} keys: keep only file name and labels.")
        yield number, values


def _as_cell(value: object) -> str:
    """A JSON value as the text that CSV would have. Objects say nothing about a whole image."""
    if value is None or isinstance(value, dict):
        return ""
    if isinstance(value, list):
        return SEPARATOR.join(_as_cell(each) for each in value)
    said = value if isinstance(value, str) else json.dumps(value)
    return said.encode("utf-8", "replace").decode()  # half of a surrogate pair could not be written again
