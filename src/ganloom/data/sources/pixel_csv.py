"""Tables of pixels, one image per row: `label,pixel0,pixel1,...`, or `emotion,pixels,Usage` as in FER2013.

A row of N*N values is a grey image, one of 3*N*N values a colour image, pixel by pixel.
"""

import csv
import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import partial
from itertools import islice
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ganloom.config import Reading
from ganloom.core.errors import DataError
from ganloom.core.files import user_path
from ganloom.core.names import nearest
from ganloom.data.sources.arrays import images_of, scales_of, window_of
from ganloom.data.sources.as_images import Axes, Values, find_values
from ganloom.data.sources.contract import SPLITS, Remark
from ganloom.data.sources.npy import Array
from ganloom.data.sources.parts import Part, PartsSource, files_in, said_split, splits_of_paths, top_of

__all__ = ["SETTINGS", "has_pixels", "open_source"]

SETTINGS = frozenset({"label_column"})
"""The keys of `Reading` that are followed."""

MIN_PIXELS = 64  # of a row: fewer columns of numbers are measurements
EXAMINED = 256  # rows that are read ahead to find the range of the values
PIXELS = "pixels"  # the column with all values of an image
USAGE = "usage"  # the column with the split
LABELS = ("label", "labels", "class", "emotion", "target", "y", "digit", "letter")
LEADING = ("", "id", "index", "unnamed: 0")  # columns before the pixels that say nothing
BYTES = Values(0, 255)
VERSION = "pixels 2"
"""Of the reader. A new one prepares images again, which may be read in another way."""
MAX_CELL = 2**27  # characters of one cell, which may hold a whole image
UNREADABLE = (OSError, UnicodeDecodeError, csv.Error)


@dataclass(frozen=True)
class _Table:
    """Where a table has what."""

    path: Path
    names: tuple[str, ...]  # of the columns, in lower case; empty for a table without a header
    first: int  # the first column of pixels
    columns: int  # how many columns hold pixels; 1 where one column holds all of an image
    size: tuple[int, ...]  # height, width, and 3 for colour
    label: int | None  # column
    usage: int | None  # column

    def rows(self) -> Iterator[list[str]]:
        """The rows below the header. Raises `DataError` for one that is cut short."""
        needed = max(self.first + self.columns - 1, self.label or 0, self.usage or 0) + 1
        for number, row in enumerate(_rows(self.path), 1):
            if len(row) < needed:
                raise DataError(
                    f"row {number} of {self.path} has {len(row)} columns, not {needed}: repair or remove it."
                )
            if number > 1 or not self.names:
                yield row

    def splits(self, default: str) -> dict[str, list[str]]:
        """The labels of the rows of each split, "" for none."""
        found: dict[str, list[str]] = {}
        for row in self.rows():
            label = "" if self.label is None else row[self.label].strip()
            found.setdefault(self.split(row, default), []).append(label)
        return found

    def split(self, row: Sequence[str], default: str) -> str:
        if self.usage is None:
            return default
        usage = row[self.usage].strip()
        split = said_split(usage, short=True)
        if split is None:
            raise DataError(
                f"column '{USAGE}' of {self.path} has '{usage[:30]}': write Training, PublicTest (validation) or "
                "PrivateTest (test), or remove the column."
            )
        return split

    def images(self, split: str, default: str, kind: type = np.float64) -> Iterator[NDArray[Any]]:
        """The images of a split. Raises `DataError` for a row that has another number of values."""
        for number, row in enumerate(self.rows(), 2 if self.names else 1):
            if self.split(row, default) != split:
                continue
            try:
                values = _values(row, self.first, self.columns).reshape(self.size)
                if kind is np.uint8 and not ((values >= 0) & (values <= 255) & (values == np.rint(values))).all():
                    raise DataError(
                        f"row {number} of {self.path} has other values than whole numbers from 0 to 255, which the "
                        "first rows have: correct or remove it."
                    )
                yield values.astype(kind)
            except ValueError:
                raise DataError(
                    f"row {number} of {self.path} should have {math.prod(self.size)} numbers from column "
                    f"{self.first + 1} on: repair or remove it."
                ) from None


def has_pixels(path: Path) -> bool:
    """Whether a CSV file is a table of pixels."""
    try:
        return _table(path) is not None
    except DataError:
        return False


