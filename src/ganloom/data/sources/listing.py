"""Files that lie with the images and say something about each: the `Table` they give, and StyleGAN's dataset.json."""

from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Protocol, cast

import numpy as np

from ganloom.core.errors import DataError
from ganloom.core.plain_json import read_json
from ganloom.core.words import counted
from ganloom.data.sources.columns import ImageIndex
from ganloom.data.sources.contract import MAX_CLASSES, Label, Remark
from ganloom.data.sources.labels import occurring, used_classes
from ganloom.data.sources.naming import is_hidden

__all__ = ["LISTING", "Reader", "Table", "read_listing"]


Read = Callable[[Collection[str], int | None], Iterator[tuple[str, bytes]]]


class Reader(Protocol):
    """Reads some of the files of a folder or archive, in any order: (path, content or its first `limit` bytes)."""

    @property
    def folder(self) -> Path | None:
        """The folder that paths start from; None in an archive."""

    def read(self, paths: Collection[str], limit: int | None = None) -> Iterator[tuple[str, bytes]]:
        """Raises `DataError` for a file that cannot be read."""

    def sample(self, paths: Collection[str], limit: int | None = None) -> Iterator[tuple[str, bytes]]:
        """Leaves out files that cannot be read."""


LISTING = "dataset.json"  # in StyleGAN's format: {"labels": [["00000/img00000000.png", 6], ...]}
UNLISTED = f"is not listed in {LISTING}"
MISSING = f"is listed in {LISTING} but does not exist"
MAX_BYTES, MAX_BYTES_PER_IMAGE = 16 * 2**20, 16 * 2**10  # of a listing: a row has some 30 bytes, and 4 for each class


@dataclass(frozen=True)
class Table:
    """What files beside the images say about them. Every mapping is by path, relative to the root."""

    files: frozenset[str] = frozenset()  # where it stands
    labels: Mapping[str, Label] | None = None  # None: it has no labels, so folders may give them
    class_names: Sequence[str] = ()
    splits: Mapping[str, str] = field(default_factory=dict)  # they win over those of folders
    groups: Mapping[str, str] = field(default_factory=dict)
    faults: Mapping[str, str] = field(default_factory=dict)  # images that will not be read, with the reason
    missing: Mapping[str, str] = field(default_factory=dict)  # images that do not exist, with the reason
    order: Sequence[str] = ()  # these images come first, in this order
    remarks: Sequence[Remark] = ()
    stamp: str = ""  # changes when a file that is not among `files` changes


def read_listing(files: Collection[str], splits: Mapping[str, str], read: Read) -> Table | None:
    """The labels of a dataset.json in StyleGAN's format, if there is one that lies above all images.

    `files` are all paths, `splits` has the split of each image. Of a listing without labels, the labels are empty: then
    folders in StyleGAN's format are not classes. Raises `DataError` if it cannot be read.
    """
    listings = [path for path in files if path.rpartition("/")[2] == LISTING and not is_hidden(path)]
    if not listings:
        return None
    path = min(listings, key=lambda path: (path.count("/"), path))
    above = path.removesuffix(LISTING)
    if not all(image.startswith(above) for image in splits):
        return Table(remarks=[Remark("labels", f"{path} is not read: there are images outside its folder")])
    limit = MAX_BYTES + MAX_BYTES_PER_IMAGE * len(splits)
    content = next((content for _, content in read([path], limit + 1)), None)
    if content is None:  # a link in an archive
        return None
    if len(content) > limit:
        raise DataError(
            f"{path} has more than {limit / 2**20:,.0f} MiB, too much for the labels of "
            f"{counted(len(splits), 'image')}: remove what is not about them, or use --labels none."
        )
    rows, names, how = _rows(path, content)
    if rows is None:
        wanted = '{"labels": [["img0.png", 3], ...]}'
        said = f"{path} is not read: it is not in StyleGAN's format, {wanted}. Tables are read with --labels FILE"
        return Table(frozenset([path]), remarks=[Remark("labels", said)])
    if b"\\" in content and any("\\" in name and name not in splits for name, _ in rows):
        how.append("paths with backslashes")
    found, remarks = _found(path, rows, above, splits)
    if how:
        said = f"from {path}, which has {' and '.join(how)}; not to use it: --labels none"
        remarks = [Remark("labels", said), *remarks]
    labels, names = _labels(path, found, names)
    used = used_classes(names, occurring(labels[image] for image in labels if splits.get(image) == "train"))
    return Table(
        frozenset([path]),
        {image: used.label(label) for image, label in labels.items()},
        used.names,
        faults={image: UNLISTED for image in splits if labels and image not in labels},
        missing={image: MISSING for image in labels if image not in splits},
        order=[image for image in labels if image in splits],
        remarks=[*remarks, *used.remarks],
    )


