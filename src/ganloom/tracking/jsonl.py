"""The log as JSON lines: one object per logged step, readable with any tool."""

import json
import math
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from torch import Tensor

from ganloom.core.errors import RunError
from ganloom.core.files import read_regular, storage_errors, write_atomically
from ganloom.core.plain_json import read_json
from ganloom.tracking import Event

__all__ = ["Jsonl", "log_lines", "read_log"]


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


def log_lines(path: Path) -> list[str]:
    """The lines of a log, none if there is no log yet. Raises `RunError` for anything that is not a file."""
    try:
        return read_regular(path).decode(errors="replace").splitlines()
    except FileNotFoundError:
        return []
    except OSError as error:
        raise RunError(f"{path} cannot be read ({error.strerror}): move it away, or make it readable.") from None


def read_log(path: Path) -> list[dict[str, Any]]:
    """The rows of a log, each with a whole number as `nimg`; none if there is no log yet. Reading ends at the first
    damaged line, such as one cut off by a kill.
    """
    rows = []
    for line in log_lines(path):
        try:
            row = read_json(line)
        except ValueError:  # no JSON, or a number of thousands of digits
            break
        if not isinstance(row, dict) or type(row.get("nimg")) is not int:
            break
        rows.append(row)
    return rows


def _line(row: Mapping[str, Any]) -> str:
    # JSON has neither NaN nor infinity: both are written as null, which every reader accepts.
    finite = {
        key: None if isinstance(value, float) and not math.isfinite(value) else value for key, value in row.items()
    }
    return json.dumps(finite) + "\n"
