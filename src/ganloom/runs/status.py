"""status.json: what a training is doing now, or how it ended, for readers that see the folder alone."""

import datetime
import os
import socket
from pathlib import Path
from typing import Literal

from pydantic import BaseModel, ConfigDict, ValidationError

from ganloom.core.files import read_regular, write_atomically
from ganloom.core.processes import is_running

__all__ = ["Status", "read_status", "write_status"]

State = Literal["running", "finished", "stopped", "crashed", "died", "unknown"]


class Status(BaseModel):
    """The state of a run.

    - `running`: a process is training it.
    - `finished`: it reached its length, or early stopping ended it.
    - `stopped`: a signal, a callback or the guard ended it; `reason` says which. It was saved, unless that says not.
    - `crashed`: an error ended it; `reason` is its message.
    - `died`: its process ended without recording a reason: it was killed, or the machine went down. Seen on the
      machine that trained it, except on Windows; elsewhere such a run stays `running`, with an old `updated`.
    - `unknown`: there is no readable status.json, as in runs of early versions of ganloom.
    """

    model_config = ConfigDict(frozen=True, extra="ignore")
    state: State
    reason: str | None = None
    nimg: int = 0  # training images seen
    total: int | None = None  # images that it is planned to see
    seconds: float = 0.0  # spent training
    images_per_second: float | None = None
    seconds_left: float | None = None
    newest_sample: str | None = None  # path within the run folder
    verdict: str | None = None  # the last one of the guard
    updated: str = ""  # UTC, ISO 8601
    pid: int = 0
    process_start: int | None = None  # tells a process from a later one with its pid (Linux)
    host: str = ""


def write_status(path: Path, status: Status) -> None:
    """Write it atomically, with the time and this process. Raises `StorageError`."""
    pid = os.getpid()
    here = {"pid": pid, "process_start": _process_start(pid), "host": socket.gethostname(), "updated": _now()}
    write_atomically(path, status.model_copy(update=here).model_dump_json(indent=2).encode())


def read_status(path: Path) -> Status:
    """The status of a run; a running one whose process is gone from this machine has died."""
    try:
        status = Status.model_validate_json(read_regular(path))
    except (OSError, ValidationError):
        return Status(state="unknown")
    if status.state == "running" and status.host == socket.gethostname() and not _is_alive(status):
        return status.model_copy(update={"state": "died", "reason": "its process is gone", "seconds_left": None})
    return status


def _is_alive(status: Status) -> bool:
    return is_running(status.pid) and status.process_start in (None, _process_start(status.pid))


def _process_start(pid: int) -> int | None:
    """When a process started, in clock ticks since the machine's start; None where Linux's /proc does not say."""
    try:
        after_name = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
        return None if after_name[0] == "Z" else int(after_name[19])
    except (OSError, IndexError, ValueError):
        return None


def _now() -> str:
    return datetime.datetime.now(datetime.UTC).isoformat(timespec="seconds")