def open_source(spec: str, reading: Reading) -> PartsSource:
    """Open a table, or a folder of tables. Raises `DataError`."""
    given = user_path(spec)
    paths = [path for path in files_in(given) if path.suffix.lower() == ".csv"] if given.is_dir() else [given]
    tables = [table for path in paths if (table := _table(path, reading.label_column))]
    if not tables:
        raise DataError(
            f"{given} has no column of pixels: ganloom reads tables such as label,pixel0,pixel1,... or "
            "emotion,pixels,Usage. If it lists labels of image files, give the folder of the images and --labels FILE."
        )
    read = [table.path for table in tables]
    defaults = splits_of_paths(read, top_of(given, read))
    found = [
        (table, default, split, labels)
        for table, default in zip(tables, defaults, strict=True)
        for split, labels in table.splits(default).items()
    ]
    kind: type = np.int64 if _are_whole(tables[0]) else np.float64
    arrays = [_array(*each[:3], len(each[3]), kind) for each in found]
    axes = Axes("HWC" if len(tables[0].size) == 3 else "HW")
    values: dict[str, Values] = find_values([(array, axes) for array in arrays], EXAMINED)
    if values[np.dtype(kind).name] == BYTES and kind is np.int64:
        arrays, values = [_array(*each[:3], len(each[3]), np.uint8) for each in found], {}
    parts = [
        Part(
            f"{table.path.name}/{split}" if len(tables) > 1 else split,
            split,
            len(labels),
            partial(images_of, array, axes, values.get(array.dtype.name)),
            None if table.label is None or not any(labels) else np.array(labels),
            f"the labels of {table.path}",
        )
        for (table, _, split, labels), array in zip(found, arrays, strict=True)
    ]
    parts.sort(key=lambda part: SPLITS.index(part.split))
    key = [VERSION, *([f"labels in {reading.label_column}"] if reading.label_column else [])]
    source = PartsSource(given, [table.path for table in tables], parts, remarks=_remarks(tables[0]), key=key)
    pairs = [(array, axes) for array in arrays]
    source.window, source.scales = window_of(pairs, values), scales_of(pairs, values)
    return source


def _array(table: _Table, default: str, split: str, count: int, kind: type) -> Array:
    """The images of one split of a table, as numbers of this kind."""
    rows = partial(table.images, split, default, kind)
    return Array(PIXELS, table.path, (count, *table.size), np.dtype(kind), rows)


def _remarks(table: _Table) -> list[Remark]:
    size = f"{table.size[0]}x{table.size[1]}{' in colour' if len(table.size) == 3 else ''}"
    taken = {*range(table.first, table.first + table.columns), table.label, table.usage}
    others = [name for column, name in enumerate(table.names) if column not in taken and name not in LEADING]
    labels = "no labels" if table.label is None else f"labels from column {table.label + 1}"
    if table.label is not None and table.names:
        labels = f"labels from '{table.names[table.label]}'"
    choose = f"; not read: {', '.join(others)} (labels: data.label_column, --label-column NAME)" if others else ""
    return [Remark("table", f"each row is an image of {size}; {labels}{choose}")]


def _table(path: Path, label_column: str | None = None) -> _Table | None:
    """What the first two rows say; None for a table that does not hold pixels."""
    first, second = [*islice(_rows(path), 2), [], []][:2]
    names = tuple(name.strip().lower() for name in first)
    if _numbers(first) and not (_numbers(second) and not _whole(first) and _whole(second)):
        names = ()  # it has no header
    labels = [column for column, name in enumerate(names) if name in LABELS]
    if label_column is not None:
        if label_column.lower() not in names:
            raise DataError(f"{path} has no column '{label_column}'. {nearest(label_column, names)}")
        labels = [names.index(label_column.lower())]
    usage = names.index(USAGE) if USAGE in names else None
    if PIXELS in names:
        column = names.index(PIXELS)
        size = _size(len(second[column].split())) if len(second) > column else ()
        return _Table(path, names, column, 1, size, labels[0] if labels else None, usage) if size else None
    row = second if names else first
    if not row or (names and len(row) != len(names)):
        return None
    inner = [column for column in range(len(row)) if not names or names[column] not in LEADING]
    label = labels[0] if labels else None
    inner = [column for column in inner if column != label]
    if label is None and not _size(len(inner)) and not names:  # the usual place
        label, inner = 0, inner[1:]
    size = _size(len(inner))
    contiguous = bool(inner) and inner[-1] - inner[0] == len(inner) - 1
    if not size or not contiguous or not _numbers(row[inner[0] :][: len(inner)]):
        return None
    return _Table(path, names, inner[0], len(inner), size, label, None)


def _size(count: int) -> tuple[int, ...]:
    """The size of a square image, grey or in colour, of so many values; () if there is none."""
    for channels in (1, 3):
        side = math.isqrt(count // channels)
        if count >= MIN_PIXELS and side * side * channels == count:
            return (side, side) if channels == 1 else (side, side, 3)
    return ()


def _values(row: Sequence[str], first: int, columns: int) -> NDArray[np.float64]:
    cells = row[first].split() if columns == 1 else row[first : first + columns]
    return np.array(cells, np.float64)


def _numbers(row: Sequence[str]) -> bool:
    try:
        return bool(row) and bool(np.isfinite(np.array(row, np.float64)).all())
    except ValueError:
        return False


def _whole(row: Sequence[str]) -> bool:
    return all(float(cell).is_integer() for cell in row)


def _are_whole(table: _Table) -> bool:
    """Whether the values of the first rows are whole numbers."""
    try:
        rows = [_values(row, table.first, table.columns) for row in islice(table.rows(), EXAMINED)]
    except ValueError:
        return False  # reading the images names the row
    return all(bool((row == np.rint(row)).all()) for row in rows)


def _rows(path: Path) -> Iterator[list[str]]:
    try:
        with open(path, newline="", encoding="utf-8-sig") as file:
            csv.field_size_limit(max(MAX_CELL, csv.field_size_limit()))  # of the process, so it is never lowered
            yield from (row for row in csv.reader(file) if row)
    except UNREADABLE as error:
        raise DataError(f"{path} cannot be read as a table ({error}): save it as CSV, in UTF-8.") from None