def _rows(path: str, content: bytes) -> tuple[list[tuple[str, object]] | None, list[str] | None, list[str]]:
    """Each path with what is written as its label, the class names, and what is unusual about them.

    The rows are None if it is not in StyleGAN's format.
    """
    try:
        values = read_json(content)
    except ValueError as error:
        raise _malformed(path, error) from None
    if not isinstance(values, dict) or "labels" not in values:
        return None, None, []
    rows, names = values["labels"], values.get("class_names") or None
    if names is not None and not isinstance(names, list):
        raise _malformed(path, "class_names is not a list")
    names = names and [str(name) for name in names]
    if rows is None or rows == []:
        return [], names, []
    how = ["labels that are an object"] if isinstance(rows, dict) else []
    if isinstance(rows, dict):
        listed = list(rows.items())
    elif isinstance(rows, list) and all(isinstance(row, list) and len(row) == 2 for row in rows):
        listed = [(str(name), value) for name, value in rows]
    else:
        return None, names, []
    if any(isinstance(value, str) for _, value in listed):
        how.append("labels that are names of classes")
    return listed, names, how


def _found(
    path: str, rows: Sequence[tuple[str, object]], above: str, splits: Mapping[str, str]
) -> tuple[dict[str, object], list[Remark]]:
    """What is written as the label of each image. Raises `DataError` for an image that is listed with two labels."""
    remarks = []
    rows = [(name if above + name in splits else name.replace("\\", "/"), value) for name, value in rows]
    place = {name: above + name for name, _ in rows}
    if rows and not any(image in splits for image in place.values()):  # such as other suffixes
        index = ImageIndex(splits)
        for exactly in (True, False):
            near = {name: index.find(name, above, exactly=exactly) for name in place}
            if any(near.values()):
                place = {name: near[name] or place[name] for name in place}
                name, image = next((name, image) for name, image in near.items() if image)
                remarks = [Remark("labels", f"no path in {path} exists, so names are compared: {name} is {image}")]
                break
    found: dict[str, object] = {}
    for name, value in rows:
        image = place[name]
        if image in found and found[image] != value:
            raise DataError(
                f"{path} lists {name} twice, with the labels {found[image]!r} and {value!r}: keep one of them."
            )
        found[image] = value
    return found, remarks


def _labels(path: str, found: Mapping[str, object], names: list[str] | None) -> tuple[dict[str, Label], list[str]]:
    """Labels as numbers or shares, and the class names."""
    if any(isinstance(value, str) for value in found.values()):
        texts = {image: value for image, value in found.items() if value is not None}
        wrong = [value for value in texts.values() if not isinstance(value, str)]
        if wrong:
            raise _malformed(path, f"{wrong[0]!r} among labels that are names")
        known = names or sorted(str(value) for value in set(texts.values()))
        numbered = {name: number for number, name in enumerate(known)}
        if strange := set(texts.values()) - set(known):
            raise _malformed(path, f"{min(map(str, strange))!r} is not one of its class_names")
        return {image: None if value is None else numbered[str(value)] for image, value in found.items()}, known
    try:
        plain = cast("dict[str, int]", found) if set(map(type, found.values())) == {int} else {}
        simple = bool(plain) and min(plain.values()) >= 0  # then each is a label as it is: it is faster not to ask
        labels: dict[str, Label] = {**plain} if simple else {image: _label(value) for image, value in found.items()}
        widths = {len(label) if isinstance(label, np.ndarray) else 0 for label in labels.values() if label is not None}
        if labels and len(widths) != 1:
            raise ValueError("labels of different kinds" if widths else "no labels")
        numbers = [label for label in labels.values() if isinstance(label, int)]
        classes = 1 + max(numbers) if numbers else sum(widths)
        if labels and not classes:
            raise ValueError("empty lists")
        if classes > MAX_CLASSES:
            raise ValueError(f"{classes} classes")
        if names is not None and labels and len(names) != classes:
            raise ValueError(f"{len(names)} class names for {classes} classes")
    except (ValueError, TypeError, OverflowError, RecursionError) as error:
        raise _malformed(path, error) from None
    return labels, names or [str(number) for number in range(classes)]


def _malformed(path: str, why: object) -> DataError:
    return DataError(f"{path} is not a list of labels in StyleGAN's format ({why}): correct it, or use --labels none.")


def _label(value: object) -> Label:
    if value is None:
        return None
    if isinstance(value, list):
        with np.errstate(over="ignore"):  # values too large for float32 become infinite, and are refused below
            shares = np.asarray(value, np.float32)
        if shares.ndim != 1 or not np.isfinite(shares).all():
            raise ValueError(f"label {value!r}")
        if (shares < 0).any():
            raise ValueError(f"label {value!r}: write 0 and 1 instead of -1 and 1")
        return shares
    if isinstance(value, float) and value.is_integer() and abs(value) <= MAX_CLASSES:
        value = int(value)
    if not isinstance(value, int) or isinstance(value, bool) or value < 0:
        raise ValueError(f"label {value!r}")
    return int(value)
