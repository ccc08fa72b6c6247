"""What one table says about the images: their labels, splits and groups, as text."""

from collections.abc import Sequence
from dataclasses import dataclass, field

from ganloom.config import Reading
from ganloom.core.terminal import log
from ganloom.data.sources.columns import ImageIndex
from ganloom.data.sources.naming import stem, text, words
from ganloom.data.sources.roles import NO_LABEL, Roles, find_roles, split_of, with_header
from ganloom.data.sources.splits import SHORT_WORDS, SPLIT_WORDS, split_named
from ganloom.data.sources.tabular import FALLBACK, TableError, open_rows

__all__ = ["Records", "combined", "merged", "read_list", "read_records"]

LARGE = 4 * 2**20  # bytes from which reading takes seconds
MAX_TITLES = 3  # names of files in a message


@dataclass
class Records:
    """What a table, or several alike, says about the images that it names. Every mapping is by path of the image."""

    files: list[str]
    columns: tuple[str, ...]
    roles: Roles
    lines: dict[str, int] = field(default_factory=dict)
    labels: dict[str, tuple[str, ...]] = field(default_factory=dict)  # a cell of each of the columns of labels
    splits: dict[str, str] = field(default_factory=dict)
    groups: dict[str, str] = field(default_factory=dict)
    sources: dict[str, int] = field(default_factory=dict)  # number of the file
    rows: int = 0
    numbers: int = 0  # rows that name their image by a bare number
    note: str = ""  # in words: how its bytes were read, where that is not certain

    @property
    def title(self) -> str:
        """The names of the files, for messages."""
        names = [text(name) for name in self.files]
        if len(names) > MAX_TITLES:
            return f"{names[0]} and {len(names) - 1} others"
        return " and ".join(names)

    @property
    def others(self) -> str:
        """The columns that could be chosen as labels, for messages."""
        columns = [f"'{column}'" for column in self.columns if column != self.roles.image]
        return ", ".join(columns[:8]) + (", ..." if len(columns) > 8 else "")

    @property
    def says(self) -> bool:
        """Whether it has anything but names of images."""
        return bool(self.labels or self.splits or self.groups)


def read_records(name: str, folder: str, content: bytes, index: ImageIndex, reading: Reading) -> Records:
    """Read a table in a folder, which is relative to the root of the images.

    Raises `TableError` if it cannot be read, does not name the images, or says different things about one of them.
    """
    if len(content) > LARGE:
        log.info(f"reading {text(name)}")
    folder = f"{folder}/" if folder else ""
    rows = with_header(open_rows(name, content), index, folder)
    roles = find_roles(rows, index, folder, reading)
    records = Records([name], rows.columns, roles)
    records.note = "read as Windows-1252, because it is not UTF-8" if rows.encoding == FALLBACK else ""
    place = {column: number for number, column in enumerate(rows.columns)}
    stored: dict[tuple[str, ...], tuple[str, ...]] = {}  # equal labels once
    for line, cells in rows:
        records.rows += 1
        cell = cells[place[roles.image]]
        path = index.find(cell, folder, exactly=roles.exactly)
        if path is None:
            continue
        records.numbers += cell.strip().isdecimal()
        label = tuple(cells[place[column]].strip() for column in roles.labels)
        label = () if len(label) == 1 and label[0].lower() in NO_LABEL else stored.setdefault(label, label)
        split = cells[place[roles.split]].strip() if roles.split else ""
        before = records.lines.setdefault(path, line)
        if before != line and (records.labels.get(path, ()) != label or records.splits.get(path, "") != split):
            first, second = _shown(records.labels.get(path, ()), records.splits.get(path, "")), _shown(label, split)
            raise TableError(
                f"{text(name)} says two things about {text(path)}: '{first}' in line {before} and '{second}' in line "
                f"{line}. Keep one row per image, or write all of its classes into one cell with | between them."
            )
        if label:
            records.labels[path] = label
        if split:
            records.splits[path] = split
        if roles.group and (group := cells[place[roles.group]].strip()).lower() not in NO_LABEL:
            records.groups[path] = group
    if roles.split:
        records.splits = {path: _split(name, roles.split, cell) for path, cell in records.splits.items()}
    return records


