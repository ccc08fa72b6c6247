"""Labels, splits and groups of images from a table that lies with them, or that the user names.

A table is used without being asked for only where there is one reading: it names most images, and folders are not
classes. Otherwise a remark says what was not read, and how to.
"""

from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import replace
from pathlib import Path

from ganloom.config import NO_FILE, Reading
from ganloom.core.errors import ConfigError, DataError, UnsuitableError
from ganloom.core.files import read_regular, user_path
from ganloom.data.sources.columns import ImageIndex
from ganloom.data.sources.contract import Label, Remark, stamp
from ganloom.data.sources.labels import UsedClasses, labels_from_columns, labels_from_text, occurring, used_classes
from ganloom.data.sources.layout import Layout
from ganloom.data.sources.listing import LISTING, Reader, Table, read_listing
from ganloom.data.sources.naming import is_hidden, suffix, text
from ganloom.data.sources.records import Records, combined, merged, read_list, read_records
from ganloom.data.sources.tabular import LISTS, MAX_BYTES, OTHER_TYPES, SUFFIXES, TableError

__all__ = ["absolute_table", "read_table"]

MAX_TABLES = 20  # looked at without being asked for
MAX_UNLABELLED = 0.05  # share of training images up to which those without a label are left out
MIN_COVERED = 0.5  # share of the images that a table must name to be used without being asked for
UNREAD = "--labels FILE reads a table, --labels none leaves all unread"


class _Images:
    """The images that a table may name, and what their folders say about them."""

    def __init__(self, layout: Layout) -> None:
        self.splits = {place.path: place.split for place in layout}
        self.index = ImageIndex(self.splits)
        self.has_splits = len(layout.splits) > 1
        self.in_class_folders = bool(layout.class_names)

    def training(self, splits: Mapping[str, str] | None = None) -> list[str]:
        """The training images, if `splits` win over those of folders."""
        return [path for path, split in {**self.splits, **(splits or {})}.items() if split == "train"]


def read_table(files: Collection[str], layout: Layout, reader: Reader, reading: Reading) -> Table | None:
    """What a file says about the images: that of `data.label_file`, or else a dataset.json or a table of the `files`.

    `layout` is what folders alone say, `reader` gives the content of some of the files. Raises `DataError` if a table
    that the user asked for cannot be used, or if there is none.
    """
    asked = bool(reading.label_file or reading.label_column or reading.group_column)
    if reading.label_file == NO_FILE:
        if reading.label_column or reading.group_column:
            raise ConfigError(f"--labels {NO_FILE} and a column of labels or groups contradict each other: drop one.")
        return None
    images = _Images(layout)
    if reading.label_file:
        name, path, content = _named_file(reading.label_file, files, reader)
        records = read_records(name, path.rpartition("/")[0], content, images.index, reading)
        table = _table(records, images, reading, frozenset([path] if path else []))
        return table if path else replace(table, stamp=stamp(user_path(name)))
    listing = None if asked else read_listing(files, images.splits, reader.read)
    if listing is not None and listing.labels is not None:
        return listing
    tables, reasons = _found(files, reader, images, reading)
    if asked and len(tables) != 1:
        why = " ".join(reasons) or "There is none beside the images."
        why = f"There are several: {', '.join(each.title for each in tables)}." if tables else why
        raise UnsuitableError(
            f"{why} data.label_column and data.group_column need one table: name it with --labels FILE."
        )
    remarks = [*(listing.remarks if listing else ()), *_not_read(tables, reasons, images, asked)]
    if not tables and not images.in_class_folders:
        remarks += _other_types(files)
    if len(tables) == 1 and (asked or not images.in_class_folders):
        try:
            table = _table(tables[0], images, reading, frozenset(tables[0].files))
            return replace(table, remarks=[*table.remarks, *remarks])
        except TableError as error:
            if asked:
                raise
            remarks.insert(0, Remark("tables", f"not read: {error} {UNREAD}"))
    return Table(remarks=remarks) if remarks else None


def _found(
    files: Collection[str], reader: Reader, images: _Images, reading: Reading
) -> tuple[list[Records], list[str]]:
    """The tables that may be used without being asked for, and why others may not."""
    candidates = _candidates(files)
    reasons = [f"only {MAX_TABLES} of {len(candidates)} tables are looked at."] if candidates[MAX_TABLES:] else []
    tables: list[Records] = []
    unread = candidates[:MAX_TABLES]
    for path, content in reader.sample(unread.copy(), MAX_BYTES + 1):
        unread.remove(path)
        try:
            tables.append(read_records(path, path.rpartition("/")[0], content, images.index, reading))
        except (TableError, ConfigError) as error:
            reasons.append(str(error))
    reasons += [f"{text(path)} cannot be read." for path in unread]
    good: list[Records] = []
    for records in merged(sorted(tables, key=lambda records: records.files[0])):
        if reason := _unsuitable(records, images):
            reasons.append(reason)
        else:
            good.append(records)
    if not images.has_splits:
        good += _split_lists(files, reader, images)
    return combined(good), reasons


