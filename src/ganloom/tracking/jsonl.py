"""The log: one JSON object a line, one line a logged step. Read it with any tool."""

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
    """Appends to a file; lines after `resume_at` images, which a killed run may have left, are taken out first."""

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
        """Pictures are files of their own."""

    def close(self) -> None:
        with storage_errors(self.path):
            self._file.close()


def read_log(path: Path) -> list[dict[str, Any]]:
    """The rows of a log; none if there is no log yet. A damaged line, such as one cut off by a kill, ends them."""
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
    # JSON has no NaN; null says as much and every reader takes it.
    finite = {
        key: None if isinstance(value, float) and not math.isfinite(value) else value for key, value in row.items()
    }
    return json.dumps(finite) + "\n"
