"""Where scores are stored: in the folder of the run, and in the file that the user names."""

import tempfile
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

from torch import Tensor

from ganloom.core.errors import StorageError
from ganloom.core.files import check_target, storage_errors
from ganloom.core.pictures import save_png
from ganloom.core.terminal import log
from ganloom.evaluation.inputs import Subject
from ganloom.metrics.scores import Score, Scores, differences, read_scores, write_scores

__all__ = ["check_storage", "store", "writable"]


def check_storage(subject: Subject, destination: Path | None) -> None:
    """Raise `DataError` or `StorageError` now rather than after the measurement, if scores could not be stored."""
    if subject.run:
        read_scores(subject.run.scores)
        if destination is None:
            writable(subject.run.scores)


def writable(path: Path) -> Path:
    """The same path. Raises `StorageError` if no file can be written there."""
    with storage_errors(path, "Name another file with --out."):
        check_target(path)
        path.parent.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryFile(dir=path.parent):
            return path


def store(subject: Subject, scores: Scores, pictures: Mapping[str, Tensor], destination: Path | None) -> None:
    """Write scores and pictures to `destination` and into the folder of the run, if there is one."""

    def write(path: Path, stored: Sequence[Score], place: Callable[[str], Path]) -> None:
        write_scores(path, stored)
        log.info(f"scores    {path}")
        for name, picture in pictures.items():
            file = place(name)
            with storage_errors(file):
                file.parent.mkdir(parents=True, exist_ok=True)
            save_png(file, picture)
            log.info(f"picture   {file}")

    if destination is not None:
        write(destination, scores, lambda name: destination.with_name(f"{destination.stem}-{name}.png"))
    if (run := subject.run) is not None:
        try:
            before = read_scores(run.scores)  # read again: another evaluation may have written meanwhile
            others = [old for old in before if not any(_replaces(new, old) for new in scores)]
            write(run.scores, [*others, *scores], run.picture)
        except StorageError as error:
            if destination is None:
                raise
            log.info(f"note: not stored in the run: {error}")
    elif destination is None:
        log.info("not stored: --out FILE writes the scores to a file")


def _replaces(new: Score, old: Score) -> bool:
    return new.name == old.name and new.seed == old.seed and not differences(new, old)
