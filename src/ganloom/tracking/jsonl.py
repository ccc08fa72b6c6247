"""The log as JSON lines: one object per logged step, readable with any tool."""

import json
import math
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from torch import Tensor

from ganloom.core.files import storage_errors, write_atomically
from ganloom.tracking import Event

__all__ = ["Jsonl", "read_log"]


class Jsonl:
    """Appends to a file. Rows after `resume_at` images, which a killed run may have left, are removed first.

    Raises `StorageError` if the disk is full or the file cannot be written.
    """

    def __init__(self, path: Path, resume_at: int) -> None:
        self.path = path
        rows = [row for row in read_log(path) if row["nimg"] <= resume_at]
        write_atomically(path, "".join(_line(row) for row in rows).encode())
        self._file = open(path, "a", encoding="utf-8")

    def scalars(self, nimg: int, values: Mapping[str, float]) -> None:
        with storage_errors(self.path):
            self._file.write(_line({"nimg": nimg, **values}))
            self._file.flush()

    def event(self, nimg: int, event: Event) -> None:
        with storage_errors(self.path):
            self._file.write(_line({"nimg": nimg, "event": event.name, "text": event.text, **event.evidence}))
            self._file.flush()

    def images(self, nimg: int, name: str, picture: Tensor) -> None:
        """Nothing: samples are stored as PNG files."""

    def close(self) -> None:
        with storage_errors(self.path):
            self._file.close()


def read_log(path: Path) -> list[dict[str, Any]]:
    """The rows of a log, none if there is no log yet. Reading ends at the first damaged line, such as one cut off by a
    kill.
    """
    if not path.exists():
        return []
    rows = []
    for line in path.read_text(encoding="utf-8", errors="replace").splitlines():
        try:
            row = json.loads(line)
        except json.JSONDecodeError:
            break
        if not isinstance(row, dict) or "nimg" not in row:
            break
        rows.append(row)
    return rows


def _line(row: Mapping[str, Any]) -> str:
    # JSON has neither NaN nor infinity: both are written as null, which every reader accepts.
    finite = {
        key: None if isinstance(value, float) and not math.isfinite(value) else value for key, value in row.items()
    }
    return json.dumps(finite) + "\n"