def read_list(name: str, content: bytes, index: ImageIndex) -> Records | None:
    """The split that a list of file names is: `test_list.txt`, one name per line. None if it is no such list."""
    split = _split_of_file(name)
    if split is None:
        return None
    records = Records([name], ("name",), Roles("name", exactly=True, split="name of the file"))
    for line, cell in enumerate(content.decode("utf-8", "replace").splitlines(), 1):
        if cell.strip():
            records.rows += 1
            if path := index.find(cell):
                records.lines[path] = line
    records.splits = dict.fromkeys(records.lines, split)
    return records if 2 * len(records.lines) >= records.rows > 0 else None


def merged(tables: Sequence[Records]) -> list[Records]:
    """The tables, those that belong together as one: such as train.csv and valid.csv, or one in each split's folder."""
    result: list[Records] = []
    for records in tables:
        records.sources = dict.fromkeys(records.lines, 0)
        for other in result:
            if _belong_together(records, other) and not other.lines.keys() & records.lines.keys():
                other.sources |= dict.fromkeys(records.lines, len(other.files))
                other.files += records.files
                other.lines |= records.lines
                other.labels |= records.labels
                other.splits |= records.splits
                other.groups |= records.groups
                other.rows += records.rows
                other.numbers += records.numbers
                break
        else:
            result.append(records)
    return [_with_splits_of_files(records) for records in result]


def combined(tables: Sequence[Records]) -> list[Records]:
    """One table where one has labels and others add the splits or groups that it lacks; otherwise all of them."""
    with_labels = [records for records in tables if records.labels]
    if len(with_labels) != 1:
        return list(tables)
    first = with_labels[0]
    others = [records for records in tables if records is not first]
    splits = [records for records in (first, *others) if records.splits]
    groups = [records for records in (first, *others) if records.groups]
    if len(splits) > 1 or len(groups) > 1:
        return list(tables)
    for records in (*splits, *groups):
        if records is not first:
            first.files += [name for name in records.files if name not in first.files]
            first.splits |= records.splits
            first.groups |= records.groups
            split, group = first.roles.split or records.roles.split, first.roles.group or records.roles.group
            first.roles = first.roles.with_others(split, group)
    return [first]


def _belong_together(one: Records, two: Records) -> bool:
    stems = [stem(records.files[0]) for records in (one, two)]
    are_splits = all(_split_of_file(each) for each in stems)
    return one.columns == two.columns and (are_splits or stems[0] == stems[1])


def _with_splits_of_files(records: Records) -> Records:
    """Where there is a table for each split, such as train.csv and valid.csv, and none has a column of splits."""
    found = [_split_of_file(name) for name in records.files]
    if len(set(found)) > 1 and not records.roles.split:
        records.splits = {path: found[file] or "train" for path, file in records.sources.items()}
        records.roles = records.roles.with_others("name of the file", records.roles.group)
    return records


def _split_of_file(name: str) -> str | None:
    """The split that the name of a file has: `train` for train_val_list.txt, too."""
    if split := split_named(stem(name), short=True):
        return split
    known = SPLIT_WORDS | SHORT_WORDS
    found = {known[word.lower()] for word in words(stem(name)) if word.lower() in known}
    found -= {"val"} if "train" in found else set()
    return found.pop() if len(found) == 1 else None


def _shown(label: tuple[str, ...], split: str) -> str:
    return ", ".join(filter(None, (*label, split)))


def _split(name: str, column: str, cell: str) -> str:
    split = split_of(cell, column)
    if split is None:
        raise TableError(
            f"column '{column}' of {text(name)} has '{cell[:50]}': write train, val or test, or leave it unread with "
            "--splits none."
        )
    return split
