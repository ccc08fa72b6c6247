"""Keeps status.json up to date while a training runs."""

from ganloom.core.files import storage_errors, write_atomically
from ganloom.runs import RunFolder, Status
from ganloom.runs.status import State, write_status
from ganloom.session.intervals import Intervals

__all__ = ["Progress"]


class Progress:
    """What status.json says. Of several processes only the first has one."""

    def __init__(self, folder: RunFolder, intervals: Intervals) -> None:
        self._folder, self._intervals = folder, intervals
        self._status = Status(state="running", total=intervals.total)
        self._before = folder.status_file.read_bytes() if folder.status_file.is_file() else None

    def update(self, nimg: int, seconds: float, images_per_second: float | None = None) -> None:
        """Say how far the training is. Without a speed, the last one that was given counts."""
        images_per_second = images_per_second or self._status.images_per_second
        left = None
        if self._intervals.seconds is not None:
            left = max(0.0, self._intervals.seconds - seconds)
        elif images_per_second:
            left = max(0, self._intervals.total - nimg) / images_per_second
        self._write(
            nimg=nimg,
            seconds=round(seconds, 3),
            seconds_left=left if left is None else round(left, 1),
            images_per_second=images_per_second and round(images_per_second, 2),
        )

    def verdict(self, text: str) -> None:
        """Remember the newest verdict of the guard; written with the next update."""
        self._status = self._status.model_copy(update={"verdict": text})

    def end(self, state: State, reason: str | None, nimg: int | None = None) -> None:
        """Say how the training ended; `nimg` where it was rolled back."""
        at = {} if nimg is None else {"nimg": nimg}
        self._write(state=state, reason=reason, seconds_left=None, **at)

    def undo(self) -> bool:
        """Restore what status.json said before, if there was one."""
        if self._before is not None:
            write_atomically(self._folder.status_file, self._before)
        return self._before is not None

    def _write(self, **changes: object) -> None:
        newest = self._folder.newest_sample()
        relative = None if newest is None else newest.relative_to(self._folder.path).as_posix()
        self._status = self._status.model_copy(update={**changes, "newest_sample": relative})
        with storage_errors(self._folder.status_file):
            write_status(self._folder.status_file, self._status)