def _candidates(files: Collection[str]) -> list[str]:
    """The tables among the files, the highest first."""
    tables = [path for path in files if suffix(path) in SUFFIXES and not is_hidden(path)]
    return sorted(tables, key=lambda path: (path.count("/"), path))


def _split_lists(files: Collection[str], reader: Reader, images: _Images) -> list[Records]:
    """Lists of the files of each split, such as train_val_list.txt and test_list.txt, together. Empty without both."""
    paths = sorted(path for path in files if suffix(path) in LISTS and not is_hidden(path))
    if not 1 < len(paths) <= MAX_TABLES:
        return []
    found = [read_list(path, content, images.index) for path, content in reader.sample(paths, MAX_BYTES)]
    whole = merged([records for records in found if records])
    is_whole = len(whole) == 1 and len(whole[0].lines) >= MIN_COVERED * len(images.splits)
    return whole if is_whole and {"train"} < set(whole[0].splits.values()) else []


def _named_file(name: str, files: Collection[str], reader: Reader) -> tuple[str, str, bytes]:
    """(name for messages, path among the files or else "", content) of the file that the user named."""
    given, root = user_path(name), reader.folder
    inside = name.replace("\\", "/").removeprefix("./") if root is None else _below(name, root)
    if inside in files and (root is not None or not given.exists()):
        for _, content in reader.read([inside], MAX_BYTES + 1):
            return name, inside, content
    try:
        return name, "", read_regular(given, MAX_BYTES + 1)
    except OSError as error:
        tables = _candidates(files)
        known = f" The tables beside the images are {', '.join(map(text, tables[:5]))}." if tables else ""
        raise DataError(f"cannot read {name} (data.label_file, --labels): {error.strerror}.{known}") from None


def absolute_table(name: str, root: Path | None) -> str:
    """The path of the table that the user named, so that it holds in any working folder.

    `root` is the folder of the images; None in an archive, where the name of a member stays as it is.
    """
    if root is not None and (inside := _below(name, root)):
        return str(root.resolve() / inside)
    given = user_path(name)
    return str(given.resolve()) if given.exists() else name


def _below(name: str, root: Path) -> str:
    """The path, from the folder of the images, of a table that the user named; "" for one that lies elsewhere.

    A table in that folder comes before one of the same name in the working folder.
    """
    given = user_path(name)
    place = given.parent.resolve() / given.name
    if given.exists() and place.is_relative_to(root.resolve()):
        return place.relative_to(root.resolve()).as_posix()
    inside = Path(name.replace("\\", "/"))
    is_below = not inside.is_absolute() and ".." not in inside.parts and (root / inside).is_file()
    return inside.as_posix() if is_below else ""


def _unsuitable(records: Records, images: _Images) -> str:
    """Why a table is not used without being asked for; empty if it may be."""
    if not records.lines:
        return f"{records.title} names none of the images."
    folders = tuple(path[: path.rfind("/") + 1] for path in records.files)
    training = images.training()
    below = [path for path in training if path.startswith(folders)] or training
    covered = sum(path in records.lines for path in below)
    if covered < MIN_COVERED * len(below) or not below:
        return f"{records.title} names {covered:,} of {len(below):,} training images."
    if records.numbers > MIN_COVERED * len(records.lines) and len(records.lines) < MIN_COVERED * records.rows:
        return f"{records.title} has numbers as names, and {records.rows - len(records.lines):,} of them are no images."
    if not records.says:
        choices = records.others
        return f"{records.title} has no column of labels with a usual name. Choose one with --label-column: {choices}."
    return ""


def _not_read(tables: Sequence[Records], reasons: Sequence[str], images: _Images, asked: bool) -> Iterator[Remark]:
    """What is said of tables that are not used."""
    if len(tables) > 1:
        choices = " or ".join(f"--labels {text(records.files[0])}" for records in tables)
        names = ", ".join(records.title for records in tables)
        yield Remark("tables", f"not read, as there are several: {names}. Choose with {choices}")
    elif tables and images.in_class_folders and not asked:
        records, flags = tables[0], []
        if records.labels:
            flags.append(f"to take its labels: --labels {text(records.files[0])}")
        if records.groups:
            flags.append(f"to keep its groups together: --group-column '{records.roles.group}'")
        if records.splits and not flags:
            flags.append(f"to take its splits: --labels {text(records.files[0])}")
        yield Remark("tables", f"not read, as folders give the classes: {records.title}; {', or '.join(flags)}")
    if reasons:
        more = f" (and {len(reasons) - 1} more)" if len(reasons) > 1 else ""
        yield Remark("tables", f"not read: {reasons[0].removesuffix('.')}{more}. {UNREAD}")


