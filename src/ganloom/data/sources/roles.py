"""What each column of a table is for: the image, its labels, its split and its group."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import islice

from ganloom.config import Reading
from ganloom.core.errors import UnsuitableError
from ganloom.core.names import nearest
from ganloom.data.sources.columns import GROUPS, IMAGES, LABELS, SPLITS, WEAK_LABELS, ImageIndex, named, plain
from ganloom.data.sources.labels import is_binary
from ganloom.data.sources.naming import IMAGE_SUFFIXES, suffix
from ganloom.data.sources.splits import split_named
from ganloom.data.sources.tabular import Rows, TableError

__all__ = ["NO_LABEL", "Roles", "find_roles", "split_of", "with_header"]

NO_LABEL = frozenset({"", "na", "n/a", "nan", "null", "<na>"})  # in lower case
SAMPLE = 500  # rows by which the roles of columns are judged
FIRST_ROWS = 5000  # enough to find the column of images if they name images
MAX_CANDIDATES = 12  # columns that may name the images
MAX_TEXTS = 50  # distinct values of a column with an unknown name that may still be labels
NUMBERED = {"0": "train", "1": "val", "2": "test"}  # in a column `partition`, as of CelebA


@dataclass(frozen=True)
class Roles:
    """The columns of a table that are used."""

    image: str
    exactly: bool  # whether cells give the folder and suffix of an image, where they have them
    labels: tuple[str, ...] = ()  # one: its values are classes; more: one column per class
    split: str | None = None
    group: str | None = None
    unclear: tuple[str, ...] = ()  # in words: what looks like a split, but cannot be read as one

    def with_others(self, split: str | None, group: str | None) -> "Roles":
        """The same with the split and group of other tables."""
        return replace(self, split=split, group=group)


def with_header(rows: Rows, index: ImageIndex, folder: str) -> Rows:
    """The table, whose first row is one of images if a cell of it names one."""
    known = {*IMAGES, *LABELS, *GROUPS}
    names_image = any(
        (suffix(cell) in IMAGE_SUFFIXES or plain(cell) not in known) and index.find(cell, folder)
        for cell in rows.columns
        if cell
    )
    return rows.without_header() if names_image and rows.delimiter else rows


def find_roles(rows: Rows, index: ImageIndex, folder: str, reading: Reading) -> Roles:
    """The roles of the columns. Raises `TableError` where there is none for the image, or more than one reading.

    Raises `UnsuitableError` if there is no column of the name that the user gave.
    """
    sample = [dict(zip(rows.columns, cells, strict=True)) for _, cells in islice(rows, SAMPLE)]
    image, exactly = _image_column(rows, index, folder, sample)
    others = [column for column in rows.columns if column != image]
    group = _chosen(rows, "group_column", reading.group_column)[0] if reading.group_column else None
    if group is None:
        group = next(iter(_grouping(named(others, GROUPS), sample)), None)
    split, unclear = _split_column(rows, named(others, SPLITS), sample, reading)
    if reading.label_column:
        labels = _chosen(rows, "label_column", reading.label_column)
    else:
        labels = _label_columns(rows, [column for column in others if column not in (split, group)], sample)
    group = None if group in labels else group
    return Roles(image, exactly, labels, split, group, unclear)


def split_of(cell: str, column: str) -> str | None:
    """The split that a cell names, None if it is not known."""
    value = cell.strip()
    if plain(column) == "partition" and value in NUMBERED:
        return NUMBERED[value]
    return split_named(value, short=True)


def _chosen(rows: Rows, key: str, wanted: str) -> tuple[str, ...]:
    """The column that the user named, or the columns with commas between them."""
    by_plain = {plain(column): column for column in rows.columns}
    if wanted in rows.columns:
        return (wanted,)
    found = [by_plain.get(plain(name)) for name in (wanted, *wanted.split(","))]
    if found[0]:
        return (found[0],)
    if "," in wanted and all(found[1:]):
        return tuple(column for column in found[1:] if column)
    flag = f"--{key.replace('_', '-')}"
    raise UnsuitableError(f"{rows.name} has no column '{wanted}' (data.{key}, {flag}). {nearest(wanted, rows.columns)}")


def _image_column(rows: Rows, index: ImageIndex, folder: str, sample: Sequence[Mapping[str, str]]) -> tuple[str, bool]:
    """The column that names the images, and whether it does so exactly."""
    known = named(rows.columns, IMAGES)
    likely = [column for column in rows.columns if column not in known and _names_images(column, index, folder, sample)]
    candidates = [*known, *likely][:MAX_CANDIDATES]
    places = [(column, rows.columns.index(column)) for column in candidates]
    for count, least, exactly in ((FIRST_ROWS, FIRST_ROWS // 2, True), (None, 1, True), (None, 1, False)):
        hits = dict.fromkeys(candidates, 0)
        for _, cells in islice(rows, count):
            for column, place in places:
                hits[column] += index.find(cells[place], folder, exactly=exactly) is not None
        most = max(hits.values(), default=0)
        if most >= least:
            return next(column for column in candidates if hits[column] >= 0.9 * most), exactly
    columns = ", ".join(f"'{column}'" for column in rows.columns[:8]) + (", ..." if len(rows.columns) > 8 else "")
    raise TableError(f"no column of {rows.name} names the images, such as '{index.example}': it has {columns}.")


def _names_images(column: str, index: ImageIndex, folder: str, sample: Sequence[Mapping[str, str]]) -> bool:
    """Whether a column of another name has file names. Bare numbers could be anything."""
    cells = [row[column] for row in sample]
    found = sum(not cell.strip().isdecimal() and index.find(cell, folder, exactly=False) is not None for cell in cells)
    return 2 * found >= len(cells) > 0


def _values(column: str, sample: Sequence[Mapping[str, str]]) -> set[str]:
    return {value for row in sample if (value := row[column].strip()).lower() not in NO_LABEL}


def _grouping(columns: Iterable[str], sample: Sequence[Mapping[str, str]]) -> list[str]:
    """Those of the columns in which values repeat, so that there are groups."""
    return [column for column in columns if len(_values(column, sample)) < sum(bool(row[column]) for row in sample)]


def _split_column(
    rows: Rows, columns: Sequence[str], sample: Sequence[Mapping[str, str]], reading: Reading
) -> tuple[str | None, tuple[str, ...]]:
    """The column of splits, or else in words which column could be one."""
    if reading.splits is not None:  # they are folders, or there are none
        return None, ()
    unclear = []
    for column in columns:
        values = _values(column, sample)
        unknown = sorted(value for value in values if split_of(value, column) is None)
        if values and not unknown:
            return column, ()
        if unknown and plain(column) in SPLITS[:3]:
            some = ", ".join(f"'{value[:30]}'" for value in unknown[:3])
            unclear.append(f"'{column}' is not read as splits, as it has {some}, not train, val and test")
    return None, tuple(unclear)


def _label_columns(rows: Rows, columns: Sequence[str], sample: Sequence[Mapping[str, str]]) -> tuple[str, ...]:
    """The columns of labels by their names, or else by what is in them. Empty if there are none."""
    for names in (LABELS, WEAK_LABELS):
        found = [column for column in named(columns, names) if _values(column, sample)]
        found = [column for column in found if len(_values(column, sample)) > 1] or found
        if len(found) > 1:
            found = _equivalent(rows, found, sample)
        if found:
            return (found[0],)
    binary = [column for column in columns if _values(column, sample) and all(is_binary(row[column]) for row in sample)]
    if len(binary) > 1:
        return tuple(binary)
    if len(columns) == 1 and _is_text_of_classes(_values(columns[0], sample), len(sample)):
        return (columns[0],)
    return ()


def _is_text_of_classes(values: set[str], count: int) -> bool:
    """Whether the only other column could be labels: a few words, each of several images."""
    words = [value for value in values if not value.replace(".", "", 1).lstrip("-").isdecimal()]
    return 1 < len(values) <= min(MAX_TEXTS, count / 3) and len(words) == len(values)


def _equivalent(rows: Rows, columns: list[str], sample: Sequence[Mapping[str, str]]) -> list[str]:
    """The columns, words before numbers, if they say the same. Raises `TableError` if they do not."""
    first, *others = columns
    for other in others:
        pairs = {(row[first].strip(), row[other].strip()) for row in sample}
        if not len(pairs) == len({one for one, _ in pairs}) == len({two for _, two in pairs}):
            choices = " or ".join(f"--label-column '{column}'" for column in columns)
            raise TableError(f"{rows.name} has {len(columns)} columns that may be the labels: choose {choices}.")
    return sorted(columns, key=lambda column: all(value.lstrip("-").isdecimal() for value in _values(column, sample)))
