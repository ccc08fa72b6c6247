"""Class numbers and names from what people write as labels. A class without a training image is not a class."""

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property

import numpy as np
from numpy.typing import NDArray

from ganloom.data.sources.contract import MAX_CLASSES, Label, Remark
from ganloom.data.sources.tabular import TableError

__all__ = ["UsedClasses", "is_binary", "labels_from_columns", "labels_from_text", "occurring", "used_classes"]

MAX_FREE = 20  # distinct values up to which any column may be labels
MIN_PER_CLASS = 3  # images on average; with fewer, a column of more values is free text or a measurement
LISTS = ("|", ";", ",", " ")  # what may stand between several labels of one image
TRUE = {"1", "1.0", "true", "yes"}
FALSE = {"0", "0.0", "false", "no", "-1", "-1.0"}


@dataclass(frozen=True)
class UsedClasses:
    """The classes that have a training image, renumbered. Names are kept, also where they are numbers."""

    names: list[str]
    kept: list[int]  # their numbers before
    left_out: list[str]  # names of the others

    def label(self, label: Label) -> Label:
        """The label renumbered; None for a class that is not used."""
        if label is None or not self.left_out:
            return label
        if isinstance(label, np.ndarray):
            return label[self.kept]
        return self._places.get(label)

    @cached_property
    def _places(self) -> Mapping[int, int]:
        return {before: place for place, before in enumerate(self.kept)}

    @property
    def remarks(self) -> list[Remark]:
        """What was left out, in words: nothing if every class is used."""
        if not self.left_out:
            return []
        some = ", ".join(self.left_out[:5]) + (", ..." if len(self.left_out) > 5 else "")
        count = "class" if len(self.left_out) == 1 else f"{len(self.left_out)} classes"
        have = "has" if len(self.left_out) == 1 else "have"
        return [Remark("classes", f"the {count} {some} {have} no training image and {have} been left out")]


def used_classes(names: Sequence[str], used: Iterable[int] | None) -> UsedClasses:
    """The classes of a source of which some are never used. `used`: the numbers that training images have; None: all.

    >>> classes = used_classes(["0", "1", "2", "3"], {1, 2, 3})
    >>> classes.names, classes.label(1)
    (['1', '2', '3'], 0)
    """
    known = set(range(len(names)) if used is None else used)
    kept = sorted(known)
    left_out = [name for number, name in enumerate(names) if number not in known]
    return UsedClasses([names[number] for number in kept], kept, left_out)


def occurring(labels: Iterable[Label]) -> set[int]:
    """The numbers of the classes that occur in some labels."""
    found: set[int] = set()
    for label in labels:
        if isinstance(label, np.ndarray):
            found.update(np.flatnonzero(label).tolist())
        elif label is not None:
            found.add(label)
    return found


def labels_from_text(where: str, values: Mapping[str, str]) -> tuple[dict[str, Label], list[str]]:
    """Labels and class names from one text per image, such as `cat`, `3`, or `Edema|Effusion` for several classes.

    Numbers keep their names: 1, 2, 3 are the classes '1', '2', '3'. Raises `TableError` for values that are no
    classes. `where` names the column in messages.
    """
    counts = Counter(values.values())
    spelled = _numbers(counts)
    separator = "" if spelled else _separator(counts)
    if separator and _is_vector(counts, separator):
        raise TableError(f"{where} holds lists of 0 and 1: write the names of an image's classes instead.")
    parts = {text: [spelled.get(text, text)] if not separator else _split(text, separator) for text in counts}
    distinct = {part for some in parts.values() for part in some}
    several = len(distinct) > MAX_FREE
    if several and (
        counts.total() < MIN_PER_CLASS * len(distinct) or any("." in number for number in spelled.values())
    ):
        raise TableError(
            f"{where} has {len(distinct):,} different values for {counts.total():,} images, so these are not classes: "
            "choose another column with --label-column, or add one with few values, such as ranges of a number."
        )
    if len(distinct) > MAX_CLASSES:
        raise TableError(f"{where} has {len(distinct):,} different values: there may be {MAX_CLASSES:,} classes.")
    names = sorted(distinct, key=float if spelled else None)
    numbers = {name: number for number, name in enumerate(names)}
    if not separator:
        return {path: numbers[parts[text][0]] for path, text in values.items()}, names
    rows = {text: _shares([numbers[part] for part in some], len(names)) for text, some in parts.items()}
    return {path: rows[text] for path, text in values.items()}, names