def _other_types(files: Collection[str]) -> Iterator[Remark]:
    """What is said of files that may be tables in formats that are not read."""
    found = [path for path in files if suffix(path) in OTHER_TYPES and not is_hidden(path)]
    found = [path for path in sorted(found) if path.rpartition("/")[2] != LISTING]
    if 0 < len(found) <= 3:
        names = ", ".join(map(text, found))
        yield Remark("tables", f"not read: {names}. If labels are in it, {OTHER_TYPES[suffix(found[0])]}")


def _table(records: Records, images: _Images, reading: Reading, files: frozenset[str]) -> Table:
    """The table in the form in which layouts use it. Raises `TableError` if its labels cannot be classes."""
    if not records.lines:
        raise TableError(f"{records.title} names none of the images.")
    splits = {} if images.has_splits else records.splits
    if splits and "train" not in splits.values():
        raise TableError(f"column '{records.roles.split}' of {records.title} has no training image: --splits none.")
    training = images.training(splits)
    wanted = not images.in_class_folders or reading.label_file or reading.label_column
    used: UsedClasses | None = None
    labels: dict[str, Label] = {}
    if records.labels and wanted:
        labels, names = _labels(records)
        used = used_classes(names, occurring(labels.get(path) for path in training))
        labels = {path: used.label(label) for path, label in labels.items()}
    elif not records.says:
        raise TableError(
            f"no column of {records.title} has a usual name for labels: choose one of {records.others} with "
            "--label-column."
        )
    unlabelled = [path for path in training if labels.get(path) is None] if used else []
    skips = 0 < len(unlabelled) <= MAX_UNLABELLED * len(training)
    return Table(
        files,
        labels if used else None,
        used.names if used else (),
        splits,
        records.groups,
        dict.fromkeys(unlabelled, f"has no label in {records.title}") if skips else {},
        remarks=[
            _summary(records, images, used, splits, len(unlabelled), skips),
            *(used.remarks if used else ()),
            *_alike(used.names if used else ()),
        ],
    )


def _alike(names: Sequence[str]) -> Iterator[Remark]:
    """What is said of classes whose names are the same but for case and spaces."""
    first: dict[str, str] = {}
    for name in names:
        other = first.setdefault(" ".join(name.casefold().replace("_", " ").split()), name)
        if other != name:
            text = f"the names of '{other}' and '{name}' are nearly the same: correct the table if they are one class"
            yield Remark("classes", text)


def _labels(records: Records) -> tuple[dict[str, Label], list[str]]:
    columns = records.roles.labels
    if len(columns) == 1:
        where = f"column '{columns[0]}' of {records.title}"
        return labels_from_text(where, {path: label[0] for path, label in records.labels.items()})
    listed = ", ".join(f"'{column}'" for column in columns[:3]) + (", ..." if len(columns) > 3 else "")
    return labels_from_columns(f"the columns {listed} of {records.title}", columns, records.labels)


def _summary(
    records: Records, images: _Images, used: UsedClasses | None, splits: Mapping[str, str], unlabelled: int, skips: bool
) -> Remark:
    """What was read from the table, in words."""
    roles = records.roles
    parts = [f"images by '{roles.image}'" + ("" if roles.exactly else " (by file name: folders or suffixes differ)")]
    if used and len(roles.labels) == 1:
        parts.append(f"labels by '{roles.labels[0]}'")
    elif used:
        parts.append(f"one class per column: {', '.join(roles.labels[:5])}{', ...' if len(roles.labels) > 5 else ''}")
    elif records.labels:
        parts.append("folders are the classes")
    if splits:
        parts.append(f"splits by '{roles.split}'")
    elif records.splits:
        parts.append(f"folders are the splits, not '{roles.split}'")
    if records.groups:
        parts.append(f"{len(set(records.groups.values())):,} groups by '{roles.group}'")
    parts += roles.unclear
    said = f"from {records.title}: {', '.join(parts)}"
    if records.note:
        said += f"; {records.note}"
    if rows := records.rows - len(records.lines):
        said += f"; {rows:,} of {records.rows:,} rows name no image, or one a second time"
    if without := len(images.splits) - len(records.lines):
        said += f"; {without:,} of {len(images.splits):,} images have no row"
    if unlabelled:
        fate = "and are left out" if skips else "so training with labels is off"
        said += f"; {unlabelled:,} training images have no label, {fate}"
    return Remark("labels" if used else "table", f"{said}. To change it: --label-column, --group-column, --labels none")
