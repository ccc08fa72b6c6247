"""The log of a run by column, without values that cannot be drawn."""

import math
from collections.abc import Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from ganloom.tracking.jsonl import log_lines, read_log

__all__ = ["History", "Series", "evenly", "read_history"]


class Series(NamedTuple):
    """The finite values of one column of the log."""

    nimg: NDArray[np.float64]  # [N], image counts in rising order
    value: NDArray[np.float64]  # [N]

    def __len__(self) -> int:
        return len(self.nimg)

    def latest(self, upto: float) -> float | None:
        """The last value up to an image count; None if there is none."""
        known = self.value[self.nimg <= upto]
        return float(known[-1]) if len(known) else None

    def mean(self, after: float, upto: float) -> float | None:
        """The mean between two image counts; None if there is no value."""
        known = self.value[(self.nimg > after) & (self.nimg <= upto)]
        return float(known.mean()) if len(known) else None


class History:
    """The rows of a log, sorted by image count."""

    def __init__(self, rows: Sequence[dict[str, Any]], unread: int) -> None:
        self.rows = sorted((row for row in rows if _number(row["nimg"])), key=lambda row: float(row["nimg"]))
        self.unread = unread  # damaged lines, such as a last one cut off by a kill, and all after them

    def __getitem__(self, name: str) -> Series:
        points = [(row["nimg"], row[name]) for row in self.rows if _number(row.get(name))]
        array = np.array(points, np.float64).reshape(-1, 2)
        return Series(array[:, 0], array[:, 1])

    @property
    def nimg(self) -> int:
        """The image count of the last row."""
        return int(self.rows[-1]["nimg"]) if self.rows else 0

    @property
    def scores(self) -> list[str]:
        """Names of the columns that are scores, such as `fd[loomnet-1]@2000`."""
        return [name for name in dict.fromkeys(key for row in self.rows for key in row) if "@" in name]

    def not_finite(self, name: str) -> list[int]:
        """Image counts at which the column was NaN or infinite, which the log stores as null."""
        return [int(row["nimg"]) for row in self.rows if name in row and row[name] is None]


def read_history(path: Path) -> History:
    """Read a log as far as it is readable; a missing one has no rows."""
    rows = read_log(path)
    return History(rows, len(log_lines(path)) - len(rows))


def evenly(values: Sequence[int], most: int) -> list[int]:
    """At most `most` of some rising values, evenly spaced, with the first and the last."""
    if len(values) <= most:
        return list(values)
    wanted = np.linspace(values[0], values[-1], most)
    return sorted({min(values, key=lambda value: abs(value - goal)) for goal in wanted})


def _number(value: object) -> bool:
    return isinstance(value, int | float) and math.isfinite(value)
