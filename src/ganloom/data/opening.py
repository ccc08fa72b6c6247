"""The prepared images of a source as the configuration asks for them, with a progress bar while they are made."""

from pathlib import Path

from ganloom.config import Data
from ganloom.core.terminal import log, progress_bar
from ganloom.data.packed import PackedDataset
from ganloom.data.prepare import Preprocessing, Selection, prepare
from ganloom.data.sources import Source

__all__ = ["packed"]


def packed(source: Source, data: Data, dest: Path | None = None, workers: int | None = None) -> PackedDataset:
    """The prepared images of a source: in `dest`, or in the cache without it. Raises `DataError`.

    What Ctrl-C leaves half done, the same call takes up again.
    """
    try:
        with progress_bar("preparing", source.name) as progress:
            return prepare(
                source,
                Preprocessing(data.size, data.channels, data.resize, data.window, data.fast),
                Selection(data.holdout, data.group_by, data.classes, data.drop_duplicates),
                dest,
                workers=workers,
                max_skipped=data.max_skipped,
                progress=progress,
            )
    except KeyboardInterrupt:
        log.info("stopped; the same command resumes where this one stopped")
        raise
