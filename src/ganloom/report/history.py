"""The log of a run, column by column, without what cannot be drawn."""

import math
from collections.abc import Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from ganloom.tracking.jsonl import read_log

__all__ = ["History", "Series", "evenly", "read_history"]


class Series(NamedTuple):
    """A column where it has finite numbers."""

    nimg: NDArray[np.float64]  # [N], rising
    value: NDArray[np.float64]  # [N]

    def __len__(self) -> int:
        return len(self.nimg)

    def latest(self, upto: float) -> float | None:
        known = self.value[self.nimg <= upto]
        return float(known[-1]) if len(known) else None

    def mean(self, after: float, upto: float) -> float | None:
        known = self.value[(self.nimg > after) & (self.nimg <= upto)]
        return float(known.mean()) if len(known) else None


class History:
    """All rows of a log."""

    def __init__(self, rows: Sequence[dict[str, Any]], unread: int) -> None:
        self.rows = sorted((row for row in rows if _number(row["nimg"])), key=lambda row: float(row["nimg"]))
        self.unread = unread  # lines that are no rows: a kill cuts the last one off

    def __getitem__(self, name: str) -> Series:
        points = [(row["nimg"], row[name]) for row in self.rows if _number(row.get(name))]
        array = np.array(points, np.float64).reshape(-1, 2)
        return Series(array[:, 0], array[:, 1])

    @property
    def nimg(self) -> int:
        """How far the log reaches, in images."""
        return int(self.rows[-1]["nimg"]) if self.rows else 0

    @property
    def scores(self) -> list[str]:
        """Columns that are scores with their number of images: `fd[loomnet-1]@2000`."""
        return [name for name in dict.fromkeys(key for row in self.rows for key in row) if "@" in name]

    def not_finite(self, name: str) -> list[int]:
        """Where the column was NaN or infinite, which the log writes as null: in images."""
        return [int(row["nimg"]) for row in self.rows if name in row and row[name] is None]


def read_history(path: Path) -> History:
    """A log that is missing, cut off or damaged is as long as it can be read."""
    if not path.exists():
        return History([], 0)
    lines = len(path.read_bytes().splitlines())
    rows = read_log(path)
    return History(rows, lines - len(rows))


def evenly(values: Sequence[int], most: int) -> list[int]:
    """At most `most` of rising values, evenly spaced, the first and the last among them."""
    if len(values) <= most:
        return list(values)
    wanted = np.linspace(values[0], values[-1], most)
    return sorted({min(values, key=lambda value: abs(value - goal)) for goal in wanted})


def _number(value: object) -> bool:
    return isinstance(value, int | float) and math.isfinite(value)