def labels_from_columns(
    where: str, names: Sequence[str], cells: Mapping[str, tuple[str, ...]]
) -> tuple[dict[str, Label], list[str]]:
    """Labels from one column per class, of 0 and 1 (or shares between them), or of -1 and 1.

    They are class numbers if every image is in exactly one class. Raises `TableError` for cells that leave open whether
    an image is in a class.
    """
    distinct = {cell.strip().lower() for row in set(cells.values()) for cell in row}
    if not distinct - {""} or "" in distinct or ({"-1", "-1.0"} & distinct and {"0", "0.0"} & distinct):
        raise TableError(
            f"{where} leave open which class an image has: besides 0 and 1 there are empty cells or -1 (such as 'not "
            f"mentioned' or 'uncertain'). Write 0 or 1, or take one column: --label-column '{names[0]}'."
        )
    shares = {cell: _share(where, cell) for cell in distinct}
    rows = {row: np.array([shares[cell.strip().lower()] for cell in row], np.float32) for row in set(cells.values())}
    if all(np.count_nonzero(row) == 1 and row.max() == 1 for row in rows.values()):
        return {path: int(rows[row].argmax()) for path, row in cells.items()}, list(names)
    return {path: rows[row] for path, row in cells.items()}, list(names)


def is_binary(cell: str) -> bool:
    """Whether a cell could stand for yes or no, or leaves it open."""
    return cell.strip().lower() in {"", *TRUE, *FALSE}


def _share(where: str, cell: str) -> float:
    if cell in TRUE or cell in FALSE:
        return float(cell in TRUE)
    try:
        share = float(cell)
    except ValueError:
        share = -1.0
    if not 0 <= share <= 1:
        raise TableError(f"{where} contain '{cell[:50]}': a column per class holds 0 and 1, or shares between them.")
    return share


def _numbers(texts: Iterable[str]) -> dict[str, str]:
    """How each text is spelled as a number: `1` for `1.0` and `01`. Empty if one of them is not a number."""
    spelled = {}
    for text in texts:
        try:
            number = float(text)
        except ValueError:
            return {}
        if not np.isfinite(number) or abs(number) > 1e15:
            return {}
        spelled[text] = str(int(number)) if number.is_integer() else str(number)
    return spelled


def _separator(texts: Iterable[str]) -> str:
    """What stands between several labels of one image; empty if each has one.

    `|` always does. For the others, splitting must give at most half as many labels, and some must also occur alone.
    """
    texts = set(texts)
    for separator in LISTS:
        split = [_split(text, separator) for text in texts if separator in text]
        if split and separator == "|":
            return separator
        distinct = {part for parts in split for part in parts}
        alone = {text.strip() for text in texts if separator not in text}
        if split and alone & distinct and 2 * len(alone | distinct) <= len(texts):
            return separator
    return ""


def _split(text: str, separator: str) -> list[str]:
    return [part.strip() for part in text.split(separator) if part.strip()]


def _is_vector(texts: Iterable[str], separator: str) -> bool:
    """Whether texts are vectors such as 0|1|0, in which a value occurs twice."""
    split = [text.split(separator) for text in texts]
    return {part for parts in split for part in parts} <= {"0", "1", "0.0", "1.0"} and any(
        len(set(parts)) < len(parts) for parts in split
    )


def _shares(numbers: Iterable[int], classes: int) -> NDArray[np.float32]:
    row = np.zeros(classes, np.float32)
    row[list(numbers)] = 1
    return row
