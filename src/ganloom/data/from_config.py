"""Prepare the images of a source as the section `data` of a configuration says, with a progress bar."""

from pathlib import Path

from ganloom.config import Data
from ganloom.core.phases import phase
from ganloom.core.terminal import log
from ganloom.data.packed import PackedDataset
from ganloom.data.prepare import Preprocessing, Selection, prepare
from ganloom.data.sources import Source

__all__ = ["prepare_from_config"]


def prepare_from_config(
    source: Source, data: Data, dest: Path | None = None, workers: int | None = None
) -> PackedDataset:
    """The packed dataset of a source, in `dest` or else in the cache. Raises what `prepare` raises, and `DataError` for
    a packed dataset whose content is not what its dataset.json says.

    After Ctrl-C, the same call resumes where this one stopped.
    """
    try:
        with phase(f"preparing {source.name}") as progress:
            dataset = prepare(
                source,
                Preprocessing(data.size, data.channels, data.resize, data.window, data.fast),
                Selection(data.holdout, data.group_by, data.classes, data.drop_duplicates),
                dest,
                workers=workers,
                max_skipped=data.max_skipped,
                verified=data.verify,
                progress=progress,
            )
    except KeyboardInterrupt:
        log.info("stopped; the same command resumes where this one stopped")
        raise
    if dataset.verified is None:
        log.info(f"identity  not verified (data.verify): {dataset.path} may have changed since it was prepared")
    return dataset
